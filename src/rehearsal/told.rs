//! The answers of the running proxy, which knows its state, for a command that knows the files: a rehearsal there takes
//! them down by stage, one here is answered by them. Throttles are told by name, because the files may number them otherwise. It
//! must not tell the seed of the state, nor a key that was made with it.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::front::Services;
use crate::front::look::Look;
use crate::policy::net::client_net;
use crate::policy::repeat::Before;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::key::Seed;
use crate::policy::throttle::subject::Subject;
use crate::rehearsal::backend::Backend;
use crate::rehearsal::backend::keywords;
use crate::rehearsal::explanation::Explanation;
use crate::rehearsal::message::At;
use crate::rehearsal::message::Message;
use crate::rehearsal::message::Script;
use crate::rehearsal::rehearse::Outside;
use crate::rehearsal::rehearse::Rehearsal;
use crate::rehearsal::rehearse::Step;
use crate::session::io::Event;
use crate::session::question::Answer;
use crate::session::question::Copy;
use crate::session::question::OverLimit;
use crate::session::question::Oversize;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::store::blocks::Blocks;

/// The answers of the running proxy, and the offer of its backend.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Told {
    /// The keywords that its backend offers; `None`: it has not heard yet.
    pub(crate) offer: Option<Vec<String>>,
    /// The answers to the questions of a session, each with its step.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub(crate) answers: Vec<(At, Says)>,
    /// What it would say itself, by the configuration and the lists that it has.
    #[schema(value_type = Option<Object>)]
    pub(crate) explanation: Option<Explanation>,
}

/// An [`Answer`] by the name of its kind, with the throttle that refuses, if there is one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Says {
    Connect {
        over: Option<Over>,
        block: Option<String>,
    },
    Login {
        over: Option<Over>,
    },
    Mail {
        over: Option<Over>,
        block: Option<String>,
        has_room: bool,
    },
    Recipient {
        over: Option<Over>,
        tries: u32,
        wait: Option<Duration>,
    },
    UnknownRecipients {
        over: Option<Over>,
    },
    Rejection {
        over: Option<Over>,
        is_retry: bool,
    },
    Envelope {
        expected: Option<Duration>,
    },
    CopyAbsorb,
    CopyBusy,
    CopyDeliver,
    CopyRefuse {
        times: u32,
    },
    /// No room for so much of the message.
    NoRoom,
}

/// A throttle that is over its limit, by its name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Over {
    throttle: String,
    wait: Duration,
    blocked: bool,
    /// The key by which `unblock` lifts it.
    key: String,
}

/// The outside of a rehearsal in the running proxy: its state is looked at, and what it answers is taken down.
pub(crate) struct Teller<'a> {
    services: Arc<Services>,
    look: Look,
    network: IpNet,
    script: &'a Script,
    told: Told,
}

impl<'a> Teller<'a> {
    /// A rehearsal by what is in force, up to the message itself.
    pub(crate) fn rehearse(services: Arc<Services>, script: &'a Script) -> Rehearsal<Self> {
        let Message { client, host, .. } = &script.message;
        let (snapshot, seed) = (services.snapshot.borrow().clone(), services.state.tables().seed.clone());
        let environment = snapshot.policy.client(*client, host.as_deref());
        services.recall_offer(&environment);
        let offer = services.backends.offer(&environment).map(|(offer, _)| keywords(&offer));
        let backend = Backend::of(offer.as_deref());
        let (look, network) = (Look::at(services.state.clone()), client_net(*client));
        let outside = Self { services, look, network, script, told: Told { offer, ..Told::default() } };
        Rehearsal::begin(&snapshot, &seed, script, backend, outside)
    }

    /// The answers, the offer, and the explanation of a session that had these steps.
    pub(crate) fn told(self, steps: Vec<Step>) -> Told {
        let Self { services, script, mut told, .. } = self;
        let policy = &services.snapshot.borrow().policy;
        let mut explanation = Explanation::of(policy, &script.message, told.offer.clone(), steps);
        for over in told.answers.iter().filter_map(|(_, says)| says.over()) {
            if !explanation.throttled.contains(&over.key) {
                explanation.throttled.push(over.key.clone());
            }
        }
        told.explanation = Some(explanation);
        told
    }
}

impl Outside for Teller<'_> {
    fn answer(&mut self, at: At, question: &Question) -> Answer {
        let mut answer = self.look.answer(question);
        if let (Answer::Mail { has_room, .. }, Question::Mail { room: Some(expected), .. }) = (&mut answer, question) {
            *has_room = self.services.holds.has_room(self.network, *expected);
        }
        let subject = self.script.subject(at);
        self.told.answers.extend(Says::of(&answer, question.throttles(), &subject).map(|says| (at, says)));
        answer
    }

    fn count(&mut self, event: &Event) {
        self.look.count(event);
    }

    fn has_room(&mut self, at: At, octets: u64) -> bool {
        let has_room = self.services.holds.has_room(self.network, octets);
        self.told.answers.extend((!has_room).then_some((at, Says::NoRoom)));
        has_room
    }
}

/// The outside of a rehearsal by the files: the answers of the proxy, and for what it was not asked, a state that knows nothing.
pub(crate) struct Hearer {
    told: Vec<(At, Says)>,
    look: Look,
    /// The keys by which `unblock` lifts the throttles that refuse, each once.
    throttled: Vec<String>,
}

impl Hearer {
    pub(crate) fn new(seed: Seed, told: Vec<(At, Says)>) -> Self {
        Self { told, look: Look::at_nothing(seed), throttled: Vec::new() }
    }

    /// The keys by which `unblock` lifts the throttles that refused, each once.
    pub(crate) fn throttled(self) -> Vec<String> {
        self.throttled
    }
}

