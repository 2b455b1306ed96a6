//! What is said in a session, for operators that follow it: commands and replies of both sides, and what happens between
//! them. It must not show a secret, nor an octet of a message: AUTH and its lines are masked, a message is told by its
//! size, and so is what may be the text of a message whose DATA was refused.

use crate::session::Session;
use crate::session::io::BackendEnd;
use crate::session::io::Line;
use crate::session::io::Output;
use crate::session::io::Side;
use crate::session::record::Record;
use crate::session::words;
use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::reply_reader::BackendReply;

/// What a session has to remember to tell of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conversation {
    /// Whether anybody wants to hear of it.
    pub(super) followed: bool,
    /// Whether DATA was said since the last MAIL: what follows may be a message that was sent in spite of a refusal.
    pub(super) after_data: bool,
}

impl Line {
    /// A line of this text, cut where it is long.
    pub(super) fn new(side: Side, text: &[u8]) -> Self {
        let text = match text.len() > LONGEST {
            true => [&text[..LONGEST], CUT].concat().into(),
            false => text.into(),
        };
        Self { side, text }
    }

    /// An event.
    pub(super) fn event(text: &str) -> Self {
        Self::new(Side::Event, text.as_bytes())
    }

    /// The lines of a reply. The text of 334 is part of an AUTH exchange.
    pub(super) fn of_reply(side: Side, octets: &[u8]) -> impl Iterator<Item = Self> {
        let lines = octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        lines.map(move |line| match line.strip_suffix(b"\r").unwrap_or(line) {
            line if line.starts_with(b"334") => Self::new(side, b"334 ****"),
            line => Self::new(side, line),
        })
    }
}

impl Session {
    /// Tells from now on what is said, or no longer.
    pub fn follow(&mut self, followed: bool) {
        self.conversation.followed = followed;
        if let Some(relay) = &mut self.relay {
            relay.follow(followed);
        }
    }

    /// Tells of a command line of the client.
    #[inline]
    pub(super) fn tell_command(&mut self, line: &[u8]) {
        if self.conversation.followed {
            let text = shown(line, self.trace.after_auth(), self.conversation.after_data);
            self.tell(Side::FromClient, &text);
        }
    }

    /// Tells of a line of the client in an AUTH exchange.
    pub(super) fn tell_auth_line(&mut self, line: &[u8]) {
        if self.conversation.followed {
            self.tell(Side::FromClient, masked(line));
        }
    }

    /// Tells of replies to the client.
    #[inline]
    pub(super) fn tell_replies(&mut self, octets: &[u8]) {
        if self.conversation.followed {
            self.output.extend(Line::of_reply(Side::ToClient, octets).map(Output::Said));
        }
    }

    /// Tells of the backend's reply to a message that it was handed.
    pub(super) fn tell_submission(&mut self, reply: &BackendReply) {
        if self.conversation.followed {
            self.output.extend(Line::of_reply(Side::FromBackend, &reply.line()).map(Output::Said));
        }
    }

    /// Tells of the record's verdict.
    pub(super) fn tell_verdict(&mut self, record: &Record) {
        if self.conversation.followed
            && let Some(text) = verdict(record)
        {
            self.tell(Side::Event, text.as_bytes());
        }
    }

    /// Tells of an event.
    pub(super) fn tell_event(&mut self, text: impl FnOnce() -> String) {
        if self.conversation.followed {
            self.tell(Side::Event, text().as_bytes());
        }
    }

    /// Tells how the backend's side ended.
    pub(super) fn tell_backend_end(&mut self, end: BackendEnd) {
        self.tell_event(|| match end {
            BackendEnd::Busy => "no session with the backend is free".to_owned(),
            BackendEnd::Lost => "the connection to the backend is lost, or could not be opened".to_owned(),
        });
    }

    #[cold]
    fn tell(&mut self, side: Side, text: &[u8]) {
        self.output.push_back(Output::Said(Line::new(side, text)));
    }
}

/// A line of an AUTH exchange: nothing of it but that the exchange is cancelled.
pub(super) fn masked(line: &[u8]) -> &[u8] {
    if line == b"*" { line } else { MASK }
}

