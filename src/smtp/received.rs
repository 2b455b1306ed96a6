//! The Received line (RFC 5321 section 4.4), and the names of strangers made clean: for that line, and for the EHLO and the
//! XCLIENT that a backend hears. Values in, octets out; it must not ask the clock.
//!
//! Deviation from the RFC: a client's name for itself need not be a domain. Text that could be read as another part of
//! the line is written as `?`, as Postfix does.

pub mod qmail;

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::smtp::address::Address;
use crate::smtp::address::a_labels;

/// The values of one line.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The client's name for itself; empty when it gave none.
    pub helo: &'a str,
    /// The client's name by DNS.
    pub host: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// Our own name.
    pub hostname: &'a str,
    /// The name of the protocol (RFC 3848): `ESMTPS`.
    pub protocol: &'static str,
    /// The session's id, as our log has it.
    pub id: Option<&'a str>,
    /// The recipient, only where there is one alone: of several, each would be told of the others (RFC 5321 section 7.2).
    pub recipient: Option<&'a Address>,
    /// Whether the backend takes more than ASCII (RFC 6531 section 3.7.3).
    pub smtputf8: bool,
    /// The time of receipt.
    pub wall: Timestamp,
}

impl Received<'_> {
    /// The whole field, each of its lines ended by `newline`. None is longer than 998 octets (RFC 5322 section 2.1.1).
    pub fn field(&self, newline: &str) -> String {
        let Self { hostname, protocol, .. } = self;
        let helo = clean(self.helo);
        let host = self.host.map(|host| format!("{} ", clean(host))).unwrap_or_default();
        let client = literal(self.client);
        let id = self.id.map(|id| format!(" id {id}")).unwrap_or_default();
        let recipient = self.recipient.filter(|recipient| self.smtputf8 || recipient.is_ascii());
        let only = recipient.map(|recipient| format!("{newline}  for <{recipient}>")).unwrap_or_default();
        let date = date(self.wall);
        format!(
            "Received: from {helo} ({host}{client}){newline}  by {hostname}{newline}  with {protocol}{id}{only}; {date}{newline}"
        )
    }
}

/// The name for EHLO and HELO to a backend: the client's own where it could be one, else `unknown`.
pub fn told(name: &str) -> Cow<'_, str> {
    plausible(name).unwrap_or(Cow::Borrowed(UNKNOWN))
}

/// The name for a trace header, or for XCLIENT, from which a backend makes one: in ASCII, of at most 255 octets, each
/// that could mean more written as `?`, and `unknown` where the client gave none.
pub fn clean(name: &str) -> Cow<'_, str> {
    plausible(name).unwrap_or_else(|| {
        let clean = |c: char| if is_harmless(c) { c } else { '?' };
        match name {
            "" => Cow::Borrowed(UNKNOWN),
            _ => name.chars().take(MAX_NAME).map(clean).collect::<String>().into(),
        }
    })
}

/// A name in ASCII that looks like nothing but a name: a domain, a name that is none but does no harm, or an address
/// literal.
fn plausible(name: &str) -> Option<Cow<'_, str>> {
    let name = a_labels(name);
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    let fits = !inner.is_empty() && name.len() <= MAX_NAME && inner.chars().all(is_harmless);
    fits.then_some(name)
}

/// Whether a name may have the character: an atom of RFC 5322 may, or it is a dot, or a colon of an IPv6 address.
fn is_harmless(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._:!#$%&'*+/=?^`{|}~".contains(c)
}

/// An address literal (RFC 5321 section 4.1.3).
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

