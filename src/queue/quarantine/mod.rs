//! Changes of the qmail queue. `folder` is the quarantine, `dir` the calls on it and `owner` the queue it belongs to; `take` brings
//! messages there, `restore` brings them back, `check` looks for faults, `running` knows whether qmail-send runs and which process
//! has a message open, `supervisor` how it is told to go on.
//!
//! Nothing is changed without the quarantine's lock, and no link is followed. A message is first kept (a hard link and its
//! envelope, on the disk), then taken. A crash between any two steps must not leave a queue that qmail-send does not understand;
//! the next run completes or undoes such a step.

pub mod check;
mod dir;
pub mod folder;
pub mod owner;
mod remedy;
pub mod restore;
pub mod running;
pub mod saved;
pub mod supervisor;
pub mod take;
