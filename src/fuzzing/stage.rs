//! A session without a shell, for arbitrary input: outputs are obeyed at once and judged.

use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use jiff::Timestamp;

use crate::config::checked::Config;
use crate::config::checked::ControlValues;
use crate::policy::Policy;
use crate::policy::key::Seed;
use crate::policy::list::AddressList;
use crate::policy::list::Dialect;
use crate::session::Session;
use crate::session::Snapshot;
use crate::session::event::Admission;
use crate::session::event::Answer;
use crate::session::event::Now;
use crate::session::event::Output;
use crate::session::event::Peer;
use crate::session::record::Kind;

pub(super) struct Stage {
    session: Session,
    now: Now,
    input: BytesMut,
    replies: BytesMut,
    ended: bool,
    closed: bool,
    dots: usize,
    accepted: usize,
}

impl Stage {
    pub(super) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "any start will do")]
        let now = Now { monotonic: Instant::now(), wall: Timestamp::UNIX_EPOCH };
        let senders = AddressList::parse("list".into(), Dialect::Qmail, b"blocked@example.org\n");
        let policy = Policy { senders: senders.into_iter().collect(), ..Policy::default() };
        let settings = Config::default_without_file().complete(&ControlValues::default()).session;
        let snapshot = Snapshot { policy, settings }.into();
        let local = ([127, 0, 0, 1], 25).into();
        let peer = Peer { client: ([192, 0, 2, 1], 4000).into(), local, host: None };
        let session = Session::new("fuzz".into(), snapshot, Seed::new([0; 16]), peer, now);
        let (input, replies) = (BytesMut::new(), BytesMut::new());
        let mut stage = Self { session, now, input, replies, ended: false, closed: false, dots: 0, accepted: 0 };
        stage.session.start(Admission::Granted, Duration::ZERO, None, now);
        stage.drain();
        stage
    }

    pub(super) fn client(&mut self, octets: &[u8]) {
        if !self.ended {
            self.input.extend_from_slice(octets);
            self.drain();
        }
    }

    pub(super) fn backend(&mut self, octets: &[u8]) {
        self.replies.extend_from_slice(octets);
        self.session.handle_backend(&mut self.replies, true, self.now);
        self.drain();
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        self.drain();
    }

    pub(super) fn reset(&mut self) {
        self.session.handle_client_reset(self.now);
        self.drain();
        self.pass(2 * 86_400);
    }

    pub(super) fn pass(&mut self, seconds: u64) {
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

    pub(super) fn is_over(&self) -> bool {
        self.session.is_over()
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                self.obey(output);
            }
            if self.session.is_over() {
                return;
            }
            let before = self.input.len();
            if self.session.wants_input() {
                self.session.handle_client(&mut self.input, self.now);
            }
            if self.ended {
                self.session.handle_client_end(&mut self.input, self.now);
            }
            if before == self.input.len() {
                match self.session.poll_output() {
                    Some(output) => self.obey(output),
                    None => return,
                }
            }
        }
    }

    fn obey(&mut self, output: Output) {
        assert!(!self.closed, "{output:?} after the close");
        match output {
            Output::Ask(_) => self.session.handle_answer(Answer::default(), self.now),
            Output::Backend(octets) => {
                assert!(octets.ends_with(b"\r\n") || octets.is_empty(), "{octets:?}");
                assert!(!octets.windows(7).any(|part| part == b"blocked"), "{octets:?}");
                self.dots += usize::from(octets == b".\r\n".as_slice());
            }
            Output::BackendBody => self.session.handle_body_sent(self.now),
            Output::CloseClient => self.closed = true,
            Output::HoldBegin { .. } => self.session.handle_hold(Ok(()), self.now),
            Output::BackendStartTls | Output::OpenBackend { .. } => self.session.handle_backend_open(self.now),
            Output::Record(record) => {
                if record.kind == Kind::Mail && record.code.is_some_and(|code| code < 300) {
                    self.accepted += 1;
                    assert!(self.accepted <= self.dots, "accepted without the backend");
                }
            }
            Output::StartTls => {
                self.input.clear();
                self.session.handle_tls(Some("TLSv1.3"), self.now);
            }
            Output::Client(_) | Output::DropBackend { .. } | Output::Hold(_) | Output::HoldDrop | Output::Tell(_) => {}
        }
    }
}
