//! The operator's settings for conversations. Values only; it must not read the configuration file.

use std::sync::Arc;
use std::time::Duration;

use crate::smtp::data::BareNewline;

/// The settings of all sessions. A session keeps the ones a transaction began with until the transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our own name: in the greeting, the answer to EHLO and the Received line.
    pub hostname: String,
    /// The text behind `220 `: `hostname ESMTP` unless control/smtpgreeting says otherwise.
    pub banner: String,
    /// The contact for questions about a refusal; may be empty.
    pub contact: Arc<str>,
    /// Most recipients of one message.
    pub max_recipients: u32,
    /// Protocol errors before 421.
    pub max_errors: u32,
    /// The condition under which AUTH is offered and relayed.
    pub auth: Auth,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Whether MAIL before STARTTLS is refused.
    pub tls_required: bool,
    /// Time limits.
    pub timeout: Timeouts,
    /// Slowest tolerated transfer of a message, in octets per second; 0 for none.
    pub min_rate: u64,
    /// Whether the message is held until it has passed; if not, it is streamed, and only the final dot is withheld.
    pub hold: bool,
    /// The treatment of line ends that are not CRLF.
    pub bare_newline: BareNewline,
    /// Whether clients with RELAYCLIENT may end a message with LF.LF.
    pub bare_newline_exempt_relay_client: bool,
    /// The protocol that the backend speaks.
    pub backend_protocol: BackendProtocol,
    /// Time limit of each reply of the backend, or of its work on a message that it was handed whole.
    pub backend_reply: Duration,
    /// Time limit of connecting to the backend and of its greeting.
    pub backend_connect: Duration,
    /// Whether the name of the client's user is left out of the Received line.
    pub hide_user: bool,
    /// Whether a Received line with the client's address is added (a tcp or lmtp backend of identity `none`).
    pub add_received: bool,
    /// Whether the backend is talked to after STARTTLS only.
    pub backend_starttls: bool,
    /// Whether the backend hears of the client by XCLIENT; one that does not offer it to us is not used.
    pub xclient: bool,
}

/// The protocol between us and the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendProtocol {
    /// A conversation in SMTP.
    Smtp,
    /// A conversation in LMTP (RFC 2033).
    Lmtp,
    /// No conversation: each message is handed over whole, with its envelope.
    Queue,
}

/// The values of `server.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// AUTH also in the clear.
    Always,
    /// No AUTH.
    Off,
    /// AUTH only inside TLS.
    Tls,
}

/// The time limits of `server.timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time from the banner (and TLS handshake) to the first command.
    pub greeting: Duration,
    /// The time between commands.
    pub command: Duration,
    /// The time of a message: this, and its size at `min_rate`.
    pub data: Duration,
    /// The time of the whole session; never cuts a message that is running.
    pub session: Duration,
}
