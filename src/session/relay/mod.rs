//! The backend's side of a conversation: greeting, EHLO, and a queue of commands whose replies are outstanding. It also
//! replays a transaction into a new backend session after the first was given up. Replies are matched strictly in
//! order; an octet that no command asked for ends the connection, or every later reply would slip by one. It must not
//! decide anything about mail: the session is told each reply.

mod body;
mod greeting;
mod telling;

pub(super) use crate::session::relay::greeting::Setup;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;

use crate::policy::environment::Environment;
use crate::session::io::Output;
use crate::session::io::Release;
use crate::session::record::Span;
use crate::session::relay::body::Body;
use crate::session::request::Request;
use crate::smtp::reply::Offer;
use crate::smtp::reply_reader::BackendReply;
use crate::smtp::reply_reader::ReplyReader;

/// One session with the backend, from the request for a connection on.
#[derive(Debug)]
pub(super) struct Relay {
    phase: Phase,
    helo: Arc<str>,
    /// The steps before the first MAIL that are still to be done.
    setup: Setup,
    /// The backend's offer, known from its answer to EHLO on.
    offer: Option<Arc<Offer>>,
    unsent: VecDeque<Queued>,
    outstanding: VecDeque<Expected>,
    /// Replies that may be among the last octets: those to commands sent before the octets came.
    due: usize,
    reader: ReplyReader,
    /// Whether the backend has seen a MAIL that neither a final dot nor RSET has ended.
    in_transaction: bool,
    body: Body,
    /// The time at which the session was asked for.
    wanted: Instant,
    active: Instant,
    /// The setup of a connection that another client has used, until EHLO is answered on it: a new connection begins
    /// with this when no answer comes.
    unconfirmed: Option<Box<Setup>>,
    /// Whether the backend has heard AUTH, or refused something: either would affect the next client.
    not_reusable: bool,
    /// Whether the connection is for AUTH, or was asked for it.
    is_login: bool,
    /// Whether it is told what is said.
    followed: bool,
}

/// The request that a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Auth,
    Data,
    Dot,
    Mail,
    Rcpt,
}

impl Step {
    /// What its time counts as.
    fn span(self) -> Option<Span> {
        match self {
            Self::Auth | Self::Data => None,
            Self::Dot => Some(Span::BackendDot),
            Self::Mail => Some(Span::BackendMail),
            Self::Rcpt => Some(Span::BackendRcpt),
        }
    }
}

/// An event for the session.
#[derive(Debug)]
pub(super) enum Event {
    /// The backend is greeted and has said what it offers; nothing is sent before `flush`.
    Ready(Arc<Offer>),
    Reply(Step, BackendReply),
    /// A replayed command was answered by another code than the first time.
    Differs,
    /// The greeting, or the answer to HELO, was a refusal.
    Refused(BackendReply),
    /// Nonsense, or a reply that no command asked for.
    Broken,
    /// The backend lacks something that the operator relies on.
    Unusable(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Greeting,
    Ehlo,
    Helo,
    Ready,
    StartTls,
    Handshake,
    Xclient,
}

#[derive(Debug)]
struct Queued {
    request: Request,
    /// The code of the first reply, when this is a replay.
    replayed: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Of a request that was sent at that time.
    Reply(Step, Instant),
    Replay(u16),
    /// A reply that is not needed any more.
    Ignored,
    Reset,
}

impl Relay {
    /// Asks the shell for a connection.
    pub(super) fn open(
        environment: &Environment,
        helo: &str,
        setup: Setup,
        is_login: bool,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> Self {
        let (environment, name) = (environment.clone(), helo.to_owned());
        out.push_back(Output::OpenBackend { fresh: false, environment, helo: name, login: is_login });
        Self {
            phase: Phase::Opening,
            helo: helo.into(),
            setup,
            offer: None,
            unsent: VecDeque::new(),
            outstanding: VecDeque::new(),
            due: 0,
            reader: ReplyReader::default(),
            in_transaction: false,
            body: Body::default(),
            wanted: now,
            active: now,
            unconfirmed: None,
            not_reusable: false,
            is_login,
            followed: false,
        }
    }

    /// The time since which nothing is asked and nothing is awaited.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let idle = self.phase == Phase::Ready && self.unsent.is_empty() && self.outstanding.is_empty();
        idle.then_some(self.active)
    }

