//! What is left of a transaction: its log line, its counters, and the storm that it may be part of.

pub mod format;
pub mod metrics;
mod outlet;
pub mod record;
pub mod start;
pub mod storms;

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// Whether lines begin with the time.
    pub time: Time,
    /// The least level that is written.
    pub level: Level,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `key=value`.
    Logfmt,
    /// For people, with colours on a terminal.
    Pretty,
}

/// `log.time`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// None under multilog or journald, else RFC 3339.
    Auto,
    /// None.
    None,
    /// RFC 3339 in UTC.
    Rfc3339,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Faults only.
    Error,
    /// What an operator should look at.
    Warn,
    /// One line a transaction.
    Info,
    /// One line an event.
    Debug,
}
