//! A session without a shell, to which anything may happen: outputs are obeyed at once, and the promises below are
//! held against them. No 2xx for a message without the backend's, exactly one record a transaction, nothing after the
//! close, nothing but whole commands of ours and canonical text to a backend.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::iter;
use std::mem;
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
use portcullis::policy::size::SizeRules;
use portcullis::policy::throttle::key::Seed;
use portcullis::policy::verdict::Verdict;
use portcullis::session::Session;
use portcullis::session::io::Admission;
use portcullis::session::io::BackendEnd;
use portcullis::session::io::Form;
use portcullis::session::io::Now;
use portcullis::session::io::Output;
use portcullis::session::io::Peer;
use portcullis::session::io::Release;
use portcullis::session::io::Sending;
use portcullis::session::question::Answer;
use portcullis::session::question::Copy;
use portcullis::session::question::Question;
use portcullis::session::question::Ticket;
use portcullis::session::record::Kind;
use portcullis::session::record::Record;
use portcullis::session::settings::BackendProtocol;
use portcullis::session::snapshot::Snapshot;
use portcullis::smtp::data::BareNewline;
use portcullis::smtp::reply::Offer;

use super::operation::Known;
use super::operation::Operation;
use super::operation::Options;
use super::operation::Wanted;
use super::submissions::Submissions;

/// The session and what was seen of it.
pub(super) struct Stage {
    session: Session,
    snapshot: Arc<Snapshot>,
    options: Options,
    now: Now,
    input: BytesMut,
    client_ended: bool,
    closed: bool,
    /// What is known when the next questions are answered.
    known: VecDeque<Known>,
    /// The question that is open, and the last answer.
    open: Option<(Ticket, Box<Question>)>,
    last: Option<(Ticket, Answer)>,
    handshake_fails: bool,
    backend: Backend,
    submissions: Submissions,
    held: Vec<u8>,
    /// A backend session waits for the next open.
    kept: bool,
    dots_accepted: usize,
    /// Answers that allow to absorb.
    absorbable: usize,
    client_is_blocked: bool,
    mails: Mails,
    refusals: Refusals,
}

/// What the backend heard and may say.
#[derive(Default)]
struct Backend {
    replies: BytesMut,
    /// What it would answer to what it heard.
    due: VecDeque<&'static [u8]>,
    /// The held message is on its way, and `handle_body_sent` is due.
    sending: bool,
    /// It offers CHUNKING.
    chunking: bool,
    /// It speaks LMTP.
    lmtp: bool,
    /// The recipients of the transaction.
    recipients: usize,
    /// The octets that BDAT has announced.
    announced: Option<u64>,
    /// It hears a message, and neither its dot nor an end since.
    in_body: bool,
    /// The message's last octets stand at the start of a line.
    at_line: bool,
    dot_unanswered: bool,
}

/// Transactions: begun, and recorded.
#[derive(Default)]
struct Mails {
    begun: usize,
    recorded: usize,
    accepted: usize,
    absorbed: usize,
}

/// By their code: replies of ours that refuse, and records.
#[derive(Default)]
struct Refusals {
    replies: BTreeMap<u16, usize>,
    records: BTreeMap<u16, usize>,
}

