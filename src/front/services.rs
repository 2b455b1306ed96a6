//! What a session needs from outside, shared by all of them, and the answers to its questions.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::backend;
use crate::backend::Backends;
use crate::front::answers::Answered;
use crate::front::answers::Answering;
use crate::front::answers::Answers;
use crate::front::condition::Conditions;
use crate::front::limits::Handshakes;
use crate::hold;
use crate::hold::Holds;
use crate::report::Reports;
use crate::session::question::Answer;
use crate::session::question::Question;
use crate::session::snapshot::Snapshot;
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
    /// What answers the sessions' questions: the state, or a service that takes its time.
    pub answers: Arc<dyn Answers>,
    /// What is in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// What all sessions are under.
    pub conditions: Arc<Conditions>,
}

impl Services {
    /// With the state as what answers.
    pub fn new(
        backend: backend::Settings,
        hold: hold::Settings,
        state: Arc<State>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self {
            backends: Backends::new(backend),
            handshakes: Handshakes::default(),
            holds: Holds::new(hold),
            reports: Reports::new(),
            answers: state.clone(),
            state,
            snapshot,
            conditions: Arc::default(),
        }
    }

    /// The answer to a question of a client in `network`, at once or later.
    pub(super) fn ask(self: &Arc<Self>, question: &Question, network: IpNet) -> Answering {
        let has_room = match question {
            Question::Mail { room: Some(expected), .. } => self.has_room(network, *expected),
            _ => true,
        };
        let snapshot = question.throttles().map(|throttles| throttles.snapshot.clone());
        match self.answers.answer(question) {
            Answering::Now(answered) => Answering::Now(self.complete(answered, snapshot.as_deref(), has_room)),
            Answering::Later(answering) => {
                let services = self.clone();
                Answering::Later(Box::pin(
                    async move { services.complete(answering.await, snapshot.as_deref(), has_room) },
                ))
            }
        }
    }

    /// The answer with what this process knows itself, counted.
    fn complete(&self, (mut answer, claim): Answered, snapshot: Option<&Snapshot>, room: bool) -> Answered {
        if let Answer::Mail { has_room, .. } = &mut answer {
            *has_room &= room;
        }
        if let (Some(throttled), Some(snapshot)) = (answer.throttled(), snapshot) {
            let name = |index: usize| &snapshot.policy.throttles[index].name;
            throttled.over.iter().for_each(|over| self.reports.metrics.throttled(name(over.throttle), false));
            throttled.shadows.iter().for_each(|index| self.reports.metrics.throttled(name(*index), true));
        }
        (answer, claim)
    }

    fn has_room(&self, network: IpNet, expected: u64) -> bool {
        let room = self.holds.room().and_then(|()| self.holds.begin(network, expected).map(drop));
        if let Err(fault) = &room {
            tracing::warn!(error = %fault, expected, "no room");
        }
        room.is_ok()
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
}
