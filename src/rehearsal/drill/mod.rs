//! The incident, and then honest traffic, played against a throwaway instance of a configuration: its own port, state
//! in memory, a clock moved by hand, and a backend that counts and discards. It must not touch the running proxy.

mod client;
mod habits;
mod letters;
mod sink;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::backend::Target;
use crate::config::checked::Config;
use crate::front::Server;
use crate::front::Values;
use crate::front::clock;
use crate::front::workers::Threads;
use crate::front::workers::Workers;
use crate::policy::client::ClientRules;
use crate::policy::known::KnownRecipients;
use crate::policy::throttle::key::Seed;
use crate::rehearsal::drill::client::Outcome;
use crate::rehearsal::drill::habits::Course;
use crate::rehearsal::drill::habits::HABITS;
use crate::rehearsal::drill::habits::Habit;
use crate::rehearsal::drill::letters::newsletter;
use crate::rehearsal::drill::sink::Sink;
use crate::session::settings::BackendProtocol;
use crate::session::snapshot::Snapshot;
use crate::store::clock::Clock;
use crate::store::clock::Virtual;
use crate::store::state::State;

/// The checked values, and what sessions go by.
type Configuration = (Config, Arc<Snapshot>);

/// The size of a drill.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Copies of each scenario, twenty minutes apart.
    pub copies: u32,
    /// Size of the newsletter in octets.
    pub size: usize,
}

/// One row of the first table: a scenario's result.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Tries.
    pub copies: u32,
    /// Messages accepted and passed on; `None` against another server.
    pub delivered: Option<u32>,
    /// Replies of 250 to the dot.
    pub accepted: u32,
    /// Replies of 5xx.
    pub rejected: u32,
    /// Replies of 4xx, and broken connections.
    pub deferred: u32,
    /// Octets of bodies that were sent.
    pub wire_bytes: u64,
    /// Octets that reached the queue.
    pub queue_bytes: u64,
    /// Backend sessions (with `spawn`, processes); `None` against another server.
    pub backend_sessions: Option<u32>,
    /// CPU time of the instance's threads; `None` against another server.
    pub cpu_seconds: Option<f64>,
}

/// One row of the second table: the result of an honest sender's habit.
#[derive(Debug, Serialize)]
pub struct HonestRow {
    /// The habit's name.
    pub habit: &'static str,
    /// Messages that were meant to arrive.
    pub sent: u32,
    /// Messages accepted with 250.
    pub accepted: u32,
    /// Messages that arrived; `None` against another server.
    pub delivered: Option<u32>,
    /// Messages that arrived when sent to the backend directly; `None` against another server.
    pub delivered_without: Option<u32>,
}

impl HonestRow {
    /// Whether a message was lost that would have arrived without us.
    pub fn is_harmed(&self) -> bool {
        self.delivered.unwrap_or(self.accepted) < self.sent.min(self.delivered_without.unwrap_or(self.sent))
    }
}

/// The scenarios, by the sender's handling of the reply.
const SCENARIOS: [&str; 3] = ["acknowledgement lost", "acknowledged", "forward loop"];

/// Plays all scenarios against a throwaway instance. `progress` is called after each copy.
///
/// # Errors
/// The instance cannot be started, or does not answer.
pub fn against_ourselves(
    configuration: impl Fn() -> Option<Configuration>,
    plan: Plan,
    progress: &dyn Fn(),
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for scenario in SCENARIOS {
        let configuration = configuration().ok_or("the configuration cannot be read any more: run portcullis check")?;
        let instance = Instance::start(configuration)?;
        let pass = || instance.clock.advance(BETWEEN);
        let mut row = play(scenario, instance.address, plan, instance.began, progress, &pass)?;
        let (messages, octets, sessions) = instance.sink.counts();
        (row.delivered, row.queue_bytes, row.backend_sessions) = (Some(messages), octets, Some(sessions));
        row.cpu_seconds = cpu_seconds();
        rows.push(row);
        instance.stop();
    }
    Ok(rows)
}

/// Plays all scenarios against another server, whose deliveries cannot be counted from here.
///
/// # Errors
/// The server does not answer.
pub fn against(address: SocketAddr, plan: Plan, progress: &dyn Fn()) -> Result<Vec<Row>, String> {
    let now = clock::now().wall;
    SCENARIOS.iter().map(|scenario| play(scenario, address, plan, now, progress, &|| {})).collect()
}

/// Plays honest habits against a throwaway instance, and against its backend alone. `progress` is called after each
/// habit.
///
/// # Errors
/// The instance cannot be started, or does not answer.
pub fn honest(
    configuration: impl FnOnce() -> Option<Configuration>,
    progress: &dyn Fn(),
) -> Result<Vec<HonestRow>, String> {
    let mut configuration = configuration().ok_or("the configuration cannot be read any more: run portcullis check")?;
    // A lower size limit: messages over it are sent whole, which need not take long.
    if let Some(snapshot) = Arc::get_mut(&mut configuration.1) {
        let size = &mut snapshot.policy.size;
        size.limit = Some(size.limit.filter(|limit| *limit > 0).map_or(HONEST_LIMIT, |limit| limit.min(HONEST_LIMIT)));
    }
    let instance = Instance::start(configuration)?;
    let pass = |time: Duration| instance.clock.advance(time);
    let mut rows = Vec::new();
    for habit in HABITS {
        let began = Timestamp::from(instance.clock.now());
        let play = |address: SocketAddr, pass: &dyn Fn(Duration)| {
            let before = instance.sink.honest();
            let (sent, accepted) = play_habit(habit, address, began, pass)?;
            Ok::<_, String>((sent, accepted, Some(instance.sink.honest() - before)))
        };
        let (sent, accepted, delivered) = play(instance.address, &pass)?;
        let (_, _, delivered_without) = play(instance.sink.address, &|_| {})?;
        rows.push(HonestRow { habit: habit.name, sent, accepted, delivered, delivered_without });
        progress();
    }
    instance.stop();
    Ok(rows)
}

