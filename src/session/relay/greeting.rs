//! The beginning of a backend session: greeting, EHLO or HELO (by LMTP LHLO), STARTTLS, XCLIENT, each answered before the
//! next. It must not let a backend be used that lacks what the operator relies on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::session::io::Output;
use crate::session::record::Span;
use crate::session::relay::Event;
use crate::session::relay::Phase;
use crate::session::relay::Relay;
use crate::session::xclient;
use crate::smtp::received;
use crate::smtp::reply::Offer;
use crate::smtp::reply_reader::BackendReply;

/// The steps that begin a backend session, beside EHLO.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Setup {
    /// Whether LMTP is spoken: LHLO instead of EHLO, and no HELO (RFC 2033 section 4.1).
    pub(in crate::session) lmtp: bool,
    pub(in crate::session) starttls: bool,
    /// The attributes of XCLIENT; `None` when the backend hears of the client otherwise.
    pub(in crate::session) identification: Option<Vec<(&'static str, String)>>,
}

impl Relay {
    /// Whether the connection does not stand yet.
    pub(in crate::session) fn is_opening(&self) -> bool {
        self.phase == Phase::Opening
    }

    /// Takes a reply; `None` when it was for ourselves only.
    pub(super) fn take(&mut self, reply: BackendReply, out: &mut VecDeque<Output>) -> Option<Event> {
        match self.phase {
            Phase::Opening | Phase::Handshake => Some(Event::Broken),
            Phase::Greeting if reply.code == 220 => {
                self.say_hello(out);
                None
            }
            Phase::Ehlo if reply.code == 250 => {
                let offer = Arc::new(reply.offer());
                self.offer = Some(offer.clone());
                self.greeted(offer, out)
            }
            Phase::StartTls if reply.code == 220 => {
                self.phase = Phase::Handshake;
                out.push_back(Output::BackendStartTls);
                None
            }
            Phase::StartTls => Some(Event::Unusable(NO_STARTTLS)),
            // The session begins anew: a greeting, then EHLO (Postfix, XCLIENT_README).
            Phase::Xclient if reply.code == 220 => {
                self.say_hello(out);
                None
            }
            Phase::Xclient => Some(Event::Unusable(NO_XCLIENT)),
            Phase::Helo if self.setup.starttls => Some(Event::Unusable(NO_STARTTLS)),
            Phase::Helo if self.setup.identification.is_some() => Some(Event::Unusable(NO_XCLIENT)),
            Phase::Ehlo if self.setup.lmtp && reply.is_permanent() => Some(Event::Unusable(NO_LMTP)),
            // RFC 5321 section 3.2: a server without extensions refuses EHLO and takes HELO.
            Phase::Ehlo if reply.is_permanent() => {
                self.phase = Phase::Helo;
                self.say(hello("HELO ", &self.helo), out);
                None
            }
            // A server of another protocol says nothing about mail.
            Phase::Helo if matches!(reply.code, 500 | 502) => Some(Event::Unusable(NO_SMTP)),
            Phase::Helo if reply.code == 250 => Some(self.ready(Arc::default(), out)),
            Phase::Greeting | Phase::Ehlo | Phase::Helo if reply.is_permanent() || reply.is_transient() => {
                Some(Event::Refused(reply))
            }
            Phase::Greeting | Phase::Ehlo | Phase::Helo => Some(Event::Broken),
            Phase::Ready => self.take_answer(reply, out),
        }
    }

    /// Goes on once the backend has said what it offers: TLS first, then the client's identity, then it is ready.
    fn greeted(&mut self, offer: Arc<Offer>, out: &mut VecDeque<Output>) -> Option<Event> {
        if std::mem::take(&mut self.setup.starttls) {
            if !offer.starttls {
                return Some(Event::Unusable(NO_STARTTLS));
            }
            self.phase = Phase::StartTls;
            self.say(Bytes::from_static(b"STARTTLS\r\n"), out);
            return None;
        }
        let Some(identification) = self.setup.identification.take() else {
            return Some(self.ready(offer, out));
        };
        let Some(known) = &offer.xclient else { return Some(Event::Unusable(NO_XCLIENT)) };
        self.say(xclient::command(&identification, known), out);
        self.phase = Phase::Xclient;
        None
    }

    fn ready(&mut self, offer: Arc<Offer>, out: &mut VecDeque<Output>) -> Event {
        let took = self.active.saturating_duration_since(self.wanted);
        out.push_back(Output::Took(Span::BackendOpen, took));
        (self.phase, self.unconfirmed) = (Phase::Ready, None);
        Event::Ready(offer)
    }

    pub(super) fn say_hello(&mut self, out: &mut VecDeque<Output>) {
        self.phase = Phase::Ehlo;
        let verb = if self.setup.lmtp { "LHLO " } else { "EHLO " };
        self.say(hello(verb, &self.helo), out);
    }
}

fn hello(word: &str, name: &str) -> Bytes {
    [word, &received::told(name), "\r\n"].concat().into()
}

const NO_STARTTLS: &str = "STARTTLS is not offered by the backend; backend.tls = \"off\" does without it";
const NO_XCLIENT: &str =
    "XCLIENT is not offered to us; Postfix: smtpd_authorized_xclient_hosts, Dovecot: login_trusted_networks";
const NO_SMTP: &str = "EHLO and HELO are unknown to the backend; for a server that speaks LMTP write backend.lmtp";
const NO_LMTP: &str = "LHLO is refused by the backend; for a server that speaks SMTP write backend.tcp";
