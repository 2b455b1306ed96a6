//! How things begin and end: admission, greeting, answers, errors, time limits, a client that leaves, the close.

use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;

use crate::policy::replies;
use crate::policy::throttle::Stage;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::session::Session;
use crate::session::io::Admission;
use crate::session::io::BackendEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Release;
use crate::session::question::Answer;
use crate::session::question::OverLimit;
use crate::session::question::Question;
use crate::session::state::Outcome;
use crate::session::state::Pending;
use crate::session::state::ReceivedMessage;
use crate::session::state::Slot;
use crate::session::state::State;
use crate::smtp::reply::Reply;

impl Session {
    /// Limits, blocks, throttles; then the banner, or its delay. About a client that tcprules deny nothing is asked.
    pub(super) fn admit(&mut self, admission: Admission, greet_delay: Duration, now: Now) {
        let full = |reply, reason| Some(Ruling::new(reply, reason));
        let ruling = match admission {
            Admission::Granted => None,
            Admission::Full => full(replies::too_busy(), Reason::TooManyConnections),
            Admission::FullForClient => {
                full(replies::too_many_connections(self.peer.client.ip()), Reason::TooManyConnections)
            }
            Admission::Stopping => full(replies::shutting_down(), Reason::Shutdown),
        };
        if let Some(ruling) = ruling {
            return self.refuse_connection(&ruling, now);
        }
        let until = now.monotonic + greet_delay;
        if self.client_refusal().is_some() {
            return self.greet_at(until, now);
        }
        let snapshot = self.snapshot.clone();
        let throttles = self.asks(&snapshot, Stage::Connect, None, None, None);
        let question = Question::Connect { throttles, client: self.peer.client.ip() };
        self.ask(question, Pending::Connect { until }, now);
    }

    fn greet_at(&mut self, until: Instant, now: Now) {
        match until > now.monotonic {
            true => self.state = State::Delay { until },
            false => self.greet(now),
        }
    }

    fn greet(&mut self, now: Now) {
        self.reply(&replies::greeting(&self.snapshot.settings.banner));
        self.state = State::Command;
        self.since = now.monotonic;
        self.stop_if_idle(now);
    }

    /// Octets before the banner: no SMTP client speaks first (RFC 5321 section 3.1).
    pub(super) fn talks_early(&mut self, input: &BytesMut, now: Now) -> bool {
        if !input.is_empty() {
            self.refuse_connection(&Ruling::new(replies::early_talker(), Reason::Protocol), now);
        }
        false
    }

    fn refuse_connection(&mut self, ruling: &Ruling, now: Now) {
        let outcome = Outcome::ruled(ruling, &self.id);
        self.record_connection(Some(&outcome), now);
        self.reply(&ruling.reply);
        self.close(now);
    }

    /// The answer to the question that is open.
    pub(super) fn answered(&mut self, answer: Answer, now: Now) {
        let (pending, until) = match std::mem::replace(&mut self.state, State::Command) {
            State::Asking { pending, until } => (pending, until),
            // An answer that comes too late.
            other => return self.state = other,
        };
        match (pending, answer) {
            (Pending::Connect { until }, Answer::Connect { throttled, block }) => {
                self.connect_answered(until, block.as_deref(), throttled.over, now);
            }
            (Pending::StartTls, Answer::Handshake { granted }) => self.start_tls_answered(granted, now),
            (Pending::Auth(line), Answer::Login(throttled)) => self.login_answered(line, &throttled, now),
            (Pending::Mail(ruling), Answer::Mail { throttled, block, has_room }) => {
                self.mail_answered(ruling, block, &throttled, has_room, now);
            }
            (Pending::Rcpt(rcpt, cap), Answer::Recipient { throttled, oversize }) => {
                self.rcpt_answered(rcpt, cap, &throttled, oversize, now);
            }
            (Pending::Unknown, Answer::UnknownRecipients(throttled)) => self.unknown_answered(&throttled, now),
            (Pending::Data, Answer::Envelope { expected }) => self.data_answered(expected, now),
            (Pending::Copy(received, streaming), Answer::Copy(copy)) => {
                self.copy_answered(received, streaming, copy, now);
            }
            (Pending::Rejected(refused), Answer::Rejection { throttled, is_retry }) => {
                self.rejected(*refused, &throttled, is_retry, now);
            }
            // Of another question: this one is still open.
            (pending, _) => self.state = State::Asking { pending, until },
        }
    }

    fn connect_answered(&mut self, until: Instant, block: Option<&str>, over: Option<OverLimit>, now: Now) {
        match self.block_at_connect(block, over) {
            Some(ruling) if ruling.verdict == Verdict::Disconnect => self.refuse_connection(&ruling, now),
            ruling => {
                self.blocked = ruling.map(Box::new);
                self.greet_at(until, now);
            }
        }
    }

    /// A protocol error: counted, and too many of them end the session.
    pub(super) fn error(&mut self, reply: &Reply, now: Now) {
        self.refuse_command(&Ruling::new(reply.clone(), Reason::Protocol), now);
    }

