//! The limits of connections, and of TLS handshakes, in all and per client. A guard counts each: dropping it is the decrement.
//! Refused connections are counted apart, or one client could use all places up by being refused. Close to the limit all
//! sessions are put under stress. It must not close a connection.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use ipnet::IpNet;
use tokio::sync::watch;

use crate::front::clock;
use crate::front::condition::Conditions;
use crate::front::displace::Slot;
use crate::front::displace::SlotHandle;
use crate::front::displace::Slots;
use crate::front::following::Follower;
use crate::front::following::Refused;
use crate::front::sessions::Order;
use crate::front::sessions::SessionView;
use crate::policy::net;
use crate::session::io::Admission;

/// The count of connections, in all and per client, and the means against being full: stress and eviction.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    tally: watch::Sender<Tally>,
    clients: DashMap<IpAddr, Tally>,
    /// Put under stress when connections are nearly used up.
    conditions: Option<Arc<Conditions>>,
    /// The sessions that may have to make room.
    slots: Option<Arc<Slots>>,
}

/// The count of TLS handshakes that run: each keeps buffers, and costs a signature.
#[derive(Debug)]
pub struct Handshakes(Arc<ConnectionLimits>);

/// Connections by what becomes of them. Those of one client are counted from their admission on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Accepted, and not admitted or refused yet.
    arriving: usize,
    granted: usize,
    /// Clients being told that there is no room.
    refused: usize,
    /// Evicted sessions that have not closed yet.
    leaving: usize,
}

/// One connection, counted from its accept to its close: a stop must not overlook one whose task has not run yet.
#[derive(Debug)]
pub(super) struct ConnectionGuard {
    limits: Arc<ConnectionLimits>,
    /// `None`: it is arriving.
    admitted: Option<Admitted>,
}

#[derive(Debug)]
struct Admitted {
    client: IpAddr,
    granted: bool,
    slot: Option<Arc<Slot>>,
    /// The limit of all connections at that time.
    max: usize,
}

impl ConnectionLimits {
    pub(super) fn new(conditions: Option<Arc<Conditions>>) -> Arc<Self> {
        let slots = conditions.is_some().then(|| Arc::new(Slots::new(clock::now().monotonic)));
        Arc::new(Self { tally: watch::Sender::default(), clients: DashMap::new(), conditions, slots })
    }

    /// A connection that was accepted.
    pub(super) fn arrive(self: &Arc<Self>) -> ConnectionGuard {
        self.tally.send_modify(|tally| tally.arriving += 1);
        ConnectionGuard { limits: self.clone(), admitted: None }
    }

    /// Whether another session gives its slot up.
    fn displace(&self, network: IpNet, max: usize, tally: &mut Tally) -> bool {
        let may = max > 0 && tally.leaving < LEAVING_AT_ONCE;
        let Some(slots) = self.slots.as_ref().filter(|_| may) else { return false };
        let has_room = slots.make_room(network, max, clock::now().monotonic);
        if has_room {
            // `count` adds the newcomer; the other one goes on being there until it has heard.
            (tally.granted, tally.leaving) = (tally.granted - 1, tally.leaving + 1);
        }
        has_room
    }

