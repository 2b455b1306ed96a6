//! Whatever clients, backends and time do to a session, in whatever order: the promises that DESIGN makes hold. The
//! operations are arbitrary; what they carry is a mix of good and bad commands, message text and replies.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;
use portcullis::policy::key::Seed;
use portcullis::session::Session;
use portcullis::session::event::Answer;
use portcullis::session::event::BackendEnd;
use portcullis::session::event::HoldEnd;
use portcullis::session::event::Now;
use portcullis::session::event::Output;
use portcullis::session::event::Peer;
use portcullis::session::record::Kind;
use proptest::prelude::*;
use proptest::sample::select;
use support::dialog::Dialog;
use support::dialog::escape;

/// Octets that a failed case shows as text.
#[derive(Clone)]
struct Octets(Vec<u8>);

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// What it likes.
    Backend(Octets),
    /// What is due.
    BackendAnswers,
    BackendEnd(BackendEnd),
    BackendWanted,
    BodySent,
    Client(Octets),
    ClientEnd,
    ClientReset,
    HoldBreaks,
    Kill,
    Pass(u64),
    Stop,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => client().prop_map(|octets| Operation::Client(Octets(octets))),
        30 => Just(Operation::BackendAnswers),
        1 => backend().prop_map(|octets| Operation::Backend(Octets(octets))),
        4 => Just(Operation::BodySent),
        1 => prop_oneof![Just(BackendEnd::Lost), Just(BackendEnd::Busy)].prop_map(Operation::BackendEnd),
        1 => Just(Operation::BackendWanted),
        1 => select(vec![1, 11, 21, 181, 301]).prop_map(Operation::Pass),
        1 => prop_oneof![
            4 => Just(Operation::HoldBreaks),
            2 => Just(Operation::ClientEnd),
            2 => Just(Operation::ClientReset),
            2 => Just(Operation::Stop),
            1 => Just(Operation::Kill),
        ],
    ]
}