    /// The deadline of the awaited reply, or of the connection.
    pub(super) fn deadline(&self, connect: Duration, reply: Duration) -> Option<Instant> {
        match self.phase {
            // The shell limits the wait for a permit and the connection itself, each by `connect`; this is its
            // backstop.
            Phase::Opening | Phase::Handshake => Some(self.active + 2 * connect + BACKSTOP),
            Phase::Greeting => Some(self.active + connect),
            Phase::Ehlo if self.is_unconfirmed() => Some(self.active + connect),
            Phase::Ehlo | Phase::Helo | Phase::StartTls | Phase::Xclient => Some(self.active + reply),
            Phase::Ready if self.outstanding.is_empty() => None,
            Phase::Ready => Some(self.active + reply),
        }
    }

    /// Whether another client has used this session before, and it has not yet shown that it serves this one too.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.is_some()
    }

    /// Replaces a connection that is gone before it was confirmed: nothing but EHLO was said on it, so a fresh one will
    /// do. False: the connection was this client's own from the start.
    pub(super) fn open_fresh(&mut self, environment: &Environment, now: Instant, out: &mut VecDeque<Output>) -> bool {
        let Some(setup) = self.unconfirmed.take() else { return false };
        (self.phase, self.setup, self.reader, self.active) = (Phase::Opening, *setup, ReplyReader::default(), now);
        (self.due, self.not_reusable) = (0, false);
        let helo = self.helo.as_ref().to_owned();
        let environment = environment.clone();
        out.push_back(Output::OpenBackend { fresh: true, environment, helo, login: self.is_login });
        true
    }

    /// Begins on a connection that stands, whose greeting is awaited; or it is under TLS now, and begins anew (RFC 3207
    /// section 4.2).
    pub(super) fn opened(&mut self, greeted: bool, now: Instant, out: &mut VecDeque<Output>) {
        self.active = now;
        match self.phase {
            // EHLO begins anew after another client (RFC 5321 section 4.1.4).
            Phase::Opening if greeted => {
                self.unconfirmed = Some(Box::new(self.setup.clone()));
                self.setup.starttls = false;
                self.say_hello(out);
            }
            Phase::Opening => self.phase = Phase::Greeting,
            Phase::Handshake => self.say_hello(out),
            _ => {}
        }
    }

    /// Asks something; it goes out as soon as the backend may hear it. MAIL and AUTH after a MAIL that was not ended
    /// are preceded by RSET: not every server takes a nested MAIL, and none takes AUTH in a transaction (RFC 4954
    /// section 4).
    pub(super) fn send(&mut self, request: Request, now: Instant, out: &mut VecDeque<Output>) {
        if matches!(request, Request::Auth(_) | Request::Mail(_)) && self.in_transaction {
            self.unsent.push_back(Queued { request: Request::Rset, replayed: None });
        }
        self.is_login = matches!(request, Request::Auth(_));
        self.unsent.push_back(Queued { request, replayed: None });
        self.flush(now, out);
    }

    /// Says again, to a new backend session, a request that the old one had answered by `code`.
    pub(super) fn replay(&mut self, request: Request, code: u16) {
        self.unsent.push_back(Queued { request, replayed: Some(code) });
    }

    /// Gives the transaction up: the backend hears RSET, if it is there.
    pub(super) fn reset(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if self.phase == Phase::Ready && self.in_transaction {
            self.unsent.push_back(Queued { request: Request::Rset, replayed: None });
            self.in_transaction = false;
            self.flush(now, out);
        }
    }

    /// Notes that the backend takes octets: it is alive.
    pub(super) fn progress(&mut self, now: Instant) {
        self.active = now;
    }

    /// Gives the connection back.
    pub(super) fn close(&self, out: &mut VecDeque<Output>) {
        out.push_back(Output::Release(match self.idle_since() {
            Some(_) if !self.not_reusable && !self.in_transaction => Release::Reusable,
            Some(_) => Release::Quit,
            None => Release::Abort,
        }));
    }

    /// Ignores the replies to RCPTs that went out behind a refused MAIL.
    pub(super) fn ignore_outstanding(&mut self) {
        self.unsent.clear();
        self.outstanding.iter_mut().for_each(|expected| *expected = Expected::Ignored);
    }

    /// Notes that octets have come. They can answer commands sent before, and none sent while they are read: a spare
    /// reply must not be taken for the one to the next command. Gives the number of commands whose replies are to come.
    pub(super) fn arrived(&mut self) -> usize {
        self.due = match self.phase {
            Phase::Opening | Phase::Handshake => 0,
            Phase::Greeting | Phase::Ehlo | Phase::Helo | Phase::StartTls | Phase::Xclient => 1,
            Phase::Ready => self.outstanding.len(),
        };
        self.outstanding.len()
    }

