//! The questions of a session to the outside, and their answers: one kind for each stage of a session. Values only; they
//! must not decide anything.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::repeat::Before;
use crate::policy::repeat::Candidate;
use crate::policy::throttle::Charge;
use crate::policy::throttle::Probe;
use crate::policy::throttle::Throttle;
use crate::policy::verdict::Ruling;
use crate::session::snapshot::Snapshot;
use crate::smtp::command::Mail;

/// The number of a question: an answer that comes when its question is no longer open is ignored by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub(super) u32);

/// A question to the outside. One is open at a time; it is answered by the variant of [`Answer`] of the same name.
#[derive(Debug)]
pub enum Question {
    /// At the connection, before the banner.
    Connect {
        /// The throttles of connections.
        throttles: Throttles,
        /// The address that may be blocked.
        client: IpAddr,
    },
    /// At STARTTLS: whether there is a permit for a handshake.
    Handshake,
    /// At AUTH, or at the line of it that has the user's name.
    Login(Throttles),
    /// At MAIL.
    Mail {
        /// The throttles whose keys have no recipient.
        throttles: Throttles,
        /// The address that may be blocked.
        client: IpAddr,
        /// The sender that may be blocked.
        mail: Arc<Mail>,
        /// Whether a message of so many octets can be held; `None` where our lists have refused it already.
        room: Option<u64>,
    },
    /// At RCPT.
    Recipient {
        /// The throttles that are asked with the recipient in their keys.
        throttles: Throttles,
        /// The message is deferred under this escalation key, whatever the throttles say: counts one more try.
        deferred: Option<u128>,
        /// The key under which undeclared messages that were too large are remembered.
        oversize: Option<u128>,
    },
    /// Behind a recipient that nobody knows.
    UnknownRecipients(Throttles),
    /// At DATA: whether a copy of a message that was refused over and over is expected under this envelope's key.
    Envelope(u128),
    /// At the final dot: whether the message was delivered before.
    Copy(Candidate),
    /// Where a refusal of ours is due.
    Rejection {
        /// The throttles of rejections and retries.
        throttles: Throttles,
        /// The key by which a retry is told; counts one more refusal.
        refusal: Option<u128>,
    },
}

/// The throttles to be asked, in their order.
#[derive(Debug)]
pub struct Throttles {
    /// The configuration that they stand in.
    pub snapshot: Arc<Snapshot>,
    /// Each with its key.
    pub asks: Vec<Ask>,
}

/// One throttle to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The throttle, the key and what it would cost.
    pub charge: Charge,
    /// How it is asked.
    pub probe: Probe,
    /// The key for people, where a block would name it.
    pub label: Option<String>,
    /// The key under which the message's defers are counted, where this throttle escalates.
    pub escalation: Option<u128>,
    /// The key under which the recipient knows the client's network, where those that are known come first.
    pub familiar: Option<u128>,
}

/// The answer to the [`Question`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// About a connection.
    Connect {
        /// The throttles' word.
        throttled: Throttled,
        /// The key of the operator's block that refuses the client.
        block: Option<String>,
    },
    /// About a TLS handshake.
    Handshake {
        /// There is a permit for it.
        granted: bool,
    },
    /// About AUTH.
    Login(Throttled),
    /// About MAIL.
    Mail {
        /// The throttles' word.
        throttled: Throttled,
        /// The key of the operator's block that refuses client or sender.
        block: Option<String>,
        /// The message can be held, or that was not asked.
        has_room: bool,
    },
    /// About a recipient.
    Recipient {
        /// The throttles' word.
        throttled: Throttled,
        /// What is remembered of undeclared messages that were too large.
        oversize: Option<Oversize>,
    },
    /// About a client that asks for recipients that nobody knows.
    UnknownRecipients(Throttled),
    /// About an envelope.
    Envelope {
        /// A copy is expected under it for so long.
        expected: Option<Duration>,
    },
    /// About a message.
    Copy(Copy),
    /// About a refusal.
    Rejection {
        /// The throttles' word.
        throttled: Throttled,
        /// The same was refused before.
        is_retry: bool,
    },
}

/// The word of all throttles that were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// The first one that is over its limit.
    pub over: Option<OverLimit>,
    /// Shadow throttles that would have refused, by their place in the configuration.
    pub shadows: Vec<usize>,
    /// How often the message was deferred by the throttle that refuses it, this time included; 0: that is not counted.
    pub tries: u32,
}

/// A throttle that is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Its place in the configuration.
    pub throttle: usize,
    /// How long it refuses from now on.
    pub wait: Duration,
    /// It refuses by a block.
    pub blocked: bool,
}

/// What the ledger knows of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// It may go to the backend.
    Deliver {
        /// Recipients (their indices) that have it already.
        served: Vec<usize>,
        /// How often it, or one that is alike, was delivered before.
        before: Before,
    },
    /// It was delivered, and the sender does not know.
    Absorb,
    /// It is being delivered, or its acknowledgement is on its way.
    Busy,
    /// It was delivered so often.
    Refuse(u32),
    /// Nobody can say. It might be delivered twice at once: the client has to come again.
    Unknown,
}

/// What is remembered of undeclared messages that were too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// There were some: one that fits ends the memory.
    Known,
    /// There were so many that the next one has to declare its size, or to wait for so long.
    Wait(Duration),
}

impl Question {
    /// The throttles that it asks.
    pub fn throttles(&self) -> Option<&Throttles> {
        match self {
            Self::Connect { throttles, .. }
            | Self::Login(throttles)
            | Self::Mail { throttles, .. }
            | Self::Recipient { throttles, .. }
            | Self::UnknownRecipients(throttles)
            | Self::Rejection { throttles, .. } => Some(throttles),
            Self::Copy(_) | Self::Envelope(_) | Self::Handshake => None,
        }
    }
}

impl Answer {
    /// What the throttles say, where they were asked.
    pub fn throttled(&self) -> Option<&Throttled> {
        match self {
            Self::Connect { throttled, .. }
            | Self::Login(throttled)
            | Self::Mail { throttled, .. }
            | Self::Recipient { throttled, .. }
            | Self::UnknownRecipients(throttled)
            | Self::Rejection { throttled, .. } => Some(throttled),
            Self::Copy(_) | Self::Envelope { .. } | Self::Handshake { .. } => None,
        }
    }
}

impl Throttles {
    /// The throttle that `ask` is for.
    pub fn of(&self, ask: &Ask) -> &Throttle {
        &self.snapshot.policy.throttles[ask.charge.throttle]
    }
}

impl OverLimit {
    /// The ruling of `throttle`, whose place this is.
    pub(super) fn ruling(&self, throttle: &Throttle) -> Ruling {
        match self.blocked {
            true => Ruling::blocked_for(throttle, self.wait),
            false => Ruling::throttled(throttle, self.wait),
        }
    }
}
