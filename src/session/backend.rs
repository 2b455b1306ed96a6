//! The session with the backend, as the client's session sees it: it stands from the first command that is relayed
//! until it is given back. It must not decide what may be sent when: `relay` does.

use bytes::BytesMut;

use crate::session::Session;
use crate::session::io::BackendEnd;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Release;
use crate::session::relay::Event;
use crate::session::relay::Relay;
use crate::session::relay::Setup;
use crate::session::relay::Step;
use crate::session::request::Request;
use crate::session::settings::BackendProtocol;
use crate::session::state::State;

impl Session {
    /// Takes octets of the backend; true: more of it is to come, and nothing is said now that would acknowledge them.
    pub(super) fn hear_backend(&mut self, input: &mut BytesMut, written: bool, now: Now) -> bool {
        let (outstanding, mut replies) = (self.relay.as_mut().map_or(0, |relay| relay.arrived()), 0);
        while let Some(relay) = &mut self.relay
            && let Some(event) = relay.receive(input, written, now.monotonic, &mut self.output)
        {
            replies += 1;
            self.backend_said(event, now);
        }
        if self.relay.is_none() {
            input.clear();
        }
        self.judge_unknown(now);
        let speaks = self.output.iter().any(|output| matches!(output, Output::Backend(_)));
        (replies == 0 || outstanding > replies) && !speaks
    }

    /// Handles the end of the backend's connection, or its failure to open. One that another client used before may
    /// have been closed meanwhile: then a fresh one is opened.
    pub(super) fn backend_ended(&mut self, end: BackendEnd, now: Now) {
        if let Some(relay) = &mut self.relay
            && !relay.open_fresh(&self.client.environment, now.monotonic, &mut self.output)
        {
            self.relay = None;
            self.tell_backend_end(end);
            self.backend_lost(end, now);
        }
    }

    /// Whether the transaction is past our final dot to the backend, or its message handed over: the answer is awaited
    /// even when the client is gone.
    pub(super) fn outlives_client(&self) -> bool {
        let is_out = self.submitted_until.is_some() || self.relay.as_ref().is_some_and(|relay| relay.dot_sent());
        matches!(self.state, State::Settle(_)) && is_out
    }

    /// Asks the backend, opening a session with it first where there is none. An authenticated session that is lost
    /// cannot be replaced: the new one would not know the client.
    pub(super) fn ask_backend(&mut self, request: Request, now: Now) {
        if self.client.authenticated && self.relay.is_none() {
            return self.backend_lost(BackendEnd::Lost, now);
        }
        let mut relay = self.relay.take().unwrap_or_else(|| self.new_backend(matches!(request, Request::Auth(_)), now));
        relay.send(request, now.monotonic, &mut self.output);
        self.relay = Some(relay);
    }

    /// Begins a new session with the backend, and replays what the one before had accepted.
    pub(super) fn new_backend(&mut self, login: bool, now: Now) -> Box<Relay> {
        let helo = self.client.helo.as_ref().map_or("unknown", |helo| &helo.name);
        let settings = &self.snapshot.settings;
        let lmtp = settings.backend_protocol == BackendProtocol::Lmtp;
        let setup = Setup { lmtp, starttls: settings.backend_starttls, identification: self.identification() };
        let mut relay = Relay::open(&self.client.environment, helo, setup, login, now.monotonic, &mut self.output);
        if let Some(transaction) = &self.transaction
            && let Some(code) = transaction.mail_code
        {
            relay.replay(Request::Mail(transaction.mail.clone()), code);
            for accepted in &transaction.accepted {
                relay.replay(Request::Rcpt(accepted.rcpt.clone()), accepted.code);
            }
        }
        relay.follow(self.conversation.followed);
        self.tell_event(|| "a session with the backend is asked for".to_owned());
        Box::new(relay)
    }

    /// Ends the message with the dot: the backend has all of it.
    pub(super) fn end_body(&mut self, now: Now) {
        if let Some(relay) = &mut self.relay {
            relay.end_body(now.monotonic, &mut self.output);
        }
    }

    /// Gives the connection to the backend back.
    pub(super) fn close_backend(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.close(&mut self.output);
        }
    }

    /// Drops the connection in the middle of a message: anything said now would be text of it.
    pub(super) fn abandon_backend(&mut self) {
        self.relay = None;
        self.output.push_back(Output::Release(Release::Abort));
    }

    pub(super) fn backend_said(&mut self, event: Event, now: Now) {
        let is_unconfirmed = self.relay.as_ref().is_some_and(|relay| relay.is_unconfirmed());
        if is_unconfirmed && !matches!(event, Event::Ready(_) | Event::Reply(..)) {
            self.output.push_back(Output::Release(Release::Abort));
            return self.backend_ended(BackendEnd::Lost, now);
        }
        match event {
            Event::Ready(offer) => self.backend_ready(offer, now),
            Event::Reply(Step::Auth, reply) => self.auth_replied(&reply, now),
            Event::Reply(Step::Data, reply) => self.data_replied(reply, now),
            Event::Reply(Step::Dot, reply) => self.dot_replied(reply, now),
            Event::Reply(Step::Mail, reply) => self.mail_replied(reply, now),
            Event::Reply(Step::Rcpt, reply) => self.rcpt_replied(reply, now),
            Event::Unusable(why) => {
                self.tell_event(|| why.to_owned());
                self.close_backend();
                self.backend_unusable(why, now);
            }
            Event::Refused(reply) => {
                self.close_backend();
                self.backend_refused(&reply, now);
            }
            Event::Broken | Event::Differs => {
                self.tell_event(|| {
                    "the backend's reply is not one that is expected: its session is dropped".to_owned()
                });
                self.abandon_backend();
                self.backend_lost(BackendEnd::Lost, now);
            }
        }
    }
}
