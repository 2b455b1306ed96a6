//! Repeats, loops and remembered oversizes: the questions before the body and at its end, and the handling of the
//! answers. It must not know whether the client took our 250: that is the acknowledgement's.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::fingerprint::Fingerprints;
use crate::policy::hops::Hops;
use crate::policy::message::MessageFacts;
use crate::policy::message::MessageReader;
use crate::policy::repeat;
use crate::policy::repeat::Candidate;
use crate::policy::repeat::CopyKeys;
use crate::policy::repeat::Envelope;
use crate::policy::repeat::MessageTraits;
use crate::policy::repeat::REFUSED_UNREAD;
use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::session::Session;
use crate::session::io::Event;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::question::Copy;
use crate::session::question::Question;
use crate::session::request::Held;
use crate::session::request::Request;
use crate::session::snapshot::Snapshot;
use crate::session::state::Pending;
use crate::session::state::ReceivedMessage;
use crate::session::state::RefusedWhat;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::smtp::address::Address;
use crate::smtp::command::Mail;

impl Session {
    pub(super) fn snapshot_of_transaction(&self) -> Arc<Snapshot> {
        self.transaction.as_ref().map_or_else(|| self.snapshot.clone(), |transaction| transaction.snapshot.clone())
    }

    /// The key of oversizes remembered for a recipient; `None` where a size is declared, because that always gets its
    /// chance.
    pub(super) fn remembered(&self, mail: &Mail, recipient: &Address) -> Option<u128> {
        let key = || repeat::oversize_key(&self.seed, self.client.peer.client.ip(), &mail.sender, recipient);
        mail.size.is_none().then(key)
    }

    pub(super) fn remember_oversize(&mut self) {
        if let Some(keys) = self.oversize_keys() {
            self.output.push_back(Output::Count(Event::Oversize(keys)));
        }
    }

    /// Ends the memory of oversizes: the message is no larger than it may be.
    pub(super) fn forget_oversize(&mut self) {
        let may_end_it = self.transaction.as_ref().is_some_and(|transaction| transaction.may_end_oversize);
        if may_end_it && let Some(keys) = self.oversize_keys() {
            self.output.push_back(Output::Count(Event::Fits(keys)));
        }
    }

    fn oversize_keys(&self) -> Option<Vec<u128>> {
        let transaction = self.transaction.as_ref().filter(|transaction| transaction.mail.size.is_none())?;
        let (client, sender) = (self.client.peer.client.ip(), &transaction.mail.sender);
        let key = |recipient| repeat::oversize_key(&self.seed, client, sender, recipient);
        Some(transaction.accepted.iter().map(|accepted| key(&accepted.rcpt.recipient)).collect())
    }

    /// The key of one large message's tries before their bodies come; `None` where copies are not refused.
    pub(super) fn envelope(&self) -> Option<u128> {
        let transaction = self.transaction.as_ref()?;
        let rules = transaction.snapshot.policy.repeat;
        let least = rules.min_size.max(REFUSED_UNREAD);
        let size = transaction.mail.size.filter(|size| rules.limit > 0 && *size >= least)?;
        let recipients = transaction.accepted.iter().map(|accepted| &accepted.rcpt.recipient);
        Some(repeat::envelope_key(&self.seed, self.client.peer.client.ip(), &transaction.mail.sender, recipients, size))
    }

    pub(super) fn data_answered(&mut self, expected: Option<Duration>, now: Now) {
        match expected {
            None => self.begin_data(now),
            // The body was not seen: the refusal is for now only.
            Some(wait) => {
                let ruling = Ruling::new(replies::expected_copy(wait), Reason::Repeat).by("repeat");
                self.finish(Outcome::ruled(&ruling, &self.id), None, now);
            }
        }
    }

    pub(super) fn message_reader(&self, transaction: &Transaction) -> MessageReader {
        let recipients = transaction.accepted.iter().map(|accepted| &accepted.rcpt.recipient);
        let snapshot = &transaction.snapshot;
        let hops = Hops::new(&snapshot.settings.hostname, &snapshot.policy.virtual_domains, recipients);
        let rules = transaction.snapshot.policy.repeat;
        let key = (rules.absorb || rules.limit > 0).then(|| self.seed.fingerprint_key());
        MessageReader::new(hops, key)
    }

