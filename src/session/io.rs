//! What a session asks its shell to do, and what the shell tells it. Values only.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::policy::environment::Environment;
use crate::policy::repeat::Before;
use crate::policy::repeat::Dot;
use crate::policy::throttle::Charge;
use crate::policy::throttle::Probe;
use crate::session::Snapshot;
use crate::session::record::Record;
use crate::smtp::command::Mail;
use crate::smtp::reply::Offer;

/// The time, read by the shell. The wall clock is for what people read, the other for time limits.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back.
    pub monotonic: Instant,
    /// May be set.
    pub wall: Timestamp,
}

/// The client and how it is connected.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, from the socket or the PROXY header.
    pub client: SocketAddr,
    /// Ours, as the client sees it.
    pub local: SocketAddr,
    /// The client's name, where `qmail.lookup` asks for it.
    pub host: Option<String>,
    /// A PROXY header said so: TCP ends at the load balancer, and says nothing about the client.
    pub is_proxied: bool,
}

impl Peer {
    /// A client whose own TCP connection it is, and whose name nobody has asked for.
    pub fn direct(client: SocketAddr, local: SocketAddr) -> Self {
        Self { client, local, host: None, is_proxied: false }
    }
}

/// Whether there is a place for this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is.
    Granted,
    /// `max_connections` is reached.
    Full,
    /// `max_connections_per_client` is reached.
    FullForClient,
    /// We are stopping.
    Stopping,
}

/// Drained after each `handle_*`, obeyed in order.
#[derive(Debug)]
pub enum Output {
    /// Octets for the client.
    Client(Bytes),
    /// What is written so far goes out in the clear, then the TLS handshake; `handle_tls` follows.
    StartTls,
    /// What is written so far goes out, then the connection is closed, reading on to the client's end.
    CloseClient,
    /// Answer with `handle_answer`; one is open at a time.
    Ask(Box<Question>),
    /// Answer with `handle_backend_open` or `handle_backend_end`.
    OpenBackend {
        /// Not one that another client has used.
        anew: bool,
        /// What the backend is started in.
        environment: Environment,
        /// The client's own name for itself.
        helo: String,
        /// It is for AUTH.
        login: bool,
    },
    /// In the backend session that is open, or being opened, AUTH begins (true) or has ended.
    Login(bool),
    /// Octets for the backend.
    Backend(Bytes),
    /// What the backend said so far is thrown away, then the TLS handshake; answer as for `OpenBackend`.
    BackendStartTls,
    /// The held message for the backend; `handle_body_sent` follows.
    BackendBody,
    /// Close it, whatever it is doing; what waits for it is thrown away.
    DropBackend {
        /// It is idle: say QUIT first.
        quit: bool,
    },
    /// It is greeted, idle and in order: another client may use it. If none is to, it ends with QUIT.
    KeepBackend,
    /// Keep a message; answer with `handle_hold`.
    HoldBegin {
        /// The declared size, 0 when there is none.
        expected: u64,
    },
    /// Octets of the message, judged and canonical.
    Hold(Bytes),
    /// The message is not needed any more.
    HoldDrop,
    /// For the store and the offers; no answer.
    Tell(Fact),
    /// What ended, and how.
    Record(Box<Record>),
}

/// A question to the outside.
#[derive(Debug)]
pub struct Question {
    /// The configuration whose throttles are meant.
    pub snapshot: Arc<Snapshot>,
    /// In the order in which they are to be asked.
    pub asks: Vec<Ask>,
    /// Also ask whether there is room to hold a message of this size.
    pub room: Option<u64>,
    /// Also ask for a TLS handshake; without a place for it there is no room.
    pub handshake: bool,
    /// Also ask whether this client, or this sender, is blocked.
    pub suspect: Option<(IpAddr, Option<Arc<Mail>>)>,
    /// Also ask what is known.
    pub known: Option<Known>,
    /// The message is deferred under this escalation key; also ask how often it was.
    pub deferred: Option<u128>,
    /// The refusal that is due is known by this key; also ask whether it is a retry.
    pub refusal: Option<u128>,
}

