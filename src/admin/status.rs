//! The status of the running proxy as one value: for `status`, for the page, and as the gauges of `/metrics`. It must
//! not change anything.

use serde::Serialize;

use crate::admin::Handles;
use crate::admin::networks;
use crate::admin::networks::Network;
use crate::report::storms::Storm;
use crate::report::traffic::Rates;
use crate::report::traffic::TopSenders;
use crate::store::disk::Health;
use crate::text::version;

/// The status of the running proxy.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) connections: usize,
    pub(super) held_octets: u64,
    /// Pressure on the hold: 0, and 1 to 4 above three quarters full.
    pub(super) hold_pressure: u8,
    pub(super) blocks: usize,
    pub(super) throttle_keys: usize,
    pub(super) ledger_entries: usize,
    pub(super) unacknowledged: usize,
    /// `ok`, `degraded` after a failed write, or `memory`.
    pub(super) state: &'static str,
    /// The reason why the last write failed.
    pub(super) state_error: Option<String>,
    /// The path to which a damaged state was moved, at the start or since.
    pub(super) state_set_aside: Option<String>,
    /// Whether log lines are thrown away because nobody reads the log.
    pub(super) log_stalled: bool,
    pub(super) log_lines_lost: u64,
    pub(super) stopping: bool,
    /// Whether connections are nearly used up, so that time limits are shorter.
    pub(super) stress: bool,
    /// The client networks with most of what all share.
    pub(super) networks: Vec<Network>,
    pub(super) storms: Vec<Storm>,
    pub(super) rates: Rates,
    pub(super) senders: TopSenders,
}

impl Status {
    pub(super) fn of(handles: &Handles) -> Self {
        let Handles { services, acceptor, log } = handles;
        let (state, tables, reports) = (&services.state, services.state.tables(), &services.reports);
        let now = tables.clock.now();
        let condition = services.conditions.current();
        let state_error = state.health().and_then(Health::failing);
        Self {
            version: version::SHORT,
            connections: acceptor.connections(),
            held_octets: services.holds.used(),
            hold_pressure: services.holds.pressure(),
            blocks: tables.blocks.len(),
            throttle_keys: tables.throttles.len(),
            ledger_entries: tables.ledger.len(),
            unacknowledged: tables.ledger.unacknowledged(),
            state: match state.health() {
                None => "memory",
                Some(_) if state_error.is_some() => "degraded",
                Some(_) => "ok",
            },
            state_error,
            state_set_aside: state.health().and_then(Health::kept).map(|kept| kept.display().to_string()),
            log_stalled: log.is_stalled(),
            log_lines_lost: log.lost(),
            stopping: condition.is_stopping(),
            stress: condition.stress,
            networks: networks::largest(handles, MOST_NETWORKS),
            storms: reports.storms.running(),
            rates: reports.traffic.rates(now),
            senders: reports.traffic.top(MOST_SENDERS, now),
        }
    }
}

impl Status {
    /// Reasons why another proxy should get mail instead of this one; empty when it is ready.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping {
            reasons.push("stopping".to_owned());
        }
        reasons.extend(self.state_error.iter().map(|error| format!("the state cannot be written ({error})")));
        if self.log_stalled {
            reasons.push("the log is not being read".to_owned());
        }
        reasons
    }

    /// Conditions that need an operator's attention, one line each.
    pub(super) fn remarks(&self) -> String {
        let kept = self.state_set_aside.iter();
        kept.map(|kept| format!("the state was damaged and started empty; the old file is {kept}\n")).collect()
    }
}

const MOST_NETWORKS: usize = 5;
/// Senders listed of each kind.
const MOST_SENDERS: usize = 10;