    /// A command that is refused by a rule, counted likewise.
    pub(super) fn refuse_command(&mut self, ruling: &Ruling, now: Now) {
        if self.count_error(now) {
            self.record_command(&Outcome::ruled(ruling, &self.id), now);
            self.reply(&ruling.reply);
        }
    }

    /// False: it was one too many, and the session is over.
    pub(super) fn count_error(&mut self, now: Now) -> bool {
        self.errors += 1;
        if self.errors > self.under_stress(self.snapshot.settings.max_errors, STRESS_ERRORS) {
            self.refuse_and_close(&replies::too_many_errors(), Reason::Protocol, now);
        }
        !self.is_over()
    }

    /// RCPT or DATA without a transaction.
    pub(super) fn without_mail(&mut self, now: Now) {
        if self.has_mailed {
            self.refuse_late(&replies::need_mail(), now);
        } else {
            self.error(&replies::need_mail(), now);
        }
    }

    /// No error of the client: the command may stand behind others whose refusal it has not heard (RFC 2920 section 3.1).
    pub(super) fn refuse_late(&mut self, reply: &Reply, now: Now) {
        if self.count_idle_command(now) {
            self.record_command(&Outcome::ours(reply, Reason::Protocol, &self.id), now);
            self.reply(reply);
        }
    }

    /// A command that brings no mail forward. A client that sends nothing else is counted as erring.
    pub(super) fn idle_command(&mut self, reply: &Reply, now: Now) {
        if self.count_idle_command(now) {
            self.reply(reply);
        }
    }

    /// False: it was one too many, and the session is over.
    pub(super) fn count_idle_command(&mut self, now: Now) -> bool {
        self.idle_commands += 1;
        if self.idle_commands > MAX_IDLE_COMMANDS {
            self.refuse_and_close(&replies::too_many_errors(), Reason::Protocol, now);
        }
        !self.is_over()
    }

    /// A refusal after which nothing the client sends can be trusted, or borne.
    pub(super) fn refuse_and_close(&mut self, reply: &Reply, reason: Reason, now: Now) {
        self.rule_and_close(&Ruling::new(reply.clone(), reason), now);
    }

    /// The same, by a rule that has a name.
    pub(super) fn rule_and_close(&mut self, ruling: &Ruling, now: Now) {
        let outcome = Outcome::ruled(ruling, &self.id);
        if self.transaction.is_some() {
            self.record_transaction(&outcome, None, now);
            self.transaction = None;
        } else {
            self.record_end(&outcome, now);
        }
        self.reply(&ruling.reply);
        self.close(now);
    }

    /// The transaction in progress, if any, is given up without a reply of its own.
    pub(super) fn end_transaction(&mut self, reason: Reason, now: Now) {
        let Some(transaction) = &self.transaction else { return };
        let outcome = match (&transaction.last_refusal, transaction.accepted.is_empty()) {
            (Some(refusal), true) => refusal.clone(),
            _ => Outcome { reason: Some(reason), ..Outcome::default() },
        };
        self.record_transaction(&outcome, None, now);
        self.transaction = None;
    }

    /// The client sends no more, or is gone. Before our final dot nothing is delivered: it will come again. After it the
    /// backend's answer is awaited, whoever hears it.
    pub(super) fn client_left(&mut self, now: Now) {
        if self.is_over() || self.outlives_client() {
            return;
        }
        let received = match &self.state {
            State::Body(body) => Some(ReceivedMessage::at(now.monotonic, body.decoder.size())),
            state => state.received().map(|received| ReceivedMessage { id: received.id.clone(), ..*received }),
        };
        match received {
            Some(received) => {
                let gone = Outcome { reason: Some(Reason::ClientGone), ..Outcome::default() };
                self.record_transaction(&gone, Some(&received), now);
                self.transaction = None;
            }
            None => self.end_transaction(Reason::ClientGone, now),
        }
        let gone = Outcome { reason: Some(Reason::ClientGone), ..Outcome::default() };
        self.record_connection(Some(&gone), now);
        self.close(now);
    }

    /// When `handle_timeout` has to be called.
    pub fn deadline(&self) -> Option<Instant> {
        [self.client_deadline(), self.idle_backend_deadline(), self.backend_deadline()].into_iter().flatten().min()
    }

    fn backend_deadline(&self) -> Option<Instant> {
        let settings = &self.snapshot.settings;
        self.relay.as_ref()?.deadline(settings.backend_connect, settings.backend_reply)
    }

