//! The conversation with one client: a state machine without sockets, clock, files or logging.
//!
//! A shell owns the sockets and the clock. It tells the session what happened ([`start`](Session::start) first, then any
//! `handle_*`), and after each call takes [`advance`](Session::advance) until that gives `None`, obeying each [`Output`](io::Output)
//! in turn. Then it waits until [`deadline`](Session::deadline) at most. When [`is_over`](Session::is_over), it closes the
//! connection, and says by [`handle_farewell`](Session::handle_farewell) how the client took what was said last. It owns the
//! buffers: the session takes from them what it can use and leaves the rest, so that STARTTLS can throw away what came too
//! early in one place.
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
//!         // Nobody answers: what only counts and slows passes.
//!         Output::Ask(..) => session.handle_timeout(Now { monotonic: session.deadline().unwrap(), ..now }),
//!         Output::Client(octets) => said.extend(octets),
//!         _ => {}
//!     }
//! }
//! assert!(session.is_over() && said.starts_with(b"220 ") && said.windows(4).any(|code| code == b"221 "));
//! ```
//!
//! Where to read on: `state` has the states; `admission`, `verbs`, `envelope`, `message` and `closing` follow a session from its
//! beginning to its end; `asking` has the question that is open, `relay` the backend's side of the conversation.

pub mod acknowledgement;
mod admission;
mod asking;
mod authenticating;
mod backend;
mod blocked;
mod client;
mod closing;
mod deadlines;
mod envelope;
mod errors;
mod escalating;
mod feeding;
mod harvesting;
pub mod io;
mod message;
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

use bytes::BytesMut;

use crate::policy::environment::Environment;
use crate::policy::replies;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Reason;
use crate::session::acknowledgement::Acknowledgement;
use crate::session::backend::LearnedOffer;
use crate::session::client::Client;
use crate::session::harvesting::Unknown;
use crate::session::io::Admission;
use crate::session::io::BackendEnd;
use crate::session::io::Farewell;
use crate::session::io::HoldEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Peer;
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
    client: Client,
    /// What the backend offers, once that is known.
    offer: LearnedOffer,
    state: State,
    /// The number of the last question.
    ticket: Ticket,
    transaction: Option<Box<Transaction>>,
    /// The session with the backend.
    relay: Option<Box<Relay>>,
    input: CommandInput,
    replies: ReplyQueue,
    output: VecDeque<Output>,
    trace: Trace,
    patience: Patience,
    unknown: Unknown,
    acknowledgement: Acknowledgement,
    client_gone: bool,
    stopping: bool,
}

