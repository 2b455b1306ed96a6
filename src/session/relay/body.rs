//! The message on its way to the backend: behind DATA and 354, up to the dot, or as one chunk behind BDAT (RFC 3030). It
//! must not let the backend have a whole message before all of it has passed: the dot, or the last line end of the chunk,
//! is sent last, so that a message whose octets stop coming is never delivered.

use std::collections::VecDeque;
use std::iter::repeat_n;
use std::time::Instant;

use bytes::Bytes;

use crate::session::conversation;
use crate::session::io::Output;
use crate::session::io::Sending;
use crate::session::relay::Expected;
use crate::session::relay::Relay;
use crate::session::relay::Step;
use crate::session::request::Held;
use crate::session::request::Message;
use crate::smtp::reply_reader::BackendReply;

/// The message of the transaction.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// The message, until the backend has said 354.
    pub(super) message: Option<Message>,
    is_chunk: bool,
    is_refused: bool,
    /// The time at which the dot was sent.
    pub(super) dot_sent: Option<Instant>,
    /// Whether the dot has left us: only then can a reply be about the whole message.
    dot_written: bool,
}

impl Body {
    /// Notes, at a reply, whether nothing of what was sent still waits.
    pub(super) fn note_written(&mut self, written: bool) {
        self.dot_written = self.dot_sent.is_some() && written;
    }

    /// Whether the transaction goes on behind the reply to the dot: a refused chunk leaves it undefined up to RSET (RFC
    /// 3030 section 2).
    pub(super) fn leaves_transaction(&mut self, reply: &BackendReply) -> bool {
        self.is_refused |= !reply.is_success();
        self.is_chunk && self.is_refused
    }
}

impl Relay {
    /// Whether our final dot is on its way: from here on only the backend can end the transaction.
    pub(in crate::session) fn dot_sent(&self) -> bool {
        self.body.dot_sent.is_some()
    }

    /// Whether the dot has left us.
    pub(in crate::session) fn dot_written(&self) -> bool {
        self.body.dot_written
    }

    /// Goes on behind BDAT, which needs no 354; gives the message back if DATA was said.
    pub(super) fn begin_chunk(&mut self, message: Message, out: &mut VecDeque<Output>) -> Option<Message> {
        let Some(octets) = message.as_chunk(self.offer()) else { return Some(message) };
        self.body.is_chunk = true;
        self.expect_replies(message.recipients, self.active);
        self.tell_message(|| format!("the message goes to the backend: {}", conversation::octets(octets)), out);
        out.push_back(Output::BackendBody(Sending::Chunk(octets)));
        None
    }

    /// Begins the message after 354. The reply to its dot is outstanding from here on, so that an early one is known
    /// for what it is.
    pub(in crate::session) fn begin_body(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        let Some(Message { received, recipients, held }) = self.body.message.take() else { return };
        self.expect_replies(recipients, now);
        self.active = now;
        self.tell_message(|| format!("the message goes to the backend{}", size(held)), out);
        if !received.is_empty() {
            out.push_back(Output::Backend(received));
        }
        if let Some(held) = held {
            out.push_back(Output::BackendBody(if held.has_dots { Sending::Stuffed } else { Sending::AsHeld }));
        }
    }

    /// Whether a reply to the dot is outstanding.
    pub(in crate::session) fn awaits_dot(&self) -> bool {
        matches!(self.outstanding.front(), Some(Expected::Reply(Step::Dot, _)))
    }

    /// By LMTP there is one reply to the dot for each recipient that was accepted (RFC 2033 section 4.2).
    fn expect_replies(&mut self, recipients: usize, now: Instant) {
        let replies = if self.setup.lmtp { recipients.max(1) } else { 1 };
        self.outstanding.extend(repeat_n(Expected::Reply(Step::Dot, now), replies));
    }

    /// Ends the message: with the dot (RFC 5321 section 4.1.1.4), or the chunk's last line end.
    pub(in crate::session) fn end_body(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if self.awaits_dot() && self.body.dot_sent.is_none() {
            self.body.dot_sent = Some(now);
            self.active = now;
            self.tell_message(|| "the backend has the whole message".to_owned(), out);
            let end: &[u8] = if self.body.is_chunk { b"\r\n" } else { b".\r\n" };
            out.push_back(Output::Backend(Bytes::from_static(end)));
        }
    }
}

fn size(held: Option<Held>) -> String {
    held.map(|held| format!(": {}", conversation::octets(held.octets))).unwrap_or_default()
}