    /// Connections of each network that has any.
    pub(super) fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.slots.as_ref().map(|slots| slots.by_network()).unwrap_or_default()
    }

    /// The first `most` sessions in this order, and the number of all.
    pub(super) fn sessions(&self, most: usize, order: Order) -> (Vec<SessionView>, usize) {
        self.slots.as_ref().map(|slots| slots.sessions(most, order)).unwrap_or_default()
    }

    /// What the session with this id does; `None`: none that is open has it.
    pub(super) fn session(&self, id: &str) -> Option<SessionView> {
        self.slots.as_ref()?.session(id)
    }

    /// A follower of the session with this id.
    pub(super) fn follow(&self, id: &str) -> Result<Follower, Refused> {
        self.slots.as_ref().ok_or(Refused::Unknown)?.follow(id)
    }

    /// Connections, but for those that are arriving.
    pub(super) fn total(&self) -> usize {
        self.tally.borrow().admitted()
    }

    /// Resolves when the last connection that was granted is closed.
    pub(super) async fn none_granted(&self) {
        self.reached(|tally| tally.granted == 0).await;
    }

    /// Resolves when every connection is closed.
    pub(super) async fn none_left(&self) {
        self.reached(|tally| *tally == Tally::default()).await;
    }

    async fn reached(&self, wanted: impl FnMut(&Tally) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.tally.subscribe().wait_for(wanted).await;
    }

    /// Sets the stress: on from nine tenths of the connections, off below seven, unchanged between them.
    fn note_stress(&self, max: usize) {
        // None is granted any more when we stop.
        let Some(conditions) = self.conditions.as_ref().filter(|_| max > 0) else { return };
        let granted = self.tally.borrow().granted;
        let is_due =
            |stress| granted > 0 && if stress { granted >= max - max * 3 / 10 } else { granted >= max - max / 10 };
        let stress = conditions.current().stress;
        if is_due(stress) == stress {
            return;
        }
        let changed = conditions.change(|condition| condition.stress = is_due(condition.stress));
        match changed {
            true if !stress => tracing::warn!(connections = granted, max, "nearly full, time limits are shorter"),
            true => tracing::info!(connections = granted, max, "time limits are back to normal"),
            false => {}
        }
    }

    /// Forgets a client without a connection.
    fn forget(&self, client: IpAddr) {
        self.clients.remove_if(&client, |_, of_client| of_client.admitted() == 0);
    }
}

impl ConnectionGuard {
    /// Whether there is room for `client`, with `max` connections. `None`: too many are being refused already, the
    /// connection is closed without a reply.
    pub(super) fn admit(&mut self, client: IpAddr, max: usize, max_per_client: usize) -> Option<Admission> {
        let (limits, client, network) = (&self.limits, net::client(client), net::client_net(client));
        let mut of_client = limits.clients.entry(client).or_default();
        let mut admission = None;
        limits.tally.send_if_modified(|tally| {
            let verdict = match () {
                () if of_client.granted >= max_per_client => Admission::FullForClient,
                () if tally.granted >= max && !limits.displace(network, max, tally) => Admission::Full,
                () => Admission::Granted,
            };
            let refused = verdict != Admission::Granted;
            if refused && (tally.refused >= REFUSED_AT_ONCE || of_client.refused >= REFUSED_AT_ONCE_PER_CLIENT) {
                return false;
            }
            admission = Some(verdict);
            tally.arriving -= 1;
            tally.count(!refused, 1);
            of_client.count(!refused, 1);
            true
        });
        drop(of_client);
        limits.forget(client);
        let granted = admission? == Admission::Granted;
        limits.note_stress(max);
        let slots = limits.slots.as_ref().filter(|_| granted);
        let slot = slots.map(|slots| slots.enter(network));
        self.admitted = Some(Admitted { client, granted, slot, max });
        admission
    }

    /// The session's slot; `None`: it has none.
    pub(super) fn slot_handle(&self) -> Option<SlotHandle> {
        let slot = self.admitted.as_ref()?.slot.as_ref()?;
        Some(self.limits.slots.as_ref()?.handle(slot))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let limits = &self.limits;
        let Some(Admitted { client, granted, slot, max }) = self.admitted.take() else {
            return limits.tally.send_modify(|tally| tally.arriving -= 1);
        };
        if let Some(mut of_client) = limits.clients.get_mut(&client) {
            of_client.count(granted, -1);
        }
        limits.forget(client);
        limits.tally.send_modify(|tally| {
            // Under the lock under which slots are given away.
            let left = slot.as_ref().zip(limits.slots.as_ref()).is_some_and(|(slot, all)| {
                all.leave(slot);
                slot.leaves()
            });
            if left { tally.leaving = tally.leaving.saturating_sub(1) } else { tally.count(granted, -1) }
        });
        limits.note_stress(max);
    }
}

impl Handshakes {
    /// Counts a handshake. `None`: too many run, in all or for this client's network.
    pub(super) fn enter(&self, client: IpAddr) -> Option<ConnectionGuard> {
        let mut guard = self.0.arrive();
        let admission = guard.admit(net::client_net(client).addr(), HANDSHAKES_AT_ONCE, HANDSHAKES_AT_ONCE / 4)?;
        (admission == Admission::Granted).then_some(guard)
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self(ConnectionLimits::new(None))
    }
}

impl Tally {
    fn admitted(self) -> usize {
        self.granted + self.refused + self.leaving
    }

