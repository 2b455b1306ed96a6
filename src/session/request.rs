//! Requests to a backend, and their wire form, rebuilt from the parse. It must not write a parameter that the live
//! session does not offer.

use std::sync::Arc;

use bytes::Bytes;

use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;
use crate::smtp::reply::Offer;

/// A request to a backend.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// AUTH or one of its lines, without line end.
    Auth(Bytes),
    Data(Message),
    Mail(Arc<Mail>),
    Rcpt(Arc<Rcpt>),
    Rset,
}

/// A message that is to be passed on.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Our Received line; empty where the backend writes its own.
    pub(super) received: Bytes,
    /// Number of its recipients.
    pub(super) recipients: usize,
    /// What is held of it; `None`: it is streamed.
    pub(super) held: Option<Held>,
}

/// A message on hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) octets: u64,
    /// Whether a line of it begins with a dot.
    pub(super) has_dots: bool,
}

impl Message {
    /// The number of held octets, when the message goes to this backend as one chunk (RFC 3030). Not an empty one: it
    /// has no last line end, which could be sent last.
    pub(super) fn as_chunk(&self, offer: &Offer) -> Option<u64> {
        self.held.map(|held| held.octets).filter(|octets| offer.chunking && *octets > 0)
    }
}

impl Request {
    /// The command line, with its end; behind BDAT our Received line too.
    pub(super) fn wire(&self, offer: &Offer) -> Bytes {
        match self {
            Self::Auth(line) => [line, b"\r\n".as_slice()].concat().into(),
            Self::Data(message) => match message.as_chunk(offer) {
                Some(octets) => {
                    let announced = octets + message.received.len() as u64;
                    [format!("BDAT {announced} LAST\r\n").as_bytes(), &message.received].concat().into()
                }
                None => Bytes::from_static(b"DATA\r\n"),
            },
            Self::Mail(mail) => mail.wire(|name| knows(offer, name)),
            Self::Rcpt(rcpt) => rcpt.wire(|name| knows(offer, name)),
            Self::Rset => Bytes::from_static(b"RSET\r\n"),
        }
    }
}

/// Whether the live session knows this parameter; an unknown one is dropped, never sent.
fn knows(offer: &Offer, parameter: &str) -> bool {
    match parameter {
        "SIZE" => offer.size.is_some(),
        "BODY" => offer.eight_bit_mime,
        "SMTPUTF8" => offer.smtputf8,
        "AUTH" => offer.auth.is_some(),
        "RET" | "ENVID" | "NOTIFY" | "ORCPT" => offer.dsn,
        _ => false,
    }
}
