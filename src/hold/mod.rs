//! A message kept until it has been ruled on.

use std::path::PathBuf;

/// `[message]`: where and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets of one message that stay in memory before it goes to a file.
    pub memory: u64,
    /// Octets of all messages together.
    pub total: u64,
    /// Folder of the temporary files.
    pub spool: PathBuf,
    /// Octets that must stay free on the spool's file system, and on `queue`'s.
    pub min_free: u64,
    /// The qmail queue, when it is known.
    pub queue: Option<PathBuf>,
}
