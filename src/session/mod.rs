//! The conversation with one client: a state machine without sockets, clock, files or logging.
//!
//! The shell feeds it (`handle_*`) and after each call drains it (`poll_output`, until `None`), then waits until
//! `deadline` at most. It owns the buffers: the session takes from them what it can use and leaves the rest, so that the
//! one place where STARTTLS throws away what came too early is in plain sight.
//!
//! Where to read on: `state` has the states; `verbs` what each command may do in them; `envelope` MAIL and RCPT;
//! `blocked` what a blocked client hears; `refusing` our refusals, `escalating` those that wait for the recipients,
//! `throttling` which throttles are asked; `harvesting` recipients that nobody knows; `message` from DATA to the final reply,
//! `repeating` what is known of a message; `authenticating` AUTH; `replying` the order of replies; `ending` every way in
//! which it stops, `yielding` that for the sake of others, `recording` and `words` what is left of it; `backend` when there
//! is a session with the backend, `relay` its side of the conversation, from its `greeting` on.

mod authenticating;
mod backend;
mod blocked;
mod ending;
mod envelope;
mod escalating;
mod harvesting;
pub mod io;
mod message;
pub mod question;
mod received;
pub mod record;
mod recording;
mod refusing;
mod relay;
mod repeating;
mod replying;
mod request;
pub mod settings;
pub mod snapshot;
mod state;
mod throttling;
mod verbs;
mod words;
mod xclient;
mod yielding;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::environment::Environment;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Ruling;
use crate::session::authenticating::Login;
use crate::session::harvesting::Unknown;
use crate::session::io::Admission;
use crate::session::io::BackendEnd;
use crate::session::io::HoldEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Peer;
use crate::session::question::Answer;
use crate::session::question::Ticket;
use crate::session::recording::Trace;
use crate::session::relay::Relay;
use crate::session::snapshot::Snapshot;
use crate::session::state::Acknowledgement;
use crate::session::state::Helo;
use crate::session::state::Slot;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::smtp::command::Command;
use crate::smtp::command::CommandFault;
use crate::smtp::line::LineReader;
use crate::smtp::reply::Offer;
use crate::smtp::reply::Signature;

/// One client's connection, from the banner to the close.
#[derive(Debug)]
pub struct Session {
    /// The session's id, and what else stands behind its refusals.
    id: Signature,
    snapshot: Arc<Snapshot>,
    /// Takes the place of `snapshot` at the next MAIL.
    next: Option<Arc<Snapshot>>,
    seed: Seed,
    peer: Peer,
    environment: Environment,
    /// What each MAIL hears: the client was blocked when it came.
    blocked: Option<Box<Ruling>>,
    /// What the backend offers, once that is known.
    offer: Option<Arc<Offer>>,
    offer_is_fresh: bool,
    state: State,
    /// The number of the last question.
    ticket: Ticket,
    helo: Option<Helo>,
    tls: Option<&'static str>,
    authenticated: bool,
    /// The AUTH exchange that runs, or has succeeded.
    login: Option<Box<Login>>,
    transaction: Option<Box<Transaction>>,
    /// The session with the backend.
    relay: Option<Box<Relay>>,
    lines: LineReader,
    trace: Trace,
    /// A command that has to wait until all replies before it are known, and its line.
    parked: Option<Box<(Result<Command, CommandFault>, Bytes)>>,
    /// Replies in the order of their commands, while one of them waits for the backend.
    slots: VecDeque<Slot>,
    client_out: BytesMut,
    output: VecDeque<Output>,
    client_gone: bool,
    stopping: bool,
    /// Connections are nearly used up: time limits are shorter, and fewer errors are borne.
    stress: bool,
    /// How nearly the room for held messages is used up.
    pressure: u8,
    recorded: bool,
    /// A command has come.
    heard: bool,
    errors: u32,
    unknown: Unknown,
    idle_commands: u32,
    /// MAIL has come since the last message: what comes without a transaction may stand behind its refusal.
    has_mailed: bool,
    began: Instant,
    acknowledgement: Acknowledgement,
    /// When a message was accepted last.
    accepted: Option<Instant>,
    /// QUIT was heard.
    quit: bool,
    /// Since when the present state waits.
    since: Instant,
}

