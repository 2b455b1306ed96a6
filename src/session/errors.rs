//! Errors of the client, and commands that bring no mail: both are counted, and too many end the session. It must not
//! decide what is an error.

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::outcome::Outcome;
use crate::smtp::reply::Reply;

impl Session {
    /// Refuses a protocol error: it is counted, and too many of them end the session.
    pub(super) fn error(&mut self, reply: &Reply, now: Now) {
        self.refuse_command(&Ruling::new(reply.clone(), Reason::Protocol), now);
    }

    /// Refuses a command by a rule, and counts it as an error.
    pub(super) fn refuse_command(&mut self, ruling: &Ruling, now: Now) {
        if self.count_error(now) {
            self.record_command(&Outcome::ruled(ruling, &self.id), now);
            self.reply(&ruling.reply);
        }
    }

    /// Counts an error; false: it was one too many, and the session is over.
    pub(super) fn count_error(&mut self, now: Now) -> bool {
        if !self.patience.bears_error(self.snapshot.settings.max_errors) {
            self.refuse_and_close(&replies::too_many_errors(), Reason::Protocol, now);
        }
        !self.is_over()
    }

    /// Refuses RCPT or DATA without a transaction.
    pub(super) fn without_mail(&mut self, now: Now) {
        if self.patience.may_stand_behind_a_refusal() {
            self.refuse_late(&replies::need_mail(), now);
        } else {
            self.error(&replies::need_mail(), now);
        }
    }

    /// Refuses a command without an error of the client: it may stand behind others whose refusal the client has not
    /// heard (RFC 2920 section 3.1).
    pub(super) fn refuse_late(&mut self, reply: &Reply, now: Now) {
        if self.count_idle_command(now) {
            self.record_command(&Outcome::ours(reply, Reason::Protocol, &self.id), now);
            self.reply(reply);
        }
    }

    /// Answers a command that brings no mail forward. A client that sends nothing else is counted as erring.
    pub(super) fn idle_command(&mut self, reply: &Reply, now: Now) {
        if self.count_idle_command(now) {
            self.reply(reply);
        }
    }

    /// Counts a command that brings no mail forward; false: it was one too many, and the session is over.
    pub(super) fn count_idle_command(&mut self, now: Now) -> bool {
        if !self.patience.bears_idle_command() {
            self.refuse_and_close(&replies::too_many_errors(), Reason::Protocol, now);
        }
        !self.is_over()
    }
}
