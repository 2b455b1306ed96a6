//! Lines of smtpfront-qmail (mailfront): a client's commands, the replies that refuse, and what was accepted. It logs
//! no client address; the pid joins it to tcpserver's lines. It must not remember another line.

use memchr::memchr;

use crate::logs::words::cut;
use crate::logs::words::number;
use crate::logs::words::word;
use crate::policy::verdict::Reason;

/// An event in the log of smtpfront-qmail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `MAIL FROM:<a@b> SIZE=2048`
    Mail {
        /// The path as the client sent it, with or without its angle brackets.
        sender: &'a [u8],
        /// The size that SIZE= declares.
        size: Option<u64>,
    },
    /// `RCPT TO:<a@b>`
    Rcpt {
        /// The path as the client sent it, with or without its angle brackets.
        recipient: &'a [u8],
    },
    /// `2.6.0 Accepted message qp 17294 bytes 263`
    Accepted {
        /// Process of qmail-queue; joins it to qmail-send's lines.
        qp: u32,
        /// Octets with LF line ends.
        bytes: u64,
    },
    /// A reply of 400 or more.
    Reply {
        /// The reply's code.
        code: u16,
        /// The text behind the code.
        text: &'a [u8],
    },
    /// `Connection dropped`, inside of DATA.
    Dropped,
    /// `Timed out`, inside of DATA.
    TimedOut,
    /// `bytes in: 410 bytes out: 452`: the end.
    Bytes,
    /// Another command.
    Other,
}

/// Reads what follows `mailfront[PID]: `.
pub fn read(text: &[u8]) -> Event<'_> {
    match text {
        [b'M', b'A', b'I', b'L', b' ', argument @ ..] => {
            let (sender, parameters) = path(argument);
            Event::Mail { sender, size: declared(parameters) }
        }
        [b'R', b'C', b'P', b'T', b' ', argument @ ..] => Event::Rcpt { recipient: path(argument).0 },
        b"Connection dropped" => Event::Dropped,
        b"Timed out" => Event::TimedOut,
        [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', b' ', rest @ ..] => {
            Event::Reply { code: number(&text[..3]).unwrap_or(0), text: rest }
        }
        _ if text.starts_with(b"bytes in: ") => Event::Bytes,
        _ => accepted(text).unwrap_or(Event::Other),
    }
}

/// The process, and the text behind it, if this is a line of it.
pub(super) fn prefix(text: &[u8]) -> Option<(u32, &[u8])> {
    let rest = NAMES.iter().find_map(|name| text.strip_prefix(*name))?;
    let (pid, rest) = cut(rest.get(..rest.len().min(12))?, b"]: ").map(|(pid, _)| (pid, &rest[pid.len() + 3..]))?;
    Some((number(pid)?, rest))
}

/// The queue process in `2.6.0 Accepted message qp 17294 bytes 263`, as the backend's reply has it in our own lines.
pub fn queued(reply: &[u8]) -> Option<u32> {
    let (_, rest) = cut(reply, b" qp ")?;
    number(word(rest).0)
}

/// The reason, as one of ours.
pub fn reason(code: u16, text: &[u8]) -> Reason {
    let says = |what: &str| memchr::memmem::find(text, what.as_bytes()).is_some();
    let known = TEXTS.iter().find(|(what, _)| says(what)).map(|(_, reason)| *reason);
    known.unwrap_or(match code {
        500..=504 => Reason::Protocol,
        400..500 => Reason::BackendDeferred,
        _ => Reason::BackendRejected,
    })
}

/// Whether a reply after RCPT is about the message: nothing is logged of DATA.
pub fn is_about_the_message(text: &[u8]) -> bool {
    matches!(text, [b'2' | b'4' | b'5', b'.', b'2' | b'3' | b'6', b'.', ..])
        || text.starts_with(b"5.5.1 You must send RCPT")
}

/// The path of a command's argument with its brackets, and the parameters behind it.
fn path(argument: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = memchr(b'<', argument) else {
        let (_, rest) = cut(argument, b":").unwrap_or((argument, argument));
        return word(rest.trim_ascii_start());
    };
    let (mut quoted, mut escaped) = (false, false);
    let ends = |octet: &u8| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    };
    let rest = &argument[start..];
    let end = rest.iter().position(ends).map_or(rest.len(), |at| at + 1);
    rest.split_at(end)
}

fn declared(parameters: &[u8]) -> Option<u64> {
    let mut words = parameters.split(|octet| *octet == b' ');
    words.find_map(|word| {
        let (name, value) = word.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"SIZE=").then(|| number(value)).flatten()
    })
}

