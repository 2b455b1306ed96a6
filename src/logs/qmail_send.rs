//! Lines of qmail-send: what entered the queue, what became of each delivery. Numbers of messages and deliveries are
//! used again, so an ended message has to be forgotten where lines are joined. It must not remember another line.

use crate::logs::words::cut;
use crate::logs::words::number;
use crate::logs::words::word;

/// An event in the log of qmail-send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `status: …`
    Status,
    /// `new msg 10051899`
    New {
        /// The message's number.
        message: u64,
    },
    /// `info msg 10051899: bytes 319 from <bob@good.example> qp 17315 uid 7791`
    Info {
        /// The message's number.
        message: u64,
        /// Octets with LF line ends.
        bytes: u64,
        /// The envelope sender, without brackets.
        sender: &'a [u8],
        /// Process of qmail-queue; joins it to smtpfront-qmail's lines.
        qp: u32,
    },
    /// `starting delivery 1: msg 10051899 to local joe@mx.example.org`
    Starting {
        /// The delivery's number; of several queues with that of its queue.
        delivery: u64,
        /// The message's number.
        message: u64,
        /// The envelope recipient.
        recipient: &'a [u8],
    },
    /// `delivery 8: success: …`
    Delivery {
        /// The delivery's number.
        delivery: u64,
        /// The outcome of the delivery.
        end: Delivery,
    },
    /// `bounce msg 10051897 qp 18041`, `triple bounce: discarding bounce/10051884`
    Bounce {
        /// The message's number.
        message: u64,
    },
    /// `end msg 10051897`
    End {
        /// The message's number.
        message: u64,
    },
    /// `warning: …`, `alert: …`
    Trouble,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Delivered.
    Success,
    /// A failure for now: it will be tried again.
    Deferral,
    /// Given up.
    Failure,
}

/// Reads a line; `None` if it is none of qmail-send's.
pub fn read(text: &[u8]) -> Option<Event<'_>> {
    let (text, queue) = without_queue(text);
    Some(in_queue(event(text)?, queue))
}

/// The line without the ` queue5` that indimail's qmail-send puts behind each, because it has several queues; and which.
fn without_queue(text: &[u8]) -> (&[u8], u16) {
    let Some(at) = memchr::memrchr(b' ', text) else { return (text, 0) };
    let queue = &text[at + 1..];
    let number = [&b"queue"[..], b"slowq", b"nqueue", b"qmta"].iter().find_map(|name| queue.strip_prefix(*name));
    match number {
        Some([]) => (&text[..at], 1),
        Some(digits) => number_of(digits).map_or((text, 0), |number| (&text[..at], number)),
        None => (text, 0),
    }
}

fn number_of(digits: &[u8]) -> Option<u16> {
    number::<u16>(digits)?.checked_add(2)
}

/// Each queue counts its deliveries by itself.
fn in_queue(event: Event<'_>, queue: u16) -> Event<'_> {
    let within = |delivery: u64| delivery | u64::from(queue) << 48;
    match event {
        Event::Starting { delivery, message, recipient } => {
            Event::Starting { delivery: within(delivery), message, recipient }
        }
        Event::Delivery { delivery, end } => Event::Delivery { delivery: within(delivery), end },
        _ => event,
    }
}

fn event(text: &[u8]) -> Option<Event<'_>> {
    let (first, rest) = word(text);
    match first {
        b"status:" => Some(Event::Status),
        b"new" => Some(Event::New { message: number(rest.strip_prefix(b"msg ")?)? }),
        b"info" => info(rest.strip_prefix(b"msg ")?),
        b"starting" => starting(rest.strip_prefix(b"delivery ")?),
        b"delivery" => delivery(rest),
        b"bounce" => Some(Event::Bounce { message: number(word(rest.strip_prefix(b"msg ")?).0)? }),
        b"triple" => Some(Event::Bounce { message: number(rest.strip_prefix(b"bounce: discarding bounce/")?)? }),
        b"end" => Some(Event::End { message: number(rest.strip_prefix(b"msg ")?)? }),
        b"warning:" | b"alert:" => Some(Event::Trouble),
        _ => None,
    }
}

