//! MAIL and RCPT: the rulings in their order, then the backend's reply. A command must not reach the backend before
//! every ruling on it has passed.

use std::sync::Arc;

use crate::policy::Policy;
use crate::policy::block::Suspect;
use crate::policy::replies;
use crate::policy::size::Limit;
use crate::policy::throttle::Stage;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::policy::verdict::Verdict;
use crate::session::Session;
use crate::session::escalating::disconnects;
use crate::session::escalating::ruling_of;
use crate::session::io::BackendEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::offering::LearnedOffer;
use crate::session::outcome::Outcome;
use crate::session::question::Oversize;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::session::request::Request;
use crate::session::snapshot::Snapshot;
use crate::session::state::Accepted;
use crate::session::state::Pending;
use crate::session::state::RefusedWhat;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::smtp::address::Address;
use crate::smtp::command::Body;
use crate::smtp::command::Mail;
use crate::smtp::command::Parameter;
use crate::smtp::command::Rcpt;
use crate::smtp::reply::Offer;
use crate::smtp::reply::Reply;
use crate::smtp::reply_reader::BackendReply;

impl Session {
    /// Handles MAIL: state, TLS, lists, SIZE, throttles, then the backend. RFC 5321 section 4.1.1.1 wants EHLO first,
    /// but qmail and Postfix do without, and so do scripts, devices, and libraries that forget the second EHLO behind
    /// STARTTLS.
    pub(super) fn mail(&mut self, mail: Mail, now: Now) {
        self.conversation.after_data = false;
        self.adopt_snapshot();
        if self.stopping && self.transaction.is_none() {
            return self.refuse_and_close(&replies::shutting_down(), Reason::Shutdown, now);
        }
        // A nested MAIL goes neither to the lists nor to the backend, or the two would disagree about the sender.
        if self.transaction.is_some() {
            return self.error(&replies::nested_mail(), now);
        }
        if let Some(ruling) = self.client.refusal() {
            return self.refuse_blocked_mail(mail, &ruling, now);
        }
        if let Some(reply) = self.unusable_mail(&mail) {
            return self.error(&reply, now);
        }
        self.patience.note_mail();
        let snapshot = self.snapshot.clone();
        let limit = self.limit(&snapshot);
        let transaction = Transaction::new(snapshot.clone(), mail, limit, now.monotonic);
        let mail = transaction.mail.clone();
        self.transaction = Some(Box::new(transaction));
        if snapshot.settings.tls_required && self.client.tls.is_none() {
            let ruling = Ruling::new(replies::tls_required(), Reason::TlsRequired);
            return self.refuse_mail(&ruling, now);
        }
        let policy = &snapshot.policy;
        let ruling = policy.sender(&mail.sender).or_else(|| Policy::declared_size(mail.size, limit));
        let (throttles, room) = match ruling {
            Some(_) => (Throttles { snapshot, asks: Vec::new() }, None),
            None => {
                let throttles = self.asks(&snapshot, Stage::Mail, Some(&mail.sender), None, mail.size);
                (throttles, Some(mail.size.unwrap_or(0)))
            }
        };
        let question = Question::Mail { throttles, client: self.client.peer.client.ip(), mail, room };
        self.ask(question, Pending::Mail(ruling.map(Box::new)), now);
    }

    /// The refusal of a MAIL that cannot be passed on as it is meant, whatever the lists say.
    fn unusable_mail(&self, mail: &Mail) -> Option<Reply> {
        let non_ascii = mail.sender.address().is_some_and(|address| !address.is_ascii());
        if mail.body == Some(Body::BinaryMime) {
            return Some(replies::unsupported_value("BODY=BINARYMIME"));
        }
        if non_ascii && !self.offer().smtputf8 {
            return Some(replies::non_ascii());
        }
        // SMTPUTF8 is taken if it was offered at EHLO, even when the backend has changed meanwhile: many say it with
        // all their mail.
        if mail.smtputf8 && !self.client.helo.as_ref().is_some_and(|helo| helo.smtputf8) {
            return Some(replies::unknown_parameter("SMTPUTF8"));
        }
        unknown_parameter(&mail.others, &["RET", "ENVID"])
    }

    /// The size limit of a message of this client. The backend's SIZE counts only while it is fresh, or a limit that
    /// was raised there would never be noticed here.
    fn limit(&self, snapshot: &Snapshot) -> Limit {
        let ours = snapshot.policy.size.ours(&self.client.environment);
        if self.offer.is_fresh { ours.with_backend(self.offer()) } else { ours }
    }

