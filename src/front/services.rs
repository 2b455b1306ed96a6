//! The services that all sessions share, and the answers to their questions. It must not decide anything about mail.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::backend;
use crate::backend::Backends;
use crate::backend::News;
use crate::front::answers::Answered;
use crate::front::answers::Answering;
use crate::front::answers::Answers;
use crate::front::condition::Conditions;
use crate::front::health::BackendHealth;
use crate::front::limits::Handshakes;
use crate::hold;
use crate::hold::Holds;
use crate::policy::environment::Environment;
use crate::policy::throttle::key::KeyHash;
use crate::report::Reports;
use crate::session::question::Answer;
use crate::session::question::Question;
use crate::session::snapshot::Snapshot;
use crate::store::state::State;

/// The services of the process, one of each.
#[derive(Debug)]
pub struct Services {
    /// The backend's permits, connections and offers.
    pub backends: Backends,
    /// Whether the backend answers.
    pub health: BackendHealth,
    /// The limit of clients' TLS handshakes.
    pub handshakes: Handshakes,
    /// The held messages.
    pub holds: Holds,
    /// The reports: log, counters, storms.
    pub reports: Reports,
    /// The counters, ledger and blocks.
    pub state: Arc<State>,
    /// The service that answers questions: the state, or one that takes its time.
    pub answers: Arc<dyn Answers>,
    /// The policy and settings in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The condition of the process that all sessions heed.
    pub conditions: Arc<Conditions>,
}

impl Services {
    /// Services whose questions the state answers.
    pub fn new(
        backend: backend::Settings,
        hold: hold::Settings,
        state: Arc<State>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self {
            backends: Backends::new(backend),
            health: BackendHealth::default(),
            handshakes: Handshakes::default(),
            holds: Holds::new(hold),
            reports: Reports::new(state.tables().history.clone()),
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

    /// Adds this process's own knowledge to an answer, and counts it.
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

    /// Has the backend's offer under these variables at hand, where one is remembered from before the start and the
    /// backend was not heard since.
    pub fn recall_offer(&self, environment: &Environment) {
        let (server, generation) = self.backends.server();
        let keywords = self.state.tables().extensions.get(self.offer_key(&server, environment));
        keywords.iter().for_each(|keywords| self.backends.recall(environment, keywords, generation));
    }

    /// Remembers news of the backend, over a restart.
    pub(super) fn keep_offer(&self, environment: &Environment, news: News) {
        let key = self.offer_key(&news.server, environment);
        self.state.tables().extensions.put(key, news.keywords);
    }

    /// Variables may be secrets: what goes to the disk is a hash of theirs.
    fn offer_key(&self, server: &str, environment: &Environment) -> u128 {
        let mut key = KeyHash::new(&self.state.tables().seed);
        key.add(server.as_bytes());
        key.add(&environment.key().to_le_bytes());
        key.finish()
    }

    /// Tells all sessions the pressure on the hold, if it has changed.
    pub(super) fn note_pressure(&self) {
        let Some(pressure) = self.holds.news_of_pressure() else { return };
        if self.conditions.change(|condition| condition.pressure = pressure) {
            let held = self.holds.used();
            match pressure {
                0 => tracing::info!(held, "hold has room again"),
                _ => tracing::warn!(held, pressure, "hold is nearly full; slow messages are deferred"),
            }
        }
    }
}
