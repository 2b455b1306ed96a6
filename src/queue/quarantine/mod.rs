//! What changes the qmail queue, and how it is kept whole. `folder` is the quarantine, `take` brings messages there,
//! `restore` brings them back, `check` looks for
//! what is wrong, `running` knows whether qmail-send runs and who has a message open.
//!
//! Whoever changes anything holds the quarantine's lock, and never follows a link. A message is first kept (a hard link and
//! its envelope, on the disk), then taken; a crash between any two steps leaves a queue that qmail-send understands, and the
//! next run completes or undoes what was left.

pub mod check;
pub mod folder;
pub mod restore;
pub mod running;
pub mod saved;
pub mod take;