/// The beginning, and what is known of the session.
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
            input: CommandInput::default(),
            replies: ReplyQueue::default(),
            output: VecDeque::new(),
            trace: Trace::default(),
            patience: Patience::new(now.monotonic),
            unknown: Unknown::default(),
            acknowledgement: Acknowledgement::default(),
            client_gone: false,
            stopping: false,
        }
    }

    /// Begins: greets, or refuses the connection. Before the first octet is read.
    pub fn start(&mut self, admission: Admission, greet_delay: Duration, tls: Option<&'static str>, now: Now) {
        self.client.tls = tls;
        self.patience.wait_from(now.monotonic);
        self.admit(admission, greet_delay, now);
    }

    /// In place of `start`: asks the backend what it offers to clients without a rule of their own, before one of them has
    /// come. Nothing is counted and there is no record; where it fails, what is said to the client is why.
    pub fn inquire(&mut self, now: Now) {
        self.begin_inquiry(now);
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

    /// Until when the session brings mail forward, as far as can be said now: in a message that comes in well above the least
    /// rate, behind its dot, and for a while after one was accepted.
    pub fn needed_until(&self, now: Now) -> Option<Instant> {
        self.is_needed_until(now)
    }

    /// Whether what comes from the client is a message.
    pub fn takes_message(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether nobody has heard yet what a backend with this environment offers.
    pub fn lacks_offer(&self) -> bool {
        self.offer.offer.is_none()
    }

    /// Whether a backend session stands unused, so that `handle_backend_wanted` would give it back.
    pub fn has_idle_backend(&self) -> bool {
        self.idle_backend_since().is_some()
    }

    /// The acknowledgement of what was accepted: whether it is open, and written, and whether QUIT was said.
    pub fn acknowledgement(&self) -> &Acknowledgement {
        &self.acknowledgement
    }
}

/// What the shell has to do.
impl Session {
    /// What the shell has to do next, once the session has had what it can use of `input`; `None`: something has to happen
    /// first. `ended`: the client sends no more than this. What it sent is served.
    pub fn advance(&mut self, input: &mut BytesMut, ended: bool, now: Now) -> Option<Output> {
        loop {
            let output = self.poll_output();
            if output.is_some() || self.is_over() {
                return output;
            }
            let before = input.len();
            if before > 0 && self.wants_input() {
                while self.take(input, now) {}
            }
            if ended && self.wants_input() && self.replies.is_settled() {
                self.client_left(now);
            }
            if before == input.len() && !self.has_output() && !self.is_over() {
                return None;
            }
        }
    }
}

/// What happened on the client's side.
impl Session {
    /// Octets came from the client just now: it speaks, so it has heard what was written before.
    pub fn handle_client_heard(&mut self) {
        let delivery = self.acknowledgement.heard();
        self.output.extend(delivery.map(Output::Deliver));
    }

    /// All that the session has said to the client is written.
    pub fn handle_client_written(&mut self) {
        if !self.has_output() {
            self.acknowledgement.written();
        }
    }

    /// The client reset the connection.
    pub fn handle_client_reset(&mut self, now: Now) {
        self.client_gone = true;
        if !self.is_over() && !self.outlives_client() {
            let delivery = self.acknowledgement.lost();
            self.output.extend(delivery.map(Output::Deliver));
        }
        self.client_left(now);
    }

    /// The TLS handshake is done (its protocol version), or failed (`None`).
    pub fn handle_tls(&mut self, version: Option<&'static str>, now: Now) {
        self.patience.wait_from(now.monotonic);
        self.secured(version, now);
    }

    /// After the close: how the client's TCP took what was said last.
    pub fn handle_farewell(&mut self, farewell: Farewell) {
        let delivery = self.acknowledgement.farewell(farewell, self.client.peer.is_proxied);
        self.output.extend(delivery.map(Output::Deliver));
    }
}

/// What happened on the backend's side.
impl Session {
    /// What a backend with this environment was last heard to offer, and whether that is fresh enough to refuse by.
    pub fn handle_offer(&mut self, offer: Arc<Offer>, is_fresh: bool) {
        self.offer = LearnedOffer { offer: Some(offer), is_fresh };
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
        self.hear_backend(input, written, now)
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
        self.backend_ended(end, now);
    }

    /// Another client waits for a backend session.
    pub fn handle_backend_wanted(&mut self) {
        if self.has_idle_backend() {
            self.close_backend();
        }
    }
}

/// What happened elsewhere.
impl Session {
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

    /// Others need the room of the message that comes in too slowly. One that is here as a whole keeps it.
    pub fn handle_hold_wanted(&mut self, now: Now) {
        self.yield_room(now);
    }

    /// All connections are used up, and another client needs this one's place.
    pub fn handle_place_wanted(&mut self, now: Now) {
        self.yield_place(now);
    }

    /// How nearly the room for held messages is used up: with each step a message has to come in twice as fast.
    pub fn handle_pressure(&mut self, pressure: u8) {
        self.patience.set_pressure(pressure);
    }

    /// Connections are nearly used up, or no longer: the limits of waiting and erring are shorter meanwhile.
    pub fn handle_stress(&mut self, stress: bool) {
        self.patience.set_stress(stress);
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

    /// The time that a stop allows is up: whatever runs ends here.
    pub fn handle_kill(&mut self, now: Now) {
        if !self.is_over() {
            self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
    }

    /// `deadline` has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_deadlines(now);
    }
}