/// A command line without its secrets. `after_auth`: AUTH was said in this session, so that a line that is no command may
/// be part of an exchange that was refused; `after_data`: it may be a line of a message.
fn shown(line: &[u8], after_auth: bool, after_data: bool) -> Vec<u8> {
    if command::is_tls_hello(line) {
        return b"(a TLS handshake, without STARTTLS)".to_vec();
    }
    if after_data {
        match command::parse(line) {
            Ok(Command::Auth { .. } | Command::Ehlo(_) | Command::Helo(_) | Command::Mail(_) | Command::Rcpt(_)) => {}
            Ok(Command::Http | Command::TlsHello | Command::Unknown | Command::Unsupported(_)) | Err(_) => {
                return format!("(no command: {})", octets(line.len() as u64)).into_bytes();
            }
            Ok(_) => return line.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_vec(),
        }
    }
    if after_auth && words::is_no_command(line) {
        return MASK.to_vec();
    }
    let shown = words::shown(line);
    match shown.len() < line.len() {
        true => [shown, b" ", MASK].concat(),
        false => line.to_vec(),
    }
}

/// A number of octets, as people write it.
pub(super) fn octets(number: u64) -> String {
    format!("{number} octet{}", if number == 1 { "" } else { "s" })
}

/// The verdict as a line: `mail: reject 554 blocked_sender, badmailfrom:1`.
fn verdict(record: &Record) -> Option<String> {
    let mut text = format!("{}: {}", record.kind.as_str(), record.verdict?);
    let code = record.code.map(|code| format!(" {code}"));
    let reason = record.reason.map(|reason| format!(" {reason}"));
    let rule = record.rule.as_ref().map(|rule| format!(", {rule}"));
    text.extend([code, reason, rule].into_iter().flatten());
    Some(text)
}

/// Octets of a line that are shown.
const LONGEST: usize = 1000;
const CUT: &[u8] = b"...";
const MASK: &[u8] = b"****";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_secrets() {
        let table: &[(&str, &[u8], &str, &str, &str)] = &[
            (
                "MAIL",
                b"MAIL FROM:<a@b> SIZE=3",
                "MAIL FROM:<a@b> SIZE=3",
                "MAIL FROM:<a@b> SIZE=3",
                "MAIL FROM:<a@b> SIZE=3",
            ),
            ("AUTH", b"AUTH PLAIN AGEAYg==", "AUTH PLAIN ****", "AUTH PLAIN ****", "AUTH PLAIN ****"),
            ("AUTH alone", b"auth login", "auth login", "auth login", "auth login"),
            ("no mechanism", b"AUTH AGEAYg==", "AUTH ****", "AUTH ****", "(no command: 13 octets)"),
            (
                "XCLIENT",
                b"XCLIENT NAME=a LOGIN=joe ADDR=b",
                "XCLIENT NAME=a LOGIN= ****",
                "XCLIENT NAME=a LOGIN= ****",
                "(no command: 31 octets)",
            ),
            ("a line of a refused exchange", b"c2VjcmV0", "c2VjcmV0", "****", "(no command: 8 octets)"),
            ("a line of a message", b"Help wanted", "Help wanted", "Help wanted", "Help"),
            ("a field of a header", b"Subject: x", "Subject: ****", "****", "(no command: 10 octets)"),
            (
                "TLS",
                b"\x16\x03\x01\0",
                "(a TLS handshake, without STARTTLS)",
                "(a TLS handshake, without STARTTLS)",
                "(a TLS handshake, without STARTTLS)",
            ),
            ("nothing", b"", "", "****", "(no command: 0 octets)"),
        ];
        for (what, line, plain, after_auth, after_data) in table {
            let text = |auth, data| String::from_utf8(shown(line, auth, data)).unwrap();
            let told = [text(false, false), text(true, false), text(false, true)];
            assert_eq!(told, [*plain, *after_auth, *after_data], "{what}");
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(Line::new(Side::ToClient, &[b'x'; 1000]).text.len(), 1000);
        let cut = Line::new(Side::ToClient, &[b'x'; 1001]).text;
        assert_eq!((cut.len(), cut.ends_with(b"x...")), (1003, true));
    }

    #[test]
    fn a_reply_is_told_line_by_line_and_a_challenge_is_not() {
        let text = |octets: &[u8]| -> Vec<String> {
            let lines = Line::of_reply(Side::ToClient, octets);
            lines.map(|line| String::from_utf8(line.text.into()).unwrap()).collect()
        };
        assert_eq!(text(b"250-a\r\n250 b\r\n221 c\r\n"), ["250-a", "250 b", "221 c"]);
        assert_eq!(text(b"334 c2VjcmV0\r\n"), ["334 ****"]);
    }
}
