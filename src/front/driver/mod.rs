//! The loop of a session: sockets and clock on one side, the session on the other.
//!
//! Each turn carries out the session's outputs (`obey`), waits for the first event (`wait`), and tells the session of it
//! (`tell`). Nothing is awaited anywhere else, so that an early reply of the backend and every time limit reach the session
//! while octets are on their way in either direction. It must not decide anything about mail.

mod following;
mod obey;
mod tell;
mod wait;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::backend::Asking;
use crate::backend::AskingEnd;
use crate::backend::ClientInfo;
use crate::backend::Connection;
use crate::backend::Login;
use crate::backend::OpenFault;
use crate::front::answers;
use crate::front::answers::Answered;
use crate::front::answers::Claims;
use crate::front::clock;
use crate::front::condition::Changes;
use crate::front::condition::Condition;
use crate::front::displace;
use crate::front::displace::SlotHandle;
use crate::front::exchange::Done;
use crate::front::exchange::Side;
use crate::front::following::Following;
use crate::front::limits::ConnectionGuard;
use crate::front::linger;
use crate::front::linger::ClosePolicy;
use crate::front::linger::Parting;
use crate::front::services::Services;
use crate::front::stream::ClientStream;
use crate::hold::Filled;
use crate::hold::Hold;
use crate::hold::HoldFault;
use crate::policy::environment::Environment;
use crate::policy::net::client_net;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::question::Ticket;
use crate::session::snapshot::Snapshot;
use crate::smtp::reply_reader::BackendReply;
use crate::smtp::stuffing::Stuffer;

/// A session with its connections, its held message and its claims.
pub struct Driver {
    session: Session,
    services: Arc<Services>,
    /// The client's network, whose shares are counted.
    network: IpNet,
    tls: watch::Receiver<Option<TlsAcceptor>>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    condition: Changes,
    client: Side<ClientStream>,
    client_ended: bool,
    /// Octets of the last read from the client: when it filled its room, more is likely there.
    heard: usize,
    /// The time of the last octets that are commands, until a reply to them, or until the backend is asked.
    commanded: Option<Instant>,
    backend: Backend,
    /// The permit of an AUTH exchange that runs.
    login: Option<Login>,
    /// Other sessions wait for the offer that this one asks for.
    offering: Option<Asking>,
    /// The generation of the backend when it was opened.
    backend_generation: u64,
    hold: Option<Box<Hold>>,
    transfer: Transfer,
    /// Stuffs the held message on its way.
    stuffer: Option<Stuffer>,
    claims: Claims,
    /// The question that is open, and its answer to come.
    asking: Option<Inquiry>,
    /// The connection's slot, until it is given to another.
    slot: Option<SlotHandle>,
    /// Those that follow the session.
    following: Option<Box<Following>>,
    close_policy: ClosePolicy,
    /// Counts the TLS handshake that comes next.
    handshake: Option<ConnectionGuard>,
    alarm: Pin<Box<Sleep>>,
    /// Resolves when another session needs the backend's permit; set while this session can do without.
    wanted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The time of the last event: all that it leads to happens then.
    now: Now,
}

enum Backend {
    Closed,
    /// Another session asks for the offer, which is all that this one needs.
    Waiting(Pin<Box<dyn Future<Output = AskingEnd> + Send>>, Box<Opening>),
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open(Box<Side<Connection>>),
    /// A whole message is being handed over.
    Submitting(Pin<Box<dyn Future<Output = Submitted> + Send>>),
}

/// The backend's reply to a message that it was handed, or the reason why there is none.
type Submitted = Result<BackendReply, SubmitFault>;

/// The reason why a message was not handed over, or is not answered.
enum SubmitFault {
    Backend(OpenFault),
    Hold(HoldFault),
}

/// What a connection is opened by.
struct Opening {
    client: ClientInfo,
    fresh: bool,
    login: bool,
}

/// A question that is open, since when, and its answer to come.
struct Inquiry {
    ticket: Ticket,
    since: Instant,
    answering: Pin<Box<dyn Future<Output = Answered> + Send>>,
}

/// A connection, and its permit among the logins when it was opened for AUTH.
type Opened = Result<(Connection, Option<Login>), OpenFault>;

/// The held message's way to the backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Idle,
    Running,
    /// The message goes there from its file, and the backend's socket is full.
    Blocked,
}

