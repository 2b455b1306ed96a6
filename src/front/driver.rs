//! THE loop: sockets and clock on one side, the session on the other. It decides nothing about mail.
//!
//! Each turn obeys what the session wants (`obey`), waits for whatever happens first (`wait`), and tells the session
//! (`tell`). Nothing is awaited anywhere else, so that an early reply of the backend and every time limit reach the
//! session while octets are on their way in either direction.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::backend::Connection;
use crate::backend::OpenFault;
use crate::backend::Visitor;
use crate::front::clock;
use crate::front::linger;
use crate::front::outbox::Outbox;
use crate::front::services::Services;
use crate::front::services::Stop;
use crate::front::stream::ClientStream;
use crate::front::tls;
use crate::hold::Hold;
use crate::hold::HoldFault;
use crate::report;
use crate::session::Session;
use crate::session::Snapshot;
use crate::session::event::BackendEnd;
use crate::session::event::HoldEnd;
use crate::session::event::Now;
use crate::session::event::Output;
use crate::session::event::Peer;

/// One session and all that belongs to it.
pub struct Driver {
    session: Session,
    services: Arc<Services>,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    stop: watch::Receiver<Stop>,
    client: Option<ClientStream>,
    client_ended: bool,
    input: BytesMut,
    owed: Outbox,
    flushed: bool,
    backend: Backend,
    replies: BytesMut,
    outbox: Outbox,
    /// The held message is on its way to the backend.
    sending_body: bool,
    hold: Option<Hold>,
    alarm: Pin<Box<Sleep>>,
}

enum Backend {
    Closed,
    Opening(Pin<Box<dyn Future<Output = Result<Connection, OpenFault>> + Send>>),
    Open(Box<Connection>),
}

/// What happened.
enum Event {
    Alarm,
    BackendOpen(Result<Connection, OpenFault>),
    BackendRead(io::Result<usize>),
    BackendWanted,
    BackendWritten(io::Result<usize>),
    ClientRead(io::Result<usize>),
    ClientWritten(io::Result<()>),
    Filled(Result<Option<Bytes>, HoldFault>),
    Flushed(Result<(), HoldFault>),
    Stop,
}

impl Driver {
    /// `session` must have been started.
    pub fn new(
        session: Session,
        client: ClientStream,
        peer: Peer,
        tls: Option<TlsAcceptor>,
        services: Arc<Services>,
    ) -> Self {
        Self {
            session,
            peer,
            tls,
            snapshot: services.snapshot.clone(),
            stop: services.stop.clone(),
            services,
            client: Some(client),
            client_ended: false,
            input: BytesMut::new(),
            owed: Outbox::default(),
            flushed: true,
            backend: Backend::Closed,
            replies: BytesMut::new(),
            outbox: Outbox::default(),
            sending_body: false,
            hold: None,
            alarm: Box::pin(tokio::time::sleep_until(clock::now().monotonic.into())),
        }
    }

    /// To the end of the session and of its connection.
    pub async fn run(mut self) {
        while self.obey().await {
            let event = self.wait().await;
            self.tell(event, clock::now());
        }
        drop((self.hold, self.backend));
        if let Some(client) = self.client {
            linger::close(client, self.owed).await;
        }
    }

    /// Obeys the session until it wants nothing more. False: it is over.
    async fn obey(&mut self) -> bool {
        loop {
            let Some(output) = self.session.poll_output() else {
                if self.session.is_over() {
                    return false;
                }
                if !self.advance() {
                    return true;
                }
                continue;
            };
            match output {
                Output::Ask(question) => {
                    let answer = self.services.answer(&question);
                    self.session.handle_answer(answer, clock::now());
                }
                Output::Backend(octets) => self.outbox.push(octets),
                Output::BackendBody => self.begin_sending(),
                Output::Client(octets) => self.owed.push(octets),
                Output::CloseClient => return false,
                Output::DropBackend { quit } => self.drop_backend(quit).await,
                Output::Hold(octets) => self.keep(&octets),
                Output::HoldBegin { expected } => self.begin_hold(expected),
                Output::HoldDrop => {
                    self.hold = None;
                    self.sending_body = false;
                }
                Output::OpenBackend { environment, helo } => self.open_backend(environment, helo),
                Output::Record(record) => report::record::write(&record),
                Output::StartTls => self.start_tls().await,
                Output::Tell(fact) => self.services.tell(fact),
            }
        }
    }

    /// Lets the session use what is in the buffer. True: it had something to do.
    fn advance(&mut self) -> bool {
        let before = self.input.len();
        if self.session.wants_input() && before > 0 && !self.is_congested() {
            self.refresh_snapshot();
            self.session.handle_client(&mut self.input, clock::now());
        }
        if self.client_ended {
            self.session.handle_client_end(&mut self.input, clock::now());
        }
        before != self.input.len() || self.session.is_over()
    }

    /// The message comes in faster than it can be put away.
    fn is_congested(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::needs_flush)
            || self.outbox.len() >= OUTBOX_LIMIT
            || self.owed.len() >= OWED_LIMIT
    }

    async fn wait(&mut self) -> Event {
        let reads = !self.client_ended && self.input.len() < READ_AHEAD && !self.is_congested();
        let owes = !self.owed.is_empty() || !self.flushed;
        let fills = self.sending_body && self.outbox.len() < OUTBOX_LIMIT;
        let writes = !self.outbox.is_empty() && (!fills || self.outbox.len() >= GATHER);
        let flushes = self.hold.as_ref().is_some_and(Hold::needs_flush) && !self.sending_body;
        let idle_backend = matches!(self.backend, Backend::Open(_)) && self.session.has_idle_backend();
        let alarmed = self.set_alarm();
        let (mut backend_reader, mut backend_writer, opening) = match &mut self.backend {
            Backend::Closed => (None, None, None),
            Backend::Opening(opening) => (None, None, Some(opening)),
            Backend::Open(connection) => {
                let (reader, writer) = tokio::io::split(&mut **connection);
                (Some(reader), Some(writer), None)
            }
        };
        let (mut client_reader, mut client_writer) = match &mut self.client {
            Some(client) => {
                let (reader, writer) = tokio::io::split(client);
                (Some(reader), Some(writer))
            }
            None => (None, None),
        };
        let room = if self.hold.is_some() { BODY_READ } else { COMMAND_READ };
        tokio::select! {
            result = async { opening.expect("checked").await }, if opening.is_some() => Event::BackendOpen(result),
            result = read(backend_reader.as_mut(), &mut self.replies, COMMAND_READ), if backend_reader.is_some() => Event::BackendRead(result),
            result = write(backend_writer.as_mut(), &mut self.outbox), if writes && backend_writer.is_some() => Event::BackendWritten(result),
            result = fill(self.hold.as_mut()), if fills => Event::Filled(result),
            result = flush(self.hold.as_mut()), if flushes => Event::Flushed(result),
            result = pay(client_writer.as_mut(), &mut self.owed), if owes && client_writer.is_some() => Event::ClientWritten(result),
            result = read(client_reader.as_mut(), &mut self.input, room), if reads && client_reader.is_some() => Event::ClientRead(result),
            () = &mut self.alarm, if alarmed => Event::Alarm,
            () = self.services.backends.wanted(self.peer.client.ip()), if idle_backend => Event::BackendWanted,
            _ = self.stop.changed() => Event::Stop,
        }
    }
}