    fn client_deadline(&self) -> Option<Instant> {
        let timeout = &self.snapshot.settings.timeout;
        match &self.state {
            State::Asking { until, .. }
            | State::Delay { until }
            | State::Hello { until }
            | State::Inquiry { until } => Some(*until),
            State::Command if !self.slots.is_empty() => None,
            State::Auth { .. } => self.login_deadline(),
            State::Command => {
                let wait = if self.heard { timeout.command } else { timeout.greeting };
                Some((self.since + self.under_stress(wait, STRESS_WAIT)).min(self.began + timeout.session))
            }
            State::Body(body) => {
                let size = body.decoder.size();
                let pressure = self.pressure_on(body);
                let transfer = size.checked_div(self.snapshot.settings.min_rate << pressure).unwrap_or(0);
                let wait = if pressure > 0 { STRESS_DATA.min(timeout.data) } else { timeout.data };
                Some(body.began + self.under_stress(wait, STRESS_DATA) + Duration::from_secs(transfer))
            }
            _ => None,
        }
    }

    /// The smaller limit while connections are nearly used up.
    fn under_stress<T: Ord>(&self, usual: T, stress: T) -> T {
        if self.stress { usual.min(stress) } else { usual }
    }

    /// A backend session that nobody uses is given back; it can be replayed, unless AUTH was part of it: we keep no
    /// passwords.
    fn idle_backend_deadline(&self) -> Option<Instant> {
        self.idle_backend_since().map(|since| since + IDLE_BACKEND)
    }

    /// Since when a backend session stands that can be given back. In the middle of an AUTH exchange it is the client
    /// that is waited for: another backend session would not know what was said.
    pub(super) fn idle_backend_since(&self) -> Option<Instant> {
        let bound = self.authenticated || matches!(self.state, State::Auth { .. });
        self.relay.as_ref()?.idle_since().filter(|_| !bound)
    }

    pub(super) fn check_deadlines(&mut self, now: Now) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now.monotonic);
        if passed(self.backend_deadline()) {
            self.output.push_back(Output::Release(Release::Abort));
            self.handle_backend_end(BackendEnd::Lost, now);
        }
        if passed(self.idle_backend_deadline()) {
            self.close_backend();
        }
        if passed(self.client_deadline()) {
            match &self.state {
                State::Asking { pending, .. } => {
                    let answer = pending.unanswered();
                    self.output.push_back(Output::StopAsking);
                    self.answered(answer, now);
                }
                State::Delay { .. } => self.greet(now),
                State::Hello { .. } | State::Inquiry { .. } => self.backend_lost(BackendEnd::Lost, now),
                _ => self.refuse_and_close(&replies::timeout(), Reason::Timeout, now),
            }
        }
    }

    /// Between transactions a stop ends the session.
    pub(super) fn stop_if_idle(&mut self, now: Now) {
        let idle = matches!(self.state, State::Command | State::Delay { .. }) && self.transaction.is_none();
        if self.stopping && idle && self.slots.is_empty() {
            self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
    }

    /// The time that a stop allows is up: whatever runs ends here.
    pub fn handle_kill(&mut self, now: Now) {
        if !self.is_over() {
            self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
    }

    /// Everything is given back. Replies that are still owed are given, so that each command has one.
    pub(super) fn close(&mut self, now: Now) {
        if self.is_over() {
            return;
        }
        self.record_folded(now);
        for slot in std::mem::take(&mut self.slots) {
            match slot {
                Slot::Ready(line) => self.client_out.extend_from_slice(&line),
                Slot::Awaited => replies::shutting_down().write(&self.id, &mut self.client_out),
            }
        }
        self.parked = None;
        self.transaction = None;
        self.close_backend();
        self.output.push_back(Output::EndMessage);
        self.state = State::Over;
        self.after_replies(Output::CloseClient);
    }

    /// A reload: its settings hold from here on.
    pub(super) fn adopt_snapshot(&mut self) {
        if self.transaction.is_none()
            && let Some(next) = self.next.take()
        {
            self.snapshot = next;
            self.id.contact = self.snapshot.settings.contact.clone();
            self.adopt_environment();
        }
    }

    /// The client's rule may be another now: RELAYCLIENT or DATABYTES come and go with it. A backend session that was
    /// begun under the old one is given back, unless AUTH was part of it: that one goes on as it began.
    fn adopt_environment(&mut self) {
        if self.authenticated {
            return;
        }
        let environment = self.snapshot.policy.client(self.peer.client.ip(), self.peer.host.as_deref());
        let before = std::mem::replace(&mut self.environment, environment);
        if self.environment.key() == before.key() {
            return;
        }
        self.offer_is_fresh = false;
        self.close_backend();
    }
}

/// While connections are nearly used up: between commands, for a message beside its `min_rate`, and errors (Postfix, under
/// stress: smtpd_timeout 10s, smtpd_hard_error_limit 1).
const STRESS_WAIT: Duration = Duration::from_secs(10);
const STRESS_DATA: Duration = Duration::from_secs(30);
const STRESS_ERRORS: u32 = 1;

/// How long a backend session may stand unused.
const IDLE_BACKEND: Duration = Duration::from_secs(20);

/// NOOP, RSET, VRFY, HELP and EHLO between two transactions (Postfix: smtpd_junk_command_limit).
const MAX_IDLE_COMMANDS: u32 = 100;