impl Stage {
    pub(super) fn new(options: Options) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let now = Now { monotonic: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        let snapshot = snapshot(options);
        let local = ([127, 0, 0, 1], 25).into();
        let peer = Peer::direct(([192, 0, 2, 1], 4000).into(), local);
        let session = Session::new("fuzz".into(), snapshot.clone(), Seed::new([0; 16]), peer, now);
        let mut stage = Self {
            session,
            snapshot,
            options,
            now,
            input: BytesMut::new(),
            client_ended: false,
            closed: false,
            known: VecDeque::new(),
            open: None,
            last: None,
            handshake_fails: false,
            backend: Backend::of(options),
            submissions: Submissions::default(),
            held: Vec::new(),
            // Whatever another client left.
            kept: options.late,
            dots_accepted: 0,
            absorbable: 0,
            client_is_blocked: false,
            mails: Mails::default(),
            refusals: Refusals::default(),
        };
        if options.queue {
            let offer = Offer { eight_bit_mime: true, pipelining: true, ..Offer::NONE };
            stage.session.handle_offer(Arc::new(offer), true);
        }
        stage.session.start(Admission::Granted, Duration::ZERO, None, now);
        stage.drain();
        stage
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        let now = self.now;
        match operation {
            Operation::Backend(octets) if self.options.queue => self.program_ends(octets.as_deref()),
            Operation::BackendEnd(end) if self.options.queue => self.program_is_lost(end),
            Operation::Backend(Some(octets)) => self.backend_says(&octets),
            Operation::Backend(None) => {
                if let Some(reply) = self.backend.due.pop_front() {
                    self.backend_says(reply);
                }
            }
            Operation::BackendEnd(end) => {
                self.backend = Backend::of(self.options);
                self.session.handle_backend_end(end, now);
            }
            Operation::BackendWanted => self.session.handle_backend_wanted(),
            Operation::BodySent if mem::take(&mut self.backend.sending) => self.session.handle_body_sent(now),
            Operation::BodySent => {}
            Operation::Client(octets) if !self.client_ended => self.input.extend_from_slice(&octets),
            Operation::Client(_) => {}
            Operation::ClientEnd => self.client_ended = true,
            Operation::ClientReset => {
                self.client_ended = true;
                self.input.clear();
                self.session.handle_client_reset(now);
            }
            Operation::HoldEnds(end) => {
                self.submissions.end(false);
                self.session.handle_hold(Err(end), now);
            }
            Operation::Kill => self.session.handle_kill(now),
            Operation::NextAnswer(known) => self.known.push_back(known),
            Operation::Answer { again } => self.answer(again),
            Operation::NextHandshakeFails => self.handshake_fails = true,
            Operation::Pass(seconds) => self.pass(seconds),
            Operation::Reload => self.session.handle_snapshot(self.snapshot.clone()),
            Operation::Stop => self.session.handle_stop(now),
            Operation::Wanted(Wanted::Hold) => self.session.handle_hold_wanted(now),
            Operation::Wanted(Wanted::Place) => self.session.handle_place_wanted(now),
            Operation::Pressure(pressure) => self.session.handle_pressure(pressure),
            Operation::Stress(stress) => self.session.handle_stress(stress),
        }
        self.drain();
    }

    /// The end: a client that is gone ends the session, or the backend's time limit does.
    pub(super) fn end(&mut self) {
        self.operate(Operation::ClientReset);
        self.pass(2 * 86_400);
        assert!(self.session.is_over());
        let Mails { begun, recorded, accepted, absorbed } = self.mails;
        // About the mail of a blocked client nothing is asked.
        assert!(recorded == begun || self.client_is_blocked, "one record a transaction: {recorded} of {begun}");
        assert!(accepted <= self.dots_accepted, "acknowledged what the backend did not");
        assert!(absorbed <= self.absorbable, "absorbed what the ledger does not know");
        for (code, replies) in &self.refusals.replies {
            let records = self.refusals.records.get(code).unwrap_or(&0);
            assert!(replies <= records, "{replies} times {code}, and {records} records");
        }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now.monotonic + Duration::from_secs(seconds);
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            if self.session.is_over() {
                break;
            }
            self.now.monotonic = self.now.monotonic.max(deadline);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now.monotonic = end;
    }

    fn backend_says(&mut self, octets: &[u8]) {
        if mem::take(&mut self.backend.dot_unanswered) && octets.starts_with(b"2") {
            self.dots_accepted += 1;
        }
        self.backend.replies.extend_from_slice(octets);
        self.session.handle_backend(&mut self.backend.replies, true, self.now);
    }

    /// The program that has a message ends; where none has one, a late end is told, which has to say nothing.
    fn program_ends(&mut self, line: Option<&[u8]>) {
        let reply = Submissions::reply(line.unwrap_or(b"250 ok 1 qp 2\r\n"));
        let success = reply.is_success();
        self.dots_accepted += usize::from(self.submissions.end(success) && success);
        self.session.handle_submission(Ok(reply), self.now);
    }

    fn program_is_lost(&mut self, end: BackendEnd) {
        self.submissions.end(false);
        self.session.handle_submission(Err(end), self.now);
    }

    /// The answer to the question that is open, or the last one once more.
    fn answer(&mut self, again: bool) {
        if let Some((ticket, question)) = self.open.take_if(|_| !again) {
            let answer = self.known.pop_front().unwrap_or_default().answer(&question);
            self.absorbable += usize::from(allows_to_absorb(&answer));
            self.submissions.answered(&answer);
            self.client_is_blocked |= matches!(answer, Answer::Connect { block: Some(_), .. });
            self.last = Some((ticket, answer));
        }
        if let Some((ticket, answer)) = self.last.clone() {
            self.session.handle_answer(ticket, answer, self.now);
        }
    }

    fn drain(&mut self) {
        loop {
            let input = self.input.clone();
            let output = self.session.advance(&mut self.input, self.client_ended, self.now);
            self.submissions.take(&input[..input.len() - self.input.len()]);
            match output {
                Some(output) => self.obey(output),
                None => return,
            }
        }
    }

