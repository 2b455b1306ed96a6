//! What all sessions are under: whether we are stopping, whether connections or the hold are nearly used up. A change is
//! told to each session at once. It must not decide when one is due.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use slab::Slab;
use tokio::sync::watch;

/// What all sessions are under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether we are stopping.
    pub stop: Stop,
    /// Connections are nearly used up: the limits of waiting and erring are shorter.
    pub stress: bool,
    /// How nearly the room for held messages is used up: slow ones are borne less with each step.
    pub pressure: u8,
}

impl Condition {
    /// A stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.stop > Stop::Run
    }
}

/// Where it is said.
#[derive(Debug, Default)]
pub struct Conditions {
    said: watch::Sender<Condition>,
    /// Whom to wake: the task of each session. That is all a session that waits has here.
    sessions: Mutex<Slab<Waker>>,
}

impl Conditions {
    /// What it is now.
    pub fn current(&self) -> Condition {
        *self.said.borrow()
    }

    /// Says what `change` makes of it, if that is something else. False: it is not.
    pub fn change(&self, change: impl FnOnce(&mut Condition)) -> bool {
        let is_new = self.said.send_if_modified(|condition| {
            let before = *condition;
            change(condition);
            before != *condition
        });
        if is_new {
            // After the change: who takes a place later sees it.
            self.lock().iter().for_each(|(_, session)| session.wake_by_ref());
        }
        is_new
    }

    /// Resolves when it is as wanted.
    pub async fn reached(&self, wanted: impl FnMut(&Condition) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.said.subscribe().wait_for(wanted).await;
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        // A place is taken or given back whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one session hears of changes. It is asked at every turn: that costs one look.
pub(super) struct Changes {
    conditions: Arc<Conditions>,
    heard: watch::Receiver<Condition>,
    place: Option<usize>,
}

impl Changes {
    pub(super) fn new(conditions: Arc<Conditions>) -> Self {
        let mut heard = conditions.said.subscribe();
        // A session that begins knows of nothing else.
        if *heard.borrow() != Condition::default() {
            heard.mark_changed();
        }
        Self { conditions, heard, place: None }
    }

    /// The new condition, when there is one. Always by the same task: it is the one that is woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Condition> {
        if self.place.is_none() {
            // Before the look: who changes it after that finds the place taken.
            self.place = Some(self.conditions.lock().insert(cx.waker().clone()));
        }
        if !self.heard.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        Poll::Ready(*self.heard.borrow_and_update())
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.conditions.lock().remove(place);
        }
    }
}

/// The phases of stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// We are not.
    #[default]
    Run,
    /// Transactions that run may end, others do not begin.
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
