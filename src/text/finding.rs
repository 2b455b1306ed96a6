//! A finding about a file: where, what is wrong, and what to write instead. It must not know what the file is for.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// A fault or a warning: `file:line:column: what is wrong, and what to write instead`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The file; empty for the command line and the embedded default.
    pub file: String,
    /// The line, counted from 1; 0 means the whole file.
    pub line: u32,
    /// The column, counted from 1; 0 where columns mean nothing.
    pub column: u32,
    /// A sentence: the fault, and what to write instead.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, what } = self;
        match (line, column) {
            (0, _) if file.is_empty() => write!(f, "{what}"),
            (0, _) => write!(f, "{file}: {what}"),
            (_, 0) => write!(f, "{file}:{line}: {what}"),
            _ => write!(f, "{file}:{line}:{column}: {what}"),
        }
    }
}
