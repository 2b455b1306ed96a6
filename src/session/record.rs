//! What one transaction was and how it ended: exactly one a transaction, on every path. Readers turn it into a log
//! line; it must not know how.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::repeat::Before;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;

/// One line of the log. What was not known when it ended is `None`.
#[derive(Clone, Debug)]
pub struct Record {
    /// What ended.
    pub kind: Kind,
    /// The session's id, as replies show it in brackets.
    pub session: Arc<str>,
    /// The client's address.
    pub client: IpAddr,
    /// Its name for itself.
    pub helo: Option<String>,
    /// Protocol version of TLS.
    pub tls: Option<&'static str>,
    /// With its angle brackets: `<>` is the null sender.
    pub sender: Option<String>,
    /// Those that were accepted; of a `rcpt` record the refused one.
    pub recipients: Vec<String>,
    /// Octets of the message with CRLF line ends; before the message, the declared ones.
    pub size: Option<u64>,
    /// Octets of the message that crossed the wire; of one that was refused before its body, 0.
    pub received: u64,
    /// The Message-ID.
    pub id: Option<String>,
    /// How often it, or one that is alike, was delivered before.
    pub before: Before,
    /// How it ended.
    pub verdict: Verdict,
    /// The code the client heard, or would have.
    pub code: Option<u16>,
    /// Why, unless it simply passed.
    pub reason: Option<Reason>,
    /// What decided.
    pub rule: Option<Arc<str>>,
    /// The rules that would have ruled otherwise.
    pub shadow: Vec<Arc<str>>,
    /// The backend's own words.
    pub backend: Option<String>,
    /// From MAIL (or the connection) to the end.
    pub took: Duration,
    /// From the end of the message to its final reply, where there were both.
    pub answered: Option<Duration>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction.
    Mail,
    /// A refused recipient.
    Rcpt,
    /// A connection that ended without a transaction.
    Session,
}

impl Kind {
    /// The first word of the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Session => "session",
        }
    }
}
