//! The sections of the file, each with the names, kinds and bounds of its keys. What one key alone can tell is checked
//! here; what several tell together, in `check.rs`. They must not open files.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::units;

pub(crate) mod admin;
pub(crate) mod alert;
pub(crate) mod backend;
pub(crate) mod lists;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod qmail;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod throttle;
pub(crate) mod tls;

/// A file or folder as written.
fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("write the path of a file or folder".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

/// A duration that limits something: not zero.
fn time_limit(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        Duration::ZERO => Err("write a time above zero, such as \"30s\"".to_owned()),
        duration => Ok(duration),
    }
}
