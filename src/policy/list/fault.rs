//! The faults of a list, or of another of qmail's files, each with its place. It must not find any: the readers of the files
//! do.

use std::fmt;
use std::sync::Arc;

use crate::policy::list::location::Location;

/// A fault in a line of a list, or in another of qmail's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFault {
    /// The line's place.
    pub location: Location,
    /// The fault, and what to do instead.
    pub what: String,
}

impl ListFault {
    /// A fault in a line; line 0 stands for the whole file.
    pub fn new(source: &str, line: u32, what: impl Into<String>) -> Self {
        Self { location: Location { source: source.into(), line }, what: what.into() }
    }
}

impl fmt::Display for ListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.what)
    }
}

/// The faults of one file, collected, but not a million of them.
pub struct Faults {
    source: Arc<str>,
    first: Vec<ListFault>,
    more: usize,
}

impl Faults {
    /// No faults yet.
    pub fn new(source: &str) -> Self {
        Self { source: source.into(), first: Vec::new(), more: 0 }
    }

    /// Adds a fault.
    pub fn push(&mut self, line: u32, what: impl Into<String>) {
        if self.first.len() < MAX_FAULTS {
            let location = Location { source: self.source.clone(), line };
            self.first.push(ListFault { location, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    /// The first hundred faults, and one that counts the others.
    pub fn into_vec(mut self) -> Vec<ListFault> {
        if self.more > 0 {
            self.first.push(ListFault::new(&self.source, 0, format!("and {} more like these", self.more)));
        }
        self.first
    }

    /// Nothing, if there are none.
    ///
    /// # Errors
    /// The faults.
    pub fn finish(self) -> Result<(), Vec<ListFault>> {
        if self.first.is_empty() { Ok(()) } else { Err(self.into_vec()) }
    }
}

/// Faults that are kept: nobody reads more.
const MAX_FAULTS: usize = 100;
