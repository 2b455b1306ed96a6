//! What a session does at this moment, for the operator's list of sessions. It must not change anything.

use std::fmt;
use std::sync::Arc;

use crate::session::Session;
use crate::session::state::Pending;
use crate::session::state::State;
use crate::smtp::command::Mail;

/// What a session does now.
#[derive(Clone, Debug)]
pub struct Activity<'a> {
    /// The session's id.
    pub id: &'a Arc<str>,
    /// The client's name for itself.
    pub helo: Option<&'a Arc<str>>,
    /// The protocol version of TLS.
    pub tls: Option<&'static str>,
    /// The user's name, once AUTH has succeeded.
    pub user: Option<&'a str>,
    /// How far it is.
    pub phase: Phase,
    /// The sender of the transaction that runs.
    pub sender: Option<Sender>,
    /// Recipients that were accepted in that transaction.
    pub recipients: usize,
    /// Octets of its message so far.
    pub octets: u64,
}

/// The sender of a transaction, which costs nothing to keep: it is that of its MAIL.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Mail>);

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.sender.fmt(f)
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No EHLO or HELO yet.
    Connected,
    /// The TLS handshake of STARTTLS.
    Handshake,
    /// An AUTH exchange.
    Auth,
    /// Between two transactions.
    Idle,
    /// MAIL was given, no recipient is accepted yet.
    Mail,
    /// Recipients are accepted.
    Rcpt,
    /// The message is on its way.
    Data,
    /// A question to the state is open.
    Ruling,
    /// The backend's word on the whole message is awaited.
    Backend,
    /// The session is over, its connection not yet.
    Closing,
}

impl Phase {
    /// The word that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Handshake => "handshake",
            Self::Auth => "auth",
            Self::Idle => "idle",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Ruling => "ruling",
            Self::Backend => "backend",
            Self::Closing => "closing",
        }
    }
}

impl Session {
    /// What the session does now.
    pub fn activity(&self) -> Activity<'_> {
        let login = self.client.login.as_ref().filter(|_| self.client.authenticated);
        let transaction = self.transaction.as_deref();
        Activity {
            id: &self.id.session,
            helo: self.client.helo.as_ref().map(|helo| &helo.name),
            tls: self.client.tls,
            user: login.and_then(|login| login.user.as_deref()),
            phase: self.phase(),
            sender: transaction.map(|transaction| Sender(transaction.mail.clone())),
            recipients: transaction.map_or(0, |transaction| transaction.accepted.len()),
            octets: self.octets(),
        }
    }

    fn phase(&self) -> Phase {
        match &self.state {
            State::Start | State::Delay { .. } | State::Hello { .. } | State::Inquiry { .. } => Phase::Connected,
            State::Asking { pending: Pending::Connect { .. }, .. } => Phase::Connected,
            State::Asking { .. } => Phase::Ruling,
            State::Command => self.between_commands(),
            State::Auth { .. } => Phase::Auth,
            State::Handshake => Phase::Handshake,
            State::HoldBegin | State::DataBegin | State::Body(_) => Phase::Data,
            State::Settle(_) => Phase::Backend,
            State::Over => Phase::Closing,
        }
    }

    fn between_commands(&self) -> Phase {
        match &self.transaction {
            Some(transaction) if transaction.accepted.is_empty() => Phase::Mail,
            Some(_) => Phase::Rcpt,
            None if self.client.helo.is_some() => Phase::Idle,
            None => Phase::Connected,
        }
    }

    fn octets(&self) -> u64 {
        match &self.state {
            State::Body(body) => body.decoder.size(),
            state => state.received().map_or(0, |received| received.size),
        }
    }
}