/// The sender may hold what follows it in other lines, so the last `> qp ` counts.
fn info(text: &[u8]) -> Option<Event<'_>> {
    let (message, rest) = cut(text, b": bytes ")?;
    let (bytes, rest) = cut(rest, b" from <")?;
    let end = memchr::memmem::rfind(rest, b"> qp ")?;
    let (qp, _) = word(&rest[end + 5..]);
    Some(Event::Info { message: number(message)?, bytes: number(bytes)?, sender: &rest[..end], qp: number(qp)? })
}

fn starting(text: &[u8]) -> Option<Event<'_>> {
    let (delivery, rest) = cut(text, b": msg ")?;
    let (message, rest) = cut(rest, b" to ")?;
    let (_channel, recipient) = word(rest);
    Some(Event::Starting { delivery: number(delivery)?, message: number(message)?, recipient })
}

fn delivery(text: &[u8]) -> Option<Event<'_>> {
    let (delivery, rest) = cut(text, b": ")?;
    let (end, _) = cut(rest, b":")?;
    let end = match end {
        b"success" => Delivery::Success,
        b"deferral" => Delivery::Deferral,
        b"failure" => Delivery::Failure,
        _ => return None,
    };
    Some(Event::Delivery { delivery: number(delivery)?, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let info = |sender| Some(Event::Info { message: 7, bytes: 319, sender, qp: 17315 });
        let table: &[(&str, Option<Event<'_>>)] = &[
            ("status: local 0/10 remote 0/20 exitasap", Some(Event::Status)),
            ("new msg 7", Some(Event::New { message: 7 })),
            ("info msg 7: bytes 319 from <bob@good.example> qp 17315 uid 7791", info(b"bob@good.example")),
            ("info msg 7: bytes 319 from <> qp 17315 uid 7791", info(b"")),
            ("info msg 7: bytes 319 from <a>_qp_9@b> qp 17315 uid 7791", info(b"a>_qp_9@b")),
            (
                "starting delivery 2: msg 7 to remote Defer@Remote.Example",
                Some(Event::Starting { delivery: 2, message: 7, recipient: b"Defer@Remote.Example" }),
            ),
            ("delivery 8: success: did_1+0+0/", Some(Event::Delivery { delivery: 8, end: Delivery::Success })),
            ("delivery 4: deferral: ", Some(Event::Delivery { delivery: 4, end: Delivery::Deferral })),
            ("delivery 16: failure: x", Some(Event::Delivery { delivery: 16, end: Delivery::Failure })),
            ("delivery 16: report mangled, will defer", None),
            ("bounce msg 7 qp 18041", Some(Event::Bounce { message: 7 })),
            ("triple bounce: discarding bounce/7", Some(Event::Bounce { message: 7 })),
            ("end msg 7", Some(Event::End { message: 7 })),
            ("warning: trouble opening remote/14/7; will try again later", Some(Event::Trouble)),
            ("alert: cannot start: qmail-send is already running", Some(Event::Trouble)),
            ("new msg 7 queue5", Some(Event::New { message: 7 })),
            ("info msg 7: bytes 319 from <bob@good.example> qp 17315 uid 7791 queue5", info(b"bob@good.example")),
            (
                "starting delivery 2: msg 7 to local joe@x.example queue5",
                Some(Event::Starting { delivery: 2 | 7 << 48, message: 7, recipient: b"joe@x.example" }),
            ),
            ("delivery 2: success: ok queue5", Some(Event::Delivery { delivery: 2 | 7 << 48, end: Delivery::Success })),
            ("delivery 2: success: ok queue1", Some(Event::Delivery { delivery: 2 | 3 << 48, end: Delivery::Success })),
            ("delivery 2: success: ok slowq", Some(Event::Delivery { delivery: 2 | 1 << 48, end: Delivery::Success })),
            ("end msg 7 queue5", Some(Event::End { message: 7 })),
            ("end msg x", None),
            ("info msg 7: bytes 319 from bob qp 1", None),
            ("mail session=a1", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(read(line.as_bytes()), *expected, "{line}");
        }
    }
}