    /// Goes on with MAIL, or refuses it, by the throttles' answer.
    pub(super) fn mail_answered(
        &mut self,
        ruling: Option<Box<Ruling>>,
        block: Option<String>,
        throttled: &Throttled,
        has_room: bool,
        now: Now,
    ) {
        let Some(transaction) = &mut self.transaction else { return self.contradiction(now) };
        let mail = transaction.mail.clone();
        let suspect = Suspect { client: self.client.peer.client.ip(), sender: Some(&mail.sender) };
        let block = block.map(|key| suspect.ruling(&key));
        if let Some(ruling) = block.as_ref().filter(|ruling| ruling.reason == Reason::BlockedClient) {
            return self.refuse_blocked(ruling, now);
        }
        if let Some(ruling) = block.or(ruling.map(|ruling| *ruling)) {
            return self.reject(ruling, RefusedWhat::Mail, now);
        }
        transaction.note_shadows(&throttled.shadows);
        if !has_room {
            return self.refuse_mail(&Ruling::new(replies::no_room(), Reason::NoRoom), now);
        }
        if let Some(ruling) = ruling_of(transaction, throttled) {
            if self.postpone(throttled, &ruling) {
                self.state = State::Command;
                return self.reply(&replies::sender_ok());
            }
            self.refuse_mail(&ruling, now);
            if ruling.verdict == Verdict::Disconnect {
                self.close(now);
            }
            return;
        }
        self.state = State::Command;
        if self.hands_over() {
            return self.mail_taken();
        }
        self.replies.push_awaited();
        self.ask_backend(Request::Mail(mail), now);
    }

    /// Answers MAIL where the backend hears of the envelope only with the message.
    fn mail_taken(&mut self) {
        // Of a backend with conversations, before a reload.
        self.close_backend();
        let reply = replies::sender_ok();
        if let Some(transaction) = &mut self.transaction {
            transaction.mail_code = Some(reply.code);
        }
        self.reply(&reply);
    }

    /// Takes the backend's reply to MAIL, relayed as it is.
    pub(super) fn mail_replied(&mut self, reply: BackendReply, now: Now) {
        if reply.is_success() {
            if let Some(transaction) = &mut self.transaction {
                transaction.mail_code = Some(reply.code);
                if let Some(offer) = &self.offer.offer {
                    transaction.limit = transaction.limit.with_backend(offer);
                }
            }
            self.fill_reply(reply.line(), now);
        } else {
            let close = reply.code == 421;
            if close {
                self.input.parked = None;
            }
            self.mail_failed(Outcome::backend(&reply), now);
            if close {
                self.close(now);
            }
        }
    }

    /// Ends the transaction when the backend refuses MAIL, or there is none; RCPTs that came behind it hear so.
    pub(super) fn mail_failed(&mut self, outcome: Outcome, now: Now) {
        let unasked = Outcome::ours(&replies::need_mail(), Reason::Protocol, &self.id);
        let behind = self.transaction.as_mut().map(|transaction| std::mem::take(&mut transaction.asked));
        behind.into_iter().flatten().for_each(|(rcpt, _)| self.record_rcpt(&rcpt, &unasked, now));
        self.end_recorded(&outcome, None, now);
        // Replies to RCPTs that went out behind it are not those of the next transaction.
        if let Some(relay) = &mut self.relay {
            relay.ignore_outstanding();
        }
        self.fill_reply(outcome.line, now);
        while self.replies.awaited() > 0 {
            self.fill_reply(unasked.line.clone(), now);
        }
        self.stop_if_idle(now);
    }

    /// Handles RCPT: state, count, lists, cap, throttles, then the backend.
    pub(super) fn rcpt(&mut self, rcpt: Rcpt, now: Now) {
        let Some(transaction) = &self.transaction else {
            return self.without_mail(now);
        };
        if let Some(reply) = unknown_parameter(&rcpt.parameters, &["NOTIFY", "ORCPT"]) {
            return self.error(&reply, now);
        }
        let takes_utf8 = transaction.mail.smtputf8 && self.offer().smtputf8;
        if !takes_utf8 && !rcpt.is_ascii() {
            return self.error(&replies::non_ascii(), now);
        }
        let snapshot = transaction.snapshot.clone();
        let rcpt = Arc::new(rcpt);
        let known = transaction.accepted.len() + transaction.asked.len();
        if let Some(ruling) = Policy::recipient_count(known, snapshot.settings.max_recipients) {
            return self.refuse_rcpt(&rcpt, &ruling, now);
        }
        if let Some(ruling) = snapshot.policy.recipient(&rcpt.recipient, self.client.may_relay()) {
            self.refuse_rcpt(&rcpt, &ruling, now);
            if matches!(ruling.reason, Reason::NotLocal | Reason::UnknownRecipient) {
                self.note_unknown();
            }
            // Otherwise the replies before it come first.
            if self.replies.is_settled() {
                self.judge_unknown(now);
            }
            return;
        }
        let asked = transaction.asked.front().map(|(_, cap)| *cap);
        let first = transaction.accepted.first().map(|accepted| accepted.cap).or(asked);
        match snapshot.policy.cap_beside(&rcpt.recipient, transaction.mail.size, first) {
            Err(ruling) if ruling.verdict == Verdict::Reject => self.reject(ruling, RefusedWhat::Rcpt(rcpt), now),
            Err(ruling) => self.refuse_rcpt(&rcpt, &ruling, now),
            Ok(cap) => {
                let question = self.question_of(transaction, &rcpt.recipient);
                self.ask(question, Pending::Rcpt(rcpt, cap), now);
            }
        }
    }

