//! A ruling: the verdict, the client's reply, the reason, and the rule. The lists of words are closed; logs, metrics
//! and `explain` use them as they stand here. It must not decide anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::policy::replies;
use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::Throttle;
use crate::smtp::reply::Reply;

/// The end of a transaction, a recipient or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The mail was passed on, and the backend accepted it.
    Accept,
    /// A 5xx: the mail must not come again.
    Reject,
    /// A 4xx: the mail may come again.
    Defer,
    /// 250 without a delivery: the message was delivered before.
    Absorb,
    /// 421 and close.
    Disconnect,
}

impl Verdict {
    /// All verdicts, in the order of their declaration.
    pub const ALL: &[Self] = &[Self::Accept, Self::Reject, Self::Defer, Self::Absorb, Self::Disconnect];

    /// The verdict that a reply code amounts to.
    pub fn of_code(code: u16) -> Self {
        match code {
            421 => Self::Disconnect,
            400..500 => Self::Defer,
            500.. => Self::Reject,
            _ => Self::Accept,
        }
    }

    /// The word for logs and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Defer => "defer",
            Self::Absorb => "absorb",
            Self::Disconnect => "disconnect",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $word:literal,)*) => {
        /// The reason of a ruling: a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for logs, metrics and output.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// The sender is on a list.
    BlockedSender "blocked_sender",
    /// The recipient is on a list.
    BlockedRecipient "blocked_recipient",
    /// tcprules or a block deny the client.
    BlockedClient "blocked_client",
    /// The recipient's domain is not in rcpthosts.
    NotLocal "not_local",
    /// The recipient is not in `recipients.known`.
    UnknownRecipient "unknown_recipient",
    /// SIZE= is over the limit.
    OversizeDeclared "oversize_declared",
    /// The message itself is over the limit.
    OversizeData "oversize_data",
    /// Messages without a declared size were over the limit; deferred before the next one's body.
    OversizeRemembered "oversize_remembered",
    /// The backend refused AUTH, or a throttle did because it had refused it too often.
    AuthFailed "auth_failed",
    /// A session asked for too many recipients that are not there.
    UnknownRecipients "unknown_recipients",
    /// A throttle is over its limit.
    Throttled "throttled",
    /// The same message was delivered before.
    Repeat "repeat",
    /// The message went round in a circle.
    Loop "loop",
    /// A line of the message ends in a bare LF, or holds a bare CR.
    BareNewline "bare_newline",
    /// The client does not speak SMTP as it should.
    Protocol "protocol",
    /// MAIL before STARTTLS.
    TlsRequired "tls_required",
    /// The limit of connections is reached.
    TooManyConnections "too_many_connections",
    /// The limit of recipients is reached.
    TooManyRecipients "too_many_recipients",
    /// A time limit has passed.
    Timeout "timeout",
    /// The client went away, or gave the transaction up.
    ClientGone "client_gone",
    /// The proxy is stopping.
    Shutdown "shutdown",
    /// The backend said 5xx.
    BackendRejected "backend_rejected",
    /// The backend said 4xx.
    BackendDeferred "backend_deferred",
    /// The backend is down, hangs, is busy or talks nonsense.
    BackendUnavailable "backend_unavailable",
    /// No room to hold the message.
    NoRoom "no_room",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict against something, with the reply that tells the client and the rule that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict: reject, defer or disconnect.
    pub verdict: Verdict,
    /// The reply to the client.
    pub reply: Reply,
    /// The reason.
    pub reason: Reason,
    /// The rule that decided: `file:line` of the entry, or the throttle's name.
    pub rule: Option<Arc<str>>,
}

impl Ruling {
    /// A ruling whose verdict follows from the reply's code.
    pub fn new(reply: Reply, reason: Reason) -> Self {
        Self { verdict: Verdict::of_code(reply.code), reply, reason, rule: None }
    }

    /// The ruling on a client over a throttle's limit, where no other reply is due. Connections are counted before the
    /// greeting, where only 421 can be said (RFC 5321 section 3.1).
    pub fn throttled(throttle: &Throttle, wait: Duration) -> Self {
        let Throttle { count, action, name, .. } = throttle;
        let reply = match action {
            Action::Defer if *count != Count::Connections => replies::throttled(*count, wait),
            Action::Block | Action::Defer | Action::Disconnect => replies::disconnected(*count, wait),
        };
        Self::new(reply, Reason::Throttled).by(name)
    }

    /// The ruling by a throttle's block.
    pub fn blocked_for(throttle: &Throttle, wait: Duration) -> Self {
        Self::new(replies::blocked_for(throttle.count, wait), Reason::Throttled).by(&throttle.name)
    }

    /// Names the rule that decided beside the first: the throttle that ends the connection.
    #[must_use]
    pub fn and_by(self, rule: impl fmt::Display) -> Self {
        match self.rule.clone() {
            Some(first) => self.by(format_args!("{first},{rule}")),
            None => self.by(rule),
        }
    }

    /// Names the rule that decided.
    #[must_use]
    pub fn by(mut self, rule: impl fmt::Display) -> Self {
        self.rule = Some(rule.to_string().into());
        self
    }
}
