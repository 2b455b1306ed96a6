//! Reports of transactions: the log line, the counters, and the storm that one may be part of. It must not decide what
//! becomes of a message.

mod evict;
pub mod history;
pub mod log;
pub mod metrics;
pub mod preview;
pub mod recent;
mod share;
pub mod storms;
pub mod traffic;

use std::sync::Arc;

use crate::report::history::History;
use crate::report::metrics::Metrics;
use crate::report::recent::Recent;
use crate::report::share::LogShares;
use crate::report::storms::Storms;
use crate::report::traffic::Traffic;
use crate::session::record::Record;
use crate::store::clock;
use crate::store::history as rows;

/// Everything that counts what happens.
#[derive(Debug)]
pub struct Reports {
    /// Counters since the start.
    pub metrics: Metrics,
    /// Storms that run.
    pub storms: Storms,
    /// The last hour.
    pub traffic: Traffic,
    /// The last day and the last year.
    pub history: History,
    /// The last records.
    pub recent: Recent,
    shares: LogShares,
}

impl Reports {
    /// Empty counts, but for those of the history, which may be from before a restart.
    pub fn new(history: Arc<rows::History>) -> Self {
        Self {
            metrics: Metrics::default(),
            storms: Storms::new(MOST_STORMS),
            traffic: Traffic::new(MOST_SENDERS),
            history: History::new(history),
            recent: Recent::default(),
            shares: LogShares::default(),
        }
    }

    /// A connection came in, and there is a place for it (`granted`) or not.
    pub fn connected(&self, granted: bool, now: clock::Time) {
        self.metrics.connected(granted);
        self.traffic.connected(now);
        self.history.connected(now);
    }

    /// Reports the end of something: its log line, its counters, its storm. It is kept for a while.
    pub fn ended(&self, record: Arc<Record>, now: clock::Time) {
        if !record.counted_only && self.shares.take(&record, now) {
            log::line::write(&record);
        }
        self.metrics.count(&record);
        self.traffic.count(&record, now);
        self.history.count(&record, now);
        self.storms.count(&record, now);
        self.recent.keep(record, now);
    }
}

impl Reports {
    /// Ends what is over, and says so.
    pub fn sweep(&self, now: clock::Time) {
        self.storms.sweep(now);
        self.shares.sweep(now);
        self.metrics.sweep();
    }
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The form of a line.
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
    /// Events that an operator should look at.
    Warn,
    /// One line a transaction.
    Info,
    /// One line an event.
    Debug,
}

/// Senders at a client network that are counted at a time.
const MOST_STORMS: usize = 10_000;
/// Senders of the last hour that are counted.
const MOST_SENDERS: usize = 2_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::throttle::key::Seed;
    use crate::policy::verdict::Reason;
    use crate::policy::verdict::Verdict;
    use crate::session::record::Folded;
    use crate::session::record::Kind;
    use crate::store::clock::Virtual;
    use crate::store::state::State;

    pub(super) fn empty_state() -> State {
        State::in_memory(Seed::new([7; 16]), Arc::new(Virtual::new(clock::Time::from_seconds(1_795_395_525))))
    }

    pub(super) fn record(sender: &str, verdict: Verdict, reason: Option<Reason>) -> Record {
        Record {
            kind: Kind::Mail,
            session: "S".into(),
            client: std::net::Ipv4Addr::new(192, 0, 2, 7).into(),
            helo: None,
            tls: None,
            sender: Some(sender.to_owned()),
            recipients: vec![],
            size: Some(34),
            received: if matches!(verdict, Verdict::Absorb | Verdict::Accept) { 34 } else { 0 },
            id: None,
            before: crate::policy::repeat::Before::default(),
            verdict: Some(verdict),
            code: None,
            reason,
            user: None,
            rule: None,
            shadow: vec![],
            backend: None,
            words: None,
            folded: Folded::default(),
            counted_only: false,
            took: Duration::ZERO,
            answered: None,
        }
    }
}
