//! The Received line as qmail-smtpd writes it (received.c of qmail 1.03), so that programs that read
//! headers on a qmail host can read ours. It must not let a stranger's name end a part of the line.

use jiff::Timestamp;

use crate::smtp::received::MAX_NAME;

/// The values of one line.
#[derive(Clone, Copy, Debug)]
pub struct QmailReceived<'a> {
    /// The client's name by DNS, or `unknown`: TCPREMOTEHOST.
    pub host: &'a str,
    /// The client's name for itself; empty when it gave none.
    pub helo: &'a str,
    /// The user on the client's side, where it is known: TCPREMOTEINFO.
    pub info: Option<&'a str>,
    /// The client's address as text: TCPREMOTEIP.
    pub address: &'a str,
    /// Our own name.
    pub hostname: &'a str,
    /// The name of the protocol (RFC 3848): `ESMTPS`.
    pub protocol: &'static str,
    /// The time of receipt.
    pub wall: Timestamp,
}

impl QmailReceived<'_> {
    /// The whole field, its lines ended by LF. The HELO name is left out where it is the name by DNS, as qmail-smtpd
    /// does; the date is in UTC, which qmail writes as `-0000`.
    pub fn field(&self) -> String {
        let Self { hostname, protocol, .. } = self;
        let host = safe(self.host);
        let is_told = !self.helo.is_empty() && !self.helo.eq_ignore_ascii_case(self.host);
        let helo = if is_told { format!(" (HELO {})", safe(self.helo)) } else { String::new() };
        let info = self.info.map(|info| format!("{}@", safe(info))).unwrap_or_default();
        let address = safe(self.address);
        let date = self.wall.strftime("%-d %b %Y %H:%M:%S -0000");
        format!("Received: from {host}{helo} ({info}{address})\n  by {hostname} with {protocol}; {date}\n")
    }
}

/// The text in ASCII, each octet that qmail does not trust written as `?`, and no longer than a line may be.
fn safe(text: &str) -> String {
    let is_safe = |octet: u8| octet.is_ascii_alphanumeric() || b".@%+/=:-_[]".contains(&octet);
    text.bytes().take(MAX_NAME).map(|octet| if is_safe(octet) { char::from(octet) } else { '?' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PLAIN: QmailReceived<'static> = QmailReceived {
        host: "unknown",
        helo: "",
        info: None,
        address: "192.0.2.1",
        hostname: "mx.example.org",
        protocol: "SMTP",
        wall: Timestamp::UNIX_EPOCH,
    };

    #[test]
    fn the_line_is_qmails() {
        let wall: Timestamp = "2026-11-03T00:58:45Z".parse().unwrap();
        let rows = [
            ("nothing known", PLAIN, "unknown (192.0.2.1)", "SMTP; 1 Jan 1970 00:00:00 -0000"),
            (
                "a name by HELO",
                QmailReceived { helo: "c.example", protocol: "ESMTPS", wall, ..PLAIN },
                "unknown (HELO c.example) (192.0.2.1)",
                "ESMTPS; 3 Nov 2026 00:58:45 -0000",
            ),
            (
                "both names are the same",
                QmailReceived { host: "h.example", helo: "H.Example", ..PLAIN },
                "h.example (192.0.2.1)",
                "SMTP; 1 Jan 1970 00:00:00 -0000",
            ),
            (
                "a user, and IPv6",
                QmailReceived { host: "h.example", helo: "[::1]", info: Some("joe"), address: "2001:db8::1", ..PLAIN },
                "h.example (HELO [::1]) (joe@2001:db8::1)",
                "SMTP; 1 Jan 1970 00:00:00 -0000",
            ),
            (
                "words that would be read as more",
                QmailReceived { helo: "a (b)\r\n by;\u{e9}", info: Some("x y"), ..PLAIN },
                "unknown (HELO a??b????by???) (x?y@192.0.2.1)",
                "SMTP; 1 Jan 1970 00:00:00 -0000",
            ),
        ];
        for (what, received, from, with) in rows {
            assert_eq!(received.field(), format!("Received: from {from}\n  by mx.example.org with {with}\n"), "{what}");
        }
        let long = "x".repeat(5000);
        let received = QmailReceived { helo: &long, info: Some(&long), host: &long, ..PLAIN };
        assert!(received.field().lines().all(|line| line.len() <= 998));
    }
}
