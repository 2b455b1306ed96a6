//! What a session needs from outside, shared by all of them, and the answers to its questions.

use std::sync::Arc;

use tokio::sync::watch;

use crate::backend::Backends;
use crate::hold::Holds;
use crate::policy::key::Seed;
use crate::policy::throttle::Throttle;
use crate::session::Snapshot;
use crate::session::event::Answer;
use crate::session::event::Fact;
use crate::session::event::Question;
use crate::store::throttle::ThrottleTable;

/// One of each for the whole process.
#[derive(Debug)]
pub struct Services {
    /// The backend's places and what it offers.
    pub backends: Backends,
    /// Held messages.
    pub holds: Holds,
    /// The counters.
    pub throttles: ThrottleTable,
    /// The secret of their keys.
    pub seed: Seed,
    /// What is in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Whether we are stopping.
    pub stop: watch::Receiver<Stop>,
}

/// The phases of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// We are not.
    Run,
    /// Transactions that run may end, others do not begin.
    Drain,
    /// Everything ends now.
    Kill,
}

impl Services {
    /// Asks the throttles in their order; the first that refuses decides, shadows only report.
    pub(super) fn answer(&self, question: &Question) -> Answer {
        let mut answer = Answer::default();
        for ask in &question.asks {
            let throttle = &question.snapshot.policy.throttles[ask.charge.throttle];
            let (key, cells) = (ask.charge.key, ask.charge.cells);
            let result = match ask.take {
                true => self.throttles.take(throttle, key, cells),
                false => self.throttles.test(throttle, key, cells),
            };
            match result {
                Ok(()) => {}
                Err(_) if throttle.shadow => answer.shadows.push(ask.charge.throttle),
                Err(wait) => {
                    answer.refused.get_or_insert((ask.charge.throttle, wait));
                }
            }
        }
        if let Some(expected) = question.room {
            let room = self.holds.room().and_then(|()| self.holds.begin(expected).map(drop));
            answer.no_room = room.is_err();
            if let Err(fault) = room {
                tracing::warn!(error = %fault, expected, "no room");
            }
        }
        answer
    }

    /// Counts what happened.
    pub(super) fn tell(&self, fact: Fact) {
        match fact {
            Fact::Charge(snapshot, charges) => {
                for charge in charges {
                    let throttle: &Throttle = &snapshot.policy.throttles[charge.throttle];
                    self.throttles.charge(throttle, charge.key, charge.cells);
                }
            }
            Fact::Learned(environment, offer) => self.backends.learn(&environment, offer),
        }
    }
}
