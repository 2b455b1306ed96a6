//! The running proxy. `assemble` makes the values from the files, `serve` runs them, `reload` replaces them, and
//! `preflight` is what `check` asks the host beside that, `queueing` what both say of `backend.queue`. `listeners`,
//! `privileges`, `descriptors`, `access`, `signals`, `supervisor` and `watchdog` are a daemon's other duties. It must not
//! decide anything about a message.

mod access;
pub mod assemble;
mod descriptors;
pub mod fault;
mod holder;
mod listeners;
mod loops;
pub mod preflight;
mod privileges;
mod queueing;
mod reload;
pub mod serve;
mod signals;
mod supervisor;
mod watchdog;
