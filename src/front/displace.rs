//! Eviction when all connections are used up: a session without mail under way gives up its slot, from the network that
//! has the most connections and has delivered nothing. It must not decide whether there is room, nor close anything: a
//! session is woken, and ends by itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::future::pending;
use std::future::poll_fn;
use std::net::IpAddr;
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

use crate::front::following::Follower;
use crate::front::following::Followers;
use crate::front::following::Following;
use crate::front::following::Refused;
use crate::front::sessions;
use crate::front::sessions::Entry;
use crate::front::sessions::Order;
use crate::front::sessions::SessionView;
use crate::session::activity::Activity;
use crate::store::clock::Time;

/// The sessions that have a slot.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    followers: Arc<Followers>,
    /// The instant that times are counted from.
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// The sessions of each network that has any, by the order of arrival.
    networks: HashMap<IpNet, BTreeMap<u64, Arc<Slot>>>,
    next: u64,
    /// The last delivery of each network.
    delivered: HashMap<IpNet, Instant>,
}

/// A session's own view of its slot.
#[derive(Debug)]
pub(super) struct SlotHandle {
    all: Arc<Slots>,
    slot: Arc<Slot>,
    /// Whether the session's task is registered.
    is_known: bool,
}

/// The slot of one session, among the connections that are counted.
#[derive(Debug)]
pub(super) struct Slot {
    network: IpNet,
    number: u64,
    began: Instant,
    /// End of the time in which the session brings mail forward, in milliseconds since `began`.
    needed: AtomicU64,
    leaves: AtomicBool,
    /// Whether a follower has come that the session does not know of.
    has_follower: AtomicBool,
    /// The session's task, once it waits.
    task: Mutex<Option<Waker>>,
    /// What the session does now.
    entry: Entry,
}

impl Slots {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: Mutex::default(), followers: Arc::default(), began: now }
    }

    pub(super) fn handle(self: &Arc<Self>, slot: &Arc<Slot>) -> SlotHandle {
        SlotHandle { all: self.clone(), slot: slot.clone(), is_known: false }
    }

    pub(super) fn enter(&self, network: IpNet) -> Arc<Slot> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let slot = Arc::new(Slot {
            network,
            number,
            began: self.began,
            needed: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
            has_follower: AtomicBool::new(false),
            task: Mutex::new(None),
            entry: Entry::default(),
        });
        state.networks.entry(network).or_default().insert(number, slot.clone());
        slot
    }

    pub(super) fn leave(&self, slot: &Slot) {
        self.lock().remove(slot);
        self.followers.end(slot.number);
    }

    /// What the session with this id does; `None`: none that is open has it.
    pub(super) fn session(&self, id: &str) -> Option<SessionView> {
        self.find(id)?.entry.view()
    }

    /// A follower of the session with this id.
    pub(super) fn follow(&self, id: &str) -> Result<Follower, Refused> {
        let slot = self.find(id).ok_or(Refused::Unknown)?;
        let state = self.lock();
        // Else nothing would tell the follower of its end.
        let is_there = state.networks.get(&slot.network).is_some_and(|of| of.contains_key(&slot.number));
        if !is_there {
            return Err(Refused::Unknown);
        }
        let follower = self.followers.join(slot.number)?;
        slot.has_follower.store(true, Ordering::Release);
        Ok(follower)
    }

    fn find(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots().into_iter().find(|slot| slot.entry.has_id(id))
    }

    /// All slots. Newcomers wait only while the references are copied.
    fn slots(&self) -> Vec<Arc<Slot>> {
        self.lock().networks.values().flat_map(BTreeMap::values).cloned().collect()
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

    /// Asks one session to leave for a newcomer of `network`, among `max` slots; `false` if none has to.
    pub(super) fn make_room(&self, network: IpNet, max: usize, now: Instant) -> bool {
        let mut state = self.lock();
        let Some(victim) = state.victim(network, max, now) else { return false };
        // The slot is given away: it must not be found a second time.
        state.remove(&victim);
        drop(state);
        victim.wake();
        true
    }

    /// Sessions of each network that has any.
    pub(super) fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.lock().networks.iter().map(|(network, of)| (*network, of.len())).collect()
    }

    /// The first `most` sessions in this order, and the number of all.
    pub(super) fn sessions(&self, most: usize, order: Order) -> (Vec<SessionView>, usize) {
        sessions::first(self.slots().iter().map(|slot| &slot.entry), most, order)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, slot: &Slot) {
        if let Some(of_network) = self.networks.get_mut(&slot.network) {
            of_network.remove(&slot.number);
            if of_network.is_empty() {
                self.networks.remove(&slot.network);
            }
        }
    }

    /// The session to evict: the oldest without mail under way, of the network with the most sessions; of equal
    /// networks, that with the oldest session. A network that has delivered is preferred up to a quarter of all slots.
    fn victim(&self, newcomer: IpNet, max: usize, now: Instant) -> Option<Arc<Slot>> {
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
            // Afterwards the newcomer's network has no more than the other: two that return again and again do not
            // alternate.
            _ => own == 0 || count > own + 1,
        };
        let asked = self.networks.iter().filter(|(network, of)| may_be_asked(network, of.len()));
        let mut asked: Vec<_> = asked.collect();
        asked.sort_by_key(|(network, of)| {
            (comes_first(network, of.len()), Reverse(of.len()), of.keys().next().copied())
        });
        asked.into_iter().find_map(|(_, of)| of.values().find(|slot| !slot.is_needed(now)).cloned())
    }
}

