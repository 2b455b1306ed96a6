//! Whether the backend answers. A message that it did not answer is only a suspicion, because a backend may end over one
//! message: it is down when a question of our own gets no answer either, and up again when one does (`probe` asks). It must
//! not be a reason not to serve.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use crate::policy::verdict::Reason;
use crate::session::record::Record;
use crate::store::clock::Time;

/// What is known of the backend.
#[derive(Debug, Default)]
pub struct BackendHealth {
    /// Nanoseconds since the epoch of its last answer; 0: none yet.
    answered: AtomicU64,
    state: Mutex<State>,
    suspected: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Why it could not be opened, the last time.
    missing: Option<String>,
    /// The first message since its last answer that got none, and why.
    suspicion: Option<Down>,
    down: Option<Down>,
}

/// The backend does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Since when.
    pub since: Time,
    /// What was tried last, and what came of it.
    pub error: String,
}

/// What came of a question to the backend.
pub(super) enum Answer {
    Given,
    Refused(String),
    /// All its places are taken: it works.
    Busy,
}

impl BackendHealth {
    /// Learns from the end of a transaction.
    pub(super) fn note(&self, record: &Record, now: Time) {
        if record.reason == Some(Reason::BackendUnavailable) {
            self.suspect(record.backend.as_deref().unwrap_or("the session with it ended without a reply"), now);
        } else if record.backend.is_some() {
            self.heard(now);
        }
    }

    /// It could not be opened, and why. The session that wanted it ends with a record, or with a word of its own.
    pub(super) fn missing(&self, why: String) {
        self.lock().missing = Some(why);
    }

    /// It did not answer, and is asked again.
    pub fn suspect(&self, error: &str, now: Time) {
        self.lock().suspicion.get_or_insert_with(|| Down { since: now, error: error.to_owned() });
        self.suspected.notify_one();
    }

    /// It has answered.
    pub fn heard(&self, now: Time) {
        self.answered.store(now.nanoseconds(), Ordering::Relaxed);
    }

    /// Another backend has taken its place.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
        self.answered.store(0, Ordering::Relaxed);
    }

    /// `None`: it answers, as far as is known.
    pub fn down(&self) -> Option<Down> {
        self.lock().down.clone()
    }

    /// Its last answer, to mail or to a question of our own.
    pub fn answered(&self) -> Option<Time> {
        let at = self.answered.load(Ordering::Relaxed);
        (at > 0).then(|| Time::from_nanoseconds(at))
    }

    /// Whether a message got no answer, and no question has been answered since.
    pub(super) fn is_suspected(&self) -> bool {
        self.lock().suspicion.is_some()
    }

    /// Resolves at the next suspicion.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Takes an answer in; gives what is news by it.
    pub(super) fn learn(&self, answer: &Answer, now: Time) -> Option<News> {
        let mut state = self.lock();
        let (suspicion, missing) = (state.suspicion.take(), state.missing.take());
        match answer {
            Answer::Busy => None,
            Answer::Given => {
                self.heard(now);
                state.down.take().map(|down| News::Up(now.since(down.since)))
            }
            Answer::Refused(said) => {
                let error = missing.unwrap_or_else(|| said.clone());
                let is_known = state.down.is_some();
                let since = state.down.take().or(suspicion).map_or(now, |down| down.since);
                let down = Down { since, error };
                state.down = Some(down.clone());
                (!is_known).then_some(News::Down(down))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of the backend's health.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Down(Down),
    /// It was down for so long.
    Up(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_an_answer_is_a_suspicion_and_a_question_without_one_the_proof() {
        let at = Time::from_seconds;
        let health = BackendHealth::default();
        health.lock().suspicion = Some(Down { since: at(10), error: "ended".to_owned() });
        assert_eq!(health.learn(&Answer::Given, at(11)), None);
        assert_eq!((health.down(), health.answered()), (None, Some(at(11))));
        health.lock().suspicion = Some(Down { since: at(20), error: "ended".to_owned() });
        let refused = Answer::Refused("connection refused".to_owned());
        let down = Down { since: at(20), error: "connection refused".to_owned() };
        assert_eq!(health.learn(&refused, at(21)), Some(News::Down(down.clone())), "since the first message");
        assert_eq!(health.learn(&refused, at(30)), None, "said once");
        assert_eq!(health.learn(&Answer::Busy, at(31)), None);
        assert_eq!(health.down(), Some(down));
        assert_eq!(health.learn(&Answer::Given, at(50)), Some(News::Up(Duration::from_secs(30))));
        assert_eq!(health.down(), None);
    }
}