    /// Takes one reply off `input`, if a whole one is there. `None`: nothing more to tell.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        written: bool,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> Option<Event> {
        loop {
            if self.due == 0 {
                let spare = !input.is_empty();
                input.clear();
                // Octets from before this session was opened are another's.
                return (spare && self.phase != Phase::Opening).then_some(Event::Broken);
            }
            let Ok(reply) = self.reader.next(input)? else {
                return Some(Event::Broken);
            };
            self.tell_reply(&reply, out);
            self.due -= 1;
            self.active = now;
            self.not_reusable |= reply.code >= 400;
            self.body.note_written(written);
            let event = self.take(reply, out);
            // Octets in the clear behind the 220 are discarded (RFC 3207 section 5).
            if self.phase == Phase::Handshake {
                input.clear();
                return None;
            }
            if matches!(event, None | Some(Event::Reply(..))) {
                self.flush(now, out);
            }
            if event.is_some() {
                return event;
            }
        }
    }

    fn take_answer(&mut self, reply: BackendReply, out: &mut VecDeque<Output>) -> Option<Event> {
        match self.outstanding.pop_front() {
            None => Some(Event::Broken),
            Some(Expected::Reset) if reply.is_success() => {
                self.in_transaction = false;
                None
            }
            Some(Expected::Reset) => Some(Event::Broken),
            Some(Expected::Ignored) => None,
            Some(Expected::Replay(code)) if reply.code == code => None,
            Some(Expected::Replay(_)) => Some(Event::Differs),
            Some(Expected::Reply(step, _)) if !self.fits(step, &reply) => Some(Event::Broken),
            Some(Expected::Reply(step, sent)) => {
                let sent = self.body.dot_sent.filter(|_| step == Step::Dot).unwrap_or(sent);
                let took = self.active.saturating_duration_since(sent);
                out.extend(step.span().map(|span| Output::Took(span, took)));
                self.in_transaction = match step {
                    Step::Mail => reply.is_success(),
                    Step::Dot => self.body.leaves_transaction(&reply),
                    _ => self.in_transaction,
                };
                Some(Event::Reply(step, reply))
            }
        }
    }

    /// Whether a reply's code fits its step: 354 answers DATA and nothing else, 334 only AUTH; a success before our dot
    /// is none (RFC 5321 section 4.3.2).
    fn fits(&self, step: Step, reply: &BackendReply) -> bool {
        match step {
            Step::Data => reply.code == 354 || reply.code >= 400,
            Step::Auth => reply.code != 354,
            Step::Dot => reply.code >= 400 || (reply.is_success() && self.dot_written()),
            Step::Mail | Step::Rcpt => !reply.is_intermediate(),
        }
    }

    fn offer(&self) -> &Offer {
        self.offer.as_deref().unwrap_or(&Offer::NONE)
    }

    /// Sends what may go out now: one command at a time, or several where the backend offered PIPELINING; DATA, BDAT and
    /// AUTH always alone (RFC 2920 section 3.1 has DATA end a group; a backend that disagrees would slip by one; and BDAT
    /// LAST without a recipient could not be taken back).
    pub(super) fn flush(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        while self.phase == Phase::Ready && self.may_send() {
            let Some(queued) = self.unsent.pop_front() else { return };
            self.active = now;
            self.say_request(&queued.request, out);
            let step = match queued.request {
                Request::Auth(_) => {
                    self.not_reusable = true;
                    Step::Auth
                }
                Request::Data(message) => {
                    let Some(message) = self.begin_chunk(message, out) else { continue };
                    self.body.message = Some(message);
                    Step::Data
                }
                Request::Mail(_) => {
                    self.in_transaction = true;
                    self.body = Body::default();
                    Step::Mail
                }
                Request::Rcpt(_) => Step::Rcpt,
                Request::Rset => {
                    self.outstanding.push_back(Expected::Reset);
                    continue;
                }
            };
            let expected = queued.replayed.map_or(Expected::Reply(step, now), Expected::Replay);
            self.outstanding.push_back(expected);
        }
    }

    fn may_send(&self) -> bool {
        let alone = |request: &Request| matches!(request, Request::Auth(_) | Request::Data(_));
        let Some(next) = self.unsent.front() else { return false };
        let last_ends_its_group =
            matches!(self.outstanding.back(), Some(Expected::Reply(Step::Auth | Step::Data | Step::Dot, _)));
        self.outstanding.is_empty() || (self.offer().pipelining && !alone(&next.request) && !last_ends_its_group)
    }
}

/// The time beyond the shell's own limits together.
const BACKSTOP: Duration = Duration::from_secs(1);
