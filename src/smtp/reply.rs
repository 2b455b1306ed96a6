//! A server's reply and its writing: code, enhanced status (RFC 3463) and text; and what EHLO offers. It must not know
//! what is said: no octet that a peer sent gets out of here uncleaned, whatever the text.
//!
//! A refusal ends with the session's id in brackets, so that an operator finds it in the log.
//!
//! Deviations from RFC 5321: none. What is not ASCII is written as `?`, also to a client that asked for SMTPUTF8 (RFC
//! 6531 section 3.7.4.2 would allow it).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BufMut;
use bytes::BytesMut;

/// One line of ours to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The enhanced status: `5.7.1`, or empty where RFC 2034 wants none (greeting, HELO, 354).
    pub status: &'static str,
    /// The text for people.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// Whether the client did not get what it asked for, now or for good.
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Whether the reply refuses for good by an operator's setting, so that its reader may want to ask the operator.
    fn is_of_policy(&self) -> bool {
        self.code >= 500 && matches!(self.status, "5.3.4" | "5.4.6" | "5.7.1")
    }

    /// Appends the reply as it goes over the wire: at most 510 octets of printable ASCII and the line end. A long text is
    /// cut, the signature never.
    pub fn write(&self, signature: &Signature, out: &mut BytesMut) {
        let Signature { session, contact } = signature;
        let contact = if self.is_of_policy() { &**contact } else { "" };
        let start = out.len();
        out.reserve("550 5.7.1 ; questions:  []\r\n".len() + self.text.len() + contact.len() + session.len());
        write_code(self.code, out);
        if !self.status.is_empty() {
            out.put_u8(b' ');
            out.put_slice(self.status.as_bytes());
        }
        if !self.text.is_empty() {
            out.put_u8(b' ');
            write_printable(&self.text, out);
        }
        let tail = if self.is_refusal() { " []".len() + session.len() } else { 0 };
        let tail = if contact.is_empty() { tail } else { tail + BEFORE_CONTACT.len() + contact.len() };
        let room = (MAX_REPLY_LINE - 2).saturating_sub(tail);
        if out.len() - start > room {
            out.truncate(start + room.saturating_sub(CUT.len()));
            out.put_slice(CUT.as_bytes());
        }
        if !contact.is_empty() {
            out.put_slice(BEFORE_CONTACT.as_bytes());
            write_printable(contact, out);
        }
        if self.is_refusal() {
            out.put_slice(b" [");
            write_printable(session, out);
            out.put_u8(b']');
        }
        out.put_slice(b"\r\n");
    }

    /// The reply without its line end, for people.
    pub fn line(&self, signature: &Signature) -> String {
        let mut octets = BytesMut::new();
        self.write(signature, &mut octets);
        String::from_utf8_lossy(octets.trim_ascii_end()).into_owned()
    }
}

/// The signature behind the text of a refusal.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The session's id, behind every refusal.
    pub session: Arc<str>,
    /// The contact for questions, behind refusals for good by an operator's setting; may be empty.
    pub contact: Arc<str>,
}

/// The extensions in the answer to EHLO: the backend's, or ours. The default offers nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The limit in octets; 0: there is none; `None`: not offered.
    pub size: Option<u64>,
    /// Whether 8BITMIME is offered.
    pub eight_bit_mime: bool,
    /// Whether PIPELINING is offered.
    pub pipelining: bool,
    /// Whether SMTPUTF8 is offered.
    pub smtputf8: bool,
    /// Whether ENHANCEDSTATUSCODES is offered.
    pub enhanced: bool,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Whether DSN is offered.
    pub dsn: bool,
    /// The mechanisms of AUTH.
    pub auth: Option<String>,
    /// Whether CHUNKING is offered. Only ever heard, never offered.
    pub chunking: bool,
    /// The attributes of XCLIENT. Only ever heard, never offered.
    pub xclient: Option<String>,
}

impl Offer {
    /// An empty offer.
    pub const NONE: Self = Self {
        size: None,
        eight_bit_mime: false,
        pipelining: false,
        smtputf8: false,
        enhanced: false,
        starttls: false,
        dsn: false,
        auth: None,
        chunking: false,
        xclient: None,
    };

    /// Hands out the keyword lines, each as it stands in the reply: a keyword, and what follows it. XCLIENT and CHUNKING
    /// are none of them.
    pub fn keywords(&self, mut line: impl FnMut(&str, &str)) {
        if let Some(mechanisms) = &self.auth {
            line("AUTH ", mechanisms);
        }
        let flags = [
            (self.eight_bit_mime, "8BITMIME"),
            (self.dsn, "DSN"),
            (self.enhanced, "ENHANCEDSTATUSCODES"),
            (self.pipelining, "PIPELINING"),
            (self.smtputf8, "SMTPUTF8"),
            (self.starttls, "STARTTLS"),
        ];
        flags.iter().filter(|(offered, _)| *offered).for_each(|(_, keyword)| line(keyword, ""));
        match self.size {
            None => {}
            Some(0) => line("SIZE ", "0"),
            Some(limit) => line("SIZE ", &limit.to_string()),
        }
    }
}

/// Appends the answer to EHLO (RFC 5321 section 4.1.1.1): our name, then a line for each keyword.
pub fn ehlo(hostname: &str, offer: &Offer, out: &mut BytesMut) {
    out.reserve(USUAL_EHLO);
    let mut last = out.len();
    let mut line = |keyword: &str, rest: &str| {
        last = out.len();
        out.put_slice(b"250-");
        write_printable(keyword, out);
        write_printable(rest, out);
        out.truncate(last + MAX_REPLY_LINE - 2);
        out.put_slice(b"\r\n");
    };
    line(hostname, "");
    offer.keywords(line);
    out[last + 3] = b' ';
}