impl Question {
    /// Asks these throttles, and nothing else.
    pub fn new(snapshot: Arc<Snapshot>, asks: Vec<Ask>) -> Self {
        Self { snapshot, asks, room: None, handshake: false, suspect: None, known: None, deferred: None, refusal: None }
    }
}

/// What may be known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// At RCPT: whether messages under this key were too large.
    Oversize(u128),
    /// At DATA: whether another copy of a message that was refused over and over is expected under this envelope.
    Envelope(u128),
    /// At the final dot: whether it was delivered.
    Dot(Dot),
}

/// What is known of a message that has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// Delivered, and the sender does not know.
    Absorb,
    /// Being delivered, or its acknowledgement is on its way.
    Busy,
    /// Delivered so often.
    Refuse(u32),
}

/// One throttle to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The throttle, the key and what it would cost.
    pub charge: Charge,
    /// How it is asked.
    pub probe: Probe,
    /// The key for people, where a block would name it.
    pub label: Option<String>,
    /// What the message is known by when this throttle defers it and escalates.
    pub escalation: Option<u128>,
    /// What the client's network is known by to the recipient, where those that are known come first.
    pub familiar: Option<u128>,
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The first throttle that is over its limit (its index), and for how long.
    pub refused: Option<(usize, Duration)>,
    /// Shadow throttles that would have refused.
    pub shadows: Vec<usize>,
    /// The refusal is a block, and lasts for so long.
    pub blocked: bool,
    /// The key of the operator's block that refuses it.
    pub block: Option<String>,
    /// There is no room to hold the message, or too many handshakes run.
    pub no_room: bool,
    /// How often the message was deferred by the throttle that refuses it now, this time included; 0: nobody counts.
    pub tries: u32,
    /// The message is known.
    pub repeated: Option<Repeated>,
    /// How often it, or one that is alike, was delivered before.
    pub before: Before,
    /// Another copy is expected under this envelope for so long.
    pub expected: Option<Duration>,
    /// Undeclared messages were too large.
    pub oversize: Option<Oversize>,
    /// The same was refused before.
    pub is_retry: bool,
    /// Recipients (their indices) that have it already.
    pub served: Vec<usize>,
}

/// What is remembered of undeclared messages that were too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// There were some: one that fits ends the memory.
    Known,
    /// There were so many that the next one has to declare its size, or to wait for so long.
    Wait(Duration),
}

/// What happened, for the counters.
#[derive(Debug)]
pub enum Fact {
    /// Costs that always land.
    Charge(Arc<Snapshot>, Vec<Charge>),
    /// Messages under these escalation keys were let pass.
    Passed(Vec<u128>),
    /// Undeclared messages under these keys were too large.
    Oversize(Vec<u128>),
    /// An undeclared message under these keys was not too large.
    Fits(Vec<u128>),
    /// The backend accepted the message that was asked about last.
    Accepted,
    /// The client's network has delivered to recipients that know it by these keys.
    Delivered(Vec<u128>),
    /// The client took the acknowledgement of what was accepted.
    Took,
    /// The client did not take it.
    Unacknowledged,
    /// What the backend offered to a client with this environment.
    Learned(Environment, Arc<Offer>),
}

/// How the backend's side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendEnd {
    /// No free place within the time.
    Busy,
    /// It closed, reset, could not be reached or started.
    Lost,
}

/// How the client's side ended after our close, as its TCP tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// The client's TCP acknowledged all that was written, before any reset.
    pub acknowledged: bool,
    /// An octet came after that.
    pub heard: bool,
    /// It was acknowledged, and the connection open, when we spoke unasked (421): a reset that follows may be about that.
    pub waited: bool,
    /// How the connection ended.
    pub end: ClientEnd,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientEnd {
    /// The client ended its side in order (FIN).
    Fin,
    /// It did not end within our patience.
    #[default]
    Open,
    /// It was reset.
    Reset,
}

/// Why a message cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// No room.
    NoRoom,
    /// Reading or writing the file failed.
    Broken,
}
