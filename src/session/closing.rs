//! The early end of a transaction or a session: by a refusal that closes, a client that leaves, a stop. In every case
//! each transaction has one record and each command one reply. It must not decide whether an end is due.

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::state::ReceivedMessage;
use crate::session::state::State;
use crate::smtp::reply::Reply;

impl Session {
    /// Refuses and closes: nothing more that the client sends can be trusted or tolerated.
    pub(super) fn refuse_and_close(&mut self, reply: &Reply, reason: Reason, now: Now) {
        self.rule_and_close(&Ruling::new(reply.clone(), reason), now);
    }

    /// Refuses and closes by a rule that has a name.
    pub(super) fn rule_and_close(&mut self, ruling: &Ruling, now: Now) {
        let outcome = Outcome::ruled(ruling, &self.id);
        if self.transaction.is_some() {
            self.end_recorded(&outcome, None, now);
        } else {
            self.record_end(&outcome, now);
        }
        self.reply(&ruling.reply);
        self.close(now);
    }

    /// Gives up the transaction in progress, if any, without a reply of its own.
    pub(super) fn end_transaction(&mut self, reason: Reason, now: Now) {
        let all_refused = self.transaction.as_ref().filter(|transaction| transaction.accepted.is_empty());
        let refusal = all_refused.and_then(|transaction| transaction.last_refusal.clone());
        let outcome = refusal.unwrap_or_else(|| Outcome { reason: Some(reason), ..Outcome::default() });
        self.end_recorded(&outcome, None, now);
    }

    /// Ends the session of a client that sends no more, or is gone. Before our final dot nothing is delivered, so the
    /// mail will come again; after the dot the backend's answer is awaited all the same.
    pub(super) fn client_left(&mut self, now: Now) {
        if self.is_over() || self.outlives_client() {
            return;
        }
        if !self.client_gone {
            self.tell_event(|| "the client ended the connection".to_owned());
        }
        let received = match &self.state {
            State::Body(body) => Some(ReceivedMessage::at(now.monotonic, body.decoder.size())),
            state => state.received().map(|received| ReceivedMessage { id: received.id.clone(), ..*received }),
        };
        match received {
            Some(received) => {
                let gone = Outcome { reason: Some(Reason::ClientGone), ..Outcome::default() };
                self.end_recorded(&gone, Some(&received), now);
            }
            None => self.end_transaction(Reason::ClientGone, now),
        }
        let gone = Outcome { reason: Some(Reason::ClientGone), ..Outcome::default() };
        self.record_connection(Some(&gone), now);
        self.close(now);
    }

    /// Ends the session during a stop, if no transaction runs.
    pub(super) fn stop_if_idle(&mut self, now: Now) {
        let idle = matches!(self.state, State::Command | State::Delay { .. }) && self.transaction.is_none();
        if self.stopping && idle && self.replies.is_settled() {
            self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
    }

    /// Ends a session whose states contradict each other, which the tests rule out. Nothing is acknowledged: the client is told to
    /// come again.
    #[cold]
    pub(super) fn contradiction(&mut self, now: Now) {
        debug_assert!(false, "a contradiction in {:?}", self.state);
        self.refuse_and_close(&replies::internal(), Reason::BackendUnavailable, now);
    }

    /// Closes, and gives everything back. Replies that are still owed are sent, so that each command has one.
    pub(super) fn close(&mut self, now: Now) {
        if self.is_over() {
            return;
        }
        self.record_folded(now);
        self.replies.settle(&replies::shutting_down(), &self.id);
        self.input.parked = None;
        self.transaction = None;
        self.close_backend();
        if self.state.has_message() {
            self.output.push_back(Output::EndMessage);
        }
        self.state = State::Over;
        self.after_replies(Output::CloseClient);
    }
}
