//! The states of a session, each with only what is valid in it, and the transaction that lives across them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::message::MessageReader;
use crate::policy::repeat::Before;
use crate::policy::size::Bound;
use crate::policy::size::Limit;
use crate::policy::throttle::Charge;
use crate::policy::throttle::ThrottleKey;
use crate::policy::verdict::Ruling;
use crate::session::io::HoldEnd;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::patience::Upload;
use crate::session::question::Answer;
use crate::session::question::Copy;
use crate::session::question::Throttled;
use crate::session::snapshot::Snapshot;
use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;
use crate::smtp::data::DataDecoder;
use crate::smtp::data::DataStatus;

/// What is waited for.
#[derive(Debug)]
pub(super) enum State {
    /// `start`.
    Start,
    /// The end of `greet_delay`; who talks now is refused.
    Delay { until: Instant },
    /// The answer to a question, not for longer than this.
    Asking { pending: Pending, until: Instant },
    /// A command.
    Command,
    /// What the backend offers, before EHLO is answered; not for longer than this.
    Hello { until: Instant },
    /// The same, with no client that waits for it.
    Inquiry { until: Instant },
    /// A line of AUTH, or (`waiting`) the backend's reply to one.
    Auth { waiting: bool },
    /// The TLS handshake.
    Handshake,
    /// Whether the message can be held.
    HoldBegin,
    /// The backend's 354 (`hold = false`).
    DataBegin,
    /// The message.
    Body(Box<Body>),
    /// The backend's word on the whole message.
    Settle(Box<ReceivedMessage>),
    /// Nothing: closed.
    Over,
}

/// What the answer to a question decides.
#[derive(Debug)]
pub(super) enum Pending {
    /// The banner.
    Connect { until: Instant },
    /// STARTTLS.
    StartTls,
    /// MAIL, and what our lists say of it.
    Mail(Option<Box<Ruling>>),
    /// RCPT, which our lists let pass.
    Rcpt(Arc<Rcpt>, Option<u64>),
    /// AUTH, or the line of it that has the name.
    Auth(Bytes),
    /// Whether a client that has heard of unknown recipients may go on.
    Unknown,
    /// DATA, whose recipients are known.
    Data,
    /// A message that is here as a whole, and whether it is streamed.
    Copy(Box<ReceivedMessage>, bool),
    /// A refusal of ours that counts as a rejection.
    Rejected(Box<Refused>),
}

/// A refusal that waits for the throttles.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) ruling: Ruling,
    pub(super) what: RefusedWhat,
    pub(super) charges: Vec<Charge>,
}

/// What was refused.
#[derive(Debug)]
pub(super) enum RefusedWhat {
    Mail,
    Rcpt(Arc<Rcpt>),
    Message(Box<ReceivedMessage>),
}

/// One MAIL … to its final reply.
#[derive(Debug)]
pub(super) struct Transaction {
    /// What was in force at its MAIL, and rules it to its end.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) began: Instant,
    pub(super) mail: Arc<Mail>,
    pub(super) limit: Limit,
    /// The code of the backend's 250, once it came.
    pub(super) mail_code: Option<u16>,
    pub(super) accepted: Vec<Accepted>,
    /// Recipients that have the message already.
    pub(super) served: Vec<Accepted>,
    /// RCPTs that wait for the backend.
    pub(super) asked: VecDeque<(Arc<Rcpt>, Option<u64>)>,
    /// How the last refused recipient was refused.
    pub(super) last_refusal: Option<Outcome>,
    /// A recipient was refused for now only.
    pub(super) may_come_again: bool,
    pub(super) shadow: Vec<Arc<str>>,
    /// A throttle that escalates has refused MAIL: the recipients hear of it, because with them its defers are counted.
    pub(super) postponed: Option<Postponed>,
    /// Undeclared messages to one of its recipients were too large: if this one fits, that is forgotten.
    pub(super) may_end_oversize: bool,
}

/// What a throttle has to say, once the recipients are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Postponed {
    pub(super) throttle: usize,
    pub(super) key: ThrottleKey,
    pub(super) wait: Duration,
}

/// A recipient that the backend accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) rcpt: Arc<Rcpt>,
    pub(super) code: u16,
    pub(super) cap: Option<u64>,
}

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) decoder: DataDecoder,
    pub(super) message: MessageReader,
    pub(super) began: Instant,
    /// Why nothing is kept any more, though reading goes on to the true end.
    pub(super) end: Option<BodyEnd>,
    /// Streamed to the backend as it comes.
    pub(super) streaming: bool,
}

