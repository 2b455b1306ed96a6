//! AUTH (RFC 4954), relayed. A client that guesses passwords is told to come back later, and the backend is not asked.
//! It must not keep a line of the exchange, and must log nothing of it but the user's name.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::replies;
use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::Stage;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::session::request::Request;
use crate::session::settings::Auth;
use crate::session::state::Pending;
use crate::session::state::State;
use crate::smtp::line::LineEnd;
use crate::smtp::line::MAX_AUTH_LINE;
use crate::smtp::login;
use crate::smtp::reply_reader::BackendReply;

/// One AUTH exchange; once it has succeeded, the client's login.
#[derive(Debug)]
pub(super) struct Login {
    began: Instant,
    mechanism: Box<str>,
    /// The user's name, once it was sent and could be read.
    pub(super) user: Option<String>,
    /// Whether the first line has come; no other has the name in it.
    has_spoken: bool,
    /// Whether the backend has heard of the exchange.
    is_relayed: bool,
    /// Whether the client cancelled the exchange.
    is_cancelled: bool,
    shadow: Vec<Arc<str>>,
}

impl Login {
    fn new(mechanism: &str, began: Instant) -> Self {
        Self {
            began,
            mechanism: mechanism.into(),
            user: None,
            has_spoken: false,
            is_relayed: false,
            is_cancelled: false,
            shadow: Vec::new(),
        }
    }

    /// Reads a line of the client; true: it has told the user's name.
    fn hear(&mut self, line: &[u8]) -> bool {
        self.is_cancelled |= line == b"*";
        if std::mem::replace(&mut self.has_spoken, true) {
            return false;
        }
        self.user = login::user(&self.mechanism, line);
        self.user.is_some()
    }

    /// Whether a refusal is about the client's credentials: neither a cancelled exchange nor a mechanism that the
    /// client may not use (RFC 4954 section 6).
    fn has_failed(&self, reply: &BackendReply) -> bool {
        reply.is_permanent() && !self.is_cancelled && !matches!(reply.code, 502..=504 | 530 | 534 | 538)
    }
}

