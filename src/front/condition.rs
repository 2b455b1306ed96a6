//! The condition of the whole process, as its sessions must know it: a stop, and whether connections or the hold are nearly
//! used up. Each session hears of a change at once. It must not decide when a change is due.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use slab::Slab;
use tokio::sync::watch;

/// The condition of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The phase of stopping.
    pub stop: Stop,
    /// Close to `max_connections`: time limits and the error limit are shortened.
    pub stress: bool,
    /// Steps by which the room for held messages is used up: with each, slow messages are given up sooner.
    pub pressure: u8,
}

impl Condition {
    /// Whether a stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.stop > Stop::Run
    }
}

/// The current condition, and the sessions that hear of changes.
#[derive(Debug, Default)]
pub struct Conditions {
    said: watch::Sender<Condition>,
    /// The tasks to wake, one for each session. An idle session has nothing else here.
    sessions: Mutex<Slab<Waker>>,
}

impl Conditions {
    /// The condition now.
    pub fn current(&self) -> Condition {
        *self.said.borrow()
    }

    /// Changes the condition; false: that makes no difference, and nobody hears of it.
    pub fn change(&self, change: impl FnOnce(&mut Condition)) -> bool {
        let is_new = self.said.send_if_modified(|condition| {
            let before = *condition;
            change(condition);
            before != *condition
        });
        if is_new {
            // After the change: a session that registers later sees it.
            self.lock().iter().for_each(|(_, session)| session.wake_by_ref());
        }
        is_new
    }

    /// Resolves when the condition is as wanted.
    pub async fn reached(&self, wanted: impl FnMut(&Condition) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.said.subscribe().wait_for(wanted).await;
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        // A waker is put in or taken out whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes that one session hears of. A poll at every turn costs one look.
pub(super) struct Changes {
    conditions: Arc<Conditions>,
    heard: watch::Receiver<Condition>,
    key: Option<usize>,
}

impl Changes {
    pub(super) fn new(conditions: Arc<Conditions>) -> Self {
        let mut heard = conditions.said.subscribe();
        // A session that begins knows of nothing else.
        if *heard.borrow() != Condition::default() {
            heard.mark_changed();
        }
        Self { conditions, heard, key: None }
    }

    /// Ready with a condition that the session has not heard of. Always polled by the same task: that one is woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Condition> {
        if self.key.is_none() {
            // Before the look: a change after it finds the waker.
            self.key = Some(self.conditions.lock().insert(cx.waker().clone()));
        }
        if !self.heard.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        Poll::Ready(*self.heard.borrow_and_update())
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.conditions.lock().remove(key);
        }
    }
}

/// The phases of stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// No stop.
    #[default]
    Run,
    /// Running transactions may end, others do not begin.
    Drain,
    /// Everything ends now.
    Kill,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_or_has_used_up_its_budget_hears_of_a_change() {
        for exhausted in [false, true] {
            let conditions = Arc::new(Conditions::default());
            let mut changes = Changes::new(conditions.clone());
            let mut first = exhausted;
            let hears = tokio::spawn(poll_fn(move |cx| {
                if std::mem::take(&mut first) {
                    while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
                }
                changes.poll(cx)
            }));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(conditions.lock().len(), 1);
            for stop in [Stop::Drain, Stop::Kill] {
                assert!(conditions.change(|condition| condition.stop = stop));
            }
            let heard = tokio::time::timeout(Duration::from_secs(1), hears).await.unwrap().unwrap();
            assert_eq!(heard.stop, Stop::Kill);
            assert!(conditions.lock().is_empty(), "who has left has no place");
        }
    }

    #[test]
    fn a_session_hears_what_is_and_then_each_change_once() {
        let conditions = Arc::new(Conditions::default());
        assert!(conditions.change(|condition| condition.stress = true));
        assert!(!conditions.change(|condition| condition.stress = true));
        let mut changes = Changes::new(conditions.clone());
        let mut context = Context::from_waker(Waker::noop());
        let stressed = Condition { stress: true, ..Condition::default() };
        assert_eq!(changes.poll(&mut context), Poll::Ready(stressed));
        assert!(changes.poll(&mut context).is_pending());
        conditions.change(|condition| condition.stress = false);
        assert_eq!(changes.poll(&mut context), Poll::Ready(Condition::default()));
        assert!(changes.poll(&mut context).is_pending());
    }
}