/// The first event of a turn.
enum Event {
    Alarm,
    /// The answer to a question that was asked then.
    Answer(Ticket, Instant, Answered),
    Backend(Done),
    /// The session that asked for the offer has ended so.
    BackendAsked(AskingEnd),
    BackendOpen(Opened),
    BackendWanted,
    Client(Done),
    Condition(Condition),
    BackendRoom,
    Filled(Result<Filled, HoldFault>),
    Flushed(Result<(), HoldFault>),
    /// The held message has to be given up, because it comes in too slowly.
    HoldWanted,
    PlaceWanted,
    Submitted(Submitted),
}

/// The next step of the loop.
enum Next {
    Close,
    StartTls,
    Wait,
}

impl Driver {
    /// The driver of a session that has been started.
    pub fn new(
        session: Session,
        client: ClientStream,
        tls: watch::Receiver<Option<TlsAcceptor>>,
        services: Arc<Services>,
    ) -> Box<Self> {
        let now = clock::now();
        // Not a short time: the timer would wake the thread for nothing.
        let alarm = session.deadline().unwrap_or(now.monotonic + IDLE_ALARM);
        let network = client_net(session.peer().client.ip());
        Box::new(Self {
            session,
            network,
            tls,
            snapshot: services.snapshot.clone(),
            condition: Changes::new(services.conditions.clone()),
            services,
            client: Side::new(client),
            client_ended: false,
            heard: 0,
            commanded: None,
            backend: Backend::Closed,
            login: None,
            offering: None,
            backend_generation: 0,
            hold: None,
            transfer: Transfer::Idle,
            stuffer: None,
            claims: Claims::default(),
            asking: None,
            slot: None,
            following: None,
            close_policy: ClosePolicy::Linger,
            handshake: None,
            alarm: Box::pin(tokio::time::sleep_until(alarm.into())),
            wanted: None,
            now,
        })
    }

    /// A session that has a slot among the connections, and may have to give it to another.
    pub(super) fn with_slot(mut self: Box<Self>, slot: SlotHandle) -> Box<Self> {
        let (activity, since) = (self.session.activity(), self.services.state.tables().clock.now());
        slot.begin(&activity, self.session.peer().client.ip(), since);
        self.slot = Some(slot);
        self
    }

    /// A session that was refused a slot, and only says so.
    pub(super) fn refused(mut self: Box<Self>) -> Box<Self> {
        self.close_policy = ClosePolicy::Brief;
        self
    }

    /// Runs to the end of the session and of its connection. Gives the client's variables where all that was known of the
    /// backend under them was old: a client that looked for something in vain may find it the next time.
    pub async fn run(mut self: Box<Self>) -> Option<Environment> {
        loop {
            match self.obey() {
                Next::Close => break,
                // Boxed, so that the sessions that wait do not have the room of its buffers.
                Next::StartTls => Box::pin(self.start_tls()).await,
                Next::Wait => {
                    let event = self.wait().await;
                    self.now = clock::now();
                    self.look_for_followers();
                    self.tell(event);
                }
            }
        }
        let had_old_offer = self.slot.is_some() && !self.session.has_fresh_offer();
        let environment = had_old_offer.then(|| self.session.environment().clone());
        self.part().await;
        environment
    }

    /// The connection's end. The claims of messages are settled before the last octets of the client are waited for.
    async fn part(mut self: Box<Self>) {
        self.drop_hold();
        self.asking = None;
        drop(self.take_backend());
        let (awaits, has_quit) = (self.session.acknowledgement().is_open(), self.session.acknowledgement().has_quit());
        let is_written = self.session.acknowledgement().is_written();
        let policy = match self.close_policy {
            ClosePolicy::Linger if has_quit && !awaits && self.client.input.is_empty() => ClosePolicy::Immediate,
            policy => policy,
        };
        let mut slot = self.slot.take();
        self.following = None;
        if let Some(slot) = &slot {
            slot.unfollow();
            slot.note(&self.session.activity());
            slot.is_needed_until(self.session.needed_until(self.now));
        }
        let parting = Parting { policy, awaits, is_written, has_quit };
        let parts = Box::pin(linger::part(std::mem::take(&mut self.client), parting));
        // How an acknowledgement was taken is learned in any case.
        let (farewell, rest) = unless_displaced(slot.as_mut().filter(|_| !awaits), parts).await.unwrap_or_default();
        self.session.handle_farewell(farewell);
        while let Some(output) = self.session.advance(&mut BytesMut::new(), false, self.now) {
            if let Output::Deliver(delivery) = output {
                self.deliver(delivery);
            }
        }
        drop(self);
        if let Some(client) = rest {
            unless_displaced(slot.as_mut(), Box::pin(linger::read_on(client, policy))).await;
        }
    }

