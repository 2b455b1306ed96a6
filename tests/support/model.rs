//! One try of a client against a bare session over the real store, with a backend that does what it is told: the world of
//! the model test. It must not decide anything: it plays what a schedule says and notes what came of it.

use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::front::answers;
use portcullis::front::answers::Answered;
use portcullis::front::answers::Claims;
use portcullis::policy::throttle::key::Seed;
use portcullis::session::Session;
use portcullis::session::io::BackendEnd;
use portcullis::session::io::ClientEnd;
use portcullis::session::io::Farewell;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::question::Answer;
use portcullis::session::question::Ticket;
use portcullis::store::state::State;

use crate::support::dialog::Scene;

/// What the client does with the end of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Hears the reply and says QUIT.
    Takes,
    /// Hears the reply, and closes without another word.
    TakesAndCloses,
    /// Has said QUIT behind the dot, and closes when it has heard, before our own last word.
    TakesPipelined,
    /// Gets the reply, and closes without having read it: a reset.
    ClosesUnread,
    /// Resets before the reply is written.
    ResetsAtReply,
    /// Resets when its dot is out, before the backend has answered.
    ResetsAfterDot,
    /// Sends no more behind the dot, but listens.
    HalfCloses,
    /// Resets in the middle of the body.
    ResetsInBody,
}

/// What the backend does with the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Accepts,
    Refuses,
    Defers,
    /// It has the message, but its 2xx is lost.
    AcceptsAndBreaks,
    Breaks,
}

/// A message: its number makes its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub number: usize,
    pub recipients: &'static [&'static str],
}

/// A message for a recipient.
pub type Copy = (usize, &'static str);

/// A session, its claims and its ends.
pub struct Conversation<'a> {
    session: Session,
    state: &'a State,
    message: Message,
    word: Word,
    claims: Claims,
    replies: BytesMut,
    heard: Vec<&'static str>,
    in_body: bool,
    /// `hold = false`.
    streams: bool,
    /// Of the client, not used yet.
    input: BytesMut,
    /// Answers come when nothing else is left to be done; that about the message when the client has done its part.
    answers_late: bool,
    open: Option<(Ticket, Answered)>,
    client_is_done: bool,
    /// The client sends no more.
    ended: bool,
    /// The dot has come to the backend, which has not answered yet.
    pub asked: bool,
    /// What the client has got, if it listens.
    said: Vec<u8>,
    listens: bool,
    began: Instant,
}