fn date(wall: Timestamp) -> String {
    let zoned = wall.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    rfc2822::to_string(&zoned).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// Octets of the longest domain (RFC 5321 section 4.5.3.1.2).
const MAX_NAME: usize = 255;
const UNKNOWN: &str = "unknown";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn nobody_forges_the_line() {
        let rows = [
            ("all known", "192.0.2.1", Some("h.example"), "c.example", "c.example (h.example [192.0.2.1])"),
            ("no name by DNS", "192.0.2.1", None, "c.example", "c.example ([192.0.2.1])"),
            ("a mapped address", "::ffff:192.0.2.1", None, "[192.0.2.1]", "[192.0.2.1] ([192.0.2.1])"),
            ("IPv6", "2001:db8::1", None, "c", "c ([IPv6:2001:db8::1])"),
            ("a name with a comment", "192.0.2.1", None, "a (b\r\n; c", "a??b????c ([192.0.2.1])"),
            ("a name that would end the clause", "192.0.2.1", None, "x(x);by=evil", "x?x??by=evil ([192.0.2.1])"),
            ("brackets within", "192.0.2.1", None, "a[b]", "a?b? ([192.0.2.1])"),
            ("a literal within a literal", "192.0.2.1", None, "[[::1]]", "??::1?? ([192.0.2.1])"),
            ("an at sign, quotes, an escape", "192.0.2.1", None, "a@\"b\\c\"", "a??b?c? ([192.0.2.1])"),
            ("somebody's computer", "192.0.2.1", None, "Bob's", "Bob's ([192.0.2.1])"),
            ("an underscore", "192.0.2.1", None, "my_host", "my_host ([192.0.2.1])"),
            ("a U-label", "192.0.2.1", Some("bücher.example"), "BÜRO-PC", {
                "xn--bro-pc-3ya (xn--bcher-kva.example [192.0.2.1])"
            }),
            ("what was no UTF-8", "192.0.2.1", None, "b\u{fffd}ro", "b?ro ([192.0.2.1])"),
            ("no name at all", "192.0.2.1", Some(""), "", "unknown (unknown [192.0.2.1])"),
        ];
        for (what, client, host, helo, expected) in rows {
            let received = Received { helo, host, client: client.parse().unwrap(), ..plain() };
            let field = received.field("\n");
            let from = field.strip_prefix("Received: from ").and_then(|rest| rest.split_once('\n')).unwrap().0;
            assert_eq!(from, expected, "{what}");
        }
    }

    #[test]
    fn what_a_backend_is_told() {
        let rows = [
            ("a domain", "client.example", "client.example"),
            ("a literal", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("no domain, but harmless", "Bob's", "Bob's"),
            ("a U-label", "büro.example", "xn--bro-hoa.example"),
            ("not to be converted", "b\u{fffd}ro", "unknown"),
            ("a comment", "b(x);by=evil", "unknown"),
            ("nothing", "", "unknown"),
            ("an empty literal", "[]", "unknown"),
        ];
        for (what, name, expected) in rows {
            assert_eq!(told(name), expected, "{what}");
        }
    }

    #[test]
    fn the_whole_field() {
        let (joe, utf8) = (parse_address(b"joe@x.example").unwrap(), parse_address("jö@x.example".as_bytes()).unwrap());
        let received = Received { id: Some("S"), recipient: Some(&joe), ..plain() };
        let expected = "Received: from c ([192.0.2.1])\r\n  by mx.example\r\n  with ESMTP id S\r\n  for <joe@x.example>; \
                        Mon, 23 Nov 2026 00:58:45 +0000\r\n";
        assert_eq!(received.field("\r\n"), expected);
        assert!(!Received { recipient: Some(&utf8), ..plain() }.field("\n").contains("for"));
        let field = Received { recipient: Some(&utf8), smtputf8: true, ..plain() }.field("\n");
        assert!(field.contains("  for <jö@x.example>; "), "{field}");
    }

    proptest! {
        #[test]
        fn one_field_in_ascii_whatever_is_in_it(helo in "\\PC{0,300}|[ -~\\r\\n\\t]{0,300}", host in "\\PC{0,300}") {
            let long = parse_address(format!("{}@x", "a".repeat(800)).as_bytes()).unwrap();
            let field = Received { helo: &helo, host: Some(&host), recipient: Some(&long), ..plain() }.field("\r\n");
            prop_assert!(field.is_ascii());
            let lines: Vec<&str> = field.strip_suffix("\r\n").unwrap().split("\r\n").collect();
            prop_assert!(lines.iter().all(|line| line.len() <= 998 && !line.contains(|c: char| c.is_ascii_control())));
            prop_assert!(lines[1..].iter().all(|line| line.starts_with("  ")));
            prop_assert_eq!((lines.len(), field.matches([';', '(', ')']).count()), (4, 3));
            prop_assert!(told(&helo).chars().all(|c| c.is_ascii_graphic() && !"()<>;,\"\\@".contains(c)));
        }
    }

    fn plain() -> Received<'static> {
        let wall = Timestamp::from_second(1_795_395_525).expect("in range");
        let (client, hostname, protocol) = ([192, 0, 2, 1].into(), "mx.example", "ESMTP");
        let (host, id, recipient, smtputf8) = (None, None, None, false);
        Received { helo: "c", host, client, hostname, protocol, id, recipient, smtputf8, wall }
    }
}