fn accepted(text: &[u8]) -> Option<Event<'_>> {
    let (before, rest) = cut(text, b"Accepted message qp ")?;
    let (qp, bytes) = cut(rest, b" bytes ")?;
    // A client may send the same text as a command.
    let is_reply = before.is_empty() || before == b"2.6.0 ";
    is_reply.then_some(Event::Accepted { qp: number(qp)?, bytes: number(bytes)? })
}

const NAMES: &[&[u8]] = &[b"mailfront[", b"smtpfront-qmail[", b"smtpfront["];

const TEXTS: &[(&str, Reason)] = &[
    ("in my badmailfrom list", Reason::BlockedSender),
    ("Sender contains a disallowed domain", Reason::BlockedSender),
    ("in my badrcptto list", Reason::BlockedRecipient),
    ("not configured to accept that recipient", Reason::NotLocal),
    ("that recipient does not exist", Reason::UnknownRecipient),
    ("would exceed the maximum message size", Reason::OversizeDeclared),
    ("exceeds the maximum message length", Reason::OversizeData),
    ("Too many recipients", Reason::TooManyRecipients),
    ("Too many messages", Reason::Throttled),
    ("Too many hops", Reason::Loop),
    ("You must send", Reason::Protocol),
    ("Not implemented", Reason::Protocol),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mail = |sender, size| Event::Mail { sender, size };
        let table: &[(&str, Event<'_>)] = &[
            ("MAIL FROM:<a@b.example>", mail(b"<a@b.example>", None)),
            ("MAIL FROM:<a@b.example> SIZE=2048 BODY=8BITMIME", mail(b"<a@b.example>", Some(2048))),
            ("MAIL FROM:<\"a>b\"@c.example> size=1", mail(b"<\"a>b\"@c.example>", Some(1))),
            ("MAIL FROM: a@b.example SIZE=9", mail(b"a@b.example", Some(9))),
            ("MAIL FROM:<a@b.example", mail(b"<a@b.example", None)),
            ("MAIL FROM:<>", mail(b"<>", None)),
            ("RCPT TO:<joe@mx.example.org>", Event::Rcpt { recipient: b"<joe@mx.example.org>" }),
            ("2.6.0 Accepted message qp 17294 bytes 263", Event::Accepted { qp: 17294, bytes: 263 }),
            ("XYZ Accepted message qp 1 bytes 2", Event::Other),
            ("552 5.2.3 Sorry", Event::Reply { code: 552, text: b"5.2.3 Sorry" }),
            ("250 forged", Event::Other),
            ("Connection dropped", Event::Dropped),
            ("Timed out", Event::TimedOut),
            ("bytes in: 410 bytes out: 452", Event::Bytes),
            ("GET / HTTP/1.0", Event::Other),
            ("", Event::Other),
        ];
        for (text, expected) in table {
            let line = format!("mailfront[17292]: {text}");
            let (pid, rest) = prefix(line.as_bytes()).unwrap_or_default();
            assert_eq!((pid, read(rest)), (17292, *expected), "{text}");
        }
        for other in
            ["mailfront: x", "mailfront[x]: y", "mailfront[17292] x", "mailfront[", "mailfront[1234567890123]: "]
        {
            assert_eq!(prefix(other.as_bytes()), None, "{other}");
        }
        assert_eq!(queued(b"250 2.6.0 Accepted message qp 17294 bytes 263"), Some(17294));
    }

    #[test]
    fn reasons() {
        let table = [
            ("553 5.1.0 Sorry, your envelope sender is in my badmailfrom list.", Reason::BlockedSender),
            ("553 5.1.1 Sorry, that address is in my badrcptto list.", Reason::BlockedRecipient),
            ("550 5.1.0 Mail system is not configured to accept that recipient", Reason::NotLocal),
            ("552 5.2.3 The message would exceed the maximum message size.", Reason::OversizeDeclared),
            ("552 5.2.3 Sorry, that message exceeds the maximum message length.", Reason::OversizeData),
            ("550 5.5.3 Too many recipients", Reason::TooManyRecipients),
            ("500 5.5.1 Not implemented.", Reason::Protocol),
            ("501 5.5.2 Syntax error in address parameter.", Reason::Protocol),
            ("451 4.3.0 Envelope format error.", Reason::BackendDeferred),
            ("553 5.1.1 Sorry, that recipient does not exist.", Reason::UnknownRecipient),
            ("553 No spam please", Reason::BackendRejected),
        ];
        for (reply, expected) in table {
            let Event::Reply { code, text } = read(reply.as_bytes()) else { panic!("{reply}") };
            assert_eq!(reason(code, text), expected, "{reply}");
        }
    }
}