fn client() -> impl Strategy<Value = Vec<u8>> {
    let good = select(vec![
        "EHLO c.example\r\n",
        "HELO d.example\r\n",
        "MAIL FROM:<alice@good.example>\r\n",
        "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
        "RCPT TO:<joe@example.org>\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\ntext\r\n.\r\n",
        ".\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "MAIL FROM:<alice@good.example>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n",
        "EHLO c.example\r\nMAIL FROM:<alice@good.example>\r\nRCPT TO:<joe@example.org>\r\n",
    ]);
    let bad = select(vec![
        "MAIL FROM:<newsletter@sillyplace.com>\r\n",
        "MAIL FROM:<NewsLetter@SillyPlace.com.>\r\n",
        "MAIL FROM:<alice@good.example> SIZE=99999999\r\n",
        "MAIL FROM:<a@b> <newsletter@sillyplace.com>\r\n",
        "RCPT TO:<fred@blocked.example>\r\n",
        "X-Inject: 1\r\n",
        "XCLIENT ADDR=127.0.0.1\r\n",
        "BDAT 5 LAST\r\n",
        "STARTTLS\r\n",
        "QUIT\r\n",
        "\r\n.\n",
        "\n.\r\nMAIL FROM:<evil@evil.example>\r\n",
        "\r",
        "\0",
        "MAIL FROM:<al",
        "text text text\n",
    ]);
    prop_oneof![
        8 => good.prop_map(|text| text.as_bytes().to_vec()),
        2 => bad.prop_map(|text| text.as_bytes().to_vec()),
        6 => Just(WHOLE.to_vec()),
        1 => Just(vec![b'x'; 600]),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn backend() -> impl Strategy<Value = Vec<u8>> {
    let good =
        select(vec!["220 b\r\n", "250 ok\r\n", "250-b\r\n250 PIPELINING\r\n", "354 go\r\n", "250 ok\r\n250 ok\r\n"]);
    let bad = select(vec![
        "450 no\r\n",
        "550 no\r\n",
        "421 bye\r\n",
        "334 x\r\n",
        "500 what\r\n",
        "garbage\r\n",
        "250-x\r\n550 y\r\n",
    ]);
    prop_oneof![
        8 => good.prop_map(|text| text.as_bytes().to_vec()),
        1 => bad.prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// A shell that answers at once, and notes what it sees.
struct World {
    session: Session,
    began: Instant,
    elapsed: Duration,
    input: BytesMut,
    replies: BytesMut,
    /// What the backend would answer to what it heard.
    due: VecDeque<&'static str>,
    client_ended: bool,
    closed: bool,
    /// The held message is being sent, and `handle_body_sent` is due.
    sending: bool,
    /// `hold = false`.
    streams: bool,
    /// The backend hears a message, and neither its dot nor an end since.
    in_body: bool,
    dot_unanswered: bool,
    dots_accepted: usize,
    mails_ruled: usize,
    mail_records: usize,
    accepted_records: usize,
}

impl World {
    fn new(head: &str) -> Self {
        let scene = Dialog::parse(head).scene();
        let began = Instant::now();
        let peer = Peer { client: (scene.client, 40000).into(), local: "127.0.0.1:25".parse().unwrap(), host: None };
        let now = Now { monotonic: began, wall: Timestamp::UNIX_EPOCH };
        let mut session = Session::new("S".into(), scene.snapshot, Seed::new([7; 16]), peer, now);
        session.start(scene.admission, scene.greet_delay, None, now);
        Self {
            session,
            began,
            elapsed: Duration::ZERO,
            input: BytesMut::new(),
            replies: BytesMut::new(),
            due: VecDeque::new(),
            client_ended: false,
            closed: false,
            sending: false,
            streams: head.contains("hold off"),
            in_body: false,
            dot_unanswered: false,
            dots_accepted: 0,
            mails_ruled: 0,
            mail_records: 0,
            accepted_records: 0,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began + self.elapsed, wall: Timestamp::UNIX_EPOCH }
    }

    fn operate(&mut self, operation: &Operation) {
        let now = self.now();
        match operation {
            Operation::Backend(octets) => self.backend_says(&octets.0),
            Operation::BackendAnswers => {
                if let Some(reply) = self.due.pop_front() {
                    self.backend_says(reply.as_bytes());
                }
            }
            Operation::BackendEnd(end) => {
                self.forget_backend();
                self.session.handle_backend_end(*end, now);
            }
            Operation::BackendWanted => self.session.handle_backend_wanted(),
            Operation::BodySent if std::mem::take(&mut self.sending) => self.session.handle_body_sent(now),
            Operation::BodySent => {}
            Operation::Client(octets) if !self.client_ended => self.input.extend_from_slice(&octets.0),
            Operation::Client(_) => {}
            Operation::ClientEnd => self.client_ended = true,
            Operation::ClientReset => {
                self.client_ended = true;
                self.input.clear();
                self.session.handle_client_reset(now);
            }
            Operation::HoldBreaks => self.session.handle_hold(Err(HoldEnd::Broken), now),
            Operation::Kill => self.session.handle_kill(now),
            Operation::Pass(seconds) => {
                self.elapsed += Duration::from_secs(*seconds);
                let now = self.now();
                if self.session.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
                    self.session.handle_timeout(now);
                }
            }
            Operation::Stop => self.session.handle_stop(now),
        }
        self.drain();
    }

    fn backend_says(&mut self, octets: &[u8]) {
        if std::mem::take(&mut self.dot_unanswered) && octets.starts_with(b"2") {
            self.dots_accepted += 1;
        }
        self.replies.extend_from_slice(octets);
        let now = self.now();
        self.session.handle_backend(&mut self.replies, true, now);
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                assert!(!self.closed, "after the close: {output:?}");
                self.obey(output);
            }
            let before = self.input.len();
            let now = self.now();
            if self.session.is_over() {
                return;
            }
            if self.session.wants_input() && before > 0 {
                self.session.handle_client(&mut self.input, now);
            }
            if self.client_ended {
                self.session.handle_client_end(&mut self.input, now);
            }
            if before == self.input.len() && !self.session.is_over() {
                break;
            }
        }
        while let Some(output) = self.session.poll_output() {
            assert!(!self.closed, "after the close: {output:?}");
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        let now = self.now();
        match output {
            Output::Ask(question) => {
                self.mails_ruled += usize::from(question.room.is_some());
                self.session.handle_answer(Answer::default(), now);
            }
            Output::Backend(octets) => self.hear(&octets),
            Output::BackendStartTls => unreachable!("no TLS to the backend here"),
            Output::BackendBody => (self.sending, self.in_body) = (true, true),
            Output::Client(octets) => {
                self.mails_ruled += refused_by_lists(&octets);
                self.in_body |= self.streams && octets.windows(5).any(|start| start == b"354 E");
            }
            Output::CloseClient => self.closed = true,
            Output::DropBackend { .. } => self.forget_backend(),
            Output::HoldBegin { .. } => self.session.handle_hold(Ok(()), now),
            Output::OpenBackend { .. } => {
                self.due.push_back("220 b\r\n");
                self.session.handle_backend_open(now);
            }
            Output::Record(record) if record.kind == Kind::Mail => {
                self.mail_records += 1;
                self.accepted_records += usize::from(record.code.is_some_and(|code| code < 400));
            }
            Output::StartTls => {
                self.input.clear();
                self.session.handle_tls(Some("TLSv1.3"), now);
            }
            Output::Hold(_) | Output::HoldDrop | Output::Record(_) | Output::Tell(_) => {}
        }
    }

    fn forget_backend(&mut self) {
        self.replies.clear();
        self.due.clear();
        (self.sending, self.in_body, self.dot_unanswered) = (false, false, false);
    }

    /// As the backend: commands that we build, and canonical text behind DATA.
    fn hear(&mut self, octets: &[u8]) {
        if octets == b".\r\n" {
            assert!(self.in_body && !self.sending, "a dot without a message");
            (self.in_body, self.dot_unanswered) = (false, true);
            self.due.push_back("250 ok\r\n");
            return;
        }
        let text = String::from_utf8_lossy(octets);
        let command = ["EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "DATA\r\n", "RSET\r\n"]
            .iter()
            .any(|start| text.starts_with(start));
        if self.in_body {
            let bare = text.replace("\r\n", "");
            assert!(!bare.contains(['\r', '\n']), "a bare line end reaches the backend: {text:?}");
            return;
        }
        assert!(command, "no command of ours: {text:?}");
        assert!(text.ends_with("\r\n") && text.matches(char::is_control).count() == 2, "more than a command: {text:?}");
        assert!(!text.to_lowercase().contains("sillyplace"), "a blocked sender reaches the backend: {text:?}");
        self.due.push_back(match text.as_bytes() {
            [b'E', ..] => "250-b\r\n250 PIPELINING\r\n",
            [b'D', ..] => "354 go\r\n",
            _ => "250 ok\r\n",
        });
    }
}

/// A transaction of a client that waits for nothing.
const WHOLE: &[u8] =
    b"MAIL FROM:<alice@good.example>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nSubject: x\r\n\r\n..text\r\n.\r\n";

/// Rulings on MAIL that need no answer from outside are told by their replies.
fn refused_by_lists(octets: &[u8]) -> usize {
    let text = String::from_utf8_lossy(octets).to_lowercase();
    let ours =
        |line: &&str| line.starts_with("554 5.7.1 <newsletter@") || line.starts_with("552 5.3.4 message of 99999999 ");
    text.lines().filter(ours).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_keeps_its_promises(
        hold in any::<bool>(),
        reject in any::<bool>(),
        operations in proptest::collection::vec(operation(), 1..60),
    ) {
        let mut head = "= limit 1000\n= starttls\n= badrcptto fred@blocked.example\n".to_owned();
        if !hold {
            head.push_str("= hold off\n");
        }
        if reject {
            head.push_str("= bare_newline reject\n");
        }
        let mut world = World::new(&head);
        world.drain();
        world.operate(&Operation::Client(Octets(b"EHLO c.example\r\n".to_vec())));
        for operation in operations.iter().chain([&Operation::Kill]) {
            world.operate(operation);
        }
        prop_assert!(world.session.is_over());
        prop_assert_eq!(world.mail_records, world.mails_ruled, "records of transactions");
        prop_assert!(world.accepted_records <= world.dots_accepted, "acknowledged what the backend did not");
    }
}
