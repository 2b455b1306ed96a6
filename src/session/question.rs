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

/// The number of a question, by which an answer to an earlier one is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub(super) u32);

/// A question to the outside. One is open at a time; it is answered by the variant of [`Answer`] of the same name.
#[derive(Debug)]
pub enum Question {
    /// At the connection, before the banner.
    Connect {
        /// The throttles of connections.
        throttles: Throttles,
        /// The client's address, which may be blocked.
        client: IpAddr,
    },
    /// At STARTTLS: whether there is a permit for a handshake.
    Handshake,
    /// At AUTH, or at its line with the user's name.
    Login(Throttles),
    /// At MAIL.
    Mail {
        /// The throttles whose keys have no recipient.
        throttles: Throttles,
        /// The client's address, which may be blocked.
        client: IpAddr,
        /// The command, whose sender may be blocked.
        mail: Arc<Mail>,
        /// Octets of the message that the hold must have room for; `None` where our lists have refused it already.
        room: Option<u64>,
    },
    /// At RCPT.
    Recipient {
        /// The throttles that are asked with the recipient in their keys.
        throttles: Throttles,
        /// The escalation key under which the message is deferred, whatever the throttles say; counts one more try.
        deferred: Option<u128>,
        /// The key under which undeclared messages that were too large are remembered.
        oversize: Option<u128>,
    },
    /// At a recipient that does not exist.
    UnknownRecipients(Throttles),
    /// At DATA: whether a copy of a message that was refused over and over is expected under this envelope's key.
    Envelope(u128),
    /// At the final dot: whether the message was delivered before.
    Copy(Candidate),
    /// At a refusal of ours.
    Rejection {
        /// The throttles of rejections and retries.
        throttles: Throttles,
        /// The key by which a retry is recognized; counts one more refusal.
        refusal: Option<u128>,
    },
}

/// The throttles to be asked, in their order.
#[derive(Debug)]
pub struct Throttles {
    /// The configuration of these throttles.
    pub snapshot: Arc<Snapshot>,
    /// The throttles, each with its key.
    pub asks: Vec<Ask>,
}

/// One throttle to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The throttle, the key and what it would cost.
    pub charge: Charge,
    /// The way it is asked.
    pub probe: Probe,
    /// The key as people write it, where a block would name it.
    pub label: Option<String>,
    /// The key under which the message's defers are counted, where this throttle escalates.
    pub escalation: Option<u128>,
    /// The key under which the recipient knows the client's network, where known networks come first.
    pub familiar: Option<u128>,
}

/// The answer to the [`Question`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// About a connection.
    Connect {
        /// The throttles' answer.
        throttled: Throttled,
        /// The key of the operator's block that refuses the client.
        block: Option<String>,
    },
    /// About a TLS handshake.
    Handshake {
        /// Whether the handshake has a permit.
        granted: bool,
    },
    /// About AUTH.
    Login(Throttled),
    /// About MAIL.
    Mail {
        /// The throttles' answer.
        throttled: Throttled,
        /// The key of the operator's block that refuses client or sender.
        block: Option<String>,
        /// Whether the message can be held; also true where that was not asked.
        has_room: bool,
    },
    /// About a recipient.
    Recipient {
        /// The throttles' answer.
        throttled: Throttled,
        /// The memory of undeclared messages that were too large; `None`: there were none.
        oversize: Option<Oversize>,
    },
    /// About a client that asks for recipients that do not exist.
    UnknownRecipients(Throttled),
    /// About an envelope.
    Envelope {
        /// The time for which a copy is expected under it; `None`: none is.
        expected: Option<Duration>,
    },
    /// About a message.
    Copy(Copy),
    /// About a refusal.
    Rejection {
        /// The throttles' answer.
        throttled: Throttled,
        /// Whether the same was refused before.
        is_retry: bool,
    },
}

/// The answer of all throttles that were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// The first one that is over its limit.
    pub over: Option<OverLimit>,
    /// Shadow throttles that would have refused, by their indices in the configuration.
    pub shadows: Vec<usize>,
    /// Defers of the message by the throttle that refuses it, this one included; 0: not counted.
    pub tries: u32,
}

/// A throttle that is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The throttle's index in the configuration.
    pub throttle: usize,
    /// The time for which it refuses from now on.
    pub wait: Duration,
    /// Whether it refuses by a block.
    pub blocked: bool,
}

/// The ledger's ruling on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The message may go to the backend.
    Deliver {
        /// Indices of recipients that have it already.
        served: Vec<usize>,
        /// Earlier deliveries of the message, or of others that are alike.
        before: Before,
    },
    /// The message was delivered, and the sender does not know.
    Absorb,
    /// The message is being delivered, or its acknowledgement is on its way.
    Busy,
    /// The message was delivered this many times, and must not be again.
    Refuse(u32),
    /// No answer: the message might be delivered twice at once, so the client has to come again.
    Unknown,
}

/// What is remembered of undeclared messages that were too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// Some were too large: one that fits ends the memory.
    Known,
    /// Too many were too large: the next one has to declare its size, or to wait for so long.
    Wait(Duration),
}

impl Question {
    /// The throttles that the question asks.
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
    /// The throttles' answer, where they were asked.
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
    /// The ruling of `throttle`, which is the one over its limit.
    pub(super) fn ruling(&self, throttle: &Throttle) -> Ruling {
        match self.blocked {
            true => Ruling::blocked_for(throttle, self.wait),
            false => Ruling::throttled(throttle, self.wait),
        }
    }
}
