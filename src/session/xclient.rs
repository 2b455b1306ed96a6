//! XCLIENT: the way in which a backend of identity `xclient` hears of the client (Postfix, XCLIENT_README). It replaces
//! what the backend knows of its peer, so a value must never end the command or begin another attribute.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;

use crate::session::Session;
use crate::smtp::received;

impl Session {
    /// The attributes and their values; `None` when the backend hears of the client otherwise.
    pub(super) fn identification(&self) -> Option<Vec<(&'static str, String)>> {
        if !self.snapshot.settings.xclient {
            return None;
        }
        let helo = self.client.helo.as_ref().map_or("", |helo| &helo.name);
        let extended = self.client.helo.as_ref().is_some_and(|helo| helo.extended);
        Some(vec![
            ("ADDR", address(self.client.peer.client.ip())),
            ("PORT", self.client.peer.client.port().to_string()),
            ("NAME", self.client.peer.host.clone().unwrap_or_else(|| UNAVAILABLE.to_owned())),
            ("HELO", received::clean(helo).into_owned()),
            ("PROTO", if extended { "ESMTP" } else { "SMTP" }.to_owned()),
            ("DESTADDR", address(self.client.peer.local.ip())),
            ("DESTPORT", self.client.peer.local.port().to_string()),
        ])
    }
}

/// The command, with those attributes that the backend knows.
pub(super) fn command(attributes: &[(&'static str, String)], known: &str) -> Bytes {
    let mut line = String::from("XCLIENT");
    let offered = |name: &str| known.split_ascii_whitespace().any(|known| known == name);
    for (name, value) in attributes.iter().filter(|(name, _)| offered(name)) {
        let _ = write!(line, " {name}=");
        value.bytes().for_each(|octet| encode(octet, &mut line));
    }
    line.push_str("\r\n");
    line.into()
}

fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPV6:{ip}"),
    }
}

/// Writes an octet as xtext (RFC 3461 section 4).
fn encode(octet: u8, line: &mut String) {
    match octet {
        b'!'..=b'~' if octet != b'+' && octet != b'=' => line.push(char::from(octet)),
        _ => _ = write!(line, "+{octet:02X}"),
    }
}

/// The value of a name that is known not to exist.
const UNAVAILABLE: &str = "[UNAVAILABLE]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_nothing_that_could_mean_more() {
        let attributes = [
            ("ADDR", address(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]))),
            ("HELO", "a b=c+d\r\nQUIT".to_owned()),
            ("PORT", "25".to_owned()),
        ];
        let line = command(&attributes, "NAME ADDR HELO");
        assert_eq!(line, "XCLIENT ADDR=IPV6:2001:db8::1 HELO=a+20b+3Dc+2Bd+0D+0AQUIT\r\n");
    }
}
