//! Builds and runs everything: the only place that knows all parts. `assemble` makes the values from the files, `serve`
//! runs them, `reload` replaces them, `privileges` and `signals` are the daemon's manners.

pub mod admin;
pub mod assemble;
pub mod drill;
pub mod explain;
pub mod init;
mod privileges;
mod readable;
mod reload;
pub mod serve;
mod signals;
pub mod standing;
