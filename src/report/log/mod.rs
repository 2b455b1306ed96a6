//! The log: `line` makes a record's line, `format` spells it, `writer` is the thread that writes it, `line_writer`
//! where it goes, `stream` what kind of file that is, `start` begins it. It must not count anything.

pub mod format;
pub mod line;
mod line_writer;
pub mod start;
mod stream;
mod writer;
