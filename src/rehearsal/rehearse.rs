//! A session, rehearsed: a real one is fed what a client would say, up to the dot of its message. Its backend here accepts
//! everything. It must not rule on anything: what is said, why and by which rule is the session's own.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::Deserialize;
use serde::Serialize;

use crate::front::clock;
use crate::front::look::Look;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::rehearsal::backend::Backend;
use crate::rehearsal::message::At;
use crate::rehearsal::message::Message;
use crate::rehearsal::message::Script;
use crate::session::Session;
use crate::session::io::Admission;
use crate::session::io::Event;
use crate::session::io::HoldEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Peer;
use crate::session::question::Answer;
use crate::session::question::Question;
use crate::session::record::Record;
use crate::session::snapshot::Snapshot;

/// The outside of a rehearsed session. It must not have consequences.
pub trait Outside {
    /// The answer to a question of this step.
    fn answer(&mut self, at: At, question: &Question) -> Answer;

    /// Takes note of an event that would have happened, for the questions that follow.
    fn count(&mut self, event: &Event);

    /// Whether so many octets of the message can be held.
    fn has_room(&mut self, at: At, octets: u64) -> bool;
}

/// A look at a state, where there is always room.
impl Outside for Look {
    fn answer(&mut self, _at: At, question: &Question) -> Answer {
        Self::answer(self, question)
    }

    fn count(&mut self, event: &Event) {
        Self::count(self, event);
    }

    fn has_room(&mut self, _at: At, _octets: u64) -> bool {
        true
    }
}

/// A step of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The place of the step in the session.
    pub at: At,
    /// The command of the client, with its address as it goes on to the backend.
    pub command: String,
    /// The reply, and behind it perhaps one that ends the session.
    pub said: Vec<Said>,
    /// Whether the session ends with it.
    pub closes: bool,
}

/// A reply, and the verdict of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The code.
    pub code: u16,
    /// The last line of the reply, without its end.
    pub line: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, unless the command passes.
    pub reason: Option<Reason>,
    /// The rule that decided.
    pub rule: Option<String>,
}

impl Step {
    /// The replies that are no simple yes.
    pub fn news(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(|said| said.verdict != Verdict::Accept)
    }

    /// Whether the client got what it asked for.
    pub fn passes(&self) -> bool {
        self.said.iter().all(|said| matches!(said.verdict, Verdict::Accept | Verdict::Absorb))
    }
}

/// A session that is being rehearsed.
pub struct Rehearsal<O> {
    session: Session,
    outside: O,
    backend: Backend,
    now: Now,
    at: At,
    /// Octets of the client that the session has not used yet, and octets that it has said at this step.
    input: BytesMut,
    said: BytesMut,
    records: Vec<Record>,
    /// Octets of the message that are held.
    held: u64,
    steps: Vec<Step>,
}

/// The steps of a whole session, and its outside as it was left. `body`: the message as it goes over the wire, with its dot;
/// without it the session ends behind the recipients.
pub fn rehearse<O: Outside>(
    snapshot: &Arc<Snapshot>,
    seed: &Seed,
    script: &Script,
    backend: Backend,
    body: &[u8],
    outside: O,
) -> (Vec<Step>, O) {
    let mut rehearsal = Rehearsal::begin(snapshot, seed, script, backend, outside);
    body.chunks(AT_ONCE).for_each(|octets| rehearsal.hear(octets));
    rehearsal.end()
}

