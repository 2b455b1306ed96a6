//! The conversation with one client: a state machine, which must not touch sockets, clock, files or logs.
//!
//! A shell owns the sockets and the clock. It tells the session of events ([`start`](Session::start) first, then any
//! `handle_*`), and after each call takes [`advance`](Session::advance) until that gives `None`, obeying each
//! [`io::Output`] in turn. Then it waits until [`deadline`](Session::deadline) at most. When
//! [`is_over`](Session::is_over), it closes the connection, and says by [`handle_farewell`](Session::handle_farewell)
//! how the client took the last replies. It owns the buffers: the session takes from them what it can use and leaves
//! the rest, so that STARTTLS can discard in one place what came too early.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use portcullis::policy::{Policy, throttle::key::Seed};
//! use portcullis::session::{Session, io::{Admission, Now, Output, Peer}, snapshot::Snapshot};
//! # use portcullis::config::checked::{Config, ControlValues};
//! # let settings = Config::default_without_file().complete(&ControlValues::default()).session;
//!
//! let snapshot = Snapshot { policy: Policy::default(), settings };
//! let peer = Peer::direct(([192, 0, 2, 1], 4000).into(), ([192, 0, 2, 2], 25).into());
//! let now = Now { monotonic: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
//! let mut session = Session::new("id".into(), snapshot.into(), Seed::new([7; 16]), peer, now);
//! session.start(Admission::Granted, Duration::ZERO, None, now);
//! let (mut input, mut said) = ("HELO client.example\r\nQUIT\r\n".into(), Vec::new());
//! while let Some(output) = session.advance(&mut input, false, now) {
//!     match output {
//!         // No answer comes: a question that only counts and slows passes.
//!         Output::Ask(..) => session.handle_timeout(Now { monotonic: session.deadline().unwrap(), ..now }),
//!         Output::Client(octets) => said.extend(octets),
//!         _ => {}
//!     }
//! }
//! assert!(session.is_over() && said.starts_with(b"220 ") && said.windows(4).any(|code| code == b"221 "));
//! ```
//!
//! Where to read on: `state` has the states; `admission`, `verbs`, `envelope`, `message` and `closing` follow a session from its
//! beginning to its end; `asking` has the question that is open, `relay` the backend's side of the conversation, `submitting` (with
//! `handle_submission`) what a backend without one is handed.

pub mod acknowledgement;
pub mod activity;
mod admission;
mod asking;
mod authenticating;
mod backend;
mod blocked;
mod client;
mod closing;
mod conversation;
mod deadlines;
mod envelope;
mod errors;
mod escalating;
mod feeding;
mod harvesting;
pub mod io;
mod message;
mod offering;
mod outcome;
mod patience;
pub mod question;
mod received;
pub mod record;
mod recording;
mod refusing;
mod relay;
mod reloading;
mod repeating;
mod reply_queue;
mod replying;
mod request;
mod served;
pub mod settings;
pub mod snapshot;
mod state;
mod submitting;
mod throttling;
mod verbs;
mod words;
mod xclient;
mod yielding;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;

use crate::policy::environment::Environment;
use crate::policy::replies;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Reason;
use crate::session::acknowledgement::Acknowledgement;
use crate::session::client::Client;
use crate::session::conversation::Conversation;
use crate::session::harvesting::Unknown;
use crate::session::io::Admission;
use crate::session::io::BackendEnd;
use crate::session::io::Farewell;
use crate::session::io::HoldEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Peer;
use crate::session::offering::LearnedOffer;
use crate::session::patience::Patience;
use crate::session::question::Answer;
use crate::session::question::Ticket;
use crate::session::recording::Trace;
use crate::session::relay::Relay;
use crate::session::reply_queue::ReplyQueue;
use crate::session::snapshot::Snapshot;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::session::verbs::CommandInput;
use crate::smtp::reply::Signature;

