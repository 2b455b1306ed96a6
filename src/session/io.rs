//! The outputs of a session to its shell, and the shell's inputs. Values only: they must not decide anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::policy::environment::Environment;
use crate::policy::repeat::CopyKeys;
use crate::policy::throttle::Charge;
use crate::session::question::Question;
use crate::session::question::Ticket;
use crate::session::record::Record;
use crate::session::record::Span;
use crate::session::snapshot::Snapshot;
use crate::smtp::reply::Offer;

/// The time, read by the shell: by the wall clock for people, by the monotonic one for time limits.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic time, which never goes back.
    pub monotonic: Instant,
    /// The wall-clock time, which may be set.
    pub wall: Timestamp,
}

/// The client and how it is connected.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, from the socket or the PROXY header.
    pub client: SocketAddr,
    /// Our address, as the client sees it.
    pub local: SocketAddr,
    /// The client's name by DNS, where `qmail.lookup` asks for it.
    pub host: Option<String>,
    /// Whether a PROXY header gave the addresses: TCP ends at the load balancer, and says nothing about the client.
    pub is_proxied: bool,
}

impl Peer {
    /// A client with a TCP connection of its own, whose name was not looked up.
    pub fn direct(client: SocketAddr, local: SocketAddr) -> Self {
        Self { client, local, host: None, is_proxied: false }
    }
}

/// Whether there is a place for this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is a place.
    Granted,
    /// `max_connections` is reached.
    Full,
    /// `max_connections_per_client` is reached.
    FullForClient,
    /// The proxy is stopping.
    Stopping,
}

/// A task for the shell. All are drained after each `handle_*` and obeyed in order.
#[derive(Debug)]
pub enum Output {
    /// Octets for the client.
    Client(Bytes),
    /// Write everything so far in the clear, then do the TLS handshake; `handle_tls` follows.
    StartTls,
    /// Write everything so far, then close the connection, reading on to the client's end.
    CloseClient,
    /// Answer the question with `handle_answer`, now or later; one is open at a time.
    Ask(Ticket, Box<Question>),
    /// Stop waiting for the answer to the open question.
    StopAsking,
    /// Open a backend connection; answer with `handle_backend_open` or `handle_backend_end`.
    OpenBackend {
        /// Whether it must not be one that another client has used.
        fresh: bool,
        /// The environment that the backend is started in.
        environment: Environment,
        /// The client's name for itself.
        helo: String,
        /// Whether the connection is for AUTH.
        login: bool,
    },
    /// AUTH begins (true) or has ended in the backend session that is open, or being opened.
    Login(bool),
    /// Octets for the backend.
    Backend(Bytes),
    /// Discard everything the backend said so far, then do the TLS handshake; answer as for `OpenBackend`.
    BackendStartTls,
    /// Send the held message to the backend in this way; `handle_body_sent` follows.
    BackendBody(Sending),
    /// Hand the held message over with this envelope; `handle_submission` follows.
    Submit(Box<Submission>),
    /// Release the session with the backend: it is not needed any more.
    Release(Release),
    /// Begin to hold a message; answer with `handle_hold`.
    HoldBegin {
        /// The declared size in octets, 0 when there is none.
        expected: u64,
        /// The form in which it is kept.
        form: Form,
    },
    /// Octets of the message to be held, judged and canonical, its dots not stuffed, whatever the form is.
    Hold(Bytes),
    /// Drop the message: its held octets, and the claim on its delivery.
    EndMessage,
    /// An event for the counters; no answer.
    Count(Event),
    /// The outcome of a delivery for the ledger; no answer.
    Deliver(Delivery),
    /// The backend accepted the message that was asked about last for these copies only, and its client is to send it
    /// again; no answer.
    Served(Vec<CopyKeys>),
    /// The backend's offer to a client with this environment, to be remembered.
    Learned(Environment, Arc<Offer>),
    /// The record of something that ended.
    Record(Arc<Record>),
    /// A line of the conversation, while it is followed; no answer.
    Said(Line),
    /// So long took this, for the histograms; no answer.
    Took(Span, Duration),
}

/// A line of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The side that it belongs to, and its direction.
    pub side: Side,
    /// Its text as it was, without line end: whoever shows it has to escape it.
    pub text: Box<[u8]>,
}

/// The side that a line belongs to, as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A command of the client.
    FromClient,
    /// A reply to the client.
    ToClient,
    /// A command to the backend.
    ToBackend,
    /// A reply of the backend.
    FromBackend,
    /// An event that nobody said.
    Event,
}

/// The form of a held message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in a file of a qmail host: lines end with LF.
    Stored,
    /// As it goes over a connection: lines end with CRLF.
    Wire,
}

/// The envelope of a message that is handed over whole, and what its program is told of the client.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The environment that the program is started in.
    pub environment: Environment,
    /// The client's name for itself.
    pub helo: String,
    /// The sender, without quotes; empty for the null sender.
    pub sender: Vec<u8>,
    /// The recipients, without quotes.
    pub recipients: Vec<Vec<u8>>,
}

/// The way in which a held message goes to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// As it is held, because no line of it begins with a dot.
    AsHeld,
    /// With a dot before each line that begins with one (RFC 5321 section 4.5.2).
    Stuffed,
    /// As a chunk whose length was announced: without its last line end, which follows from the session when nothing
    /// can fail any more. The message must have this number of octets, or the rest of it would be commands.
    Chunk(u64),
}

/// The state in which the backend's connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Greeted, idle and in order: another client may use it. If none is to, it ends with QUIT.
    Reusable,
    /// Idle, but not for another client: it ends with QUIT.
    Quit,
    /// In the middle of something: it is closed, and octets that wait for it are discarded.
    Abort,
}

/// An event for the counters of the store.
#[derive(Debug)]
pub enum Event {
    /// Costs that are charged in any case.
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

/// The outcome of a message that a [`Question::Copy`] was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The backend accepted the message that was asked about last.
    Accepted,
    /// The client took the acknowledgements of all accepted messages.
    Acknowledged,
    /// The client did not take these acknowledgements.
    Unacknowledged,
}

/// The way the backend's side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendEnd {
    /// No permit was free in time.
    Busy,
    /// The connection was closed or reset, or the backend could not be reached or started.
    Lost,
}

/// The end of the client's side after our close, as its TCP tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// Whether the client's TCP acknowledged everything that was written, before any reset.
    pub acknowledged: bool,
    /// Whether an octet came after that.
    pub heard: bool,
    /// Whether all was acknowledged, and the connection open, when we spoke unasked (421): a reset that follows may be
    /// about the 421.
    pub waited: bool,
    /// The way the connection ended.
    pub end: ClientEnd,
}

/// The way a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientEnd {
    /// The client ended its side in order (FIN).
    Fin,
    /// The client did not end its side as long as we waited.
    #[default]
    Open,
    /// The connection was reset.
    Reset,
}

/// The reason why a message cannot be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// No room.
    NoRoom,
    /// Reading or writing the file failed.
    Broken,
}