    fn obey(&mut self, output: Output) {
        assert!(!self.closed, "{output:?} after the close");
        assert!(!self.options.queue || !speaks(&output), "{output:?} for a backend without a conversation");
        let now = self.now;
        match output {
            Output::Ask(ticket, question) => self.ask(ticket, question),
            Output::Backend(octets) => self.backend.hear(&octets),
            Output::BackendBody(sending) => {
                self.backend.takes(sending, &self.held);
                self.backend.sending = self.options.late;
                if !self.options.late {
                    self.session.handle_body_sent(now);
                }
            }
            Output::BackendStartTls => unreachable!("the backend speaks SMTP in the clear"),
            Output::Submit(submission) => {
                assert!(self.options.queue, "a backend with a conversation");
                self.submissions.begin(&submission, &self.held);
            }
            Output::Client(octets) => self.client_hears(&octets),
            Output::CloseClient => self.closed = true,
            Output::Release(release) => {
                self.kept |= release == Release::Reusable;
                assert!(release == Release::Abort || !self.backend.in_body, "in the middle of a message");
                self.submissions.end(false);
                self.backend = Backend::of(self.options);
            }
            Output::HoldBegin { form, .. } => {
                assert_eq!(form == Form::Stored, self.options.queue);
                self.held.clear();
                self.submissions.message_begins();
                self.session.handle_hold(Ok(()), now);
            }
            Output::OpenBackend { fresh, .. } => self.open_backend(fresh),
            Output::Record(record) => self.note(&record),
            Output::StartTls => self.start_tls(),
            Output::Hold(octets) if self.options.queue && self.submissions.is_trace(&octets) => {}
            Output::Hold(octets) => {
                canonical(&octets);
                self.held.extend_from_slice(&octets);
            }
            Output::StopAsking => self.open = None,
            Output::Count(_)
            | Output::Deliver(_)
            | Output::EndMessage
            | Output::Learned(..)
            | Output::Login(_)
            | Output::Said(_)
            | Output::Served(_)
            | Output::Took(..) => {}
        }
    }

    fn ask(&mut self, ticket: Ticket, question: Box<Question>) {
        // Each MAIL asks whether its sender is blocked.
        self.mails.begun += usize::from(matches!(*question, Question::Mail { .. }));
        self.submissions.asked(&question);
        self.open = Some((ticket, question));
        if !self.options.answers {
            self.answer(false);
        }
    }

    fn note(&mut self, record: &Record) {
        self.mails.note(record);
        if self.options.queue {
            self.submissions.note(record);
        }
        self.refusals.note(record);
    }

    fn start_tls(&mut self) {
        self.input.clear();
        let version = (!mem::take(&mut self.handshake_fails)).then_some("TLSv1.3");
        self.session.handle_tls(version, self.now);
    }

    fn client_hears(&mut self, octets: &[u8]) {
        self.submissions.client_hears(octets);
        if !self.client_ended {
            self.refusals.hear(octets);
        }
        if self.options.stream && octets.split(|octet| *octet == b'\n').any(|line| line.starts_with(b"354 ")) {
            self.backend.begin_body();
        }
    }

    fn open_backend(&mut self, fresh: bool) {
        let greeted = mem::take(&mut self.kept) && !fresh;
        if !greeted {
            self.backend.due.push_back(b"220 b\r\n");
        }
        self.session.handle_backend_open(greeted, self.now);
    }
}

impl Backend {
    fn of(options: Options) -> Self {
        Self { chunking: options.chunking, lmtp: options.lmtp, ..Self::default() }
    }

    /// Takes the held message: as many octets as were announced, or lines of which none can be taken for its end.
    fn takes(&mut self, sending: Sending, held: &[u8]) {
        assert!(held.is_empty() || held.ends_with(b"\r\n"), "the last line is not whole");
        let octets = held.len() as u64;
        match sending {
            Sending::AsHeld => {
                let dots = held.split(|octet| *octet == b'\n').any(|line| line.starts_with(b"."));
                assert!(!dots && self.announced.is_none(), "{}", held.escape_ascii());
            }
            Sending::Stuffed => assert!(self.announced.is_none(), "stuffed behind BDAT"),
            Sending::Chunk(announced) => assert_eq!((self.announced, announced), (Some(octets), octets)),
        }
        self.begin_body();
    }

    fn begin_body(&mut self) {
        (self.in_body, self.at_line) = (true, true);
    }

