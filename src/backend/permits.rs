//! The limit of backend sessions: at most `max` permits at one time, one client network at most a quarter of them, first
//! come first served. AUTH needs a second permit, of which there are a quarter as many, so that logins that stand still
//! keep no mail waiting.
//!
//! A waiter asks one holder to yield an idle permit. The queue needs no bound of its own: a session waits at most once, and
//! sessions are limited, per client too. It must not open anything, and knows no time limits: the caller drops the future
//! when its time is over.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use futures_util::FutureExt;
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::sync::oneshot;

use crate::policy::net::client_net;

/// The permits of all sessions. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    shared: Arc<Shared>,
}

/// One permit, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    network: IpNet,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the futures that wait for anything but a permit of their own.
    changed: Notify,
}

/// The count and the queue. Between two changes no session waits that could have a permit: a newcomer that finds one free
/// overtakes nobody.
#[derive(Debug)]
struct State {
    max: usize,
    taken: usize,
    /// Permits of each network that holds any.
    per_network: HashMap<IpNet, usize>,
    /// The queue, by the order of arrival.
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    network: IpNet,
    /// A message means: the permit is yours, and counted.
    grant: oneshot::Sender<()>,
    /// A holder was already asked to yield its permit.
    asked: bool,
}

impl Permits {
    pub(super) fn new(max: usize) -> Self {
        let state = State { max, taken: 0, per_network: HashMap::new(), waiting: BTreeMap::new(), next: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Another `max` from now on. Permits that are held stay held.
    pub(super) fn limit(&self, max: usize) {
        self.shared.change(|state| state.max = max);
    }

    /// Waits for a permit, in the order of the calls among those whose network may have one more.
    pub(super) async fn acquire(&self, client: IpAddr) -> Permit {
        let network = client_net(client);
        let mut waiting = self.shared.enter(network);
        // The sender stays in the queue until it sends; it cannot be lost.
        let _ = (&mut waiting.granted).await;
        waiting.received = true;
        Permit { shared: self.shared.clone(), network }
    }

    /// A permit, if there is one at once.
    pub(super) fn try_acquire(&self, client: IpAddr) -> Option<Permit> {
        self.acquire(client).now_or_never()
    }

    /// Resolves when a permit of `client`'s network would help a waiter that has asked no holder yet.
    pub(super) async fn wanted(&self, client: IpAddr) {
        let network = client_net(client);
        self.shared.until(|state| state.ask(network)).await;
    }

    /// Resolves when no permit is held.
    pub(super) async fn drained(&self) {
        self.shared.until(|state| state.taken == 0).await;
    }

    /// Whether a session waits.
    pub(super) fn crowded(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }

    /// Permits of each client network that holds any.
    pub(super) fn by_network(&self) -> HashMap<IpNet, usize> {
        self.shared.lock().per_network.clone()
    }

    /// Permits that are held, those that there are, and the sessions that wait for one.
    pub(super) fn usage(&self) -> (usize, usize, usize) {
        let state = self.shared.lock();
        (state.taken, state.max, state.waiting.len())
    }

    /// Permits that are held.
    pub(super) fn taken(&self) -> usize {
        self.shared.lock().taken
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.change(|state| state.give_back(self.network));
    }
}

impl Shared {
    fn enter(self: &Arc<Self>, network: IpNet) -> Waiting {
        let (grant, granted) = oneshot::channel();
        let number = self.change(|state| state.enter(Waiter { network, grant, asked: false }));
        Waiting { shared: self.clone(), network, number, granted, received: false }
    }

    /// Makes a change; then waiters that may now have a permit get one, and the watching futures are woken.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        state.settle();
        drop(state);
        self.changed.notify_waiters();
        changed
    }

    async fn until(&self, mut reached: impl FnMut(&mut State) -> bool) {
        loop {
            // Created before the look: notify_waiters reaches every future that exists by then.
            let changed = self.changed.notified();
            if reached(&mut self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics: counts and queue stay in step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, waiter: Waiter) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, waiter);
        number
    }

    fn settle(&mut self) {
        while self.taken < self.max {
            let free = self.waiting.iter().find(|(_, waiter)| self.may_have_one_more(waiter.network));
            let Some((&number, _)) = free else { return };
            let Some(waiter) = self.waiting.remove(&number) else { return };
            if waiter.grant.send(()).is_ok() {
                self.taken += 1;
                *self.per_network.entry(waiter.network).or_default() += 1;
                // The permit may have been yielded to a waiter that this one has overtaken: that one may ask again.
                let overtaken = self.waiting.values_mut().find(|other| !waiter.asked && other.asked);
                if let Some(overtaken) = overtaken {
                    overtaken.asked = false;
                }
            }
        }
    }

    fn give_back(&mut self, network: IpNet) {
        self.taken -= 1;
        if let Some(held) = self.per_network.get_mut(&network) {
            *held -= 1;
            if *held == 0 {
                self.per_network.remove(&network);
            }
        }
    }

    /// Whether `holder` is to yield a permit; marks the first waiter that this helps.
    fn ask(&mut self, holder: IpNet) -> bool {
        let share = share(self.max);
        let per_network = &self.per_network;
        let helped = self.waiting.values_mut().find(|waiter| {
            let held = per_network.get(&waiter.network).copied().unwrap_or(0);
            !waiter.asked && (waiter.network == holder || held < share)
        });
        let Some(waiter) = helped else { return false };
        waiter.asked = true;
        true
    }

    fn may_have_one_more(&self, network: IpNet) -> bool {
        self.per_network.get(&network).copied().unwrap_or(0) < share(self.max)
    }
}

/// The share of one client network: a quarter, and of a few permits half, so that small limits can be used.
fn share(max: usize) -> usize {
    (max / 4).max(max.min(4) / 2).max(1)
}

/// The number of permits for AUTH beside `max` for sessions.
pub(super) fn for_logins(max: usize) -> usize {
    (max / 4).max(1)
}

/// A place in the queue, left on every path: also when the future is dropped between the grant and its receipt.
struct Waiting {
    shared: Arc<Shared>,
    network: IpNet,
    number: u64,
    granted: oneshot::Receiver<()>,
    received: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.received {
            return;
        }
        self.shared.change(|state| {
            let was_granted = state.waiting.remove(&self.number).is_none();
            if was_granted {
                state.give_back(self.network);
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;

    #[test]
    fn there_are_max_permits_and_a_quarter_of_them_for_one_network() {
        let table = [
            ("max 0", 0, 0, 0),
            ("max 1: less would be none", 1, 1, 1),
            ("max 2", 2, 1, 2),
            ("max 3", 3, 1, 3),
            ("max 4: half, or it could not be used", 4, 2, 4),
            ("max 8", 8, 2, 8),
            ("max 40", 40, 10, 40),
        ];
        for (what, max, one, all) in table {
            let permits = Permits::new(max);
            let held = take_while_free(&permits, |n| IpAddr::from([192, 0, 2, n]));
            assert_eq!(held.len(), one, "{what}: one client");
            drop(held);
            let held = take_while_free(&permits, |n| IpAddr::from([10, 0, n, 1]));
            assert_eq!(held.len(), all, "{what}: many clients");
            assert_eq!(permits.usage(), (all, max, 0), "{what}");
            drop(held);
            assert_eq!((permits.taken(), permits.shared.lock().per_network.len()), (0, 0), "{what}");
        }
    }

    #[test]
    fn logins_that_stand_still_leave_the_most_to_mail() {
        for (max, logins, one) in [(0, 1, 1), (1, 1, 1), (4, 1, 1), (16, 4, 2), (40, 10, 2)] {
            let permits = Permits::new(for_logins(max));
            assert_eq!(take_while_free(&permits, |_| A).len(), one, "max {max}: one network");
            let held = take_while_free(&permits, |n| IpAddr::from([10, 0, n, 1]));
            assert_eq!(held.len(), logins, "max {max}");
            assert!(permits.try_acquire(B).is_none() && !permits.crowded(), "max {max}");
        }
    }

    #[test]
    fn who_waits_longest_is_next() {
        let permits = Permits::new(1);
        let first = ready(&mut pin!(permits.acquire(A))).unwrap();
        let mut second = pin!(permits.acquire(B));
        let mut third = pin!(permits.acquire(C));
        assert!(ready(&mut second).is_none() && ready(&mut third).is_none());
        drop(first);
        assert!(ready(&mut third).is_none(), "the permit is the second's, although the third looked first");
        let permit = ready(&mut second).unwrap();
        assert!(ready(&mut pin!(permits.acquire(A))).is_none(), "who comes now is behind the third");
        drop(permit);
        assert!(ready(&mut third).is_some());
    }

    #[test]
    fn a_network_at_its_share_keeps_nobody_else_waiting() {
        let permits = Permits::new(2);
        let held = ready(&mut pin!(permits.acquire(A))).unwrap();
        let mut more = pin!(permits.acquire(A));
        assert!(ready(&mut more).is_none());
        let other = ready(&mut pin!(permits.acquire(B)));
        assert!(other.is_some());
        drop(held);
        assert!(ready(&mut more).is_some(), "its own permit serves it");
    }

    #[test]
    fn who_goes_away_leaves_the_queue_and_no_permit_is_lost() {
        let permits = Permits::new(1);
        let held = ready(&mut pin!(permits.acquire(A))).unwrap();
        let mut gone = Box::pin(permits.acquire(B));
        let mut granted = Box::pin(permits.acquire(B));
        assert!(ready(&mut gone).is_none() && ready(&mut granted).is_none());
        drop(gone);
        assert!(permits.crowded());
        drop(held);
        assert_eq!((permits.taken(), permits.crowded()), (1, false), "granted, not yet received");
        drop(granted);
        assert_eq!(permits.taken(), 0);
    }

    #[test]
    fn another_max_rules_at_once_and_takes_nothing_away() {
        let permits = Permits::new(1);
        let held = ready(&mut pin!(permits.acquire(A))).unwrap();
        let mut waiting = pin!(permits.acquire(B));
        assert!(ready(&mut waiting).is_none());
        permits.limit(2);
        let other = ready(&mut waiting).unwrap();
        permits.limit(1);
        assert_eq!(permits.taken(), 2);
        drop(held);
        assert!(ready(&mut pin!(permits.acquire(C))).is_none(), "still one too many");
        drop(other);
        assert!(ready(&mut pin!(permits.acquire(C))).is_some());
    }

    #[test]
    fn each_waiter_asks_one_holder_whose_permit_helps_to_yield() {
        let permits = Permits::new(3);
        let _a = ready(&mut pin!(permits.acquire(A))).unwrap();
        let mut more = Box::pin(permits.acquire(A));
        assert!(ready(&mut more).is_none());
        let mut b_is_wanted = pin!(permits.wanted(B));
        assert!(ready(&mut b_is_wanted).is_none(), "A is at its share: only a permit of its own helps");
        assert!(ready(&mut pin!(permits.wanted(A))).is_some());
        assert!(ready(&mut pin!(permits.wanted(A))).is_none(), "one who waits asks one");
        drop(more);

        let _b = ready(&mut pin!(permits.acquire(B))).unwrap();
        let _c = ready(&mut pin!(permits.acquire(C))).unwrap();
        assert!(ready(&mut b_is_wanted).is_none(), "all taken, but nobody waits");
        let mut waiting = pin!(permits.acquire(D));
        assert!(ready(&mut waiting).is_none());
        assert!(ready(&mut b_is_wanted).is_some());
        assert!(ready(&mut pin!(permits.wanted(C))).is_none(), "B yields its permit already");
    }

    #[tokio::test]
    async fn who_watches_is_woken() {
        let permits = Permits::new(1);
        let held = permits.acquire(A).await;
        let waiting = tokio::spawn({
            let permits = permits.clone();
            async move { permits.acquire(B).await }
        });
        let ((), permit) = tokio::join!(permits.drained(), async {
            permits.wanted(A).await;
            drop(held);
            drop(waiting.await.unwrap());
        });
        assert_eq!((permit, permits.taken()), ((), 0));
    }

    fn take_while_free(permits: &Permits, client: impl Fn(u8) -> IpAddr) -> Vec<Permit> {
        (0..100).map_while(|n| ready(&mut pin!(permits.acquire(client(n))))).collect()
    }

    fn ready<F: Future + ?Sized>(future: &mut std::pin::Pin<impl std::ops::DerefMut<Target = F>>) -> Option<F::Output> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 1));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 3, 1));
    const D: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 4, 1));
}
