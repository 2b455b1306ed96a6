//! Admission: limits, blocks and throttles of connections, then the banner. It must not know of mail.

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
use crate::session::io::Now;
use crate::session::outcome::Outcome;
use crate::session::question::OverLimit;
use crate::session::question::Question;
use crate::session::state::Pending;
use crate::session::state::State;

impl Session {
    /// Applies limits, blocks and throttles, then greets, at once or after the delay. No question is asked about a
    /// client that tcprules deny.
    pub(super) fn admit(&mut self, admission: Admission, greet_delay: Duration, now: Now) {
        let full = |reply, reason| Some(Ruling::new(reply, reason));
        let ruling = match admission {
            Admission::Granted => None,
            Admission::Full => full(replies::too_busy(), Reason::TooManyConnections),
            Admission::FullForClient => {
                full(replies::too_many_connections(self.client.peer.client.ip()), Reason::TooManyConnections)
            }
            Admission::Stopping => full(replies::shutting_down(), Reason::Shutdown),
        };
        if let Some(ruling) = ruling {
            return self.refuse_connection(&ruling, now);
        }
        let until = now.monotonic + greet_delay;
        if self.client.refusal().is_some() {
            return self.greet_at(until, now);
        }
        let throttles = self.asks(&self.snapshot, Stage::Connect, None, None, None);
        let question = Question::Connect { throttles, client: self.client.peer.client.ip() };
        self.ask(question, Pending::Connect { until }, now);
    }

    pub(super) fn connect_answered(&mut self, until: Instant, block: Option<&str>, over: Option<OverLimit>, now: Now) {
        match self.block_at_connect(block, over) {
            Some(ruling) if ruling.verdict == Verdict::Disconnect => self.refuse_connection(&ruling, now),
            ruling => {
                self.client.blocked = ruling.map(Box::new);
                self.greet_at(until, now);
            }
        }
    }

    fn greet_at(&mut self, until: Instant, now: Now) {
        match until > now.monotonic {
            true => self.state = State::Delay { until },
            false => self.greet(now),
        }
    }

    pub(super) fn greet(&mut self, now: Now) {
        self.reply(&replies::greeting(&self.snapshot.settings.banner));
        self.state = State::Command;
        self.patience.wait_from(now.monotonic);
        self.stop_if_idle(now);
    }

    /// Refuses octets before the banner: no SMTP client speaks first (RFC 5321 section 3.1).
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
}
