//! Whole messages for a backend without a conversation (`backend.queue`): MAIL and RCPT are answered by us, and the held
//! message is handed over with its envelope, as qmail-smtpd gives it to qmail-queue. It must not answer the final dot
//! before the backend has.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::session::Session;
use crate::session::io::BackendEnd;
use crate::session::io::Form;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::io::Submission;
use crate::session::outcome::Outcome;
use crate::session::record::Span;
use crate::session::settings::BackendProtocol;
use crate::session::settings::Settings;
use crate::session::state::State;
use crate::smtp::address::Address;
use crate::smtp::received::qmail::QmailReceived;
use crate::smtp::reply_reader::BackendReply;

impl Session {
    /// Whether the transaction's message is handed over whole, without a conversation.
    pub(super) fn hands_over(&self) -> bool {
        self.settings_of_transaction().backend_protocol == BackendProtocol::Queue
    }

    /// The form in which the transaction's message is held.
    pub(super) fn form(&self) -> Form {
        if self.hands_over() { Form::Stored } else { Form::Wire }
    }

    /// Hands the held message over, to the recipients that the transaction has.
    pub(super) fn submit(&mut self, now: Now) {
        let Some(transaction) = &self.transaction else { return self.contradiction(now) };
        let suffix = self.client.environment.get(b"RELAYCLIENT").unwrap_or_default();
        let recipient = |address: &Address| [&*address.unquoted(), suffix].concat();
        let submission = Submission {
            environment: self.client.environment.clone(),
            helo: self.helo().to_owned(),
            sender: transaction.mail.sender.address().map(Address::unquoted).unwrap_or_default(),
            recipients: transaction.accepted.iter().map(|accepted| recipient(&accepted.rcpt.recipient)).collect(),
        };
        let settings = &transaction.snapshot.settings;
        self.submitted_until = Some(now.monotonic + settings.backend_connect + settings.backend_reply + BACKSTOP);
        self.tell_event(|| "the message is handed to the backend".to_owned());
        self.output.push_back(Output::Submit(Box::new(submission)));
    }

    /// Tells the backend's reply to a message that it was handed whole, or the reason why there is none. A late one is
    /// ignored.
    pub fn handle_submission(&mut self, result: Result<BackendReply, BackendEnd>, now: Now) {
        let (Some(_), State::Settle(received)) = (self.submitted_until.take(), &self.state) else { return };
        if result.is_ok() {
            let took = now.monotonic.saturating_duration_since(received.at);
            self.output.push_back(Output::Took(Span::BackendDot, took));
        }
        match result {
            Ok(reply) => {
                self.tell_submission(&reply);
                self.settle(Outcome::backend(&reply), now);
            }
            Err(end) => {
                self.tell_backend_end(end);
                self.backend_lost(end, now);
            }
        }
    }

    /// The Received line that qmail-smtpd would write at the head of the message, with LF line ends; TCPREMOTEHOST,
    /// TCPREMOTEIP and TCPREMOTEINFO are those that the client's rule sets, as under tcpserver.
    pub(super) fn trace_line(&self, wall: Timestamp) -> Bytes {
        let set = |name: &[u8]| {
            let set = self.client.environment.of_rule().filter(|(variable, _)| *variable == name);
            set.last().map(|(_, value)| String::from_utf8_lossy(value))
        };
        let settings = self.settings_of_transaction();
        let (host, ip) = (set(b"TCPREMOTEHOST"), set(b"TCPREMOTEIP"));
        let address = self.client.peer.client.ip().to_canonical().to_string();
        let info = set(b"TCPREMOTEINFO").filter(|_| !settings.hide_user);
        let received = QmailReceived {
            host: host.as_deref().or(self.client.peer.host.as_deref()).unwrap_or("unknown"),
            helo: self.helo(),
            info: info.as_deref(),
            address: ip.as_deref().unwrap_or(&address),
            hostname: &settings.hostname,
            protocol: self.protocol(),
            wall,
        };
        received.field().into()
    }

    fn helo(&self) -> &str {
        self.client.helo.as_ref().map_or("", |helo| &helo.name)
    }

    fn settings_of_transaction(&self) -> &Settings {
        let snapshot = self.transaction.as_ref().map_or(&self.snapshot, |transaction| &transaction.snapshot);
        &snapshot.settings
    }
}

/// Time beyond the limits that the backend keeps itself, in which it ends a program that has used up its time.
const BACKSTOP: Duration = Duration::from_secs(10);