impl Outside for Hearer {
    fn answer(&mut self, at: At, question: &Question) -> Answer {
        let of_step = self.told.iter().filter(|(told, _)| *told == at);
        let heard = of_step.map(|(_, says)| says).find_map(|says| Some((says, says.answer(question)?)));
        let Some((says, answer)) = heard else { return self.look.answer(question) };
        if let Some(over) = says.over().filter(|over| !self.throttled.contains(&over.key)) {
            self.throttled.push(over.key.clone());
        }
        answer
    }

    fn count(&mut self, event: &Event) {
        self.look.count(event);
    }

    fn has_room(&mut self, at: At, _octets: u64) -> bool {
        !self.told.contains(&(at, Says::NoRoom))
    }
}

impl Says {
    /// The telling of `answer`; `None` of an answer that no rehearsal asks for.
    fn of(answer: &Answer, throttles: Option<&Throttles>, subject: &Subject<'_>) -> Option<Self> {
        let over = answer.throttled().zip(throttles);
        let over = over.and_then(|(throttled, throttles)| Some(Over::of(throttled.over?, throttles, subject)));
        Some(match answer {
            // An operator's block outranks a throttle, here and at MAIL.
            Answer::Connect { block, .. } => {
                Self::Connect { over: over.filter(|_| block.is_none()), block: block.clone() }
            }
            Answer::Copy(Copy::Absorb) => Self::CopyAbsorb,
            Answer::Copy(Copy::Busy) => Self::CopyBusy,
            Answer::Copy(Copy::Deliver { .. }) => Self::CopyDeliver,
            Answer::Copy(Copy::Refuse(times)) => Self::CopyRefuse { times: *times },
            Answer::Envelope { expected } => Self::Envelope { expected: *expected },
            Answer::Login(_) => Self::Login { over },
            Answer::Mail { block, has_room, .. } => {
                let over = over.filter(|_| block.is_none());
                Self::Mail { over, block: block.clone(), has_room: *has_room }
            }
            Answer::Recipient { throttled, oversize } => {
                let wait = match oversize {
                    Some(Oversize::Wait(wait)) => Some(*wait),
                    Some(Oversize::Known) | None => None,
                };
                Self::Recipient { over, tries: throttled.tries, wait }
            }
            Answer::Rejection { is_retry, .. } => Self::Rejection { over, is_retry: *is_retry },
            Answer::UnknownRecipients(_) => Self::UnknownRecipients { over },
            Answer::Copy(Copy::Unknown) | Answer::Handshake { .. } => return None,
        })
    }

    /// The answer, if it is one to `question`.
    fn answer(&self, question: &Question) -> Option<Answer> {
        let over = self.over().zip(question.throttles()).and_then(|(over, throttles)| over.limit(throttles));
        let throttled = |tries| Throttled { over, shadows: Vec::new(), tries };
        Some(match (self, question) {
            (Self::Connect { block, .. }, Question::Connect { .. }) => {
                Answer::Connect { throttled: throttled(0), block: block.clone() }
            }
            (Self::CopyAbsorb, Question::Copy(_)) => Answer::Copy(Copy::Absorb),
            (Self::CopyBusy, Question::Copy(_)) => Answer::Copy(Copy::Busy),
            // Who has it already makes no difference to its client.
            (Self::CopyDeliver, Question::Copy(_)) => {
                Answer::Copy(Copy::Deliver { served: Vec::new(), before: Before::default() })
            }
            (Self::CopyRefuse { times }, Question::Copy(_)) => Answer::Copy(Copy::Refuse(*times)),
            (Self::Envelope { expected }, Question::Envelope(_)) => Answer::Envelope { expected: *expected },
            (Self::Login { .. }, Question::Login(_)) => Answer::Login(throttled(0)),
            (Self::Mail { block, has_room, .. }, Question::Mail { .. }) => {
                Answer::Mail { throttled: throttled(0), block: block.clone(), has_room: *has_room }
            }
            (Self::Recipient { tries, wait, .. }, Question::Recipient { .. }) => {
                Answer::Recipient { throttled: throttled(*tries), oversize: wait.map(Oversize::Wait) }
            }
            (Self::Rejection { is_retry, .. }, Question::Rejection { .. }) => {
                Answer::Rejection { throttled: throttled(0), is_retry: *is_retry }
            }
            (Self::UnknownRecipients { .. }, Question::UnknownRecipients(_)) => Answer::UnknownRecipients(throttled(0)),
            _ => return None,
        })
    }

    fn over(&self) -> Option<&Over> {
        match self {
            Self::Connect { over, .. }
            | Self::Login { over }
            | Self::Mail { over, .. }
            | Self::Recipient { over, .. }
            | Self::Rejection { over, .. }
            | Self::UnknownRecipients { over } => over.as_ref(),
            _ => None,
        }
    }
}

impl Over {
    fn of(over: OverLimit, throttles: &Throttles, subject: &Subject<'_>) -> Self {
        let throttle = &throttles.snapshot.policy.throttles[over.throttle];
        let key = Blocks::throttled_key(&throttle.name, &throttle.label(subject).unwrap_or_default());
        Self { throttle: throttle.name.to_string(), wait: over.wait, blocked: over.blocked, key }
    }

    /// The limit, by its place in the files; `None` where the session does not ask this throttle, or only as a shadow.
    fn limit(&self, throttles: &Throttles) -> Option<OverLimit> {
        let is_it = |throttle: &Throttle| *throttle.name == *self.throttle && !throttle.shadow;
        let asked = throttles.asks.iter().find(|ask| is_it(throttles.of(ask)))?;
        Some(OverLimit { throttle: asked.charge.throttle, wait: self.wait, blocked: self.blocked })
    }
}