impl<'a> Conversation<'a> {
    /// Up to the dot; further when no backend is asked.
    pub fn begin(scene: &Scene, state: &'a State, message: Message, fate: Fate, word: Word) -> Self {
        let began = Instant::now();
        let peer = Peer::direct((scene.client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let now = Now { monotonic: began, wall: Timestamp::UNIX_EPOCH };
        let mut session = Session::new("S".into(), scene.snapshot.clone(), Seed::new([7; 16]), peer, now);
        session.start(scene.admission, Duration::ZERO, None, now);
        let mut this = Self {
            session,
            state,
            message,
            word,
            claims: Claims::default(),
            replies: BytesMut::new(),
            heard: Vec::new(),
            in_body: false,
            streams: !scene.snapshot.settings.hold,
            input: BytesMut::new(),
            answers_late: scene.answers_late,
            open: None,
            client_is_done: false,
            ended: false,
            asked: false,
            said: Vec::new(),
            listens: true,
            began,
        };
        this.drain();
        this.client("EHLO c.example\r\nMAIL FROM:<a@sender.example>\r\n");
        message.recipients.iter().for_each(|recipient| this.client(&format!("RCPT TO:<{recipient}>\r\n")));
        this.client("DATA\r\n");
        let text = message.text();
        match fate {
            Fate::ResetsInBody => this.client(&text[..text.len() / 2]),
            Fate::TakesPipelined => this.client(&format!("{text}.\r\nQUIT\r\n")),
            _ => this.client(&format!("{text}.\r\n")),
        }
        this
    }

    /// What the client does while the backend has the dot.
    pub fn wait(&mut self, fate: Fate) {
        let now = self.now();
        match fate {
            Fate::ResetsAfterDot | Fate::ResetsInBody => {
                self.listens = false;
                self.session.handle_client_reset(now);
            }
            Fate::ResetsAtReply => self.listens = false,
            Fate::HalfCloses => self.ended = true,
            Fate::Takes | Fate::TakesAndCloses | Fate::TakesPipelined | Fate::ClosesUnread => {}
        }
        self.client_is_done = true;
        self.drain();
    }

    /// The backend says its word on the dot, if it was asked; the copies that it has then.
    pub fn answer(&mut self) -> Vec<Copy> {
        if !std::mem::take(&mut self.asked) {
            return Vec::new();
        }
        let accepts = matches!(self.word, Word::Accepts | Word::AcceptsAndBreaks);
        let copy = |recipient: &&'static str| (self.message.number, *recipient);
        let copies = self.heard.iter().filter(|_| accepts).map(copy).collect();
        match self.word {
            Word::Accepts => self.backend("250 ok\r\n"),
            Word::Refuses => self.backend("554 no\r\n"),
            Word::Defers => self.backend("451 later\r\n"),
            Word::AcceptsAndBreaks | Word::Breaks => {
                let now = self.now();
                self.session.handle_backend_end(BackendEnd::Lost, now);
            }
        }
        self.drain();
        copies
    }

    /// The end of the connection; whether the client knows that its message was accepted.
    pub fn end(mut self, fate: Fate) -> bool {
        let told = self.said.windows(3).any(|code| code == b"354")
            && self.final_reply().is_some_and(|reply| reply.starts_with("250"));
        let now = self.now();
        let farewell = match fate {
            Fate::Takes => {
                self.session.handle_client_heard();
                self.client("QUIT\r\n");
                Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin }
            }
            Fate::TakesPipelined => Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Reset },
            Fate::TakesAndCloses | Fate::HalfCloses => {
                self.ended = true;
                Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin }
            }
            Fate::ClosesUnread | Fate::ResetsAfterDot | Fate::ResetsAtReply | Fate::ResetsInBody => {
                self.session.handle_client_reset(now);
                let acknowledged = fate == Fate::ClosesUnread;
                Farewell { acknowledged, heard: false, waited: false, end: ClientEnd::Reset }
            }
        };
        self.drain();
        assert!(self.session.is_over(), "a session that does not end: {fate:?}");
        self.session.handle_farewell(farewell);
        self.drain();
        told && matches!(fate, Fate::Takes | Fate::TakesAndCloses | Fate::TakesPipelined | Fate::HalfCloses)
    }

    /// The first reply behind 354.
    fn final_reply(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.said).into_owned();
        let (_, rest) = text.split_once("354 ")?;
        rest.lines().nth(1).map(str::to_owned)
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began, wall: Timestamp::UNIX_EPOCH }
    }

    fn client(&mut self, octets: &str) {
        self.input.extend_from_slice(octets.as_bytes());
        self.drain();
    }

    fn backend(&mut self, octets: &str) {
        self.replies.extend_from_slice(octets.as_bytes());
        let now = self.now();
        self.session.handle_backend(&mut self.replies, true, now);
    }

    fn drain(&mut self) {
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
            self.answer_late(ticket, answered);
        }
    }

    fn answer_late(&mut self, ticket: Ticket, (answer, claim): Answered) {
        self.claims.hold(claim);
        self.session.handle_answer(ticket, answer, self.now());
        self.drain();
    }

    fn obey(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Ask(ticket, question) => {
                let answered = answers::answer(self.state.tables(), &question);
                match self.answers_late {
                    true => self.open = Some((ticket, answered)),
                    false => {
                        self.claims.hold(answered.1);
                        self.session.handle_answer(ticket, answered.0, now);
                    }
                }
            }
            Output::Backend(octets) => self.hear(&octets),
            Output::BackendBody => {
                self.in_body = true;
                self.session.handle_body_sent(now);
            }
            Output::Client(octets) if self.listens => self.said.extend_from_slice(&octets),
            Output::Release(_) => {
                (self.in_body, self.asked) = (false, false);
                self.heard.clear();
                self.replies.clear();
            }
            Output::HoldBegin { .. } => self.session.handle_hold(Ok(()), now),
            Output::EndMessage => self.claims.hold(None),
            Output::OpenBackend { .. } => {
                self.session.handle_backend_open(false, now);
                self.backend("220 b\r\n");
            }
            Output::Count(event) => answers::count(self.state.tables(), &event),
            Output::Deliver(delivery) => _ = self.claims.deliver(delivery),
            Output::BackendStartTls | Output::StartTls => unreachable!("no TLS here"),
            Output::Client(_)
            | Output::CloseClient
            | Output::Hold(_)
            | Output::Learned(..)
            | Output::Login(_)
            | Output::Record(_)
            | Output::StopAsking => {}
        }
    }

    /// As the backend.
    fn hear(&mut self, octets: &[u8]) {
        let text = String::from_utf8_lossy(octets).into_owned();
        if std::mem::take(&mut self.in_body) {
            if text.ends_with(".\r\n") {
                self.asked = true;
            } else {
                self.in_body = true;
            }
            return;
        }
        let named = |text: &str| self.message.recipients.iter().find(|it| text.contains(**it)).copied();
        match text.as_bytes() {
            [b'M', ..] => self.heard.clear(),
            [b'R', b'C', ..] => self.heard.extend(named(&text)),
            _ => {}
        }
        let data = text.starts_with("DATA");
        self.in_body = data && self.streams;
        self.backend(if data { "354 go\r\n" } else { "250 ok\r\n" });
    }
}

impl Message {
    /// Whole, without its dot.
    fn text(self) -> String {
        let Self { number, .. } = self;
        format!(
            "Message-ID: <{number}@sender.example>\r\nDate: Mon, 23 Nov 2026 00:58:45 +0000\r\nSubject: {number}\r\n\r\ntext of {number}\r\n"
        )
    }
}