/// Why a message is only read, not kept.
#[derive(Debug)]
pub(super) enum BodyEnd {
    /// Over this limit.
    Oversize(Bound),
    /// The hold failed.
    Hold(HoldEnd),
    /// A NUL in it.
    Nul,
    /// While streaming, the backend said no, or was lost.
    Backend(Box<Outcome>),
}

/// A message that is here as a whole.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    /// Wire octets.
    pub(super) size: u64,
    /// Of them line ends, which count one octet less where messages are stored.
    pub(super) lines: u64,
    pub(super) id: Option<String>,
    /// How often it, or one that is alike, was delivered before.
    pub(super) before: Before,
    /// When.
    pub(super) at: Instant,
}

impl State {
    /// The message that is here as a whole.
    pub(super) fn received(&self) -> Option<&ReceivedMessage> {
        match self {
            Self::Settle(received) | Self::Asking { pending: Pending::Copy(received, _), .. } => Some(received),
            Self::Asking { pending: Pending::Rejected(refused), .. } => match &refused.what {
                RefusedWhat::Message(received) => Some(received),
                RefusedWhat::Mail | RefusedWhat::Rcpt(_) => None,
            },
            _ => None,
        }
    }
}

impl Body {
    /// Takes octets of it: what is kept goes out.
    pub(super) fn decode(&mut self, input: &mut BytesMut, output: &mut VecDeque<Output>) -> DataStatus {
        let Self { decoder, message, end, streaming, .. } = self;
        let mut keep = |octets: Bytes| {
            if end.is_none() {
                message.feed(&octets);
                output.push_back(if *streaming { Output::Backend(octets) } else { Output::Hold(octets) });
            }
        };
        decoder.decode(input, &mut keep)
    }

    /// How it comes in. What is not kept, or goes on to the backend as it comes, takes no room.
    pub(super) fn upload(&self) -> Upload {
        let takes_room = self.end.is_none() && !self.streaming;
        Upload { began: self.began, size: self.decoder.size(), takes_room }
    }
}

impl Pending {
    /// The answer that holds when nobody gives one in time. What only counts and slows passes, because a service that is
    /// down must not hold up mail; a handshake without a permit is refused for now, and so is a message of which nobody can
    /// say that no other session is delivering it.
    pub(super) fn unanswered(&self) -> Answer {
        match self {
            Self::Auth(_) => Answer::Login(Throttled::default()),
            Self::Connect { .. } => Answer::Connect { throttled: Throttled::default(), block: None },
            Self::Copy(..) => Answer::Copy(Copy::Unknown),
            Self::Data => Answer::Envelope { expected: None },
            Self::Mail(_) => Answer::Mail { throttled: Throttled::default(), block: None, has_room: true },
            Self::Rcpt(..) => Answer::Recipient { throttled: Throttled::default(), oversize: None },
            Self::Rejected(_) => Answer::Rejection { throttled: Throttled::default(), is_retry: false },
            Self::StartTls => Answer::Handshake { granted: false },
            Self::Unknown => Answer::UnknownRecipients(Throttled::default()),
        }
    }
}

impl Transaction {
    pub(super) fn new(snapshot: Arc<Snapshot>, mail: Mail, limit: Limit, began: Instant) -> Self {
        Self {
            snapshot,
            began,
            mail: Arc::new(mail),
            limit,
            mail_code: None,
            accepted: Vec::new(),
            served: Vec::new(),
            asked: VecDeque::new(),
            last_refusal: None,
            may_come_again: false,
            shadow: Vec::new(),
            postponed: None,
            may_end_oversize: false,
        }
    }
}

impl Transaction {
    /// Shadow throttles that would have refused, each once.
    pub(super) fn note_shadows(&mut self, indices: &[usize]) {
        for index in indices {
            let name = &self.snapshot.policy.throttles[*index].name;
            if !self.shadow.contains(name) {
                self.shadow.push(name.clone());
            }
        }
    }
}

impl ReceivedMessage {
    /// So many octets of it, of which nothing is known.
    pub(super) fn at(at: Instant, size: u64) -> Self {
        Self { size, lines: 0, id: None, before: Before::default(), at }
    }
}