impl SlotHandle {
    /// The session of `client` begins, and is listed from now on.
    pub(super) fn begin(&self, activity: &Activity<'_>, client: IpAddr, since: Time) {
        self.slot.entry.begin(activity, client, since);
    }

    /// Notes what the session does now.
    pub(super) fn note(&self, activity: &Activity<'_>) {
        self.slot.entry.note(activity);
    }

    /// The session's followers, where one has come that it does not know of.
    #[inline]
    pub(super) fn new_following(&self) -> Option<Following> {
        let is_new = self.slot.has_follower.load(Ordering::Relaxed);
        is_new.then(|| {
            self.slot.has_follower.swap(false, Ordering::Acquire);
            self.all.followers.of(self.slot.number)
        })
    }

    /// The session is over: its followers have heard all.
    pub(super) fn unfollow(&self) {
        self.all.followers.end(self.slot.number);
    }

    /// Records how long the session brings mail forward, as far as is known now.
    pub(super) fn is_needed_until(&self, until: Option<Instant>) {
        self.slot.is_needed_until(until);
    }

    /// Notes that a message of the session was accepted.
    pub(super) fn delivered(&self, now: Instant) {
        self.all.delivered(self.slot.network, now);
    }

    /// Ready when the session has to leave. Always poll it from the same task: that one is woken.
    pub(super) fn poll_leave(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.is_known, true) {
            *self.slot.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        if self.slot.leaves() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Resolves when the session of `slot` has to leave; never without a slot.
pub(super) async fn left(slot: Option<&mut SlotHandle>) {
    match slot {
        Some(slot) => poll_fn(|cx| slot.poll_leave(cx)).await,
        None => pending().await,
    }
}

impl Slot {
    fn is_needed_until(&self, until: Option<Instant>) {
        let millis = until.map_or(0, |until| until.saturating_duration_since(self.began).as_millis());
        self.needed.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_needed(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.began).as_millis();
        u128::from(self.needed.load(Ordering::Relaxed)) > now
    }

    /// Whether the slot was given away.
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

    /// So many sessions of each network.
    fn crowd(slots: &Slots, networks: &[(u8, usize)]) -> Vec<Arc<Slot>> {
        let all = networks.iter().flat_map(|(number, count)| std::iter::repeat_n(net(*number), *count));
        all.map(|network| slots.enter(network)).collect()
    }

    #[test]
    fn the_oldest_idle_one_of_the_largest_network_leaves() {
        let now = Instant::now();
        let slots = Slots::new(now);
        let all = crowd(&slots, &[(1, 2), (2, 4), (3, 3)]);
        all[2].is_needed_until(Some(now + Duration::from_secs(9)));
        let left = |all: &[Arc<Slot>]| (0..all.len()).filter(|at| all[*at].leaves()).collect::<Vec<_>>();
        assert!(slots.make_room(net(9), 9, now));
        assert_eq!(left(&all), [3], "the first of the largest brings mail forward");
        assert!(!slots.make_room(net(3), 9, now), "one that has nearly as many has nobody to ask");
        for expected in [&[2, 3][..], &[2, 3, 6], &[0, 2, 3, 6], &[0, 2, 3, 4, 6]] {
            assert!(slots.make_room(net(9), 9, now + Duration::from_secs(10)));
            assert_eq!(left(&all), expected);
        }
        all.iter().for_each(|slot| slots.leave(slot));
        assert!(slots.lock().networks.is_empty());
    }

    #[test]
    fn networks_that_have_delivered_come_first() {
        let now = Instant::now();
        let slots = Slots::new(now);
        let all = crowd(&slots, &[(1, 5), (2, 1)]);
        slots.delivered(net(1), now);
        assert!(slots.make_room(net(1), 40, now), "it may ask one that has not, though that has fewer");
        assert!(all[5].leaves());
        assert!(!slots.make_room(net(3), 40, now), "nobody else may ask it");
        assert!(slots.make_room(net(3), 16, now), "but for what it has above a quarter");
        assert!(!slots.make_room(net(3), 40, now + MEMORY - Duration::from_secs(1)));
        assert!(slots.make_room(net(3), 40, now + MEMORY), "it is forgotten after hours");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let slots = Slots::new(now);
        for number in 0..=MOST_REMEMBERED as u32 {
            let network = IpNet::new((number << 8).to_be_bytes().into(), 24).unwrap();
            slots.delivered(network, now + Duration::from_millis(number.into()));
        }
        let state = slots.lock();
        assert_eq!(state.delivered.len(), MOST_REMEMBERED);
        assert!(!state.delivered.contains_key(&"0.0.0.0/24".parse().unwrap()), "the oldest has gone");
    }

    #[test]
    fn who_waits_is_woken() {
        let slots = Arc::new(Slots::new(Instant::now()));
        let mut handle = slots.handle(&slots.enter(net(1)));
        assert!(handle.poll_leave(&Context::from_waker(Waker::noop())).is_pending());
        assert!(handle.all.make_room(net(2), 1, Instant::now()));
        assert!(handle.poll_leave(&Context::from_waker(Waker::noop())).is_ready());
    }
}
