//! Lines of tcpserver, of ucspi-ssl's sslserver and of ipsvd's tcpsvd: connections accepted, denied and ended. It must not remember another line.

use memchr::memchr;

use crate::logs::words::cut;
use crate::logs::words::number;
use crate::logs::words::word;

/// An event in the log of tcpserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `status: 1/20`
    Status,
    /// A process was made for a client: `pid 12593 from 127.0.0.7`.
    Pid {
        /// The process.
        pid: u32,
        /// The client's address.
        client: &'a [u8],
    },
    /// The rules let the client in.
    Ok {
        /// The process.
        pid: u32,
    },
    /// The rules do not: it sees a close without a greeting.
    Deny {
        /// The process.
        pid: u32,
    },
    /// The process ended.
    End {
        /// The process.
        pid: u32,
    },
    /// `warning: …`, `fatal: …`
    Trouble,
    /// Anything else.
    Other,
}

/// Reads what follows `tcpserver: `, `sslserver: ` or `tcpsvd: `.
pub fn read(text: &[u8]) -> Event<'_> {
    let text = text.strip_prefix(b"info: ").unwrap_or(text);
    let (first, rest) = word(text);
    let pid = || number(word(rest).0);
    let event = match first {
        b"status:" | b"status" => Some(Event::Status),
        b"pid" => cut(rest, b" from ").and_then(|(pid, client)| Some(Event::Pid { pid: number(pid)?, client })),
        b"ok" | b"start" => pid().map(|pid| Event::Ok { pid }),
        b"deny" => pid().map(|pid| Event::Deny { pid }),
        b"end" => pid().map(|pid| Event::End { pid }),
        b"warning:" | b"fatal:" => Some(Event::Trouble),
        _ => None,
    };
    event.unwrap_or(Event::Other)
}

/// The text behind the name of the program, if this is a line of it.
pub(super) fn prefix(text: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', text.get(..12).unwrap_or(text))?;
    matches!(&text[..colon], b"tcpserver" | b"sslserver" | b"tcpsvd")
        .then(|| text[colon..].strip_prefix(b": "))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let table: &[(&str, Option<Event<'_>>)] = &[
            ("tcpserver: status: 1/20", Some(Event::Status)),
            ("tcpserver: pid 12593 from 127.0.0.7", Some(Event::Pid { pid: 12593, client: b"127.0.0.7" })),
            ("tcpserver: ok 12593 mx.example.org:127.0.0.1:25 :127.0.0.7::34345", Some(Event::Ok { pid: 12593 })),
            ("tcpserver: ok 1174 mx.example.org:::1:2700 :::1::52682", Some(Event::Ok { pid: 1174 })),
            ("tcpserver: deny 12627 mx:127.0.0.1:25 :127.0.0.66::49827", Some(Event::Deny { pid: 12627 })),
            ("tcpserver: end 12593 status 256", Some(Event::End { pid: 12593 })),
            ("tcpserver: warning: dropping connection, unable to read x", Some(Event::Trouble)),
            ("tcpserver: fatal: unable to bind: address already used", Some(Event::Trouble)),
            ("tcpserver: end x", Some(Event::Other)),
            ("tcpserver: pid 99999999999 from x", Some(Event::Other)),
            ("tcpsvd: info: status 1/5", Some(Event::Status)),
            ("tcpsvd: info: pid 7 from 127.0.0.7", Some(Event::Pid { pid: 7, client: b"127.0.0.7" })),
            ("tcpsvd: info: start 7 0:127.0.0.1 ::127.0.0.7:47305 ./peers/127", Some(Event::Ok { pid: 7 })),
            ("tcpsvd: info: end 7 exit 0", Some(Event::End { pid: 7 })),
            ("sslserver: pid 7 from ::ffff:192.0.2.1", Some(Event::Pid { pid: 7, client: b"::ffff:192.0.2.1" })),
            ("sslserver: ok 7 mx:192.0.2.9:465 :192.0.2.1::5", Some(Event::Ok { pid: 7 })),
            ("sslserver: ssl 7 accept ", Some(Event::Other)),
            ("tcpserver", None),
            ("mailfront[1]: x", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(prefix(line.as_bytes()).map(read), *expected, "{line}");
        }
    }
}
