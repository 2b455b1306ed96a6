//! The Received line (RFC 5321 section 4.4) for a backend that cannot know the client: tcp with identity `none`. It
//! must not write the line itself: `smtp::received` does.

use bytes::Bytes;
use jiff::Timestamp;

use crate::session::Session;
use crate::session::request::Held;
use crate::session::request::Message;
use crate::smtp::received::Received;

impl Session {
    /// The message as it is to be passed on.
    pub(super) fn message(&self, held: Option<Held>, wall: Timestamp) -> Message {
        let received = if self.snapshot.settings.add_received { self.received_line(wall) } else { Bytes::new() };
        let recipients = self.transaction.as_ref().map_or(1, |transaction| transaction.accepted.len());
        Message { received, recipients, held }
    }

    /// The line, folded, with CRLF. The recipient is named when there is only one, so that a message that comes round
    /// again is known as a loop.
    fn received_line(&self, wall: Timestamp) -> Bytes {
        let recipient = match self.transaction.as_ref().map(|transaction| transaction.accepted.as_slice()) {
            Some([only]) => Some(&only.rcpt.recipient),
            _ => None,
        };
        let received = Received {
            helo: self.client.helo.as_ref().map_or("", |helo| &helo.name),
            host: self.client.peer.host.as_deref(),
            client: self.client.peer.client.ip(),
            hostname: &self.snapshot.settings.hostname,
            protocol: self.protocol(),
            id: Some(&self.id.session),
            recipient,
            smtputf8: self.offer().smtputf8,
            wall,
        };
        received.field("\r\n").into()
    }

    /// The protocol's name (RFC 3848).
    pub(super) fn protocol(&self) -> &'static str {
        let extended = self.client.helo.as_ref().is_some_and(|helo| helo.extended);
        match (extended, self.client.tls.is_some(), self.client.authenticated) {
            (false, ..) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPA",
            (true, true, false) => "ESMTPS",
            (true, true, true) => "ESMTPSA",
        }
    }
}
