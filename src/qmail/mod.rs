//! qmail's own files.

pub mod cdb;
pub mod control;
pub mod load;
pub mod run_script;
pub mod tcprules;
