//! Records of transactions, refusals and connections: exactly one a transaction, on every path. Readers turn them into
//! log lines; they must not know how.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::repeat::Before;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;

/// One line of the log. A value that was not known at the end is `None`.
#[derive(Clone, Debug)]
pub struct Record {
    /// The kind of the record.
    pub kind: Kind,
    /// The session's id, as replies show it in brackets.
    pub session: Arc<str>,
    /// The client's address.
    pub client: IpAddr,
    /// The client's name for itself.
    pub helo: Option<String>,
    /// The protocol version of TLS.
    pub tls: Option<&'static str>,
    /// The reverse-path with its angle brackets: `<>` is the null sender.
    pub sender: Option<String>,
    /// The accepted recipients; of a `rcpt` record the refused one.
    pub recipients: Vec<String>,
    /// Octets of the message with CRLF line ends; before the message, the declared ones.
    pub size: Option<u64>,
    /// Octets of the message that crossed the wire; of one that was refused before its body, 0.
    pub received: u64,
    /// The Message-ID.
    pub id: Option<String>,
    /// Earlier deliveries of the message, or of others that are alike.
    pub before: Before,
    /// The verdict; `None` for a connection that nobody refused.
    pub verdict: Option<Verdict>,
    /// The code that the client heard, or would have heard.
    pub code: Option<u16>,
    /// The reason, unless the mail simply passed.
    pub reason: Option<Reason>,
    /// The name in AUTH: of one that failed, or of a client that has logged in.
    pub user: Option<String>,
    /// The rule that decided: a list's `file:line`, a throttle's name, a key of the configuration.
    pub rule: Option<Arc<str>>,
    /// The rules that would have ruled otherwise.
    pub shadow: Vec<Arc<str>>,
    /// The backend's reply.
    pub backend: Option<String>,
    /// The beginning of the line that was refused.
    pub words: Option<String>,
    /// The refusals that were counted only.
    pub folded: Folded,
    /// Whether the session has had its lines: this record is counted, not written.
    pub counted_only: bool,
    /// The time from MAIL (or the connection) to the end.
    pub took: Duration,
    /// The time from the end of the message to its final reply, where there were both.
    pub answered: Option<Duration>,
}

/// The subject of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction.
    Mail,
    /// A refused recipient.
    Rcpt,
    /// A refused command, or after a transaction the end of a connection that we close.
    Command,
    /// A connection that ended without a transaction.
    Session,
    /// An AUTH that failed.
    Auth,
    /// The count of the lines that were not written.
    Folded,
}

/// Refused recipients and commands by their reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded(Vec<(Kind, Reason, u64)>);

impl Folded {
    /// Counts one more refusal.
    pub fn add(&mut self, kind: Kind, reason: Reason) {
        match self.0.iter_mut().find(|(of, why, _)| (*of, *why) == (kind, reason)) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((kind, reason, 1)),
        }
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The counts as a line has them: `2950 rcpt backend_rejected, 30 command protocol`.
impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, reason, count)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {} {reason}", kind.as_str())?;
        }
        Ok(())
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Mail, Self::Rcpt, Self::Command, Self::Session, Self::Auth, Self::Folded];

    /// The kind of this name.
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name)
    }

    /// The first word of the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Command => "command",
            Self::Session => "session",
            Self::Auth => "auth",
            Self::Folded => "folded",
        }
    }
}

/// A stretch of time in a session that is measured each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From the request for a session with the backend to the end of its EHLO.
    BackendOpen,
    /// From MAIL to the backend's reply.
    BackendMail,
    /// From RCPT to the backend's reply.
    BackendRcpt,
    /// From the end of a message to the backend's reply.
    BackendDot,
    /// From the last octets of a command to a reply that the backend was not asked for.
    Command,
    /// From the first octets of a message that is held to its last.
    Hold,
    /// From a question to its answer.
    Question,
}

impl Span {
    /// Every span.
    pub const ALL: [Self; 7] = [
        Self::BackendOpen,
        Self::BackendMail,
        Self::BackendRcpt,
        Self::BackendDot,
        Self::Command,
        Self::Hold,
        Self::Question,
    ];
}

macro_rules! keys {
    ($($key:ident $name:literal $doc:literal)*) => {
        /// A key of a record's line in the log. The log is written, read back and printed by this table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = $doc] $key,)*
        }

        impl Key {
            /// Every key, in the order in which a line has them.
            pub const ALL: &[Self] = &[$(Self::$key,)*];

            /// The word in front of the equals sign.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$key => $name,)*
                }
            }
        }
    };
}

keys! {
    Session "session" "The session's id."
    Client "client" "The client's address."
    Helo "helo" "The client's name for itself."
    Tls "tls" "The protocol version of TLS."
    Sender "sender" "The reverse-path, in its angle brackets."
    Recipients "recipients" "The forward-paths, with commas between."
    Size "size" "Octets of the message."
    Id "id" "The Message-ID."
    Verdict "verdict" "The word of a [`Verdict`]; a `session` that nobody refused has none."
    Code "code" "The reply's code."
    Reason "reason" "The word of a [`Reason`]."
    User "user" "The name in AUTH."
    Rule "rule" "The rule that decided: a list's `file:line`, a throttle's name, a key of the configuration."
    Shadow "shadow" "The rules that would have ruled otherwise, with commas between."
    Backend "backend" "The backend's reply."
    Words "words" "The beginning of the line that was refused."
    Folded "folded" "The lines that were not written: `2 rcpt not_local, 1 command protocol`."
    Ms "ms" "Milliseconds from MAIL, or from the connection, to the end."
}

impl Key {
    /// The key of this name.
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name().as_bytes() == name)
    }

    /// Whether the key's value is a number.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Size | Self::Code | Self::Ms)
    }
}