    fn count(&mut self, granted: bool, by: isize) {
        let counter = if granted { &mut self.granted } else { &mut self.refused };
        *counter = counter.saturating_add_signed(by);
    }
}

/// Refused connections that get a reply at one time.
const REFUSED_AT_ONCE: usize = 100;
const REFUSED_AT_ONCE_PER_CLIENT: usize = 10;
/// Evicted connections that get a reply at one time.
const LEAVING_AT_ONCE: usize = 100;
/// TLS handshakes at one time: some 20 KB each. One network has a quarter.
const HANDSHAKES_AT_ONCE: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn enter(
        limits: &Arc<ConnectionLimits>,
        client: IpAddr,
        max: usize,
        max_per_client: usize,
    ) -> Option<(ConnectionGuard, Admission)> {
        let mut guard = limits.arrive();
        let admission = guard.admit(client, max, max_per_client)?;
        Some((guard, admission))
    }

    #[test]
    fn limits_hold_in_all_and_per_network_and_guards_give_back() {
        let limits = ConnectionLimits::new(None);
        let (_a, first) = enter(&limits, ip("2001:db8::1"), 3, 2).unwrap();
        let (b, second) = enter(&limits, ip("2001:db8::2"), 3, 2).unwrap();
        let (c, third) = enter(&limits, ip("2001:db8::3"), 3, 2).unwrap();
        let (d, fourth) = enter(&limits, ip("192.0.2.1"), 3, 2).unwrap();
        let (e, fifth) = enter(&limits, ip("192.0.2.2"), 3, 2).unwrap();
        let granted = Admission::Granted;
        assert_eq!([first, second, fourth], [granted; 3], "who is refused takes no place from others");
        assert_eq!([third, fifth], [Admission::FullForClient, Admission::Full]);
        let arriving = limits.arrive();
        drop((b, c, d, e));
        assert_eq!((limits.total(), limits.tally.borrow().arriving), (1, 1));
        drop(arriving);
        assert_eq!(limits.tally.borrow().arriving, 0);
        assert_eq!(limits.clients.len(), 1);
        assert_eq!(enter(&limits, ip("2001:db8::4"), 3, 2).unwrap().1, granted);
    }

    #[test]
    fn stress_begins_at_nine_tenths_and_ends_below_seven() {
        let conditions = Arc::new(Conditions::default());
        let limits = ConnectionLimits::new(Some(conditions.clone()));
        let come = |number: u8| enter(&limits, ip(&format!("192.0.2.{number}")), 10, 2);
        let mut open: Vec<_> = (0..8).map(come).collect();
        assert!(!conditions.current().stress, "8 of 10");
        open.push(come(8));
        assert!(conditions.current().stress, "9 of 10");
        open.truncate(7);
        assert!(conditions.current().stress, "7 of 10 after 9");
        open.truncate(6);
        assert!(!conditions.current().stress, "6 of 10");
        open.clear();
        assert!(!conditions.current().stress);
        let one = ConnectionLimits::new(Some(conditions.clone()));
        let _only = enter(&one, ip("192.0.2.1"), 2, 2);
        assert!(!conditions.current().stress, "1 of 2");
    }

    #[test]
    fn one_network_may_not_have_all_handshakes() {
        let handshakes = Handshakes::default();
        let running: Vec<_> =
            (0..300u32).filter_map(|it| handshakes.enter(ip(&format!("192.0.2.{}", it % 4)))).collect();
        assert_eq!(running.len(), HANDSHAKES_AT_ONCE / 4);
        assert!(handshakes.enter(ip("192.0.3.1")).is_some());
        drop(running);
        assert!(handshakes.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn one_client_cannot_use_up_the_refusals_of_all() {
        let limits = ConnectionLimits::new(None);
        let told: Vec<_> = (0..1000).filter_map(|_| enter(&limits, ip("192.0.2.1"), 5, 2)).collect();
        assert_eq!(told.len(), 2 + REFUSED_AT_ONCE_PER_CLIENT);
        assert_eq!(enter(&limits, ip("192.0.2.9"), 5, 2).unwrap().1, Admission::Granted);
        drop(told);
        assert_eq!(*limits.tally.borrow(), Tally::default());
        assert!(limits.clients.is_empty());
    }
}