    /// Carries out the session's outputs until nothing is left that can be done at once.
    fn obey(&mut self) -> Next {
        if !self.client.input.is_empty() {
            self.refresh_snapshot();
            self.refresh_offer();
        }
        loop {
            let output = match self.is_congested() {
                true => self.session.advance(&mut BytesMut::new(), false, self.now),
                false => self.session.advance(&mut self.client.input, self.client_ended, self.now),
            };
            match output {
                Some(Output::CloseClient) => return Next::Close,
                Some(Output::StartTls) => return Next::StartTls,
                Some(output) => self.obey_one(output),
                None if self.session.is_over() => return Next::Close,
                None => break,
            }
        }
        // No reply is due: what came is the beginning of a line.
        if self.session.wants_input() {
            self.commanded = None;
        }
        if let Some(hold) = self.hold.as_mut().filter(|_| !self.session.takes_message()) {
            hold.complete();
        }
        Next::Wait
    }

    fn obey_one(&mut self, output: Output) {
        match output {
            Output::Ask(ticket, question) => self.ask(ticket, &question),
            Output::Backend(octets) => self.say_to_backend(octets),
            Output::BackendBody(sending) => self.begin_sending(sending),
            Output::BackendStartTls => self.secure_backend(),
            Output::Client(octets) => self.say_to_client(octets),
            Output::Count(event) => answers::count(self.services.state.tables(), &event),
            Output::Deliver(delivery) => self.deliver(delivery),
            Output::CloseClient | Output::StartTls => {}
            Output::EndMessage => {
                self.drop_hold();
                self.claims.hold(None);
            }
            Output::Hold(octets) => self.keep(&octets),
            Output::HoldBegin { expected, form } => self.begin_hold(expected, form),
            Output::Learned(environment, offer) => {
                let news = self.services.backends.learn(&environment, offer, self.backend_generation);
                news.into_iter().for_each(|news| self.services.keep_offer(&environment, news));
                self.offering = None;
            }
            Output::Login(begins) => self.note_login(begins),
            Output::OpenBackend { fresh, environment, helo, login } => {
                let client = self.client_info(helo, environment);
                self.begin_backend(Box::new(Opening { client, fresh, login }));
            }
            Output::Served(copies) => self.claims.serve(&copies),
            Output::Said(line) => self.retell(&line),
            Output::Record(record) => {
                let now = self.services.state.tables().clock.now();
                self.services.health.note(&record, now);
                self.services.reports.ended(record, now);
            }
            Output::Release(release) => self.release_backend(release),
            Output::StopAsking => self.stop_asking(),
            Output::Submit(submission) => self.submit(*submission),
            Output::Took(span, time) => self.services.reports.metrics.took(span, time),
        }
    }

    /// Whether octets come in faster than they can be passed on.
    fn is_congested(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.needs_flush())
            || self.backend.outbox_len() >= OUTBOX_LIMIT
            || self.client.outbox.len() >= OWED_LIMIT
    }
}

impl Backend {
    /// Octets that wait to be written to the backend.
    fn outbox_len(&self) -> usize {
        match self {
            Self::Open(side) => side.outbox.len(),
            _ => 0,
        }
    }
}

/// Work for a client that has had all it will get; `None`: it was given up, because another client needs the slot.
async fn unless_displaced<T>(slot: Option<&mut SlotHandle>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = displace::left(slot) => None,
    }
}

/// First alarm of a session without a deadline.
const IDLE_ALARM: Duration = Duration::from_secs(3600);
/// Octets that may wait for the backend before a body is read on.
const OUTBOX_LIMIT: usize = 256 * 1024;
/// Replies that a client may leave untaken before its commands wait.
const OWED_LIMIT: usize = 64 * 1024;
