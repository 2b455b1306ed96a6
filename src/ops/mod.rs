//! Builds and runs everything: the only place that knows all parts. `assemble` makes the values from the files, `serve`
//! runs them, `reload` replaces them, `listeners`, `privileges`, `signals` and `supervisor` are the daemon's manners.
//! `queue`, `rewrite` and `init` change what is not ours: the queue, a list, a host.

pub mod admin;
pub mod assemble;
mod descriptors;
pub mod drill;
pub mod explain;
pub mod init;
mod listeners;
mod privileges;
pub mod queue;
mod readable;
mod reload;
pub mod rewrite;
pub mod serve;
mod signals;
pub mod standing;
mod supervisor;
