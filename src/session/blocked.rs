//! Clients that are blocked, by tcprules, an operator or a throttle. A blocked client is greeted like any other and may
//! send any command, but each MAIL hears 554: a 554 greeting is a deferral for most clients, and RFC 5321 section 3.1
//! asks to wait for QUIT all the same. Its mail raises no other question, and none of its commands must reach the
//! backend.

use crate::policy::block::Suspect;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::question::OverLimit;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::smtp::command::Mail;

impl Session {
    /// The ruling on a connection that is blocked or over a limit. A throttle that makes no blocks can say only 421,
    /// and says it at once.
    pub(super) fn block_at_connect(&self, block: Option<&str>, over: Option<OverLimit>) -> Option<Ruling> {
        if let Some(key) = block {
            return Some(Suspect { client: self.client.peer.client.ip(), sender: None }.ruling(key));
        }
        let over = over?;
        Some(over.ruling(&self.snapshot.policy.throttles[over.throttle]))
    }

    pub(super) fn refuse_blocked_mail(&mut self, mail: Mail, ruling: &Ruling, now: Now) {
        let snapshot = self.snapshot.clone();
        let limit = snapshot.policy.size.ours(&self.client.environment);
        self.transaction = Some(Box::new(Transaction::new(snapshot, mail, limit, now.monotonic)));
        self.refuse_blocked(ruling, now);
    }

    /// Refuses a command, and counts it as an error: a client that does not take it for an answer is told 421 in the
    /// end.
    pub(super) fn refuse_blocked(&mut self, ruling: &Ruling, now: Now) {
        self.state = State::Command;
        if self.count_error(now) {
            self.refuse_mail(ruling, now);
        }
    }
}
