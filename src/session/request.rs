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
    Data,
    Mail(Arc<Mail>),
    Rcpt(Arc<Rcpt>),
    Rset,
}

impl Request {
    /// The command line, with its end.
    pub(super) fn wire(&self, offer: &Offer) -> Bytes {
        match self {
            Self::Auth(line) => [line, b"\r\n".as_slice()].concat().into(),
            Self::Data => Bytes::from_static(b"DATA\r\n"),
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