    /// Goes on with RCPT, or refuses it, by the throttles' answer.
    pub(super) fn rcpt_answered(
        &mut self,
        rcpt: Arc<Rcpt>,
        cap: Option<u64>,
        throttled: &Throttled,
        oversize: Option<Oversize>,
        now: Now,
    ) {
        self.state = State::Command;
        let Some(transaction) = &mut self.transaction else {
            // The backend has refused the MAIL before it meanwhile.
            return self.without_mail(now);
        };
        transaction.note_shadows(&throttled.shadows);
        transaction.may_end_oversize |= oversize.is_some();
        if let Some(Oversize::Wait(wait)) = oversize {
            let reply = replies::oversize_remembered(&rcpt.recipient, wait);
            return self.refuse_rcpt(&rcpt, &Ruling::new(reply, Reason::OversizeRemembered), now);
        }
        if let Some(ruling) = ruling_of(transaction, throttled) {
            let disconnects = disconnects(transaction, throttled);
            self.refuse_rcpt(&rcpt, &ruling, now);
            if disconnects {
                self.disconnect_transaction(&ruling, now);
            }
            return;
        }
        self.passed(&rcpt.recipient);
        if self.hands_over() {
            return self.rcpt_taken(rcpt, cap);
        }
        let Some(transaction) = &mut self.transaction else { return self.contradiction(now) };
        transaction.asked.push_back((rcpt.clone(), cap));
        self.replies.push_awaited();
        self.ask_backend(Request::Rcpt(rcpt), now);
    }

    /// Answers RCPT where the backend hears of the envelope only with the message.
    fn rcpt_taken(&mut self, rcpt: Arc<Rcpt>, cap: Option<u64>) {
        let reply = replies::recipient_ok();
        if let Some(transaction) = &mut self.transaction {
            transaction.accepted.push(Accepted { rcpt, code: reply.code, cap });
        }
        self.reply(&reply);
    }

    /// Takes the backend's reply to RCPT, relayed as it is.
    pub(super) fn rcpt_replied(&mut self, reply: BackendReply, now: Now) {
        let Some((rcpt, cap)) = self.transaction.as_mut().and_then(|transaction| transaction.asked.pop_front()) else {
            return self.contradiction(now);
        };
        if reply.is_success() {
            if let Some(transaction) = &mut self.transaction {
                transaction.accepted.push(Accepted { rcpt, code: reply.code, cap });
            }
        } else {
            self.record_rcpt(&rcpt, &Outcome::backend(&reply), now);
            if reply.is_permanent() {
                self.note_unknown();
            }
        }
        let close = reply.code == 421;
        if close {
            self.input.parked = None;
        }
        self.fill_reply(reply.line(), now);
        if close {
            self.end_transaction(Reason::BackendDeferred, now);
            self.close(now);
        }
    }

    /// Goes on once the backend has said what it offers. An address that it cannot take is not sent without the
    /// parameter that it needs (RFC 6531 section 3.5), whatever was offered at EHLO.
    pub(super) fn backend_ready(&mut self, offer: Arc<Offer>, now: Now) {
        self.output.push_back(Output::Learned(self.client.environment.clone(), offer.clone()));
        self.offer = LearnedOffer { offer: Some(offer), is_fresh: true };
        match self.state {
            State::Hello { .. } => return self.say_extensions(now),
            State::Inquiry { .. } => return self.close(now),
            _ => {}
        }
        let sender = self.transaction.as_ref().and_then(|transaction| transaction.mail.sender.address());
        if self.offer().smtputf8 || sender.is_none_or(Address::is_ascii) {
            if let Some(relay) = &mut self.relay {
                relay.flush(now.monotonic, &mut self.output);
            }
            return;
        }
        let begun = self.transaction.as_ref().is_some_and(|transaction| transaction.mail_code.is_some());
        self.close_backend();
        match begun {
            true => self.backend_lost(BackendEnd::Lost, now),
            false => self.mail_failed(Outcome::ours(&replies::non_ascii(), Reason::Protocol, &self.id), now),
        }
    }
}

fn unknown_parameter(parameters: &[Parameter], known: &[&str]) -> Option<Reply> {
    let unknown = parameters.iter().find(|parameter| !known.contains(&parameter.name.as_str()))?;
    Some(replies::unknown_parameter(&unknown.name))
}
