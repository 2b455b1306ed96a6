//! What a session asks its shell to do, and what the shell tells it. Values only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::policy::environment::Environment;
use crate::policy::throttle::Charge;
use crate::session::question::Question;
use crate::session::question::Ticket;
use crate::session::record::Record;
use crate::session::snapshot::Snapshot;
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
    /// Answer with `handle_answer`, now or later; one is open at a time.
    Ask(Ticket, Box<Question>),
    /// The question that is open is not waited for any more.
    StopAsking,
    /// Answer with `handle_backend_open` or `handle_backend_end`.
    OpenBackend {
        /// Not one that another client has used.
        fresh: bool,
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
    /// The session with the backend is not needed any more.
    Release(Release),
    /// Keep a message; answer with `handle_hold`.
    HoldBegin {
        /// The declared size, 0 when there is none.
        expected: u64,
    },
    /// Octets of the message, judged and canonical.
    Hold(Bytes),
    /// The message is not needed any more: neither what is kept of it, nor the claim on its delivery.
    EndMessage,
    /// For the counters; no answer.
    Count(Event),
    /// For the ledger; no answer.
    Deliver(Delivery),
    /// For the offers: what the backend offered to a client with this environment.
    Learned(Environment, Arc<Offer>),
    /// What ended, and how.
    Record(Box<Record>),
}

/// The state in which the backend's connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Greeted, idle and in order: another client may use it. If none is to, it ends with QUIT.
    Reusable,
    /// Idle, but no other client's: it ends with QUIT.
    Quit,
    /// In the middle of something: it is closed, and octets that wait for it are thrown away.
    Abort,
}

/// What happened, for the counters of the store.
#[derive(Debug)]
pub enum Event {
    /// Costs that always land.
    Charge(Arc<Snapshot>, Vec<Charge>),
    /// Messages under these escalation keys were let pass.
    Passed(Vec<u128>),
    /// Undeclared messages under these keys were too large.
    Oversize(Vec<u128>),
    /// An undeclared message under these keys was not too large.
    Fits(Vec<u128>),
    /// The client's network has delivered to recipients that know it by these keys.
    Familiar(Vec<u128>),
}

/// What becomes of a message that a [`Question::Copy`] was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The backend accepted the message that was asked about last.
    Accepted,
    /// The client took the acknowledgements of what was accepted.
    Acknowledged,
    /// The client did not take them.
    Unacknowledged,
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