impl Session {
    pub(super) fn may_authenticate(&self) -> bool {
        match self.snapshot.settings.auth {
            Auth::Always => true,
            Auth::Off => false,
            Auth::Tls => self.client.tls.is_some(),
        }
    }

    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<Bytes>, now: Now) {
        if !self.may_authenticate() || self.offer().auth.is_none() {
            let insecure =
                self.snapshot.settings.auth == Auth::Tls && self.client.tls.is_none() && self.offer().auth.is_some();
            let reply = if insecure { replies::encryption_required() } else { replies::unsupported("AUTH") };
            return self.error(&reply, now);
        }
        if self.client.helo.is_none() {
            return self.error(&replies::need_hello(), now);
        }
        if self.transaction.is_some() {
            return self.error(&replies::in_transaction("AUTH"), now);
        }
        if self.client.authenticated {
            return self.error(&replies::already_authenticated(), now);
        }
        // Not 535, which blames the password, and not 454, which makes a client come back.
        if let Some(ruling) = self.client.refusal() {
            return self.refuse_command(&ruling, now);
        }
        let mut login = Box::new(Login::new(mechanism, now.monotonic));
        let mut line = BytesMut::from(format!("AUTH {mechanism}").as_bytes());
        if let Some(initial) = initial {
            login.hear(&initial);
            line.extend_from_slice(b" ");
            line.extend_from_slice(&initial);
        }
        self.client.login = Some(login);
        self.ask_about_login(line.freeze(), now);
    }

    /// Takes an answer to 334: printable octets only, or it could be another command to the backend.
    pub(super) fn auth_line(&mut self, input: &mut BytesMut, now: Now) -> bool {
        let Some(line) = self.input.lines.next(input, MAX_AUTH_LINE, LineEnd::Crlf) else { return false };
        self.patience.wait_from(now.monotonic);
        self.tell_auth_line(line.as_deref().unwrap_or_default());
        if self.relay.is_none() {
            let outcome = Outcome::ours(&replies::backend_unavailable(), Reason::BackendUnavailable, &self.id);
            self.record_login(&outcome, now);
            self.replies.push_line(outcome.line);
            self.end_login();
            return true;
        }
        match line {
            Ok(line) if line.iter().all(|octet| (b' '..=b'~').contains(octet)) => {
                match self.client.login.as_mut().is_some_and(|login| login.hear(&line)) {
                    true => self.ask_about_login(line, now),
                    false => self.relay_login(line, now),
                }
            }
            Ok(_) => self.refuse_and_close(&replies::control_octet(), Reason::Protocol, now),
            Err(_) => self.refuse_and_close(&replies::authentication_line_too_long(), Reason::Protocol, now),
        }
        true
    }

    /// Asks the throttles whose keys are known by now: the name may come later than the client.
    fn ask_about_login(&mut self, line: Bytes, now: Now) {
        let snapshot = self.snapshot.clone();
        let throttles = self.asks(&snapshot, Stage::Auth, None, None, None);
        match throttles.asks.is_empty() {
            true => self.relay_login(line, now),
            false => self.ask(Question::Login(throttles), Pending::Auth(line), now),
        }
    }

    /// Goes on with AUTH, or refuses it, by the throttles' answer.
    pub(super) fn login_answered(&mut self, line: Bytes, throttled: &Throttled, now: Now) {
        let snapshot = self.snapshot.clone();
        if let Some(login) = &mut self.client.login {
            let names = throttled.shadows.iter().map(|index| snapshot.policy.throttles[*index].name.clone());
            login.shadow.extend(names);
        }
        let Some(over) = throttled.over else { return self.relay_login(line, now) };
        let throttle = &snapshot.policy.throttles[over.throttle];
        let ruling = Ruling::new(replies::too_many_failures(over.wait), Reason::AuthFailed).by(&throttle.name);
        let outcome = Outcome::ruled(&ruling, &self.id);
        self.record_login(&outcome, now);
        // The backend waits for a line that never comes.
        if self.client.login.as_ref().is_some_and(|login| login.is_relayed) {
            self.abandon_backend();
        }
        self.end_login();
        self.reply(&ruling.reply);
        if throttle.action == Action::Defer {
            self.count_error(now);
        } else {
            self.record_connection(Some(&outcome), now);
            self.close(now);
        }
    }

    fn relay_login(&mut self, line: Bytes, now: Now) {
        let begins = self.client.login.as_mut().is_some_and(|login| !std::mem::replace(&mut login.is_relayed, true));
        if begins && self.relay.is_some() {
            self.output.push_back(Output::Login(true));
        }
        self.state = State::Auth { waiting: true };
        self.ask_backend(Request::Auth(line), now);
    }

    pub(super) fn auth_replied(&mut self, reply: &BackendReply, now: Now) {
        self.replies.write(|out| reply.write(out));
        self.patience.wait_from(now.monotonic);
        if reply.code == 334 {
            self.state = State::Auth { waiting: false };
            return;
        }
        self.state = State::Command;
        self.output.push_back(Output::Login(false));
        self.client.authenticated = reply.code == 235;
        if !self.client.authenticated {
            self.login_failed(reply, now);
        }
        if reply.code == 421 {
            self.record_connection(Some(&Outcome::backend(reply)), now);
            self.close(now);
        }
        // RFC 4954 section 4 has no limit of guesses of its own.
        if reply.is_permanent() {
            self.count_error(now);
        }
        self.stop_if_idle(now);
    }

    fn login_failed(&mut self, reply: &BackendReply, now: Now) {
        let failed = self.client.login.as_ref().is_some_and(|login| login.has_failed(reply));
        let outcome = Outcome::backend(reply);
        if failed {
            self.record_login(&Outcome { reason: Some(Reason::AuthFailed), ..outcome }, now);
            let snapshot = self.snapshot.clone();
            let charges = self.charges(&snapshot, Count::AuthFailures, 1, None, &[]);
            self.charge(&snapshot, charges);
        } else if reply.is_transient() {
            self.record_login(&outcome, now);
        }
        self.end_login();
    }

    /// The deadline of the whole exchange: programs answer at once, and the exchange holds a place that others need.
    pub(super) fn login_deadline(&self) -> Option<Instant> {
        self.client.login.as_ref().map(|login| login.began + WHOLE_EXCHANGE)
    }

    /// Ends the exchange without a login.
    pub(super) fn end_login(&mut self) {
        self.client.login = None;
        self.state = State::Command;
    }

    pub(super) fn record_login(&mut self, outcome: &Outcome, now: Now) {
        if let Some(login) = &self.client.login {
            let took = now.monotonic.saturating_duration_since(login.began);
            let record = Record { shadow: login.shadow.clone(), took, ..self.record(Kind::Auth, outcome, now) };
            self.record_refusal(record);
        }
    }
}

const WHOLE_EXCHANGE: Duration = Duration::from_secs(30);
