//! The message, from DATA to the final reply. It is held (or streamed) while it comes in; only when it is complete and
//! has passed does the backend hear DATA or BDAT and, at the very end, the dot or the chunk's last line end. The client
//! must not hear 250 before the backend has answered.

use bytes::BytesMut;

use crate::policy::replies;
use crate::policy::throttle::Count;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::conversation::octets;
use crate::session::io::BackendEnd;
use crate::session::io::Delivery;
use crate::session::io::HoldEnd;
use crate::session::io::Line;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::question::Question;
use crate::session::record::Span;
use crate::session::request::Request;
use crate::session::state::Body;
use crate::session::state::BodyEnd;
use crate::session::state::Pending;
use crate::session::state::ReceivedMessage;
use crate::session::state::RefusedWhat;
use crate::session::state::State;
use crate::session::state::Transaction;
use crate::smtp::data::DataDecoder;
use crate::smtp::data::DataFault;
use crate::smtp::data::DataStatus;
use crate::smtp::data::Dots;
use crate::smtp::reply::Signature;
use crate::smtp::reply_reader::BackendReply;

impl Session {
    /// Handles DATA: only with recipients that the backend accepted, whatever it remembers of an earlier transaction.
    pub(super) fn data(&mut self, now: Now) {
        self.conversation.after_data = true;
        let Some(transaction) = &mut self.transaction else {
            return self.without_mail(now);
        };
        if transaction.accepted.is_empty() {
            let reply = match transaction.last_refusal {
                Some(_) if transaction.may_come_again => replies::no_recipients_for_now(),
                Some(_) => replies::no_valid_recipients(),
                None => return self.error(&replies::need_recipient(), now),
            };
            return self.refuse_late(&reply, now);
        }
        let caps = transaction.accepted.iter().filter_map(|accepted| accepted.cap);
        transaction.limit = caps.fold(transaction.limit, |limit, cap| limit.with_cap(cap));
        match self.envelope() {
            Some(key) => {
                self.ask(Question::Envelope(key), Pending::Data, now);
            }
            None => self.begin_data(now),
        }
    }

    /// Begins the message, after DATA has passed.
    pub(super) fn begin_data(&mut self, now: Now) {
        let Some(transaction) = &self.transaction else { return self.contradiction(now) };
        if transaction.snapshot.settings.hold {
            let expected = transaction.mail.size.unwrap_or(0);
            self.state = State::HoldBegin;
            self.output.push_back(Output::HoldBegin { expected, form: self.form() });
        } else {
            self.state = State::DataBegin;
            let message = self.message(None, now.wall);
            self.ask_backend(Request::Data(message), now);
        }
    }

    /// Takes the hold's result: at DATA, and while the message comes in or goes out.
    pub(super) fn held(&mut self, result: Result<(), HoldEnd>, now: Now) {
        match (&mut self.state, result) {
            (State::HoldBegin, Ok(())) => self.begin_held_body(now),
            (State::HoldBegin, Err(end)) => self.finish(hold_failed(end, &self.id), None, now),
            (State::Body(body), Err(end)) => {
                body.end.get_or_insert(BodyEnd::Hold(end));
                self.output.push_back(Output::EndMessage);
            }
            // The last octets had no room: nothing of the message may wait for the backend.
            (State::Asking { pending: Pending::Copy(received, _), .. }, Err(end)) => {
                let received = ReceivedMessage { id: received.id.take(), ..**received };
                self.output.push_back(Output::StopAsking);
                self.finish(hold_failed(end, &self.id), Some(&received), now);
            }
            (State::Settle(_), Err(end)) => {
                self.submitted_until = None;
                self.close_backend();
                let outcome = hold_failed(end, &self.id);
                self.settle(outcome, now);
            }
            _ => {}
        }
    }

