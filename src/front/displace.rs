//! Eviction when all connections are used up: a session without mail on its way gives its place up, of the network that has
//! the most connections and has delivered nothing. It must not decide whether there is room, nor close anything: a session
//! is woken, and ends by itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

use ipnet::IpNet;

/// The sessions that have a place.
#[derive(Debug)]
pub(super) struct Occupants {
    state: Mutex<State>,
    /// The instant that times are counted from.
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// The sessions of each network that has any, by the order of arrival.
    networks: HashMap<IpNet, BTreeMap<u64, Arc<Occupant>>>,
    next: u64,
    /// The last delivery of each network.
    delivered: HashMap<IpNet, Instant>,
}

/// A session's hold on its place.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Occupants>,
    occupant: Arc<Occupant>,
    /// The session's task is registered.
    is_known: bool,
}

/// One session that has a place.
#[derive(Debug)]
pub(super) struct Occupant {
    network: IpNet,
    number: u64,
    began: Instant,
    /// The end of the time in which it brings mail forward, in milliseconds since `began`.
    needed: AtomicU64,
    leaves: AtomicBool,
    /// The session's task, once it waits.
    task: Mutex<Option<Waker>>,
}

impl Occupants {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: Mutex::default(), began: now }
    }

    pub(super) fn place(self: &Arc<Self>, occupant: &Arc<Occupant>) -> Place {
        Place { all: self.clone(), occupant: occupant.clone(), is_known: false }
    }

    pub(super) fn enter(&self, network: IpNet) -> Arc<Occupant> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let occupant = Arc::new(Occupant {
            network,
            number,
            began: self.began,
            needed: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
            task: Mutex::new(None),
        });
        state.networks.entry(network).or_default().insert(number, occupant.clone());
        occupant
    }

    pub(super) fn leave(&self, occupant: &Occupant) {
        let mut state = self.lock();
        if let Some(of_network) = state.networks.get_mut(&occupant.network) {
            of_network.remove(&occupant.number);
            if of_network.is_empty() {
                state.networks.remove(&occupant.network);
            }
        }
    }

    /// Notes that a message of this network was accepted.
    fn delivered(&self, network: IpNet, now: Instant) {
        let mut state = self.lock();
        if state.delivered.len() >= MOST_REMEMBERED && !state.delivered.contains_key(&network) {
            state.delivered.retain(|_, last| now.saturating_duration_since(*last) < MEMORY);
            let oldest = state.delivered.iter().min_by_key(|(_, last)| **last).map(|(network, _)| *network);
            if let Some(oldest) = oldest.filter(|_| state.delivered.len() >= MOST_REMEMBERED) {
                state.delivered.remove(&oldest);
            }
        }
        state.delivered.insert(network, now);
    }

    /// Asks one session to leave for a newcomer of `network`, where there are `max` places; false: none has to.
    pub(super) fn make_room(&self, network: IpNet, max: usize, now: Instant) -> bool {
        let mut state = self.lock();
        let Some(victim) = state.victim(network, max, now) else { return false };
        // Its place is given away: it must not be found a second time.
        if let Some(of_network) = state.networks.get_mut(&victim.network) {
            of_network.remove(&victim.number);
            if of_network.is_empty() {
                state.networks.remove(&victim.network);
            }
        }
        drop(state);
        victim.wake();
        true
    }

    /// Sessions of each network that has any.
    pub(super) fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.lock().networks.iter().map(|(network, of)| (*network, of.len())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The session to evict: the oldest without mail on its way, of the network with the most sessions; of equal networks, that
    /// with the oldest session. A network that has delivered is preferred up to a quarter of all places.
    fn victim(&self, newcomer: IpNet, max: usize, now: Instant) -> Option<Arc<Occupant>> {
        let of = |network: &IpNet| self.networks.get(network).map_or(0, BTreeMap::len);
        let comes_first = |network: &IpNet, count: usize| {
            let delivered =
                self.delivered.get(network).is_some_and(|last| now.saturating_duration_since(*last) < MEMORY);
            delivered && count <= (max / 4).max(1)
        };
        let (own, is_first) = (of(&newcomer), comes_first(&newcomer, of(&newcomer) + 1));
        let may_be_asked = |network: &IpNet, count: usize| match (is_first, comes_first(network, count)) {
            (true, false) => true,
            (false, true) => false,
            // Afterwards the newcomer's has no more than the other: two that come again and again do not take turns.
            _ => own == 0 || count > own + 1,
        };
        let asked = self.networks.iter().filter(|(network, of)| may_be_asked(network, of.len()));
        let mut asked: Vec<_> = asked.collect();
        asked.sort_by_key(|(network, of)| {
            (comes_first(network, of.len()), Reverse(of.len()), of.keys().next().copied())
        });
        asked.into_iter().find_map(|(_, of)| of.values().find(|occupant| !occupant.is_needed(now)).cloned())
    }
}

