//! What happens now, as one value: for `status`, for the page, for alerts, and as the gauges of `/metrics`. It must not
//! change anything.

pub(crate) mod backend;
pub(crate) mod in_force;
pub(crate) mod live;
pub(crate) mod networks;
pub(crate) mod problems;
pub(crate) mod readiness;
pub(crate) mod sentence;
pub(crate) mod words;

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::front::Services;
use crate::front::accept::Acceptor;
use crate::front::tls::Certificate;
use crate::report;
use crate::report::storms::Storm;
use crate::report::traffic::Rates;
use crate::report::traffic::TopClient;
use crate::report::traffic::TopSenders;
use crate::status::backend::Backend;
use crate::status::in_force::InForce;
use crate::status::in_force::Reload;
use crate::status::networks::Network;
use crate::status::problems::Problem;
use crate::status::problems::Problems;
use crate::status::sentence::Sentence;
use crate::store::clock::Time;
use crate::store::disk::Health;
use crate::text::version;

/// The parts of the running proxy that are looked at, and that the operator changes. A clone is of the same ones.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) services: Arc<Services>,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) log: report::log::start::Handle,
    /// The configuration in force.
    pub(crate) in_force: watch::Receiver<Arc<InForce>>,
    /// When each problem that lasts began.
    pub(crate) problems: Arc<Problems>,
    /// When the process started.
    pub(crate) started: Time,
}

/// The status of the running proxy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    /// The name by which the proxy calls itself.
    pub(crate) host: String,
    /// The zone of the times in sentences.
    pub(crate) zone: String,
    /// The time of this status, in seconds since the epoch.
    pub(crate) now: u32,
    /// When the process started.
    pub(crate) started: u32,
    /// The configuration file; `None` for the embedded default.
    pub(crate) configuration_file: Option<String>,
    pub(crate) sentence: Sentence,
    /// The most urgent first.
    pub(crate) problems: Vec<Problem>,
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    pub(crate) held_octets: u64,
    /// Octets of held messages at most: `message.hold_total`.
    pub(crate) hold_total: u64,
    /// Pressure on the hold: 0, and 1 to 4 above three quarters full.
    pub(crate) hold_pressure: u8,
    pub(crate) blocks: usize,
    pub(crate) throttle_keys: usize,
    pub(crate) ledger_entries: usize,
    pub(crate) unacknowledged: usize,
    /// `ok`, `degraded` after a failed write, or `memory`.
    pub(crate) state: &'static str,
    /// The reason why the last write failed.
    pub(crate) state_error: Option<String>,
    /// The path to which a damaged state was moved, at the start or since.
    pub(crate) state_set_aside: Option<String>,
    /// Whether log lines are thrown away because nobody reads the log.
    pub(crate) log_stalled: bool,
    pub(crate) log_lines_lost: u64,
    pub(crate) stopping: bool,
    /// Whether connections are nearly used up, so that time limits are shorter.
    pub(crate) stress: bool,
    pub(crate) backend: Backend,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) reload: Reload,
    /// The client networks with most of what all share.
    pub(crate) networks: Vec<Network>,
    pub(crate) storms: Vec<Storm>,
    pub(crate) rates: Rates,
    pub(crate) senders: TopSenders,
    /// The clients with the most messages and bytes of the last hour.
    pub(crate) clients: Vec<TopClient>,
}

impl Status {
    pub(crate) fn of(handles: &Handles) -> Self {
        let Handles { services, acceptor, log, in_force, problems, started } = handles;
        let in_force = in_force.borrow().clone();
        let problems = problems.look(handles);
        let (state, tables, reports) = (&services.state, services.state.tables(), &services.reports);
        let now = tables.clock.now();
        let condition = services.conditions.current();
        let state_error = state.health().and_then(Health::failing);
        Self {
            version: version::SHORT,
            host: in_force.host.clone(),
            zone: words::zone_name(),
            now: now.seconds(),
            started: started.seconds(),
            configuration_file: in_force.file.as_ref().map(|file| file.display().to_string()),
            sentence: Sentence::of(&problems),
            problems,
            connections: acceptor.connections(),
            max_connections: in_force.max_connections,
            held_octets: services.holds.used(),
            hold_total: in_force.hold_total,
            hold_pressure: services.holds.pressure(),
            blocks: tables.blocks.holding(),
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
            backend: Backend::of(services),
            certificates: in_force.certificates.clone(),
            reload: in_force.reload.clone(),
            networks: networks::largest(handles, MOST_NETWORKS),
            storms: reports.storms.running(now),
            rates: reports.traffic.rates(now),
            senders: reports.traffic.top_senders(MOST_SENDERS, now),
            clients: reports.traffic.top_clients(MOST_CLIENTS, now),
        }
    }
}

const MOST_NETWORKS: usize = 5;
/// Senders listed of each kind.
const MOST_SENDERS: usize = 10;
const MOST_CLIENTS: usize = 20;
