//! The works that are counted: a session without sockets, whose backend accepts everything; its output is discarded. It
//! must not wait for anything.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::config::checked::Config;
use portcullis::config::checked::ControlValues;
use portcullis::policy::Policy;
use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;
use portcullis::policy::repeat::Before;
use portcullis::policy::throttle::Throttle;
use portcullis::policy::throttle::key::Seed;
use portcullis::session::Session;
use portcullis::session::io::Admission;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::question::Answer;
use portcullis::session::question::Copy;
use portcullis::session::question::Question;
use portcullis::session::question::Throttled;
use portcullis::session::record::Record;
use portcullis::session::snapshot::Snapshot;
use portcullis::smtp::reply::Offer;

use crate::reports;
use crate::store;

/// A work and the size of a run.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// Runs the work so many times.
    pub(crate) run: fn(u64),
    /// Repetitions, enough for the difference to be the work's alone.
    pub(crate) times: u64,
    /// Units, such as kilobytes, in one repetition.
    pub(crate) units: u64,
}

pub(crate) const WORKS: [Work; 9] = [
    Work { name: "connection", run: |times| sessions(times, b"QUIT\r\n"), times: 500, units: 1 },
    Work { name: "command", run: commands, times: 100, units: 50 },
    Work { name: "reject", run: |times| sessions(times, REJECT), times: 500, units: 1 },
    Work { name: "transaction of 4 KB", run: |times| messages(times, 4096), times: 200, units: 1 },
    Work { name: "kilobyte of a message", run: |times| messages(times, 4096 * 1024), times: 2, units: 4096 },
    Work { name: WINDOW, run: reports::of_rejects, times: 5000, units: 1 },
    Work { name: WITHOUT_WINDOW, run: reports::of_rejects_alone, times: 5000, units: 1 },
    Work { name: "throttle", run: store::takes, times: 20_000, units: 1 },
    Work { name: "ledger", run: store::messages, times: 10_000, units: 1 },
];

pub(crate) const WINDOW: &str = "reports of a reject";
pub(crate) const WITHOUT_WINDOW: &str = "the same without metrics";

/// NOOP commands; a fiftieth of the connection's cost is included.
fn commands(times: u64) {
    let lines = [b"EHLO c.example\r\n".as_slice(), &b"NOOP\r\n".repeat(50), b"QUIT\r\n"].concat();
    sessions(times, &lines);
}

fn sessions(times: u64, input: &[u8]) {
    let shared = Shared::new();
    (0..times).for_each(|_| shared.serve(&[input]));
}

/// The record of a refused MAIL.
pub(crate) fn record_of_reject() -> Arc<Record> {
    let shared = Shared::new();
    let mut session = shared.session();
    let (mut input, mut record) = (BytesMut::from(REJECT), None);
    while let Some(output) = session.advance(&mut input, false, shared.now) {
        match output {
            Output::Record(told) => record = record.or(Some(told)),
            output => shared.obey(&mut session, output),
        }
    }
    record.unwrap()
}

fn messages(times: u64, size: usize) {
    let shared = Shared::new();
    let line = format!("{}\r\n", "x".repeat(74));
    let body = format!("{HEADER}{}.\r\nQUIT\r\n", line.repeat(size / line.len()));
    (0..times).for_each(|_| shared.serve(&[ENVELOPE, body.as_bytes()]));
}

/// The parts that all sessions share.
struct Shared {
    snapshot: Arc<Snapshot>,
    seed: Seed,
    now: Now,
}

