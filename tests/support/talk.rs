//! One connection of a client to a bare session over the real store, and a backend that takes everything but answers a dot only
//! when it is told to. It must not decide anything: it feeds what it is given and notes what comes of it.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::front::answers;
use portcullis::front::answers::Answered;
use portcullis::front::answers::Claims;
use portcullis::policy::throttle::key::Seed;
use portcullis::session::Session;
use portcullis::session::io::Farewell;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::question::Answer;
use portcullis::session::question::Ticket;
use portcullis::session::settings::BackendProtocol;
use portcullis::store::state::State;

use crate::support::dialog::Scene;
use crate::support::dialog::sent;

/// A session, its claims and its two sides.
pub struct Talk<'a> {
    pub session: Session,
    state: &'a State,
    claims: Claims,
    /// Octets of the client not used yet.
    input: BytesMut,
    /// Octets that the client has read.
    pub said: Vec<u8>,
    /// Whether the client reads.
    pub listens: bool,
    /// Octets of the backend not used yet.
    replies: BytesMut,
    /// Recipients of the transaction that the backend has accepted.
    pub recipients: Vec<String>,
    /// The octets that end the message which the backend hears, while it hears one.
    in_body: Option<&'static str>,
    /// Whether the backend offers CHUNKING.
    chunking: bool,
    /// The octets of the message.
    held: Vec<u8>,
    /// Whether `hold = false`.
    streams: bool,
    /// Whether the backend has the dot and has not answered yet.
    pub asked: bool,
    /// Whether the backend answers the dot once for each recipient.
    pub lmtp: bool,
    /// Whether answers come only when nothing else is left to do; the message's when the client has done its part.
    answers_late: bool,
    open: Option<(Ticket, Answered)>,
    pub client_is_done: bool,
    /// Whether the client sends no more.
    pub ended: bool,
    began: Instant,
}

impl<'a> Talk<'a> {
    /// Begins a connection; with `knows_offer` the scene's offer is known before the greeting.
    pub fn begin(scene: &Scene, state: &'a State, client: IpAddr, knows_offer: bool) -> Self {
        let began = Instant::now();
        let peer = Peer::direct((client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let now = Now { monotonic: began, wall: Timestamp::UNIX_EPOCH };
        let mut session = Session::new("S".into(), scene.snapshot.clone(), Seed::new([7; 16]), peer, now);
        if let Some(offer) = scene.offer.as_ref().filter(|_| knows_offer) {
            session.handle_offer(offer.clone(), true);
        }
        session.start(scene.admission, Duration::ZERO, None, now);
        let mut talk = Self {
            session,
            state,
            claims: Claims::default(),
            input: BytesMut::new(),
            said: Vec::new(),
            listens: true,
            replies: BytesMut::new(),
            recipients: Vec::new(),
            in_body: None,
            chunking: scene.chunking,
            held: Vec::new(),
            streams: !scene.snapshot.settings.hold,
            asked: false,
            lmtp: scene.snapshot.settings.backend_protocol == BackendProtocol::Lmtp,
            answers_late: scene.answers_late,
            open: None,
            client_is_done: false,
            ended: false,
            began,
        };
        talk.drain();
        talk
    }

    /// Sends octets as the client; those that cannot be used yet wait.
    pub fn client(&mut self, octets: &str) {
        self.input.extend_from_slice(octets.as_bytes());
        self.drain();
    }

    /// Sends octets as the backend.
    pub fn backend(&mut self, octets: &str) {
        self.reply(octets);
        self.drain();
    }

    /// Ends the connection, with this farewell.
    pub fn end(&mut self, farewell: Farewell) {
        self.drain();
        assert!(self.session.is_over(), "a session that does not end");
        self.session.handle_farewell(farewell);
        self.drain();
    }

    pub fn now(&self) -> Now {
        Now { monotonic: self.began, wall: Timestamp::UNIX_EPOCH }
    }

    pub fn drain(&mut self) {
        let now = self.now();
        while let Some(output) = self.session.advance(&mut self.input, self.ended, now) {
            self.obey(output);
            if self.listens {
                self.session.handle_client_written();
            }
        }
        if self.session.is_over() {
            self.open = None;
        }
        let is_due = |answer: &Answer| self.client_is_done || !matches!(answer, Answer::Copy(_));
        if let Some((ticket, answered)) = self.open.take_if(|(_, (answer, _))| is_due(answer)) {
            self.answer(ticket, answered);
            self.drain();
        }
    }

    fn answer(&mut self, ticket: Ticket, (answer, claim): Answered) {
        self.claims.hold(claim);
        self.session.handle_answer(ticket, answer, self.now());
    }

    fn obey(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Ask(ticket, question) => {
                let answered = answers::answer(self.state.tables(), &question);
                match self.answers_late {
                    true => self.open = Some((ticket, answered)),
                    false => self.answer(ticket, answered),
                }
            }
            Output::Backend(octets) => self.hear(&octets),
            Output::BackendBody(sending) => {
                drop(sent(sending, std::mem::take(&mut self.held)));
                self.in_body.get_or_insert(".\r\n");
                self.session.handle_body_sent(now);
            }
            Output::Client(octets) if self.listens => self.said.extend_from_slice(&octets),
            Output::Release(_) => {
                (self.in_body, self.asked) = (None, false);
                self.recipients.clear();
                self.replies.clear();
            }
            Output::Hold(octets) => self.held.extend_from_slice(&octets),
            Output::HoldBegin { .. } => {
                self.held.clear();
                self.session.handle_hold(Ok(()), now);
            }
            Output::Count(event) => answers::count(self.state.tables(), &event),
            Output::Deliver(delivery) => _ = self.claims.deliver(delivery),
            Output::Served(copies) => self.claims.serve(&copies),
            Output::EndMessage => self.claims.hold(None),
            Output::OpenBackend { .. } => {
                self.session.handle_backend_open(false, now);
                self.reply("220 b\r\n");
            }
            Output::BackendStartTls | Output::StartTls => unreachable!("no TLS here"),
            Output::Submit(_) => unreachable!("the backend is a server"),
            Output::Client(_)
            | Output::CloseClient
            | Output::Learned(..)
            | Output::Login(_)
            | Output::Record(_)
            | Output::Said(_)
            | Output::StopAsking
            | Output::Took(..) => {}
        }
    }

    fn reply(&mut self, octets: &str) {
        self.replies.extend_from_slice(octets.as_bytes());
        let now = self.now();
        self.session.handle_backend(&mut self.replies, true, now);
    }

    /// Answers octets as the backend.
    fn hear(&mut self, octets: &[u8]) {
        let text = String::from_utf8_lossy(octets).into_owned();
        if let Some(end) = self.in_body {
            self.asked = text.ends_with(end);
            self.in_body.take_if(|_| text.ends_with(end));
            return;
        }
        if text.starts_with("MAIL") {
            self.recipients.clear();
        }
        if let Some(recipient) = text.strip_prefix("RCPT TO:<") {
            self.recipients.extend(recipient.split('>').next().map(str::to_owned));
        }
        if text.starts_with("BDAT ") {
            self.in_body = Some("\r\n");
            return;
        }
        let data = text.starts_with("DATA");
        self.in_body = (data && self.streams).then_some(".\r\n");
        self.reply(match () {
            () if data => "354 go\r\n",
            () if text.get(1..4) == Some("HLO") && self.chunking => "250-b\r\n250 CHUNKING\r\n",
            () => "250 ok\r\n",
        });
    }
}
