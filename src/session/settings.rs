//! What an operator sets about conversations. Values only; the configuration file is read elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crate::smtp::data::BareNewline;

/// The settings of all sessions. A session keeps the ones a transaction began with until the transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our name: in the greeting, the answer to EHLO and the Received line.
    pub hostname: String,
    /// What follows `220 `: `hostname ESMTP` unless control/smtpgreeting says otherwise.
    pub banner: String,
    /// Whom to ask about a refusal; may be empty.
    pub contact: Arc<str>,
    /// Recipients of one message.
    pub max_recipients: u32,
    /// Protocol errors before 421.
    pub max_errors: u32,
    /// When AUTH is offered and relayed.
    pub auth: Auth,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// MAIL before STARTTLS is refused.
    pub tls_required: bool,
    /// Time limits.
    pub timeout: Timeouts,
    /// Slowest tolerated transfer of a message, in octets per second; 0 for none.
    pub min_rate: u64,
    /// Keep the message until it has passed (true), or stream it and withhold only the final dot.
    pub hold: bool,
    /// Line ends that are not CRLF.
    pub bare_newline: BareNewline,
    /// Clients with RELAYCLIENT may end a message with LF.LF.
    pub bare_newline_exempt_relay_client: bool,
    /// Time limit of each reply of the backend.
    pub backend_reply: Duration,
    /// Time limit of connecting to the backend and of its greeting.
    pub backend_connect: Duration,
    /// Add a Received line with the client's address (a tcp backend of identity `none`).
    pub add_received: bool,
    /// Talk to the backend after STARTTLS only.
    pub backend_starttls: bool,
    /// Tell the backend of the client by XCLIENT; one that does not offer it to us is not used.
    pub xclient: bool,
}

/// `server.auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Also in the clear.
    Always,
    /// Never.
    Off,
    /// Only inside TLS.
    Tls,
}

/// `server.timeout`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the banner (and TLS handshake) to the first command.
    pub greeting: Duration,
    /// Between commands.
    pub command: Duration,
    /// A message: this, and its size at `min_rate`.
    pub data: Duration,
    /// The whole session; never cuts a message that is running.
    pub session: Duration,
}
