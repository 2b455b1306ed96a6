//! The states of a session, each with only what is valid in it, and the transaction that lives across them. They must
//! not decide a transition: the handlers do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::fingerprint::Fingerprints;
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
use crate::smtp::address::Address;
use crate::smtp::command::Mail;
use crate::smtp::command::Rcpt;
use crate::smtp::data::DataDecoder;
use crate::smtp::data::DataStatus;
use crate::smtp::reply_reader::BackendReply;

/// The event that the session waits for.
#[derive(Debug)]
pub(super) enum State {
    /// The call of `start`.
    Start,
    /// The end of `greet_delay`; a client that talks now is refused.
    Delay { until: Instant },
    /// The answer to a question, not for longer than this.
    Asking { pending: Pending, until: Instant },
    /// A command.
    Command,
    /// What the backend offers, before EHLO is answered; not for longer than this.
    Hello { until: Instant },
    /// The backend's offer, with no client that waits for it; not for longer than this.
    Inquiry { until: Instant },
    /// A line of AUTH, or (`waiting`) the backend's reply to one.
    Auth { waiting: bool },
    /// The TLS handshake.
    Handshake,
    /// The hold's word that the message can be held.
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

/// The step that the answer to a question decides.
#[derive(Debug)]
pub(super) enum Pending {
    /// The banner.
    Connect { until: Instant },
    /// STARTTLS.
    StartTls,
    /// MAIL, and our lists' ruling on it.
    Mail(Option<Box<Ruling>>),
    /// RCPT, which our lists let pass, and its cap in wire octets.
    Rcpt(Arc<Rcpt>, Option<u64>),
    /// AUTH, or its line with the user's name.
    Auth(Bytes),
    /// The next step of a client that has heard of unknown recipients.
    Unknown,
    /// DATA, whose recipients are known.
    Data,
    /// A complete message, and whether it is streamed.
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

/// The subject of a refusal.
#[derive(Debug)]
pub(super) enum RefusedWhat {
    Mail,
    Rcpt(Arc<Rcpt>),
    Message(Box<ReceivedMessage>),
}

/// One transaction, from MAIL to its final reply.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The snapshot in force at its MAIL, which rules it to its end.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) began: Instant,
    pub(super) mail: Arc<Mail>,
    pub(super) limit: Limit,
    /// The code of the backend's 250, once it came.
    pub(super) mail_code: Option<u16>,
    pub(super) accepted: Vec<Accepted>,
    /// Recipients that have the message already.
    pub(super) served: Vec<Accepted>,
    /// The backend's replies to the message so far, where there is one for each of `accepted` (LMTP).
    pub(super) replies: Vec<BackendReply>,
    /// The message's fingerprints, once it is complete.
    pub(super) fingerprints: Option<Fingerprints>,
    /// RCPTs that wait for the backend.
    pub(super) asked: VecDeque<(Arc<Rcpt>, Option<u64>)>,
    /// The outcome of the last refused recipient.
    pub(super) last_refusal: Option<Outcome>,
    /// Whether a recipient was refused for now only.
    pub(super) may_come_again: bool,
    pub(super) shadow: Vec<Arc<str>>,
    /// The defer of an escalating throttle at MAIL: the recipients hear of it, because with them its defers are
    /// counted.
    pub(super) postponed: Option<Postponed>,
    /// Whether undeclared messages to one of its recipients were too large: if this one fits, that is forgotten.
    pub(super) may_end_oversize: bool,
}

/// A throttle's defer that waits until the recipients are known.
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
    /// The time of its first octets.
    pub(super) first: Option<Instant>,
    /// The reason why nothing is kept any more, though reading goes on to the true end.
    pub(super) end: Option<BodyEnd>,
    /// Whether it is streamed to the backend as it comes.
    pub(super) streaming: bool,
}

/// The reason why a message is only read, not kept.
#[derive(Debug)]
pub(super) enum BodyEnd {
    /// The message is over this limit.
    Oversize(Bound),
    /// The hold failed.
    Hold(HoldEnd),
    /// The message has a NUL in it.
    Nul,
    /// The backend refused, or was lost, while streaming.
    Backend(Box<Outcome>),
}

/// A complete message.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    /// Octets on the wire.
    pub(super) size: u64,
    /// Number of its line ends, which count one octet less where messages are stored.
    pub(super) lines: u64,
    /// Whether a line of it begins with a dot.
    pub(super) has_dots: bool,
    pub(super) id: Option<String>,
    /// Earlier deliveries of the message, or of others that are alike.
    pub(super) before: Before,
    /// The time at which it was complete.
    pub(super) at: Instant,
}

impl State {
    /// Whether a message may be held, or claimed for delivery.
    pub(super) fn has_message(&self) -> bool {
        match self {
            Self::Asking { .. } | Self::Body(_) | Self::DataBegin | Self::HoldBegin | Self::Settle(_) => true,
            Self::Auth { .. }
            | Self::Command
            | Self::Delay { .. }
            | Self::Handshake
            | Self::Hello { .. }
            | Self::Inquiry { .. }
            | Self::Over
            | Self::Start => false,
        }
    }

    /// The complete message, in a state that has one.
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
    /// Decodes octets of the message; those that are kept go out.
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

    /// The progress of the message. One that is not kept, or goes on to the backend as it comes, takes no room.
    pub(super) fn upload(&self) -> Upload {
        let takes_room = self.end.is_none() && !self.streaming;
        Upload { began: self.began, size: self.decoder.size(), takes_room }
    }
}

impl Pending {
    /// The answer that holds when none comes in time. A question that only counts and slows passes, because a service
    /// that is down must not hold up mail; a handshake without a permit is refused for now, and so is a message that
    /// another session might be delivering.
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
            replies: Vec::new(),
            fingerprints: None,
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
    /// The recipients for whom the backend has accepted the message by now, where it answers for each.
    pub(super) fn served_now(&self) -> impl Iterator<Item = &Address> {
        let answered = self.accepted.iter().zip(&self.replies).filter(|(_, reply)| reply.is_success());
        answered.map(|(accepted, _)| &accepted.rcpt.recipient)
    }

    /// Notes shadow throttles that would have refused, each once.
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
    /// A message of so many octets, of which nothing else is known.
    pub(super) fn at(at: Instant, size: u64) -> Self {
        Self { size, lines: 0, has_dots: false, id: None, before: Before::default(), at }
    }
}
