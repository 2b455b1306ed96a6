//! The SMTP server or UCSPI program behind us: tcp, spawn, maildir.

pub mod maildir;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What stands behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Our own delivery into this Maildir.
    Maildir(PathBuf),
    /// One process a session: program and arguments.
    Spawn(Vec<OsString>),
    /// An SMTP server: `host:port`.
    Tcp(String),
}

/// `[backend]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What stands behind us.
    pub target: Target,
    /// Our own name, for the Maildir's Received line and TCPLOCALHOST.
    pub hostname: String,
    /// Sessions with it at a time.
    pub max: usize,
    /// Time limit of a free place, the connection, and the greeting.
    pub connect: Duration,
}
