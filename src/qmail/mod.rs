//! qmail's own files.

pub mod addresses;
pub mod badmailfrom;
pub mod cdb;
pub mod control;
pub mod load;
pub mod log;
pub mod queue;
pub mod readable;
pub mod run_script;
pub mod tcprules;