    /// The trace line is the head of a message that is handed over as it is held.
    fn begin_held_body(&mut self, now: Now) {
        if self.hands_over() {
            self.output.push_back(Output::Hold(self.trace_line(now.wall)));
        }
        self.begin_body(false, now);
    }

    fn begin_body(&mut self, streaming: bool, now: Now) {
        let Some(transaction) = &self.transaction else { return self.contradiction(now) };
        let settings = &transaction.snapshot.settings;
        let exempt = settings.bare_newline_exempt_relay_client && self.client.is_relay_client();
        let message = self.message_reader(transaction);
        let dots = if streaming { Dots::Stuffed } else { Dots::Plain };
        self.state = State::Body(Box::new(Body {
            decoder: DataDecoder::new(settings.bare_newline, exempt, dots),
            message,
            began: now.monotonic,
            first: None,
            end: None,
            streaming,
        }));
        self.reply(&replies::start_data());
    }

    /// Takes octets of the message. Past a limit nothing more is kept, but reading goes on to the true end: an answer
    /// before it would make commands of the rest (RFC 5321 section 4.1.1.4).
    pub(super) fn body(&mut self, input: &mut BytesMut, now: Now) -> bool {
        let status = match &mut self.state {
            State::Body(body) if !input.is_empty() => {
                if body.first.is_none() {
                    body.first = Some(now.monotonic);
                    if self.conversation.followed {
                        self.output.push_back(Output::Said(Line::event("the message begins")));
                    }
                }
                body.decode(input, &mut self.output)
            }
            _ => return false,
        };
        self.judge_body(now);
        match status {
            _ if self.is_over() => false,
            DataStatus::More => false,
            DataStatus::End => {
                self.body_ended(now);
                true
            }
            DataStatus::Refused => {
                self.refuse_and_close(&replies::bare_newline(), Reason::BareNewline, now);
                false
            }
        }
    }

    /// Judges whether the octets so far may still pass.
    fn judge_body(&mut self, now: Now) {
        let (State::Body(body), Some(transaction)) = (&mut self.state, &self.transaction) else {
            return self.contradiction(now);
        };
        let size = body.decoder.size();
        let over = transaction.limit.exceeded(size, size - body.decoder.lines());
        if body.end.is_none() {
            body.end = match (body.decoder.fault(), over) {
                (Some(DataFault::Nul), _) => Some(BodyEnd::Nul),
                (_, Some(limit)) => Some(BodyEnd::Oversize(limit)),
                _ => return,
            };
            if !body.streaming {
                self.output.push_back(Output::EndMessage);
            } else if let Some(relay) = self.relay.take() {
                relay.close(&mut self.output);
            }
        }
        // No end is in sight: the time limits grow with the size, so there has to be another bound.
        if let Some(limit) = over.filter(|limit| size > ENDLESS.max(limit.octets.saturating_mul(2))) {
            let accepted = transaction.accepted.iter().map(|accepted| &accepted.rcpt.recipient);
            let (snapshot, recipients) = (transaction.snapshot.clone(), accepted.collect::<Vec<_>>());
            let charges = self.charges(&snapshot, Count::Rejections, 1, Some(&transaction.mail.sender), &recipients);
            self.charge(&snapshot, charges);
            self.remember_oversize();
            let ruling = Ruling::new(replies::oversize(size, limit.octets), Reason::OversizeData).by(limit.rule);
            self.rule_and_close(&ruling, now);
        }
    }

