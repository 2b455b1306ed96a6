//! The answers to a session's questions, from the state. The first throttle that refuses decides, shadows only report;
//! a throttle that blocks makes its block here. It must not wait for anything.

use crate::policy::block::Suspect;
use crate::policy::repeat::OVERSIZE_MEMORY;
use crate::policy::repeat::REFUSAL_MEMORY;
use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::Probe;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::escalation::ESCALATION_MEMORY;
use crate::session::io::Answer;
use crate::session::io::Ask;
use crate::session::io::Fact;
use crate::session::io::Known;
use crate::session::io::Oversize;
use crate::session::io::Question;
use crate::session::io::Repeated;
use crate::store::clock::seconds;
use crate::store::ledger::Claim;
use crate::store::ledger::Decision;
use crate::store::state::Rooms;

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

    /// What became of them; gives how many are settled by it.
    pub fn tell(&mut self, fact: &Fact) -> usize {
        let waiting = self.accepted.len();
        match fact {
            Fact::Accepted => {
                self.accepted.extend(self.on_its_way.take().map(|claim| claim.accepted()));
                return 0;
            }
            Fact::Took => self.accepted.drain(..).for_each(Claim::took),
            Fact::Unacknowledged => self.accepted.drain(..).for_each(Claim::unacknowledged),
            Fact::Charge(..)
            | Fact::Delivered(_)
            | Fact::Fits(_)
            | Fact::Learned(..)
            | Fact::Oversize(_)
            | Fact::Passed(_) => return 0,
        }
        waiting
    }
}

/// The answer, but for the room to hold a message, and the claim of a message that may go to the backend:
/// dropping it gives the message free.
pub fn answer(state: &Rooms, question: &Question) -> (Answer, Option<Claim>) {
    let is_retry = question.refusal.is_some_and(|key| count_refusal(state, key) > 1);
    let mut answer = Answer { is_retry, ..Answer::default() };
    for ask in &question.asks {
        let throttle = &question.snapshot.policy.throttles[ask.charge.throttle];
        if throttle.count != Count::Retries || ask.probe == Probe::Block || answer.is_retry {
            ask_throttle(state, throttle, ask, &mut answer);
        }
    }
    if let Some((client, mail)) = &question.suspect {
        let suspect = Suspect { client: *client, sender: mail.as_ref().map(|mail| &mail.sender) };
        answer.block = state.blocks.find(suspect).map(|block| block.key);
    }
    let mut claim = None;
    match &question.known {
        None => {}
        Some(Known::Oversize(key)) => {
            let oversize = state.oversize(*key, true);
            answer.oversize = oversize.map(|wait| wait.map_or(Oversize::Known, Oversize::Wait));
        }
        Some(Known::Envelope(key)) => answer.expected = state.ledger.is_expected(*key),
        Some(Known::Dot(dot)) => match state.ledger.decide(dot) {
            Decision::Absorb => answer.repeated = Some(Repeated::Absorb),
            Decision::Busy => answer.repeated = Some(Repeated::Busy),
            Decision::Deliver(delivery) => {
                (claim, answer.served, answer.before) = (delivery.claim, delivery.served, delivery.before);
            }
            Decision::Refuse(times) => answer.repeated = Some(Repeated::Refuse(times)),
        },
    }
    if let Some(key) = question.deferred {
        answer.tries = count_try(state, key);
    }
    (answer, claim)
}

/// Counts what happened. What becomes of a claim is told to [`Claims`].
pub fn tell(state: &Rooms, fact: &Fact) {
    match fact {
        Fact::Charge(snapshot, charges) => {
            for charge in charges {
                let throttle: &Throttle = &snapshot.policy.throttles[charge.throttle];
                state.throttles.charge(throttle, charge.key, charge.cells);
            }
        }
        Fact::Oversize(keys) => {
            let now = seconds(state.clock.now());
            for key in keys {
                state.oversizes.count(*key, OVERSIZE_MEMORY, now);
            }
        }
        Fact::Delivered(keys) => {
            let now = seconds(state.clock.now());
            keys.iter().for_each(|key| state.note_familiar(*key, now));
        }
        Fact::Fits(keys) => keys.iter().for_each(|key| state.oversizes.remove(*key, seconds(state.clock.now()))),
        Fact::Passed(keys) => keys.iter().for_each(|key| state.escalations.remove(*key, seconds(state.clock.now()))),
        Fact::Accepted | Fact::Learned(..) | Fact::Took | Fact::Unacknowledged => {}
    }
}

/// One more try of a message that is deferred; tells how many there were.
fn count_try(state: &Rooms, key: u128) -> u32 {
    state.escalations.count(key, ESCALATION_MEMORY, seconds(state.clock.now()))
}

/// One more refusal that is known by this key; tells how many there were.
fn count_refusal(state: &Rooms, key: u128) -> u32 {
    state.refusals.count(key, REFUSAL_MEMORY, seconds(state.clock.now()))
}

fn ask_throttle(state: &Rooms, throttle: &Throttle, ask: &Ask, answer: &mut Answer) {
    let (index, key, cells) = (ask.charge.throttle, ask.charge.key, ask.charge.cells);
    let blocks = throttle.action == Action::Block && !throttle.shadow;
    if let Some(left) = state.blocks.find_throttled(key.exact).filter(|_| blocks) {
        if answer.refused.is_none() {
            (answer.refused, answer.blocked) = (Some((index, left)), true);
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
        Err(_) if throttle.shadow => answer.shadows.push(index),
        Err(_) if answer.refused.is_some() => {}
        Err(wait) if !blocks => {
            answer.refused = Some((index, wait));
            answer.tries = ask.escalation.map_or(0, |key| count_try(state, key));
        }
        Err(_) => {
            let label = ask.label.as_deref().unwrap_or_default();
            let length = state.blocks.add_throttled(&throttle.name, label, key.exact, throttle.block);
            tracing::warn!(throttle = &*throttle.name, key = label, seconds = length.as_secs(), "blocked");
            (answer.refused, answer.blocked) = (Some((index, length)), true);
        }
    }
}