impl<O: Outside> Rehearsal<O> {
    /// A rehearsal up to the message. A client that is refused at EHLO, AUTH or MAIL goes no further.
    pub fn begin(snapshot: &Arc<Snapshot>, seed: &Seed, script: &Script, backend: Backend, outside: O) -> Self {
        let (now, message) = (clock::now(), &script.message);
        let address = SocketAddr::new(message.client.to_canonical(), CLIENT_PORT);
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25);
        let peer = Peer { host: message.host.clone(), ..Peer::direct(address, here) };
        let mut session = Session::new(ID.into(), snapshot.clone(), seed.clone(), peer, now);
        session.start(Admission::Granted, Duration::ZERO, message.tls.then_some(TLS), now);
        let mut this = Self {
            session,
            outside,
            backend,
            now,
            at: At::Connect,
            input: BytesMut::new(),
            said: BytesMut::new(),
            records: Vec::new(),
            held: 0,
            steps: Vec::new(),
        };
        this.step(At::Connect, format!("connect from {}", message.client));
        this.play(script);
        this
    }

    /// Takes in octets of the message; they are thrown away where the session expects none.
    pub fn hear(&mut self, octets: &[u8]) {
        if self.session.takes_message() {
            self.at = At::Message;
            self.input.extend_from_slice(octets);
            self.drain();
        }
        if !self.said.is_empty() {
            self.step(At::Message, "message".to_owned());
        }
    }

    /// The steps, and the outside as it was left.
    pub fn end(self) -> (Vec<Step>, O) {
        (self.steps, self.outside)
    }

    fn play(&mut self, script: &Script) {
        let Script { message, mail, recipients } = script;
        let mut passes = self.steps.iter().all(Step::passes);
        passes = passes && self.say(At::Hello, &format!("EHLO {}", message.helo), None);
        if let Some(user) = &message.user {
            passes = passes && self.say(At::Auth, &format!("AUTH PLAIN {}", plain(user)), Some("AUTH PLAIN"));
        }
        if !passes || !self.say(At::Mail, &message.mail_line(), Some(&text(&mail.wire(|_| true)))) {
            return;
        }
        let mut accepted = 0;
        for (index, (recipient, rcpt)) in message.recipients.iter().zip(recipients).enumerate() {
            let shown = text(&rcpt.wire(|_| true));
            accepted += usize::from(self.say(At::Recipient(index), &Message::rcpt_line(recipient), Some(&shown)));
        }
        if message.eight_bit.is_some() && accepted > 0 {
            self.say(At::Data, "DATA", None);
        }
    }

    /// Says a line, unless the session is over; whether it passes.
    fn say(&mut self, at: At, line: &str, shown: Option<&str>) -> bool {
        if self.session.is_over() {
            return false;
        }
        self.input.extend_from_slice(line.as_bytes());
        self.input.extend_from_slice(b"\r\n");
        self.step(at, shown.unwrap_or(line).to_owned());
        self.steps.last().is_some_and(Step::passes)
    }

    fn step(&mut self, at: At, command: String) {
        self.at = at;
        self.drain();
        let octets = std::mem::take(&mut self.said);
        let text = String::from_utf8_lossy(&octets);
        let last_lines = text.lines().filter(|line| line.as_bytes().get(3) != Some(&b'-'));
        let said = last_lines.map(|line| said(line, &mut self.records)).collect();
        self.records.clear();
        self.steps.push(Step { at, command, said, closes: self.session.is_over() });
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.advance(&mut self.input, false, self.now) {
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Ask(ticket, question) => {
                let answer = self.outside.answer(self.at, &question);
                self.session.handle_answer(ticket, answer, self.now);
            }
            Output::Backend(octets) => {
                let mut replies = self.backend.hear(&octets);
                self.session.handle_backend(&mut replies, true, self.now);
            }
            Output::BackendBody(_) => self.session.handle_body_sent(self.now),
            Output::BackendStartTls => self.session.handle_backend_open(false, self.now),
            Output::Client(octets) => self.said.extend_from_slice(&octets),
            Output::Count(event) => self.outside.count(&event),
            Output::Hold(octets) => {
                self.held += octets.len() as u64;
                if !self.outside.has_room(self.at, self.held) {
                    self.session.handle_hold(Err(HoldEnd::NoRoom), self.now);
                }
            }
            Output::HoldBegin { expected, .. } => {
                let has_room = self.outside.has_room(self.at, expected);
                self.session.handle_hold(has_room.then_some(()).ok_or(HoldEnd::NoRoom), self.now);
            }
            Output::OpenBackend { .. } => {
                self.session.handle_backend_open(false, self.now);
                self.session.handle_backend(&mut self.backend.greeting(), true, self.now);
            }
            Output::Record(record) => self.records.push(Arc::unwrap_or_clone(record)),
            Output::Submit(_) => self.session.handle_submission(Ok(Backend::taken()), self.now),
            Output::CloseClient
            | Output::Deliver(_)
            | Output::EndMessage
            | Output::Learned(..)
            | Output::Login(_)
            | Output::Release(_)
            | Output::Said(_)
            | Output::Served(_)
            | Output::StartTls
            | Output::StopAsking
            | Output::Took(..) => {}
        }
    }
}

/// The reply of this line, by the record of it, if there is one.
fn said(line: &str, records: &mut Vec<Record>) -> Said {
    let code = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default();
    let of_reply = records.iter().position(|record| record.code == Some(code));
    let record = of_reply.map(|at| records.remove(at));
    let verdict = record.as_ref().and_then(|record| record.verdict).unwrap_or(Verdict::of_code(code));
    let (reason, rule) =
        record.map_or((None, None), |record| (record.reason, record.rule.map(|rule| rule.to_string())));
    Said { code, line: line.to_owned(), verdict, reason, rule }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}

/// The initial response of AUTH PLAIN (RFC 4616), in base64 (RFC 4648 section 4). What the password is does not matter.
fn plain(user: &str) -> String {
    let response = format!("\0{user}\0x");
    let mut text = String::new();
    for three in response.as_bytes().chunks(3) {
        let bits = three.iter().fold(0, |bits, octet| bits << 8 | usize::from(*octet)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(BASE64[value]) } else { '=' });
        }
    }
    text
}

/// The id that stands behind refusals.
const ID: &str = "session";
const CLIENT_PORT: u16 = 40000;
const TLS: &str = "TLSv1.3";
/// Octets of a message that the session has at once.
const AT_ONCE: usize = 64 << 10;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
