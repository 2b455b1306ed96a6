//! The answers to a session's questions, from the state: at once. The first throttle that refuses decides, shadows only
//! report; a throttle that blocks makes its block here. It must not wait for anything: a service that has to, answers
//! later.

use std::fmt::Debug;
use std::pin::Pin;

use crate::policy::block::Suspect;
use crate::policy::repeat::Candidate;
use crate::policy::repeat::CopyKeys;
use crate::policy::repeat::REFUSAL_MEMORY;
use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::Probe;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::escalation::ESCALATION_MEMORY;
use crate::session::io::Delivery;
use crate::session::io::Event;
use crate::session::question::Answer;
use crate::session::question::Ask;
use crate::session::question::Copy;
use crate::session::question::OverLimit;
use crate::session::question::Oversize;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::store::ledger::Claim;
use crate::store::ledger::Decision;
use crate::store::state::State;
use crate::store::tables::Tables;

/// A service that answers questions.
pub trait Answers: Debug + Send + Sync {
    /// The answer, but for what this process knows itself: whether there is room and a permit for a handshake.
    fn answer(&self, question: &Question) -> Answering;
}

/// An answer that is here, or to come.
pub enum Answering {
    /// Here.
    Now(Answered),
    /// To come. Dropped, it is not waited for: what it was about to take is given back.
    Later(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

/// An answer, and the claim of a message that may go to the backend: dropping it gives the message free.
pub type Answered = (Answer, Option<Claim>);

/// The claims of one session: what it asked about last, and what the backend has accepted since.
#[derive(Debug, Default)]
pub struct Claims {
    on_its_way: Option<Box<Claim>>,
    /// Whose acknowledgement the client has not shown to have taken.
    accepted: Vec<Claim>,
}

impl Claims {
    /// The message that may go to the backend now; none gives the one before free.
    pub fn hold(&mut self, claim: Option<Claim>) {
        self.on_its_way = claim.map(Box::new);
    }

    /// The backend has accepted the message on its way for these copies only.
    pub fn serve(&mut self, served: &[CopyKeys]) {
        if let Some(claim) = self.on_its_way.take() {
            claim.accepted_for(served);
        }
    }

    /// What became of them; gives how many are settled by it.
    pub fn deliver(&mut self, delivery: Delivery) -> usize {
        let waiting = self.accepted.len();
        match delivery {
            Delivery::Accepted => {
                self.accepted.extend(self.on_its_way.take().map(|claim| claim.accepted()));
                return 0;
            }
            Delivery::Acknowledged => self.accepted.drain(..).for_each(Claim::took),
            Delivery::Unacknowledged => self.accepted.drain(..).for_each(Claim::unacknowledged),
        }
        waiting
    }
}

impl Answers for State {
    fn answer(&self, question: &Question) -> Answering {
        Answering::Now(answer(self.tables(), question))
    }
}

/// The state's answer.
pub fn answer(state: &Tables, question: &Question) -> Answered {
    let answer = match question {
        Question::Connect { throttles, client } => Answer::Connect {
            throttled: ask_all(state, throttles),
            block: block(state, Suspect { client: *client, sender: None }),
        },
        Question::Handshake => Answer::Handshake { granted: true },
        Question::Login(throttles) => Answer::Login(ask_all(state, throttles)),
        Question::Mail { throttles, client, mail, .. } => Answer::Mail {
            throttled: ask_all(state, throttles),
            block: block(state, Suspect { client: *client, sender: Some(&mail.sender) }),
            has_room: true,
        },
        Question::Recipient { throttles, deferred, oversize } => {
            let mut throttled = ask_all(state, throttles);
            if let Some(key) = deferred {
                throttled.tries = count_try(state, *key);
            }
            let oversize = oversize.and_then(|key| state.oversize(key));
            let oversize = oversize.map(|wait| wait.map_or(Oversize::Known, Oversize::Wait));
            Answer::Recipient { throttled, oversize }
        }
        Question::UnknownRecipients(throttles) => Answer::UnknownRecipients(ask_all(state, throttles)),
        Question::Envelope(key) => Answer::Envelope { expected: state.ledger.is_expected(*key) },
        Question::Copy(candidate) => return decide(state, candidate),
        Question::Rejection { throttles, refusal } => {
            let is_retry = refusal.is_some_and(|key| count_refusal(state, key) > 1);
            let counts =
                |ask: &&Ask| is_retry || ask.probe == Probe::Block || throttles.of(ask).count != Count::Retries;
            let throttled = ask_some(state, throttles, throttles.asks.iter().filter(counts));
            Answer::Rejection { throttled, is_retry }
        }
    };
    (answer, None)
}

/// Counts what happened.
pub fn count(state: &Tables, event: &Event) {
    let now = state.clock.now();
    match event {
        Event::Charge(snapshot, charges) => {
            for charge in charges {
                let throttle: &Throttle = &snapshot.policy.throttles[charge.throttle];
                state.throttles.charge(throttle, charge.key, charge.cells);
            }
        }
        Event::Oversize(keys) => keys.iter().for_each(|key| state.note_oversize(*key, now)),
        Event::Familiar(keys) => keys.iter().for_each(|key| state.note_familiar(*key, now)),
        Event::Fits(keys) => keys.iter().for_each(|key| _ = state.oversizes.remove(*key)),
        Event::Passed(keys) => keys.iter().for_each(|key| _ = state.escalations.remove(*key)),
    }
}

fn block(state: &Tables, suspect: Suspect<'_>) -> Option<String> {
    state.blocks.find(suspect).map(|block| block.key)
}

fn decide(state: &Tables, candidate: &Candidate) -> Answered {
    let (copy, claim) = match state.ledger.decide(candidate) {
        Decision::Absorb => (Copy::Absorb, None),
        Decision::Busy => (Copy::Busy, None),
        Decision::Deliver(delivery) => {
            (Copy::Deliver { served: delivery.served, before: delivery.before }, delivery.claim)
        }
        Decision::Refuse(times) => (Copy::Refuse(times), None),
    };
    (Answer::Copy(copy), claim)
}

/// One more try of a message that is deferred; tells how many there were.
fn count_try(state: &Tables, key: u128) -> u32 {
    state.escalations.count(key, ESCALATION_MEMORY, state.clock.now())
}

/// One more refusal that is known by this key; tells how many there were.
fn count_refusal(state: &Tables, key: u128) -> u32 {
    state.refusals.count(key, REFUSAL_MEMORY, state.clock.now())
}

fn ask_all(state: &Tables, throttles: &Throttles) -> Throttled {
    ask_some(state, throttles, throttles.asks.iter())
}

fn ask_some<'a>(state: &Tables, throttles: &Throttles, asks: impl Iterator<Item = &'a Ask>) -> Throttled {
    let mut throttled = Throttled::default();
    asks.for_each(|ask| ask_throttle(state, throttles.of(ask), ask, &mut throttled));
    throttled
}

fn ask_throttle(state: &Tables, throttle: &Throttle, ask: &Ask, throttled: &mut Throttled) {
    let (index, key, cells) = (ask.charge.throttle, ask.charge.key, ask.charge.cells);
    let blocks = throttle.action == Action::Block && !throttle.shadow;
    let over = |wait, blocked| Some(OverLimit { throttle: index, wait, blocked });
    if let Some(left) = state.blocks.find_throttled(key.exact).filter(|_| blocks) {
        if throttled.over.is_none() {
            throttled.over = over(left, true);
        }
        return;
    }
    let result = match ask.probe {
        Probe::Take => state.throttles.take(throttle, key, cells),
        Probe::Test => state.throttles.test(throttle, key, cells),
        Probe::Block => Ok(()),
    };
    match result {
        Ok(()) => {}
        Err(_) if ask.familiar.is_some_and(|key| state.is_familiar(key)) => {}
        Err(_) if throttle.shadow => throttled.shadows.push(index),
        Err(_) if throttled.over.is_some() => {}
        Err(wait) if !blocks => {
            throttled.over = over(wait, false);
            throttled.tries = ask.escalation.map_or(0, |key| count_try(state, key));
        }
        Err(_) => {
            let label = ask.label.as_deref().unwrap_or_default();
            let length = state.blocks.add_throttled(&throttle.name, label, key.exact, throttle.block);
            tracing::warn!(throttle = &*throttle.name, key = label, seconds = length.as_secs(), "blocked");
            throttled.over = over(length, true);
        }
    }
}
