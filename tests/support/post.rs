//! One message of a client against a bare session over the real store, with a backend that takes everything. It must not
//! decide anything: it plays what it is told and notes what came of it.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::front::answers;
use portcullis::front::answers::Claims;
use portcullis::policy::throttle::key::Seed;
use portcullis::session::Session;
use portcullis::session::io::Admission;
use portcullis::session::io::ClientEnd;
use portcullis::session::io::Farewell;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::store::state::State;

use crate::support::dialog::Scene;

/// A message and how it is sent.
#[derive(Clone, Debug)]
pub struct Letter {
    pub client: IpAddr,
    /// Empty: the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    pub declares: bool,
    pub text: String,
    pub end: End,
}

/// How the client ends behind its dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Quit,
    QuitBehindDot,
    /// It has taken the reply, and is gone before our 221.
    QuitBehindDotThenReset,
    /// Without a word, when it has read the reply.
    Close,
    HalfCloseThenRead,
    /// It closes with the reply unread.
    Lost,
}

/// The last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Accepted,
    Refused(String),
    Deferred(String),
}

/// Sends it; the reply, and the recipients at which the backend has it now.
pub fn send(scene: &Scene, state: &State, letter: &Letter) -> (Reply, Vec<String>) {
    let mut talk = Talk::new(scene, state, letter.client);
    let size = if letter.declares { format!(" SIZE={}", letter.text.len()) } else { String::new() };
    let mut commands = vec!["EHLO c.example".to_owned(), format!("MAIL FROM:<{}>{size}", letter.sender)];
    commands.extend(letter.recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
    commands.push("DATA".to_owned());
    for command in commands {
        talk.client(&format!("{command}\r\n"));
        if let Some(reply) = talk.refusal() {
            talk.client("QUIT\r\n");
            talk.end(Farewell::default());
            return (reply, talk.taken);
        }
    }
    talk.said.clear();
    let quits = matches!(letter.end, End::QuitBehindDot | End::QuitBehindDotThenReset);
    talk.client(&format!("{}.\r\n{}", letter.text, if quits { "QUIT\r\n" } else { "" }));
    let reply = talk.refusal().unwrap_or(Reply::Accepted);
    let now = talk.now();
    let fin = Farewell { acknowledged: true, heard: false, waited: false, end: ClientEnd::Fin };
    let farewell = match letter.end {
        End::Quit => {
            talk.session.handle_client_heard();
            talk.client("QUIT\r\n");
            fin
        }
        End::QuitBehindDot => fin,
        End::QuitBehindDotThenReset => Farewell { end: ClientEnd::Reset, ..fin },
        End::Close | End::HalfCloseThenRead => {
            talk.ended = true;
            fin
        }
        End::Lost => {
            talk.session.handle_client_reset(now);
            Farewell { end: ClientEnd::Reset, ..fin }
        }
    };
    talk.end(farewell);
    (reply, talk.taken)
}

struct Talk<'a> {
    session: Session,
    state: &'a State,
    claims: Claims,
    replies: BytesMut,
    /// Of the client, not used yet.
    input: BytesMut,
    /// The client sends no more.
    ended: bool,
    said: Vec<u8>,
    heard: Vec<String>,
    in_body: bool,
    taken: Vec<String>,
    began: Instant,
}

impl<'a> Talk<'a> {
    fn new(scene: &Scene, state: &'a State, client: IpAddr) -> Self {
        let began = Instant::now();
        let local = "127.0.0.1:25".parse().unwrap();
        let peer = Peer::direct((client, 40000).into(), local);
        let now = Now { monotonic: began, wall: Timestamp::UNIX_EPOCH };
        let session = Session::new("S".into(), scene.snapshot.clone(), Seed::new([7; 16]), peer, now);
        let mut talk = Self {
            session,
            state,
            claims: Claims::default(),
            replies: BytesMut::new(),
            input: BytesMut::new(),
            ended: false,
            said: Vec::new(),
            heard: Vec::new(),
            in_body: false,
            taken: Vec::new(),
            began,
        };
        if let Some(offer) = &scene.offer {
            talk.session.handle_offer(offer.clone(), true);
        }
        talk.session.start(Admission::Granted, Duration::ZERO, None, now);
        talk.drain();
        talk
    }

    fn client(&mut self, octets: &str) {
        self.said.clear();
        self.input.extend_from_slice(octets.as_bytes());
        self.drain();
    }

    /// The last line that is one.
    fn refusal(&self) -> Option<Reply> {
        let text = String::from_utf8_lossy(&self.said).into_owned();
        let line = text.lines().find(|line| line.starts_with(['4', '5']))?.to_owned();
        Some(if line.starts_with('4') { Reply::Deferred(line) } else { Reply::Refused(line) })
    }

    fn end(&mut self, farewell: Farewell) {
        self.drain();
        assert!(self.session.is_over());
        self.session.handle_farewell(farewell);
        self.drain();
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began, wall: Timestamp::UNIX_EPOCH }
    }

    fn drain(&mut self) {
        let now = self.now();
        while let Some(output) = self.session.advance(&mut self.input, self.ended, now) {
            self.obey(output);
            self.session.handle_client_written();
        }
    }

    fn obey(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Ask(ticket, question) => {
                let (answer, claim) = answers::answer(self.state.tables(), &question);
                self.claims.hold(claim);
                self.session.handle_answer(ticket, answer, now);
            }
            Output::Backend(octets) => self.hear(&octets),
            Output::BackendBody => {
                self.in_body = true;
                self.session.handle_body_sent(now);
            }
            Output::Client(octets) => self.said.extend_from_slice(&octets),
            Output::Release(_) => {
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
            _ => {}
        }
    }

    fn backend(&mut self, octets: &str) {
        self.replies.extend_from_slice(octets.as_bytes());
        let now = self.now();
        self.session.handle_backend(&mut self.replies, true, now);
    }

    fn hear(&mut self, octets: &[u8]) {
        let text = String::from_utf8_lossy(octets).into_owned();
        if std::mem::take(&mut self.in_body) {
            self.in_body = !text.ends_with(".\r\n");
            if !self.in_body {
                self.taken.append(&mut self.heard);
                self.backend("250 taken\r\n");
            }
            return;
        }
        if text.starts_with("MAIL") {
            self.heard.clear();
        }
        if let Some(recipient) = text.strip_prefix("RCPT TO:<") {
            self.heard.extend(recipient.split('>').next().map(str::to_owned));
        }
        self.backend(if text.starts_with("DATA") { "354 go\r\n" } else { "250 ok\r\n" });
    }
}