    fn body_ended(&mut self, now: Now) {
        let State::Body(body) = std::mem::replace(&mut self.state, State::Command) else {
            return self.contradiction(now);
        };
        let Body { decoder, message, first, end, streaming, .. } = *body;
        if let Some(first) = first.filter(|_| !streaming) {
            self.output.push_back(Output::Took(Span::Hold, now.monotonic.saturating_duration_since(first)));
        }
        self.patience.wait_from(now.monotonic);
        self.tell_event(|| format!("the message is complete: {}", octets(decoder.size())));
        let mut facts = message.finish();
        let id = facts.message_id.take();
        let received = ReceivedMessage::at(now.monotonic, decoder.size());
        let (lines, has_dots) = (decoder.lines(), decoder.dots() > 0);
        let received = Box::new(ReceivedMessage { lines, has_dots, id, ..received });
        match end {
            None => self.rule_on_message(received, &facts, streaming, now),
            Some(BodyEnd::Oversize(limit)) => {
                let counted = if limit.stored { received.size - received.lines } else { received.size };
                let reply = replies::oversize(counted, limit.octets);
                let ruling = Ruling::new(reply, Reason::OversizeData).by(limit.rule);
                self.remember_oversize();
                self.reject(ruling, RefusedWhat::Message(received), now);
            }
            Some(BodyEnd::Nul) => {
                let ruling = Ruling::new(replies::nul(), Reason::Protocol);
                self.refuse_message(&received, &ruling, now);
            }
            Some(BodyEnd::Hold(end)) => self.finish(hold_failed(end, &self.id), Some(&received), now),
            Some(BodyEnd::Backend(outcome)) => self.finish(*outcome, Some(&received), now),
        }
    }

    /// Takes the backend's reply to DATA.
    pub(super) fn data_replied(&mut self, reply: BackendReply, now: Now) {
        if reply.code != 354 {
            return self.settle(Outcome::backend(&reply), now);
        }
        if let Some(relay) = &mut self.relay {
            relay.begin_body(now.monotonic, &mut self.output);
        }
        if matches!(self.state, State::DataBegin) {
            self.begin_body(true, now);
        }
    }

    /// Answers 451 when the backend is gone or busy: nothing is lost, because nothing was acknowledged.
    pub(super) fn backend_lost(&mut self, end: BackendEnd, now: Now) {
        let reply = match end {
            BackendEnd::Busy => replies::backend_busy(),
            BackendEnd::Lost => replies::backend_unavailable(),
        };
        self.without_backend(|id| Outcome::ours(&reply, Reason::BackendUnavailable, id), now);
    }

    /// Gives up a backend that must not be used: it would hear in the clear what must not be, or take us for the
    /// client.
    pub(super) fn backend_unusable(&mut self, why: &str, now: Now) {
        let reply = replies::backend_unavailable();
        let outcome = |id: &Signature| Outcome::ours(&reply, Reason::BackendUnavailable, id);
        self.without_backend(|id| Outcome { backend: Some(why.to_owned()), ..outcome(id) }, now);
    }

    /// Relays a refusal in the backend's greeting to a first MAIL; a replay must not turn into a refusal of what was
    /// accepted.
    pub(super) fn backend_refused(&mut self, reply: &BackendReply, now: Now) {
        let accepted_before = self.transaction.as_ref().is_some_and(|transaction| transaction.mail_code.is_some());
        if accepted_before {
            self.backend_lost(BackendEnd::Lost, now);
        } else {
            // The answer to EHLO does without a backend.
            let close = reply.code == 421 && !matches!(self.state, State::Hello { .. });
            if close {
                self.input.parked = None;
            }
            self.without_backend(|_| Outcome::backend(reply), now);
            if close {
                self.record_connection(Some(&Outcome::backend(reply)), now);
                self.close(now);
            }
        }
    }

