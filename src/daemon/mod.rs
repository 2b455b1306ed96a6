//! The running proxy. `assemble` makes the values from the files, `serve` runs them, `reload` replaces them, and
//! `preflight` is what `check` asks the host beside that, `queueing` what both say of `backend.queue`. `desk` has
//! what the admin interface asks of all this, and `own` whether a block would hit mail of our own. `listeners`,
//! `privileges`, `descriptors`, `access`, `signals`, `supervisor` and `watchdog` are a daemon's other duties. It must not
//! decide anything about a message.

mod access;
pub mod assemble;
mod descriptors;
pub mod desk;
pub mod fault;
mod holder;
mod listeners;
mod loops;
pub mod own;
pub mod preflight;
mod privileges;
mod queueing;
mod reload;
pub mod serve;
mod signals;
mod supervisor;
mod watchdog;
