//! The backend's replies to a whole message: one by SMTP, by LMTP (RFC 2033 section 4.2) one for each recipient that it
//! has accepted. An SMTP client gets one reply only: a message that some recipients did not get is asked for again, and the
//! recipients that have it are remembered. It must not tell a client that all is well, or lost for good, while that is not so for every recipient.

use std::collections::HashSet;

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::state::Transaction;
use crate::smtp::reply_reader::BackendReply;

impl Session {
    /// Takes a reply to the message. Before our dot it can only be a refusal: the rest is not sent, once nothing else can
    /// be said about it.
    pub(super) fn dot_replied(&mut self, reply: BackendReply, now: Now) {
        let Some(relay) = &self.relay else { return self.contradiction(now) };
        let (awaits_more, is_early) = (relay.awaits_dot(), !relay.dot_written());
        let Some(transaction) = &mut self.transaction else { return self.contradiction(now) };
        if awaits_more {
            return transaction.replies.push(reply);
        }
        let outcome = match transaction.replies.is_empty() {
            true => Outcome::backend(&reply),
            false => {
                transaction.replies.push(reply);
                self.outcome_of_all(now)
            }
        };
        if is_early {
            self.abandon_backend();
        }
        self.settle(outcome, now);
    }

    /// The outcome of replies for all recipients: the first where they agree, else the client is to send again.
    fn outcome_of_all(&mut self, now: Now) -> Outcome {
        self.record_refused(now);
        let Some(transaction) = &self.transaction else { return Outcome::default() };
        let class = |reply: &BackendReply| reply.code / 100;
        let backend = transaction.words();
        match transaction.replies.split_first() {
            Some((first, others)) if others.iter().all(|other| class(other) == class(first)) => {
                Outcome { backend, ..Outcome::backend(first) }
            }
            _ => Outcome { backend, ..self.partly_delivered(transaction, Reason::BackendDeferred) },
        }
    }

    /// The outcome of a message whose backend is lost, which would be `lost` but for what some recipients have got.
    pub(super) fn outcome_of_some(&mut self, lost: Outcome, now: Now) -> Outcome {
        self.record_refused(now);
        match &self.transaction {
            Some(transaction) if transaction.served_now().next().is_some() => {
                let outcome = self.partly_delivered(transaction, Reason::BackendUnavailable);
                Outcome { backend: transaction.words(), ..outcome }
            }
            _ => lost,
        }
    }

    fn partly_delivered(&self, transaction: &Transaction, reason: Reason) -> Outcome {
        let served = transaction.served.len() + transaction.served_now().count();
        let recipients = transaction.served.len() + transaction.accepted.len();
        Outcome::ours(&replies::partly_delivered(served, recipients), reason, &self.id)
    }

    /// Records each recipient for whom the message was refused.
    fn record_refused(&mut self, now: Now) {
        let Some(transaction) = &self.transaction else { return };
        let answered = transaction.accepted.iter().zip(&transaction.replies);
        let refused = answered.filter(|(_, reply)| !reply.is_success());
        let refused: Vec<_> =
            refused.map(|(accepted, reply)| (accepted.rcpt.clone(), Outcome::backend(reply))).collect();
        refused.iter().for_each(|(rcpt, outcome)| self.record_rcpt(rcpt, outcome, now));
    }

    /// Remembers the recipients that were served, of a message that its client is to send again.
    pub(super) fn remember_served(&mut self) {
        let Some(transaction) = &self.transaction else { return };
        let Some(fingerprints) = &transaction.fingerprints else { return };
        let keys = |recipient| self.copy_keys(transaction, recipient, fingerprints);
        let served: Vec<_> = transaction.served_now().map(keys).collect();
        if !served.is_empty() {
            self.output.push_back(Output::Served(served));
        }
    }
}

impl Transaction {
    /// The backend's words on the message, each once.
    fn words(&self) -> Option<String> {
        let mut told = HashSet::new();
        let words = self.replies.iter().map(BackendReply::text).filter(|text| told.insert(text.clone()));
        Some(words.collect::<Vec<String>>().join("; "))
    }
}
