//! The location of a rule: the `file:line` that log lines, `explain` and faults name. It must not open the file.

use std::fmt;
use std::sync::Arc;

/// A line of a list, or a whole file when the line is 0 (a cdb has no lines).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file's path as the configuration names it.
    pub source: Arc<str>,
    /// The line's number, counted from 1; 0 means the file as a whole.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}