/// Plays honest habits against another server, where no time passes in between.
///
/// # Errors
/// The server does not answer.
pub fn honest_against(address: SocketAddr, progress: &dyn Fn()) -> Result<Vec<HonestRow>, String> {
    let mut rows = Vec::new();
    for habit in HABITS {
        let (sent, accepted) = play_habit(habit, address, clock::now().wall, &|_| {})?;
        rows.push(HonestRow { habit: habit.name, sent, accepted, delivered: None, delivered_without: None });
        progress();
    }
    Ok(rows)
}

/// Plays one habit; gives the numbers of messages sent and accepted.
fn play_habit(
    habit: &Habit,
    address: SocketAddr,
    began: Timestamp,
    pass: &dyn Fn(Duration),
) -> Result<(u32, u32), String> {
    let (accepted, limit) = (Cell::new(0), usize::try_from(HONEST_LIMIT).unwrap_or(usize::MAX));
    let course = Course { address, began, limit, pass, accepted: &accepted };
    let sent = (habit.play)(&course).map_err(|error| format!("{}: {error}", habit.name))?;
    Ok((sent, accepted.get()))
}

/// Number of progress steps of a plan: scenarios times copies.
pub fn steps(plan: Plan) -> u64 {
    SCENARIOS.len() as u64 * u64::from(plan.copies)
}

/// Number of habits.
pub fn habits() -> u64 {
    HABITS.len() as u64
}

fn play(
    scenario: &'static str,
    address: SocketAddr,
    plan: Plan,
    date: Timestamp,
    progress: &dyn Fn(),
    pass: &dyn Fn(),
) -> Result<Row, String> {
    let mut row = Row { scenario, ..Row::default() };
    let mut hops = 0;
    for _ in 0..plan.copies {
        let letter = newsletter(plan.size, hops, scenario != SCENARIOS[0], date);
        let (outcome, wire) = client::send(address, &letter).map_err(|error| format!("{address}: {error}"))?;
        row.copies += 1;
        row.wire_bytes += wire;
        match outcome {
            Outcome::Accepted => {
                row.accepted += 1;
                row.queue_bytes += plan.size as u64;
                // A delivered message is forwarded, and comes back with one more hop.
                hops += usize::from(scenario == SCENARIOS[2]);
            }
            Outcome::Rejected => row.rejected += 1,
            Outcome::Deferred => row.deferred += 1,
        }
        pass();
        progress();
    }
    Ok(row)
}

struct Instance {
    address: SocketAddr,
    clock: Arc<Virtual>,
    /// The clock's time at the start.
    began: Timestamp,
    sink: Sink,
    threads: Threads,
    _server: Server,
}

impl Instance {
    fn start((mut config, snapshot): Configuration) -> Result<Self, String> {
        let fault = |error: io::Error| format!("the throwaway instance: {error}");
        let sink = Sink::start().map_err(fault)?;
        let mut snapshot = Arc::try_unwrap(snapshot).map_err(|_| "the configuration is in use".to_owned())?;
        // The drill's sender is on this host and knows neither TLS nor your domains: it stands for a stranger.
        snapshot.policy.clients = ClientRules::default();
        snapshot.policy.local = None;
        snapshot.policy.known = KnownRecipients::default();
        snapshot.settings.tls_required = false;
        config.front.proxy_protocol_from.clear();
        config.front.greet_delay = Duration::ZERO;
        config.backend.target = Target::Tcp(sink.address.to_string());
        snapshot.settings.backend_protocol = BackendProtocol::Smtp;
        // One worker, so that it has seen a client's end before it hears the next one's dot.
        let (workers, threads) = Workers::start(1, THREADS).map_err(fault)?;
        let began = clock::now().wall;
        let clock = Arc::new(Virtual::new(began.into()));
        let state = Arc::new(State::in_memory(Seed::new([7; 16]), clock.clone()));
        let snapshot = Arc::new(snapshot);
        let values = Values { snapshot, front: config.front, tls: None, backend: config.backend, hold: config.hold };
        let server = Server::start(workers, state, values);
        let address = listen(&server).map_err(fault)?;
        Ok(Self { address, clock, began, sink, threads, _server: server })
    }

    fn stop(self) {
        self.threads.stop(Duration::from_secs(2));
        self.sink.stop();
    }
}

fn listen(server: &Server) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    server.acceptor.listen(listener, false, false)?;
    Ok(address)
}

/// CPU seconds of the instance's threads, told from sender and sink by name.
#[expect(clippy::disallowed_methods, reason = "the kernel's own files, of one line each")]
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds: u64 = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let used = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        if name.trim() == THREADS {
            nanoseconds += used.split(' ').next().and_then(|used| used.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    (nanoseconds > 0).then(|| nanoseconds as f64 / 1e9)
}

const THREADS: &str = "drill-proxy";
const BETWEEN: Duration = Duration::from_mins(20);
/// Octets of the largest message of honest traffic that passes.
const HONEST_LIMIT: u64 = 1_000_000;