/// One client's connection, from the banner to the close.
#[derive(Debug)]
pub struct Session {
    /// The signature of refusals: the session's id, and the contact.
    id: Signature,
    snapshot: Arc<Snapshot>,
    /// The snapshot that takes the place of `snapshot` at the next MAIL.
    next: Option<Arc<Snapshot>>,
    seed: Seed,
    client: Client,
    /// The backend's offer, once it is known.
    offer: LearnedOffer,
    state: State,
    /// The number of the last question.
    ticket: Ticket,
    transaction: Option<Box<Transaction>>,
    /// The session with the backend.
    relay: Option<Box<Relay>>,
    /// While a message is handed over: the time by which that has ended.
    submitted_until: Option<Instant>,
    input: CommandInput,
    replies: ReplyQueue,
    output: VecDeque<Output>,
    trace: Trace,
    conversation: Conversation,
    patience: Patience,
    unknown: Unknown,
    acknowledgement: Acknowledgement,
    client_gone: bool,
    stopping: bool,
}

/// Construction, the start, and the state as the shell sees it.
impl Session {
    /// A session that waits for `start`.
    pub fn new(id: Arc<str>, snapshot: Arc<Snapshot>, seed: Seed, peer: Peer, now: Now) -> Self {
        let environment = snapshot.policy.client(peer.client.ip(), peer.host.as_deref());
        Self {
            id: Signature { session: id, contact: snapshot.settings.contact.clone() },
            snapshot,
            next: None,
            seed,
            client: Client::new(peer, environment),
            offer: LearnedOffer::default(),
            state: State::Start,
            ticket: Ticket::default(),
            transaction: None,
            relay: None,
            submitted_until: None,
            input: CommandInput::default(),
            replies: ReplyQueue::default(),
            output: VecDeque::new(),
            trace: Trace::default(),
            conversation: Conversation::default(),
            patience: Patience::new(now.monotonic),
            unknown: Unknown::default(),
            acknowledgement: Acknowledgement::default(),
            client_gone: false,
            stopping: false,
        }
    }

    /// Begins, before the first octet is read: greets, or refuses the connection. `tls`: the protocol version, where
    /// the connection is under TLS already.
    pub fn start(&mut self, admission: Admission, greet_delay: Duration, tls: Option<&'static str>, now: Now) {
        self.client.tls = tls;
        self.patience.wait_from(now.monotonic);
        self.admit(admission, greet_delay, now);
    }

    /// The session's id, as replies show it.
    pub fn id(&self) -> &str {
        &self.id.session
    }

    /// The client and how it is connected.
    pub fn peer(&self) -> &Peer {
        &self.client.peer
    }

    /// The environment of this client's backend, as its rule in tcprules has it.
    pub fn environment(&self) -> &Environment {
        &self.client.environment
    }

    /// Whether the session has ended; its last outputs may still be there.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// When `handle_timeout` has to be called; `None`: no time limit runs.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    /// The time up to which the session brings mail forward, as far as can be said now: in a message that comes in well
    /// above the least rate, behind its dot, and for a while after one was accepted.
    pub fn needed_until(&self, now: Now) -> Option<Instant> {
        self.is_needed_until(now)
    }

    /// Whether the client's octets are a message.
    pub fn takes_message(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether a backend session stands unused, so that `handle_backend_wanted` would give it back.
    pub fn has_idle_backend(&self) -> bool {
        self.idle_backend_since().is_some()
    }

    /// The acknowledgement of accepted messages: whether it is open, and written, and whether QUIT was said.
    pub fn acknowledgement(&self) -> &Acknowledgement {
        &self.acknowledgement
    }
}

/// Tasks for the shell.
impl Session {
    /// The shell's next task, once the session has had what it can use of `input`; `None`: something has to happen
    /// first. `ended`: the client sends no more than this. The octets that it sent are served.
    pub fn advance(&mut self, input: &mut BytesMut, ended: bool, now: Now) -> Option<Output> {
        loop {
            if let Some(output) = self.output.pop_front() {
                return Some(output);
            }
            if let Some(octets) = self.replies.take() {
                self.tell_replies(&octets);
                return Some(Output::Client(octets));
            }
            if self.is_over() || !self.feed(input, ended, now) {
                self.rest();
                return None;
            }
        }
    }
}

/// Events on the client's side.
impl Session {
    /// Tells that octets came from the client just now: it speaks, so it has read everything written before.
    pub fn handle_client_heard(&mut self) {
        let delivery = self.acknowledgement.heard();
        self.output.extend(delivery.map(Output::Deliver));
    }