    /// Commands that we build, one at a time; canonical text behind DATA.
    fn hear(&mut self, octets: &[u8]) {
        if self.in_body {
            let end: &[u8] = if self.announced.is_some() { b"\r\n" } else { b".\r\n" };
            if octets == end && self.at_line {
                self.announced = None;
                assert!(!self.sending, "a dot before the message");
                (self.in_body, self.dot_unanswered) = (false, true);
                let replies = if self.lmtp { self.recipients } else { 1 };
                self.due.extend(iter::repeat_n(b"250 ok\r\n".as_slice(), replies));
            } else {
                canonical(octets);
                self.at_line = octets.ends_with(b"\n") || self.at_line && octets.is_empty();
            }
            return;
        }
        let text = octets.strip_suffix(b"\r\n").expect("a command ends with CRLF");
        assert!(!text.iter().any(u8::is_ascii_control), "more than a command: {}", octets.escape_ascii());
        let hello: &[u8] = if self.lmtp { b"LHLO " } else { b"EHLO " };
        let verbs: [&[u8]; 8] = [b"AUTH ", b"BDAT ", b"DATA", hello, b"HELO ", b"MAIL FROM:<", b"RCPT TO:<", b"RSET"];
        let ours = verbs.iter().any(|verb| text.starts_with(verb));
        // Behind AUTH come lines that are the client's own.
        assert!(ours || text.is_ascii(), "no command of ours: {}", octets.escape_ascii());
        self.recipients += usize::from(text.starts_with(b"RCPT"));
        if text.starts_with(b"MAIL") {
            self.recipients = 0;
            let folded = text.to_ascii_lowercase();
            assert!(!folded.ends_with(b"@sillyplace.com>"), "a blocked sender: {}", octets.escape_ascii());
        }
        if let Some(announced) = text.strip_prefix(b"BDAT ") {
            let octets = announced.strip_suffix(b" LAST").and_then(|octets| str::from_utf8(octets).ok()?.parse().ok());
            self.announced = Some(octets.expect("a chunk's length"));
            return;
        }
        self.due.push_back(match text {
            [b'E' | b'L', ..] if self.chunking => b"250-b\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
            [b'E' | b'L', ..] => b"250-b\r\n250-AUTH PLAIN LOGIN\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
            [b'D', ..] => b"354 go\r\n",
            [b'A', ..] => b"334 \r\n",
            _ => b"250 ok\r\n",
        });
    }
}

impl Mails {
    fn note(&mut self, record: &Record) {
        if record.kind != Kind::Mail {
            return;
        }
        self.recorded += 1;
        if record.code.is_some_and(|code| code < 400) {
            let absorbed = record.verdict == Some(Verdict::Absorb);
            self.absorbed += usize::from(absorbed);
            self.accepted += usize::from(!absorbed);
        }
    }
}

impl Refusals {
    /// The 421 of a close goes to every command that is still waiting, and is one event.
    fn hear(&mut self, octets: &[u8]) {
        for line in octets.split(|octet| *octet == b'\n').filter(|line| line.ends_with(b" [fuzz]\r")) {
            let code = line.get(..3).and_then(|code| str::from_utf8(code).ok()?.parse().ok()).unwrap_or(0);
            if code != 421 {
                *self.replies.entry(code).or_default() += 1;
            }
        }
    }

    fn note(&mut self, record: &Record) {
        record.code.iter().for_each(|code| *self.records.entry(*code).or_default() += 1);
        if record.verdict == Some(Verdict::Accept) {
            assert!(record.kind == Kind::Mail && record.code.is_some_and(|code| code < 300), "accepted: {record:?}");
        }
    }
}

fn allows_to_absorb(answer: &Answer) -> bool {
    match answer {
        Answer::Copy(Copy::Absorb) => true,
        Answer::Copy(Copy::Deliver { served, .. }) => !served.is_empty(),
        _ => false,
    }
}

/// Whether the output is part of a conversation with a backend.
fn speaks(output: &Output) -> bool {
    matches!(output, Output::Backend(_) | Output::BackendBody(_) | Output::OpenBackend { .. })
}

/// Nothing in it that two servers could read differently, as far as a piece can tell.
fn canonical(octets: &[u8]) {
    assert!(!octets.contains(&0), "a NUL: {}", octets.escape_ascii());
    let line_ends = octets.windows(2).filter(|pair| pair == b"\r\n").count();
    let lines = octets.iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(line_ends, lines, "a bare LF: {}", octets.escape_ascii());
}

fn snapshot(options: Options) -> Arc<Snapshot> {
    let list = b"newsletter@sillyplace.com\n@sillyplace.com\n";
    let policy = Policy {
        senders: AddressList::parse("badmailfrom".into(), Dialect::Qmail, list).into_iter().collect(),
        size: SizeRules { limit: Some(1000), ..SizeRules::default() },
        ..Policy::default()
    };
    let mut settings = Config::default_without_file().complete(&ControlValues::default()).session;
    settings.starttls = true;
    settings.hold = !options.stream;
    if options.queue {
        settings.backend_protocol = BackendProtocol::Queue;
    }
    if options.lmtp {
        settings.backend_protocol = BackendProtocol::Lmtp;
    }
    if options.reject {
        settings.bare_newline = BareNewline::Reject;
    }
    Arc::new(Snapshot { policy, settings })
}
