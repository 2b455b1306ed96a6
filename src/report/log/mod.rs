//! The log: `line` makes a record's line, `format` spells it, `writer` is the thread that writes it, `outlet` where it goes,
//! `start` begins it. It must not count anything.

pub mod format;
pub mod line;
mod outlet;
pub mod start;
mod writer;