    /// Tells that everything said to the client is written.
    pub fn handle_client_written(&mut self) {
        if !self.has_output() {
            self.acknowledgement.written();
        }
    }

    /// Tells that the client reset the connection.
    pub fn handle_client_reset(&mut self, now: Now) {
        self.client_gone = true;
        self.tell_event(|| "the client reset the connection".to_owned());
        if !self.is_over() && !self.outlives_client() {
            let delivery = self.acknowledgement.lost();
            self.output.extend(delivery.map(Output::Deliver));
        }
        self.client_left(now);
    }

    /// Tells that the TLS handshake is done (its protocol version), or failed (`None`).
    pub fn handle_tls(&mut self, version: Option<&'static str>, now: Now) {
        self.patience.wait_from(now.monotonic);
        self.secured(version, now);
    }

    /// Tells, after the close, how the client's TCP took the last replies.
    pub fn handle_farewell(&mut self, farewell: Farewell) {
        let delivery = self.acknowledgement.farewell(farewell, self.client.peer.is_proxied);
        self.output.extend(delivery.map(Output::Deliver));
    }
}

/// Events on the backend's side.
impl Session {
    /// Tells that the backend's connection stands, or is under TLS now. `greeted`: another client has used it, and no
    /// greeting comes.
    pub fn handle_backend_open(&mut self, greeted: bool, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.opened(greeted, now.monotonic, &mut self.output);
        }
    }

    /// Takes octets of the backend. `written`: nothing that was meant for it still waits, so that our dot, if it was
    /// said, is on its way. True: more replies to commands before these octets are to come, so that the octets are to
    /// be acknowledged at once; else what is said next does that.
    pub fn handle_backend(&mut self, input: &mut BytesMut, written: bool, now: Now) -> bool {
        self.hear_backend(input, written, now)
    }

    /// Tells that the backend took octets of the message.
    pub fn handle_backend_progress(&mut self, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.progress(now.monotonic);
        }
    }

    /// Tells that the held message is written to the backend, its dot not yet.
    pub fn handle_body_sent(&mut self, now: Now) {
        self.end_body(now);
    }

    /// Tells that the backend's connection ended, or could not be opened.
    pub fn handle_backend_end(&mut self, end: BackendEnd, now: Now) {
        self.backend_ended(end, now);
    }

    /// Tells that another client waits for a backend session.
    pub fn handle_backend_wanted(&mut self) {
        if self.has_idle_backend() {
            self.close_backend();
        }
    }
}

/// Events elsewhere.
impl Session {
    /// Takes the answer to `Ask`. A late one is ignored.
    pub fn handle_answer(&mut self, ticket: Ticket, answer: Answer, now: Now) {
        if ticket == self.ticket {
            self.answered(answer, now);
        }
    }

    /// Tells that `HoldBegin` succeeded, or that keeping the message failed, then or later.
    pub fn handle_hold(&mut self, result: Result<(), HoldEnd>, now: Now) {
        self.held(result, now);
    }

    /// Tells that others need the room of a message that comes in too slowly. A complete message keeps it.
    pub fn handle_hold_wanted(&mut self, now: Now) {
        self.yield_room(now);
    }

    /// Tells that all connections are used up, and another client needs this one's place.
    pub fn handle_place_wanted(&mut self, now: Now) {
        self.yield_place(now);
    }

    /// Tells how nearly the room for held messages is used up: with each step a message has to come in twice as fast.
    pub fn handle_pressure(&mut self, pressure: u8) {
        self.patience.set_pressure(pressure);
    }

    /// Tells that connections are nearly used up, or no longer: time limits and the error limit are shorter meanwhile.
    pub fn handle_stress(&mut self, stress: bool) {
        self.patience.set_stress(stress);
    }

    /// Takes a reloaded snapshot, in force from the next MAIL on.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.next = Some(snapshot);
    }

    /// Tells that the proxy is stopping: a running transaction may end, another does not begin.
    pub fn handle_stop(&mut self, now: Now) {
        self.stopping = true;
        self.stop_if_idle(now);
    }

    /// Ends everything that runs: the time that a stop allows is up.
    pub fn handle_kill(&mut self, now: Now) {
        if !self.is_over() {
            self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
    }

    /// Tells that `deadline` has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_deadlines(now);
    }
}