fn write_code(code: u16, out: &mut BytesMut) {
    out.extend([100, 10, 1].map(|place| b'0' + (code / place % 10) as u8));
}

/// Writes a text with a `?` for each character that is not printable ASCII.
fn write_printable(text: &str, out: &mut BytesMut) {
    let is_printable = |octet: u8| octet.wrapping_sub(b' ') <= b'~' - b' ';
    // All octets are looked at, without an early end: sixteen at a time.
    if text.bytes().fold(true, |all, octet| all & is_printable(octet)) {
        out.put_slice(text.as_bytes());
    } else {
        out.extend(
            text.chars()
                .map(|character| u8::try_from(character).ok().filter(|octet| is_printable(*octet)).unwrap_or(b'?')),
        );
    }
}

/// Octets of the longest reply line, CRLF included (RFC 5321 section 4.5.3.1.5).
const MAX_REPLY_LINE: usize = 512;
/// Octets that mostly suffice for the answer to EHLO.
const USUAL_EHLO: usize = 192;
const CUT: &str = "...";
const BEFORE_CONTACT: &str = "; questions: ";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signature(session: &str, contact: &str) -> Signature {
        Signature { session: session.into(), contact: contact.into() }
    }

    fn reply(code: u16, status: &'static str, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, status, text: text.into() }
    }

    #[test]
    fn replies_as_they_are_written() {
        let rows = [
            ("no id behind a greeting", reply(220, "", "mx.example.org ESMTP"), "220 mx.example.org ESMTP"),
            ("no id behind a success", reply(250, "2.0.0", "Ok"), "250 2.0.0 Ok"),
            ("a refusal ends with the id", reply(554, "5.7.1", "<a@b> is blocked"), "554 5.7.1 <a@b> is blocked [s1]"),
            ("a control octet of a peer", reply(501, "5.5.4", "A\r\n250 ok\u{9b}é\t"), "501 5.5.4 A??250 ok??? [s1]"),
        ];
        for (sentence, reply, line) in rows {
            let signature = signature("s1", "");
            assert_eq!(reply.line(&signature), line, "{sentence}");
            let mut out = BytesMut::new();
            reply.write(&signature, &mut out);
            assert_eq!(out, format!("{line}\r\n").as_bytes(), "{sentence}");
        }
    }

    #[test]
    fn a_long_text_is_cut_but_not_the_signature() {
        let mut out = BytesMut::new();
        reply(554, "5.7.1", "é".repeat(899)).write(&signature("session-1", ""), &mut out);
        assert_eq!(out.len(), 512);
        assert!(out.ends_with(b"?... [session-1]\r\n"));
        let long = reply(554, "5.7.1", "a".repeat(899)).line(&signature("s1", "https://example.org/postmaster"));
        assert_eq!(long.len(), 510);
        assert!(long.ends_with("aaa...; questions: https://example.org/postmaster [s1]"));
    }

    #[test]
    fn whom_to_ask_about_a_refusal() {
        let rows = [
            (reply(554, "5.7.1", "No"), "554 5.7.1 No; questions: https://example.org/postmaster [s1]"),
            (reply(554, "5.4.6", "No"), "554 5.4.6 No; questions: https://example.org/postmaster [s1]"),
            (reply(500, "5.5.2", "Syntax error"), "500 5.5.2 Syntax error [s1]"),
            (reply(530, "5.7.0", "Send STARTTLS first"), "530 5.7.0 Send STARTTLS first [s1]"),
            (reply(450, "4.7.1", "Later"), "450 4.7.1 Later [s1]"),
            (reply(250, "2.0.0", "Ok"), "250 2.0.0 Ok"),
        ];
        for (reply, line) in rows {
            assert_eq!(reply.line(&signature("s1", "https://example.org/postmaster")), line);
        }
    }

    #[test]
    fn ehlo_lists_what_is_offered() {
        let all = Offer {
            size: Some(0),
            eight_bit_mime: true,
            pipelining: true,
            smtputf8: true,
            enhanced: true,
            starttls: true,
            dsn: true,
            auth: Some("PLAIN LOGIN".to_owned()),
            chunking: true,
            xclient: None,
        };
        let all_lines = "250-mx\r\n250-AUTH PLAIN LOGIN\r\n250-8BITMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n\
                         250-PIPELINING\r\n250-SMTPUTF8\r\n250-STARTTLS\r\n250 SIZE 0\r\n";
        let rows = [
            ("nothing", Offer::default(), "250 mx\r\n"),
            ("a size", Offer { size: Some(1000), ..Offer::default() }, "250-mx\r\n250 SIZE 1000\r\n"),
            ("everything", all, all_lines),
        ];
        for (sentence, offer, lines) in rows {
            let mut out = BytesMut::new();
            ehlo("mx", &offer, &mut out);
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), lines, "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn a_reply_is_one_line_whatever_is_in_it(text in any::<String>(), session in "[a-z0-9]{1,40}", contact in ".{0,100}") {
            let signature = signature(&session, &contact);
            for reply in [reply(554, "5.7.1", text.clone()), reply(220, "", text.clone()), reply(501, "5.5.4", text)] {
                let line = reply.line(&signature);
                prop_assert!(line.len() <= 510);
                prop_assert!(line.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
                prop_assert_eq!(line.ends_with(&format!(" [{session}]")), reply.is_refusal());
            }
        }
    }
}
