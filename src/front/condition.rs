//! What all sessions are under: whether we are stopping, and whether connections are nearly used up. Whoever changes it does
//! so through one channel, and each session hears of it at once.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use tokio::sync::watch;
use tokio::task::coop::unconstrained;

/// What all sessions are under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether we are stopping.
    pub stop: Stop,
    /// Connections are nearly used up: the limits of waiting and erring are shorter.
    pub stress: bool,
}

impl Condition {
    /// A stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.stop > Stop::Run
    }
}

/// What one session hears of changes. It is asked at every turn: that costs one look, because its place among those who
/// wait is taken once and kept.
pub(super) struct Changes {
    receiver: watch::Receiver<Condition>,
    /// The place, and whom it wakes.
    waiting: Option<(Pin<Box<dyn Future<Output = ()> + Send>>, Waker)>,
}

impl Changes {
    pub(super) fn new(receiver: watch::Receiver<Condition>) -> Self {
        Self { receiver, waiting: None }
    }

    /// The new condition, when there is one. A sender that is gone will not change it any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Condition> {
        if !self.waiting.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            // Of the same age as ours: what has changed since is noticed there, and here below.
            let mut receiver = self.receiver.clone();
            // It is polled only here: a budget that is used up must not keep it from taking its place.
            let mut waiting: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(unconstrained(async move {
                let _ = receiver.changed().await;
            }));
            let _ = waiting.as_mut().poll(cx);
            self.waiting = Some((waiting, cx.waker().clone()));
        }
        if !self.receiver.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        self.waiting = None;
        Poll::Ready(*self.receiver.borrow_and_update())
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
    async fn who_had_used_up_its_budget_hears_of_a_change() {
        let (sender, receiver) = watch::channel(Condition::default());
        let mut changes = Changes::new(receiver);
        let mut first = true;
        let hears = tokio::spawn(poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            }
            changes.poll(cx)
        }));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for stop in [Stop::Drain, Stop::Kill] {
            sender.send_modify(|condition| condition.stop = stop);
        }
        let heard = tokio::time::timeout(Duration::from_secs(1), hears).await.unwrap().unwrap();
        assert_eq!(heard.stop, Stop::Kill);
    }
}
