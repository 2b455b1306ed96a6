//! Whether the backend answers. A message that it did not answer is only a suspicion, because a backend may end over one
//! message: it is down when a question of our own gets no answer either, and up again when one does (`probe` asks). It must
//! not be a reason not to serve.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
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
    is_down: AtomicBool,
    /// There is a reason to ask: a message without an answer, or one that was answered while it is down.
    doubted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Why it could not be opened, the last time.
    missing: Option<String>,
    /// The first message since its last answer that got none, and why.
    suspicion: Option<Down>,
    down: Option<Down>,
    /// How many backends were forgotten.
    generation: u64,
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
        if !self.is_down.load(Ordering::Relaxed) {
            self.doubted.notify_one();
        }
    }

    /// It has answered.
    pub fn heard(&self, now: Time) {
        self.answered.store(now.nanoseconds(), Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            self.doubted.notify_one();
        }
    }

    /// Another backend has taken its place.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        *state = State { generation: state.generation + 1, ..State::default() };
        self.is_down.store(false, Ordering::Relaxed);
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

    /// Resolves when there is a reason to ask.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// How many backends were forgotten: an answer of one of them says nothing about this one.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Takes in what came of a question that was put in this generation; gives what is news by it.
    pub(super) fn learn(&self, answer: &Answer, generation: u64, now: Time) -> Option<News> {
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let news = match answer {
            Answer::Busy => self.wait_for_places(&mut state, now),
            Answer::Given => {
                (state.suspicion, state.missing) = (None, None);
                self.answered.store(now.nanoseconds(), Ordering::Relaxed);
                state.down.take().map(|down| News::Up(now.since(down.since)))
            }
            Answer::Refused(said) => {
                let error = state.missing.take().unwrap_or_else(|| said.clone());
                state.refuse(error, now)
            }
        };
        self.is_down.store(state.down.is_some(), Ordering::Relaxed);
        news
    }

    /// Sessions have all places: of a backend that works they are answered, of one that hangs none is.
    fn wait_for_places(&self, state: &mut State, now: Time) -> Option<News> {
        let suspicion = state.suspicion.clone()?;
        if self.answered().is_some_and(|at| at > suspicion.since) {
            state.suspicion = None;
            return None;
        }
        (now.since(suspicion.since) >= LONGEST_BUSY).then(|| state.refuse(suspicion.error, now)).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refuse(&mut self, error: String, now: Time) -> Option<News> {
        let is_known = self.down.is_some();
        let suspicion = self.suspicion.take();
        let since = self.down.take().or(suspicion).map_or(now, |down| down.since);
        let down = Down { since, error };
        self.down = Some(down.clone());
        (!is_known).then_some(News::Down(down))
    }
}

/// Time that a suspicion may last while all places are taken and nobody is answered.
const LONGEST_BUSY: Duration = Duration::from_secs(60);

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
        assert_eq!(health.learn(&Answer::Given, 0, at(11)), None);
        assert_eq!((health.down(), health.answered()), (None, Some(at(11))));
        health.lock().suspicion = Some(Down { since: at(20), error: "ended".to_owned() });
        let refused = Answer::Refused("connection refused".to_owned());
        let down = Down { since: at(20), error: "connection refused".to_owned() };
        assert_eq!(health.learn(&refused, 0, at(21)), Some(News::Down(down.clone())), "since the first message");
        assert_eq!(health.learn(&refused, 0, at(30)), None, "said once");
        assert_eq!(health.learn(&Answer::Busy, 0, at(31)), None);
        assert_eq!(health.down(), Some(down));
        assert_eq!(health.learn(&Answer::Given, 0, at(50)), Some(News::Up(Duration::from_secs(30))));
        assert_eq!(health.down(), None);
    }
    #[test]
    fn a_backend_that_hangs_in_all_its_places_is_down_and_one_that_works_in_them_is_not() {
        let at = Time::from_seconds;
        let suspected = || {
            let health = BackendHealth::default();
            health.suspect("no reply in time", at(10));
            health
        };
        let hangs = suspected();
        assert_eq!(hangs.learn(&Answer::Busy, 0, at(30)), None);
        let down = Down { since: at(10), error: "no reply in time".to_owned() };
        assert_eq!(hangs.learn(&Answer::Busy, 0, at(70)), Some(News::Down(down)));
        let works = suspected();
        works.heard(at(40));
        assert_eq!(works.learn(&Answer::Busy, 0, at(70)), None);
        assert!(!works.is_suspected() && works.down().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_while_it_is_down_is_a_reason_to_ask_and_another_message_without_one_is_not() {
        let (health, at) = (BackendHealth::default(), Time::from_seconds);
        health.learn(&Answer::Refused("connection refused".to_owned()), 0, at(10));
        health.suspect("again", at(11));
        let asks = async || tokio::time::timeout(Duration::from_secs(1), health.doubted()).await.is_ok();
        assert!(!asks().await);
        health.heard(at(12));
        assert!(asks().await);
    }

    #[test]
    fn an_answer_of_the_backend_before_says_nothing() {
        let (health, at) = (BackendHealth::default(), Time::from_seconds);
        let before = health.generation();
        health.forget();
        assert_eq!(health.learn(&Answer::Refused("connection refused".to_owned()), before, at(10)), None);
        assert_eq!(health.down(), None);
    }
}
