//! The deadlines of a session, and the consequences when they pass. It must not read a clock.

use std::time::Duration;
use std::time::Instant;

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::session::Session;
use crate::session::io::BackendEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Release;
use crate::session::state::State;

impl Session {
    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.client_deadline(), self.idle_backend_deadline(), self.backend_deadline()].into_iter().flatten().min()
    }

    fn backend_deadline(&self) -> Option<Instant> {
        let settings = &self.snapshot.settings;
        let relay = || self.relay.as_ref()?.deadline(settings.backend_connect, settings.backend_reply);
        self.submitted_until.or_else(relay)
    }

    fn client_deadline(&self) -> Option<Instant> {
        let timeout = &self.snapshot.settings.timeout;
        match &self.state {
            State::Asking { until, .. }
            | State::Delay { until }
            | State::Hello { until }
            | State::Inquiry { until } => Some(*until),
            State::Command if !self.replies.is_settled() => None,
            State::Auth { .. } => self.login_deadline(),
            State::Command => Some(self.patience.command_deadline(timeout)),
            State::Body(body) => {
                let min_rate = self.snapshot.settings.min_rate;
                Some(self.patience.upload_deadline(body.upload(), timeout, min_rate))
            }
            _ => None,
        }
    }

    /// The time at which an unused backend session is given back; it can be replayed, unless AUTH was part of it: we
    /// keep no passwords.
    fn idle_backend_deadline(&self) -> Option<Instant> {
        self.idle_backend_since().map(|since| since + IDLE_BACKEND)
    }

    /// The time since which a backend session stands unused and can be given back. In the middle of an AUTH exchange
    /// the client is awaited, and another backend session would not know what was said.
    pub(super) fn idle_backend_since(&self) -> Option<Instant> {
        let bound = self.client.authenticated || matches!(self.state, State::Auth { .. });
        self.relay.as_ref()?.idle_since().filter(|_| !bound)
    }

    pub(super) fn check_deadlines(&mut self, now: Now) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now.monotonic);
        if passed(self.backend_deadline()) {
            self.output.push_back(Output::Release(Release::Abort));
            self.handle_submission(Err(BackendEnd::Lost), now);
            self.backend_ended(BackendEnd::Lost, now);
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
                State::Hello { .. } | State::Inquiry { .. } => {
                    if self.relay.as_ref().is_some_and(|relay| relay.is_opening()) {
                        self.close_backend();
                    }
                    self.backend_lost(BackendEnd::Lost, now);
                }
                _ => self.refuse_and_close(&replies::timeout(), Reason::Timeout, now),
            }
        }
    }
}

/// The time for which a backend session may stand unused.
const IDLE_BACKEND: Duration = Duration::from_secs(20);
