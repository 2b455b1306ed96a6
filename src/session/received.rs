//! The Received line (RFC 5321 section 4.4) for a backend that cannot know the client: tcp with identity `none`.

use std::net::IpAddr;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::session::Session;

impl Session {
    /// One folded line, with CRLF. Its recipient is named when there is one alone: of several, each would be told of the
    /// others (RFC 5321 section 7.2). So a message that comes round again is known as a loop.
    pub(super) fn received_line(&self, wall: Timestamp) -> Bytes {
        let helo = self.helo.as_ref().map_or("unknown", |helo| &helo.name);
        let host = self.peer.host.as_deref().map(|host| format!("{host} ")).unwrap_or_default();
        let hostname = &self.snapshot.settings.hostname;
        let client = literal(self.peer.client.ip());
        let protocol = self.protocol();
        let id = &self.id;
        let date = date(wall);
        let only = match self.transaction.as_ref().map(|transaction| transaction.accepted.as_slice()) {
            Some([only]) => format!("\r\n  for <{}>", only.rcpt.recipient),
            _ => String::new(),
        };
        format!(
            "Received: from {helo} ({host}{client})\r\n  by {hostname}\r\n  with {protocol} id {id}{only}; {date}\r\n"
        )
        .into()
    }

    /// RFC 3848's names.
    fn protocol(&self) -> &'static str {
        let extended = self.helo.as_ref().is_some_and(|helo| helo.extended);
        match (extended, self.tls.is_some(), self.authenticated) {
            (false, ..) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPA",
            (true, true, false) => "ESMTPS",
            (true, true, true) => "ESMTPSA",
        }
    }
}

/// RFC 5321 section 4.1.3.
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

fn date(wall: Timestamp) -> String {
    let zoned = wall.to_zoned(jiff::tz::TimeZone::UTC);
    rfc2822::to_string(&zoned).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_literals_are_as_rfc_5322_and_5321_have_them() {
        let wall = Timestamp::from_second(1_795_395_525).expect("in range");
        assert_eq!(date(wall), "Mon, 23 Nov 2026 00:58:45 +0000");
        assert_eq!(literal("::ffff:192.0.2.1".parse().expect("an address")), "[192.0.2.1]");
        assert_eq!(literal("2001:db8::1".parse().expect("an address")), "[IPv6:2001:db8::1]");
    }
}