    fn without_backend(&mut self, outcome: impl Fn(&Signature) -> Outcome, now: Now) {
        let id = self.id.clone();
        let awaited = self.replies.awaited();
        let mail_pending = self.transaction.as_ref().is_some_and(|transaction| transaction.mail_code.is_none());
        match &self.state {
            State::Hello { .. } => self.say_extensions(now),
            State::Inquiry { .. } => {
                let Outcome { backend, line, .. } = outcome(&id);
                self.replies
                    .write(|out| out.extend_from_slice(backend.as_ref().map_or(&line, |words| words.as_bytes())));
                self.close(now);
            }
            // It is the client's turn: its next line hears of it (`auth_line`), and is no command.
            State::Auth { waiting: false } => {}
            State::Auth { waiting: true } => {
                let outcome = outcome(&id);
                self.record_login(&outcome, now);
                self.replies.push_line(outcome.line);
                self.patience.wait_from(now.monotonic);
                self.end_login();
            }
            State::Body(body) if !body.streaming => {}
            State::DataBegin | State::Body(_) | State::Settle(_) => {
                let outcome = self.outcome_of_some(outcome(&id), now);
                self.settle(outcome, now);
            }
            _ if awaited > 0 && mail_pending => self.mail_failed(outcome(&id), now),
            _ => {
                for _ in 0..awaited {
                    self.rcpt_failed(outcome(&id), now);
                }
            }
        }
    }

    fn rcpt_failed(&mut self, outcome: Outcome, now: Now) {
        if let Some((rcpt, _)) = self.transaction.as_mut().and_then(|transaction| transaction.asked.pop_front()) {
            self.record_rcpt(&rcpt, &outcome, now);
        }
        self.fill_reply(outcome.line, now);
    }

    /// Ends the message with its outcome: now, or when the client has sent it to the true end.
    pub(super) fn settle(&mut self, outcome: Outcome, now: Now) {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Body(mut body) => {
                body.end.get_or_insert(BodyEnd::Backend(Box::new(outcome)));
                self.state = State::Body(body);
            }
            State::DataBegin => self.finish(outcome, None, now),
            State::Settle(received) => self.finish(outcome, Some(&received), now),
            other => self.state = other,
        }
    }

    /// Refuses a complete message by a ruling of ours.
    pub(super) fn refuse_message(&mut self, received: &ReceivedMessage, ruling: &Ruling, now: Now) {
        let outcome = Outcome::ruled(ruling, &self.id);
        self.finish(outcome, Some(received), now);
    }

    /// Charges a message that was delivered to all recipients, or to some.
    fn charge_delivered(&mut self, transaction: &Transaction, received: &ReceivedMessage, to_all: bool) {
        let recipients: Vec<_> = match to_all {
            true => transaction.accepted.iter().map(|accepted| &accepted.rcpt.recipient).collect(),
            false => transaction.served_now().collect(),
        };
        if recipients.is_empty() {
            return;
        }
        let snapshot = &transaction.snapshot;
        let mut charges = self.charges(snapshot, Count::Messages, 1, Some(&transaction.mail.sender), &recipients);
        charges.extend(self.charges_of_octets(transaction, received.size, &recipients));
        self.charge(snapshot, charges);
        self.delivered(snapshot, &recipients);
    }

    /// Ends a transaction: its record, its costs, its reply.
    pub(super) fn finish(&mut self, outcome: Outcome, received: Option<&ReceivedMessage>, now: Now) {
        let passed_on = outcome.is_passed_on();
        if passed_on {
            self.output.push_back(Output::Deliver(Delivery::Accepted));
            self.acknowledgement.owe(now.monotonic);
        }
        if let (Some(transaction), Some(received)) = (self.end_recorded(&outcome, received, now), received) {
            self.charge_delivered(&transaction, received, passed_on);
        }
        self.output.push_back(Output::EndMessage);
        self.patience.note_message_end(now.monotonic);
        self.state = State::Command;
        self.replies.push_line(outcome.line);
        if outcome.code == Some(421) || self.client_gone {
            self.close(now);
        } else {
            self.stop_if_idle(now);
        }
    }
}

fn hold_failed(end: HoldEnd, signature: &Signature) -> Outcome {
    match end {
        HoldEnd::NoRoom => Outcome::ours(&replies::no_room(), Reason::NoRoom, signature),
        HoldEnd::Broken => Outcome::ours(&replies::internal(), Reason::NoRoom, signature),
    }
}

/// Octets of an oversized message that are read on in any case, towards its true end.
const ENDLESS: u64 = 1 << 30;
