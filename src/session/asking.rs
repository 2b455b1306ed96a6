//! The open question and its answer. Every question is answered: when no answer comes in time, by
//! `Pending::unanswered`. It must not judge an answer itself.

use std::time::Duration;

use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::question::Answer;
use crate::session::question::Question;
use crate::session::question::Ticket;
use crate::session::state::Pending;
use crate::session::state::State;

impl Session {
    /// Asks `question`; `pending` keeps the step that its answer decides.
    pub(super) fn ask(&mut self, question: Question, pending: Pending, now: Now) {
        self.ticket = Ticket(self.ticket.0.wrapping_add(1));
        self.state = State::Asking { pending, until: now.monotonic + ANSWER };
        self.output.push_back(Output::Ask(self.ticket, Box::new(question)));
    }

    /// Acts on the answer to the open question.
    pub(super) fn answered(&mut self, answer: Answer, now: Now) {
        let (pending, until) = match std::mem::replace(&mut self.state, State::Command) {
            State::Asking { pending, until } => (pending, until),
            // The answer comes too late.
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
            // An answer to another question: this one is still open.
            (pending, _) => self.state = State::Asking { pending, until },
        }
    }
}

/// The time limit of an answer, longer than any service's own; a later answer is ignored.
const ANSWER: Duration = Duration::from_secs(15);