impl Shared {
    fn new() -> Self {
        let blocked = (0..1000).map(|number| format!("blocked{number}@sillyplace.com\n")).collect::<String>();
        let senders = AddressList::parse("badmailfrom".into(), Dialect::Qmail, blocked.as_bytes()).unwrap();
        let policy = Policy { senders: vec![senders], throttles: Throttle::shipped(), ..Policy::default() };
        let settings = Config::default_without_file().complete(&ControlValues::default()).session;
        let now = Now { monotonic: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        Self { snapshot: Arc::new(Snapshot { policy, settings }), seed: Seed::new([7; 16]), now }
    }

    /// Runs a session on these inputs, one after the other, each in chunks of a socket read.
    fn serve(&self, pieces: &[&[u8]]) {
        let mut session = self.session();
        let mut input = BytesMut::new();
        self.drain(&mut session, &mut input);
        for octets in pieces.iter().flat_map(|piece| piece.chunks(READ)) {
            input.extend_from_slice(octets);
            self.drain(&mut session, &mut input);
        }
        assert!(session.is_over(), "it has said QUIT");
    }

    /// A session that has begun.
    fn session(&self) -> Session {
        let peer = Peer::direct(([192, 0, 2, 1], 4000).into(), ([192, 0, 2, 2], 25).into());
        let mut session = Session::new("work".into(), self.snapshot.clone(), self.seed.clone(), peer, self.now);
        session.handle_offer(Arc::new(Offer::default()), true);
        session.start(Admission::Granted, Duration::ZERO, None, self.now);
        session
    }

    fn drain(&self, session: &mut Session, input: &mut BytesMut) {
        while let Some(output) = session.advance(input, false, self.now) {
            self.obey(session, output);
        }
    }

    fn obey(&self, session: &mut Session, output: Output) {
        let says = |session: &mut Session, reply: &[u8]| {
            session.handle_backend(&mut reply.into(), true, self.now);
        };
        match output {
            Output::Ask(ticket, question) => session.handle_answer(ticket, passes(&question), self.now),
            Output::OpenBackend { .. } => {
                session.handle_backend_open(false, self.now);
                says(session, b"220 b\r\n");
            }
            Output::Backend(octets) if octets.starts_with(b"EHLO") => {
                says(session, b"250-b\r\n250-8BITMIME\r\n250 PIPELINING\r\n");
            }
            Output::Backend(octets) if octets.starts_with(b"DATA") => says(session, b"354 go\r\n"),
            Output::Backend(_) => says(session, b"250 ok\r\n"),
            Output::BackendBody(_) => session.handle_body_sent(self.now),
            Output::HoldBegin { .. } => session.handle_hold(Ok(()), self.now),
            other => drop(black_box(other)),
        }
    }
}

/// The answer of a state that has no entries.
fn passes(question: &Question) -> Answer {
    let throttled = Throttled::default();
    match black_box(question) {
        Question::Connect { .. } => Answer::Connect { throttled, block: None },
        Question::Copy(_) => Answer::Copy(Copy::Deliver { served: Vec::new(), before: Before::default() }),
        Question::Envelope(_) => Answer::Envelope { expected: None },
        Question::Handshake => Answer::Handshake { granted: true },
        Question::Login(_) => Answer::Login(throttled),
        Question::Mail { .. } => Answer::Mail { throttled, block: None, has_room: true },
        Question::Recipient { .. } => Answer::Recipient { throttled, oversize: None },
        Question::Rejection { .. } => Answer::Rejection { throttled, is_retry: false },
        Question::UnknownRecipients(_) => Answer::UnknownRecipients(throttled),
    }
}

const REJECT: &[u8] = b"EHLO c.example\r\nMAIL FROM:<blocked500@sillyplace.com>\r\nQUIT\r\n";
const ENVELOPE: &[u8] = b"EHLO c.example\r\nMAIL FROM:<alice@good.example>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n";
const HEADER: &str = "Received: from a.example by b.example; Wed, 25 Nov 2026 10:00:00 +0000\r\n\
    From: Alice <alice@good.example>\r\nTo: Joe <joe@example.org>\r\nSubject: figures of the day\r\n\
    Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1.alice@good.example>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\n";
/// Octets of one read.
const READ: usize = 64 * 1024;