impl Session {
    /// A session that waits for `start`.
    pub fn new(id: Arc<str>, snapshot: Arc<Snapshot>, seed: Seed, peer: Peer, now: Now) -> Self {
        let environment = snapshot.policy.client(peer.client.ip(), peer.host.as_deref());
        Self {
            id: Signature { session: id, contact: snapshot.settings.contact.clone() },
            snapshot,
            next: None,
            seed,
            peer,
            environment,
            blocked: None,
            offer: None,
            offer_is_fresh: false,
            state: State::Start,
            ticket: Ticket::default(),
            helo: None,
            tls: None,
            authenticated: false,
            login: None,
            transaction: None,
            relay: None,
            lines: LineReader::default(),
            trace: Trace::default(),
            parked: None,
            slots: VecDeque::new(),
            client_out: BytesMut::new(),
            output: VecDeque::new(),
            client_gone: false,
            stopping: false,
            stress: false,
            pressure: 0,
            recorded: false,
            heard: false,
            errors: 0,
            unknown: Unknown::default(),
            idle_commands: 0,
            has_mailed: false,
            began: now.monotonic,
            acknowledgement: Acknowledgement::Settled,
            accepted: None,
            quit: false,
            since: now.monotonic,
        }
    }

    /// The client and how it is connected.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The environment of this client's backend, as its rule in tcprules has it.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What a backend with this environment was last heard to offer, and whether that is fresh enough to refuse by.
    pub fn handle_offer(&mut self, offer: Arc<Offer>, fresh: bool) {
        self.offer = Some(offer);
        self.offer_is_fresh = fresh;
    }

    /// Nobody has heard yet what a backend with this environment offers.
    pub fn lacks_offer(&self) -> bool {
        self.offer.is_none()
    }

    /// Begins: greets, or refuses the connection. Before the first octet is read.
    pub fn start(&mut self, admission: Admission, greet_delay: Duration, tls: Option<&'static str>, now: Now) {
        self.tls = tls;
        self.since = now.monotonic;
        self.admit(admission, greet_delay, now);
    }

    /// Octets from the client; takes what it can use now.
    pub fn handle_client(&mut self, input: &mut BytesMut, now: Now) {
        while self.take(input, now) {}
    }

    /// The client sends no more; what it sent is served.
    pub fn handle_client_end(&mut self, input: &mut BytesMut, now: Now) {
        self.handle_client(input, now);
        if self.wants_input() && self.slots.is_empty() {
            self.client_left(now);
        }
    }

    /// The client reset the connection.
    pub fn handle_client_reset(&mut self, now: Now) {
        self.client_gone = true;
        if !self.is_over() && !self.outlives_client() {
            self.unacknowledged();
        }
        self.client_left(now);
    }

    /// The TLS handshake is done (its protocol version), or failed (`None`).
    pub fn handle_tls(&mut self, version: Option<&'static str>, now: Now) {
        self.since = now.monotonic;
        self.secured(version, now);
    }

    /// The answer to `Ask`. One that comes too late is ignored.
    pub fn handle_answer(&mut self, ticket: Ticket, answer: Answer, now: Now) {
        if ticket == self.ticket {
            self.answered(answer, now);
        }
    }

    /// `HoldBegin` succeeded, or keeping the message failed, then or later.
    pub fn handle_hold(&mut self, result: Result<(), HoldEnd>, now: Now) {
        self.held(result, now);
    }

