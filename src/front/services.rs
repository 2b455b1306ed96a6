//! What a session needs from outside, shared by all of them, and the answers to its questions.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::backend::Backends;
use crate::front::answers;
use crate::front::condition::Conditions;
use crate::front::limits::Handshakes;
use crate::hold::Holds;
use crate::report::Reports;
use crate::session::Snapshot;
use crate::session::io::Answer;
use crate::session::io::Fact;
use crate::session::io::Question;
use crate::store::ledger::Claim;
use crate::store::state::State;

/// One of each for the whole process.
#[derive(Debug)]
pub struct Services {
    /// The backend's places and what it offers.
    pub backends: Backends,
    /// TLS handshakes of clients.
    pub handshakes: Handshakes,
    /// Held messages.
    pub holds: Holds,
    /// What counts and tells what happens.
    pub reports: Reports,
    /// Counters, ledger and blocks.
    pub state: Arc<State>,
    /// What is in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// What all sessions are under.
    pub conditions: Arc<Conditions>,
}

impl Services {
    /// The answer to a question of a client in `network`, and the claim of a message that may go to the backend.
    pub(super) fn answer(&self, question: &Question, network: IpNet) -> (Answer, Option<Claim>) {
        let (mut answer, claim) = answers::answer(&self.state, question);
        let name = |index: usize| &question.snapshot.policy.throttles[index].name;
        answer.refused.iter().for_each(|(index, _)| self.reports.metrics.throttled(name(*index), false));
        answer.shadows.iter().for_each(|index| self.reports.metrics.throttled(name(*index), true));
        if let Some(expected) = question.room {
            let room = self.holds.room().and_then(|()| self.holds.begin(network, expected).map(drop));
            answer.no_room = room.is_err();
            if let Err(fault) = room {
                tracing::warn!(error = %fault, expected, "no room");
            }
        }
        (answer, claim)
    }

    /// Says to all sessions how nearly the hold is used up, when that has changed.
    pub(super) fn note_pressure(&self) {
        let Some(pressure) = self.holds.news_of_pressure() else { return };
        if self.conditions.change(|condition| condition.pressure = pressure) {
            let held = self.holds.used();
            match pressure {
                0 => tracing::info!(held, "hold has room again"),
                _ => tracing::warn!(held, pressure, "hold is nearly full, slow messages are given up"),
            }
        }
    }

    /// Counts what happened.
    pub(super) fn tell(&self, fact: &Fact) {
        answers::tell(&self.state, fact);
    }
}