impl Place {
    /// Says how long the session brings mail forward, as far as is known now.
    pub(super) fn is_needed_until(&self, until: Option<Instant>) {
        self.occupant.is_needed_until(until);
    }

    /// Notes that a message of the session was accepted.
    pub(super) fn delivered(&self, now: Instant) {
        self.all.delivered(self.occupant.network, now);
    }

    /// Ready when the session has to leave. Always polled by the same task: that one is woken.
    pub(super) fn poll_leave(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.is_known, true) {
            *self.occupant.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        if self.occupant.leaves() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Resolves when the session has to leave.
    pub(super) async fn left(&mut self) {
        poll_fn(|cx| self.poll_leave(cx)).await;
    }
}

impl Occupant {
    fn is_needed_until(&self, until: Option<Instant>) {
        let millis = until.map_or(0, |until| until.saturating_duration_since(self.began).as_millis());
        self.needed.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_needed(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.began).as_millis();
        u128::from(self.needed.load(Ordering::Relaxed)) > now
    }

    /// Whether its place was given away.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    fn wake(&self) {
        self.leaves.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(Waker::wake);
    }
}

/// Time, and number of networks, for which a delivery is remembered.
const MEMORY: Duration = Duration::from_secs(12 * 3600);
const MOST_REMEMBERED: usize = 10_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    fn net(number: u8) -> IpNet {
        format!("192.0.{number}.0/24").parse().unwrap()
    }

    /// So many of each network.
    fn crowd(occupants: &Occupants, networks: &[(u8, usize)]) -> Vec<Arc<Occupant>> {
        let all = networks.iter().flat_map(|(number, count)| std::iter::repeat_n(net(*number), *count));
        all.map(|network| occupants.enter(network)).collect()
    }

    #[test]
    fn the_oldest_idle_one_of_the_largest_network_leaves() {
        let now = Instant::now();
        let occupants = Occupants::new(now);
        let all = crowd(&occupants, &[(1, 2), (2, 4), (3, 3)]);
        all[2].is_needed_until(Some(now + Duration::from_secs(9)));
        let left = |all: &[Arc<Occupant>]| (0..all.len()).filter(|at| all[*at].leaves()).collect::<Vec<_>>();
        assert!(occupants.make_room(net(9), 9, now));
        assert_eq!(left(&all), [3], "the first of the largest brings mail forward");
        assert!(!occupants.make_room(net(3), 9, now), "one that has nearly as many has nobody to ask");
        for expected in [&[2, 3][..], &[2, 3, 6], &[0, 2, 3, 6], &[0, 2, 3, 4, 6]] {
            assert!(occupants.make_room(net(9), 9, now + Duration::from_secs(10)));
            assert_eq!(left(&all), expected);
        }
        all.iter().for_each(|occupant| occupants.leave(occupant));
        assert!(occupants.lock().networks.is_empty());
    }

    #[test]
    fn networks_that_have_delivered_come_first() {
        let now = Instant::now();
        let occupants = Occupants::new(now);
        let all = crowd(&occupants, &[(1, 5), (2, 1)]);
        occupants.delivered(net(1), now);
        assert!(occupants.make_room(net(1), 40, now), "it may ask one that has not, though that has fewer");
        assert!(all[5].leaves());
        assert!(!occupants.make_room(net(3), 40, now), "nobody else may ask it");
        assert!(occupants.make_room(net(3), 16, now), "but for what it has above a quarter");
        assert!(!occupants.make_room(net(3), 40, now + MEMORY - Duration::from_secs(1)));
        assert!(occupants.make_room(net(3), 40, now + MEMORY), "it is forgotten after hours");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let occupants = Occupants::new(now);
        for number in 0..=MOST_REMEMBERED as u32 {
            let network = IpNet::new((number << 8).to_be_bytes().into(), 24).unwrap();
            occupants.delivered(network, now + Duration::from_millis(number.into()));
        }
        let state = occupants.lock();
        assert_eq!(state.delivered.len(), MOST_REMEMBERED);
        assert!(!state.delivered.contains_key(&"0.0.0.0/24".parse().unwrap()), "the oldest has gone");
    }

    #[test]
    fn who_waits_is_woken() {
        let occupants = Arc::new(Occupants::new(Instant::now()));
        let mut place = occupants.place(&occupants.enter(net(1)));
        assert!(place.poll_leave(&Context::from_waker(Waker::noop())).is_pending());
        assert!(place.all.make_room(net(2), 1, Instant::now()));
        assert!(place.poll_leave(&Context::from_waker(Waker::noop())).is_ready());
    }
}