    /// The backend's connection stands, or is under TLS now. `greeted`: another client has used it, and no greeting comes.
    pub fn handle_backend_open(&mut self, greeted: bool, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.opened(greeted, now.monotonic, &mut self.output);
        }
    }

    /// Octets from the backend. `written`: nothing that was meant for it still waits, so that our dot, if it was said, is
    /// on its way. True: of what was asked before these octets came, more is to come, so that they are to be
    /// acknowledged at once; else the next command does that.
    pub fn handle_backend(&mut self, input: &mut BytesMut, written: bool, now: Now) -> bool {
        let (outstanding, mut replies) = (self.relay.as_mut().map_or(0, |relay| relay.arrived()), 0);
        while let Some(relay) = &mut self.relay
            && let Some(event) = relay.receive(input, written, now.monotonic, &mut self.output)
        {
            replies += 1;
            self.backend_said(event, now);
        }
        if self.relay.is_none() {
            input.clear();
        }
        self.judge_unknown(now);
        replies == 0 || outstanding > replies
    }

    /// The backend took octets of the message.
    pub fn handle_backend_progress(&mut self, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.progress(now.monotonic);
        }
    }

    /// The held message is written to the backend, its dot not yet.
    pub fn handle_body_sent(&mut self, now: Now) {
        self.end_body(now);
    }

    /// The backend's connection ended, or never stood.
    pub fn handle_backend_end(&mut self, end: BackendEnd, now: Now) {
        let Some(relay) = &mut self.relay else { return };
        if !relay.open_fresh(&self.environment, now.monotonic, &mut self.output) {
            self.relay = None;
            self.backend_lost(end, now);
        }
    }

    /// Another client waits for a backend session.
    pub fn handle_backend_wanted(&mut self) {
        if self.has_idle_backend() {
            self.close_backend();
        }
    }

    /// Whether a backend session stands unused, so that `handle_backend_wanted` would give it back.
    pub fn has_idle_backend(&self) -> bool {
        self.idle_backend_since().is_some()
    }

    /// A reload: in force from the next MAIL on.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.next = Some(snapshot);
    }

    /// We are stopping: a running transaction may end, another does not begin.
    pub fn handle_stop(&mut self, now: Now) {
        self.stopping = true;
        self.stop_if_idle(now);
    }

    /// Connections are nearly used up, or no longer: the limits of waiting and erring are shorter meanwhile.
    pub fn handle_stress(&mut self, stress: bool) {
        self.stress = stress;
    }

    /// `deadline` has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_deadlines(now);
    }

    /// What the shell has to do next, once the session has had what it can use of `input`; `None`: something has to happen
    /// first. `ended`: the client sends no more than this.
    pub fn advance(&mut self, input: &mut BytesMut, ended: bool, now: Now) -> Option<Output> {
        loop {
            let output = self.poll_output();
            if output.is_some() || self.is_over() {
                return output;
            }
            let before = input.len();
            if before > 0 && self.wants_input() {
                self.handle_client(input, now);
            }
            if ended {
                self.handle_client_end(input, now);
            }
            if before == input.len() && !self.has_output() && !self.is_over() {
                return None;
            }
        }
    }

    /// What the shell has to do next; `None` when there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.output.pop_front() {
            return Some(output);
        }
        // Between transactions a session keeps no room for outputs.
        if self.transaction.is_none() {
            self.output = VecDeque::new();
        }
        (!self.client_out.is_empty()).then(|| Output::Client(std::mem::take(&mut self.client_out).freeze()))
    }

    /// Whether `poll_output` has something.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || !self.client_out.is_empty()
    }

    /// Whether octets of the client can be used now; otherwise they stay in the buffer.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Auth { waiting } => !waiting,
            State::Body(_) => true,
            State::Command => self.parked.is_none() && self.slots.len() < MAX_OUTSTANDING,
            State::Delay { .. } => true,
            _ => false,
        }
    }

    /// Whether what comes from the client is a message: long, and not to be answered before its end.
    pub fn takes_message(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// The session has ended; its last outputs are drained.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// A transaction is past its final dot to the backend: whatever becomes of the client, the answer is awaited.
    pub fn outlives_client(&self) -> bool {
        matches!(self.state, State::Settle(_)) && self.relay.as_ref().is_some_and(|relay| relay.dot_sent())
    }
}

/// Commands whose replies may be outstanding at once (RFC 2920): a bound on what a pipelining client can pile up.
const MAX_OUTSTANDING: usize = 100;
