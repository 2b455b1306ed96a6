//! The backend of a rehearsal: it offers what it is told to, and accepts everything. It must not keep anything.

use bytes::BytesMut;

use crate::smtp::reply::Offer;
use crate::smtp::reply::ehlo;
use crate::smtp::reply_reader::BackendReply;

/// A session with the backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The answer to EHLO.
    offer: String,
    /// Replies to the dot: by LMTP one for each recipient.
    dots: usize,
    lmtp: bool,
    /// Whether a message is on its way.
    in_message: bool,
    /// Whether the octets that it heard last end a line.
    ends_line: bool,
}

impl Backend {
    /// A backend that offers these keywords, or all that there are where they are not known.
    pub fn of(known: Option<&[String]>) -> Self {
        known.map_or_else(|| Self::offering(&everything()), Self::offering)
    }

    /// A backend that offers these keywords, each as it stands in the answer to EHLO.
    fn offering(keywords: &[String]) -> Self {
        // What makes it a backend that can be used at all is no part of what it offers to clients.
        let needed = ["STARTTLS", "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"];
        let keywords: String = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
        let offer = format!("250-{NAME}\r\n{keywords}250-{}\r\n250 {}\r\n", needed[0], needed[1]);
        Self { offer, dots: 1, lmtp: false, in_message: false, ends_line: true }
    }

    /// The greeting.
    pub(super) fn greeting(&self) -> BytesMut {
        format!("220 {NAME}\r\n").as_bytes().into()
    }

    /// The reply to a message that is handed over whole.
    pub(super) fn taken() -> BackendReply {
        BackendReply { code: 250, lines: vec!["ok".to_owned()] }
    }

    /// The reply to octets of the session.
    pub(super) fn hear(&mut self, octets: &[u8]) -> BytesMut {
        let is_dot = self.ends_line && octets == b".\r\n";
        self.ends_line = octets.ends_with(b"\n");
        if self.in_message {
            self.in_message = !is_dot;
            return if is_dot { OK.repeat(self.dots).as_slice().into() } else { BytesMut::new() };
        }
        let verb = octets.get(..4).unwrap_or_default();
        self.in_message = verb == b"DATA";
        self.lmtp |= verb == b"LHLO";
        self.dots = match verb {
            b"MAIL" if self.lmtp => 0,
            b"RCPT" if self.lmtp => self.dots + 1,
            _ => self.dots,
        };
        match verb {
            b"AUTH" => b"235 2.7.0 Ok\r\n".as_slice().into(),
            b"DATA" => b"354 Go on\r\n".as_slice().into(),
            b"EHLO" | b"LHLO" => self.offer.as_bytes().into(),
            b"STAR" | b"XCLI" => self.greeting(),
            _ => OK.into(),
        }
    }
}

/// The keywords of an offer, each as it stands in the answer to EHLO.
pub fn keywords(offer: &Offer) -> Vec<String> {
    let mut answer = BytesMut::new();
    ehlo(NAME, offer, &mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().skip(1).filter_map(|line| line.get(4..)).map(str::to_owned).collect()
}

/// The keywords that a client may need; no limit of size.
fn everything() -> [String; 7] {
    ["8BITMIME", "AUTH PLAIN", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 0", "SMTPUTF8"].map(str::to_owned)
}

const NAME: &str = "backend";
const OK: &[u8] = b"250 2.0.0 Ok\r\n";