    /// Rules on a message that is complete and no larger than it may be: hops, then the ledger.
    pub(super) fn rule_on_message(
        &mut self,
        received: Box<ReceivedMessage>,
        facts: &MessageFacts,
        streaming: bool,
        now: Now,
    ) {
        self.forget_oversize();
        let Some(transaction) = &mut self.transaction else { return self.contradiction(now) };
        transaction.fingerprints = facts.fingerprints;
        let snapshot = transaction.snapshot.clone();
        if let Some(ruling) = facts.hops.ruling(snapshot.policy.hops) {
            self.withdraw(streaming, now);
            return self.reject(ruling, RefusedWhat::Message(received), now);
        }
        let Some(fingerprints) = facts.fingerprints else { return self.deliver(received, streaming, now) };
        let traits = MessageTraits { message_id: received.id.is_some(), date: facts.date, size: received.size };
        let Some(transaction) = &self.transaction else { return self.contradiction(now) };
        let keys = |recipient| self.copy_keys(transaction, recipient, &fingerprints);
        let copies = transaction.accepted.iter().map(|accepted| keys(&accepted.rcpt.recipient)).collect();
        let is_exact = transaction.mail.size == Some(received.size);
        let envelope = self.envelope().map(|key| Envelope { key, is_exact });
        let rules = snapshot.policy.repeat;
        let is_excepted = rules.except.covers(self.client.is_relay_client(), self.client.authenticated);
        let candidate = Candidate { rules, traits, copies, envelope, is_excepted };
        self.ask(Question::Copy(candidate), Pending::Copy(received, streaming), now);
    }

    /// The keys of the message for this recipient.
    pub(super) fn copy_keys(&self, transaction: &Transaction, recipient: &Address, prints: &Fingerprints) -> CopyKeys {
        let (client, sender) = (self.client.peer.client.ip(), &transaction.mail.sender);
        CopyKeys::new(&self.seed, client, sender, recipient, &prints.strong, &prints.weak)
    }

    pub(super) fn copy_answered(&mut self, mut received: Box<ReceivedMessage>, streaming: bool, copy: Copy, now: Now) {
        match copy {
            Copy::Deliver { served, before } => {
                received.before = before;
                if !streaming {
                    self.leave_out(&served);
                }
                self.deliver(received, streaming, now);
            }
            Copy::Absorb => {
                self.withdraw(streaming, now);
                let absorbed = Outcome::ours(&replies::absorbed(), Reason::Repeat, &self.id);
                let rule = Some("repeat.unacknowledged".into());
                self.finish(Outcome { verdict: Some(Verdict::Absorb), rule, ..absorbed }, Some(&received), now);
            }
            Copy::Busy => {
                self.withdraw(streaming, now);
                let ruling = Ruling::new(replies::in_flight(), Reason::Repeat).by("repeat");
                self.refuse_message(&received, &ruling, now);
            }
            Copy::Refuse(times) => {
                self.withdraw(streaming, now);
                let ruling = Ruling::new(replies::repeated(times), Reason::Repeat).by("repeat.limit");
                self.reject(ruling, RefusedWhat::Message(received), now);
            }
            Copy::Unknown => {
                self.withdraw(streaming, now);
                let ruling = Ruling::new(replies::internal(), Reason::Repeat).by("repeat");
                self.refuse_message(&received, &ruling, now);
            }
        }
    }

    fn deliver(&mut self, received: Box<ReceivedMessage>, streaming: bool, now: Now) {
        let held = Held { octets: received.size, has_dots: received.has_dots };
        self.state = State::Settle(received);
        if streaming {
            self.end_body(now);
        } else if self.hands_over() {
            self.submit(now);
        } else {
            let message = self.message(Some(held), now.wall);
            self.ask_backend(Request::Data(message), now);
        }
    }

    /// Withdraws the message from the backend: by RSET, or before the dot of a streamed one by the end of the
    /// connection.
    fn withdraw(&mut self, streaming: bool, now: Now) {
        if streaming {
            self.close_backend();
        } else if let Some(relay) = &mut self.relay {
            relay.reset(now.monotonic, &mut self.output);
        }
    }

    /// Leaves out the recipients that a repeat was delivered to already: a new backend session hears only of the
    /// others. An authenticated session cannot be replaced, so there the message goes to all.
    fn leave_out(&mut self, served: &[usize]) {
        let Some(transaction) = self.transaction.as_mut().filter(|_| !served.is_empty() && !self.client.authenticated)
        else {
            return;
        };
        for index in served.iter().rev() {
            transaction.served.push(transaction.accepted.remove(*index));
        }
        self.close_backend();
    }
}
