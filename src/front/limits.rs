//! How many connections, and TLS handshakes, there are, in all and per client. Counts by guard: dropping it is the
//! decrement. Connections that are refused for their number are counted apart, or one client could use all places up by
//! being refused. Nearly full, all sessions are put under stress. It must not close a connection.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use ipnet::IpNet;
use tokio::sync::watch;

use crate::front::clock;
use crate::front::condition::Conditions;
use crate::front::displace::Occupant;
use crate::front::displace::Occupants;
use crate::front::displace::Place;
use crate::policy::net;
use crate::session::io::Admission;

/// All connections.
#[derive(Debug)]
pub(super) struct Counts {
    total: watch::Sender<Total>,
    clients: DashMap<IpAddr, Total>,
    /// Told when they are nearly used up.
    conditions: Option<Arc<Conditions>>,
    /// The sessions that may have to make room.
    occupants: Option<Arc<Occupants>>,
}

/// TLS handshakes that run: each keeps buffers, and costs a signature.
#[derive(Debug)]
pub struct Handshakes(Arc<Counts>);

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    granted: usize,
    /// Being told that there is no place.
    refused: usize,
    /// Their place was given to another.
    leaving: usize,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    client: IpAddr,
    granted: bool,
    occupant: Option<Arc<Occupant>>,
    /// Of all, when it came in.
    max: usize,
}

impl Counts {
    pub(super) fn new(conditions: Option<Arc<Conditions>>) -> Arc<Self> {
        let occupants = conditions.is_some().then(|| Arc::new(Occupants::new(clock::now().monotonic)));
        Arc::new(Self { total: watch::Sender::new(Total::default()), clients: DashMap::new(), conditions, occupants })
    }

    /// `None`: not even the refusals can be borne, the kernel's close has to do.
    pub(super) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        max: usize,
        max_per_client: usize,
    ) -> Option<(Counted, Admission)> {
        let (client, network) = (net::client(client), net::client_net(client));
        let mut of_client = self.clients.entry(client).or_default();
        let mut admission = None;
        self.total.send_if_modified(|total| {
            admission = match () {
                () if of_client.granted >= max_per_client => Some(Admission::FullForClient),
                () if total.granted >= max && !self.displace(network, max, total) => Some(Admission::Full),
                () => Some(Admission::Granted),
            };
            let refused = admission != Some(Admission::Granted);
            if refused && (total.refused >= REFUSED_AT_ONCE || of_client.refused >= REFUSED_AT_ONCE_PER_CLIENT) {
                admission = None;
                return false;
            }
            total.count(!refused, 1);
            of_client.count(!refused, 1);
            true
        });
        let empty = *of_client == Total::default();
        drop(of_client);
        if empty {
            self.forget(client);
        }
        let admission = admission?;
        self.note_stress(max);
        let granted = admission == Admission::Granted;
        let occupant = self.occupants.as_ref().filter(|_| granted).map(|occupants| occupants.enter(network));
        Some((Counted { counts: self.clone(), client, granted, occupant, max }, admission))
    }

    /// Whether another has made room.
    fn displace(&self, network: IpNet, max: usize, total: &mut Total) -> bool {
        let may = max > 0 && total.leaving < LEAVING_AT_ONCE;
        let Some(occupants) = self.occupants.as_ref().filter(|_| may) else { return false };
        let has_room = occupants.make_room(network, max, clock::now().monotonic);
        if has_room {
            // `count` adds the newcomer; the other one goes on being there until it has heard.
            (total.granted, total.leaving) = (total.granted - 1, total.leaving + 1);
        }
        has_room
    }

    /// How many each network has.
    pub(super) fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.occupants.as_ref().map(|occupants| occupants.by_network()).unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        self.total.borrow().all()
    }

    /// Resolves when the last connection that was granted is closed.
    pub(super) async fn none_left(&self) {
        // The sender lives as long as `self`.
        let _ = self.total.subscribe().wait_for(|total| total.granted == 0).await;
    }

    /// On from nine tenths of the connections, off below seven: between them it stays as it is.
    fn note_stress(&self, max: usize) {
        // None is granted any more when we stop.
        let Some(conditions) = self.conditions.as_ref().filter(|_| max > 0) else { return };
        let granted = self.total.borrow().granted;
        let is_due =
            |stress| granted > 0 && if stress { granted >= max - max * 3 / 10 } else { granted >= max - max / 10 };
        let stress = conditions.current().stress;
        if is_due(stress) == stress {
            return;
        }
        let changed = conditions.change(|condition| condition.stress = is_due(condition.stress));
        match changed {
            true if !stress => tracing::warn!(connections = granted, max, "nearly full, time limits are shorter"),
            true => tracing::info!(connections = granted, max, "time limits are as usual again"),
            false => {}
        }
    }

    fn forget(&self, client: IpAddr) {
        self.clients.remove_if(&client, |_, of_client| of_client.all() == 0);
    }
}

impl Handshakes {
    /// `None`: too many run, in all or for this client's network.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Counted> {
        let network = net::client_net(client).addr();
        let (counted, admission) = self.0.enter(network, HANDSHAKES_AT_ONCE, HANDSHAKES_AT_ONCE / 4)?;
        (admission == Admission::Granted).then_some(counted)
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self(Counts::new(None))
    }
}

impl Total {
    fn all(self) -> usize {
        self.granted + self.refused + self.leaving
    }

    fn count(&mut self, granted: bool, by: isize) {
        let counter = if granted { &mut self.granted } else { &mut self.refused };
        *counter = counter.saturating_add_signed(by);
    }
}

impl Counted {
    /// What the session has to know of its place.
    pub(super) fn place(&self) -> Option<Place> {
        Some(self.counts.occupants.as_ref()?.place(self.occupant.as_ref()?))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut of_client) = self.counts.clients.get_mut(&self.client) {
            of_client.count(self.granted, -1);
        }
        self.counts.forget(self.client);
        self.counts.total.send_modify(|total| {
            // Under the lock under which a place is given away.
            let left = self.occupant.as_ref().zip(self.counts.occupants.as_ref()).is_some_and(|(occupant, all)| {
                all.leave(occupant);
                occupant.leaves()
            });
            if left { total.leaving = total.leaving.saturating_sub(1) } else { total.count(self.granted, -1) }
        });
        self.counts.note_stress(self.max);
    }
}

/// Connections over a limit that are told so at one time.
const REFUSED_AT_ONCE: usize = 100;
const REFUSED_AT_ONCE_PER_CLIENT: usize = 10;
/// Connections that are told at one time that their place was given to another.
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

    #[test]
    fn limits_hold_in_all_and_per_network_and_guards_give_back() {
        let counts = Counts::new(None);
        let (_a, first) = counts.enter(ip("2001:db8::1"), 3, 2).unwrap();
        let (b, second) = counts.enter(ip("2001:db8::2"), 3, 2).unwrap();
        let (c, third) = counts.enter(ip("2001:db8::3"), 3, 2).unwrap();
        let (d, fourth) = counts.enter(ip("192.0.2.1"), 3, 2).unwrap();
        let (e, fifth) = counts.enter(ip("192.0.2.2"), 3, 2).unwrap();
        let granted = Admission::Granted;
        assert_eq!([first, second, fourth], [granted; 3], "who is refused takes no place from others");
        assert_eq!([third, fifth], [Admission::FullForClient, Admission::Full]);
        drop((b, c, d, e));
        assert_eq!(counts.total(), 1);
        assert_eq!(counts.clients.len(), 1);
        assert_eq!(counts.enter(ip("2001:db8::4"), 3, 2).unwrap().1, granted);
    }

    #[test]
    fn stress_begins_at_nine_tenths_and_ends_below_seven() {
        let conditions = Arc::new(Conditions::default());
        let counts = Counts::new(Some(conditions.clone()));
        let enter = |number: u8| counts.enter(ip(&format!("192.0.2.{number}")), 10, 2);
        let mut open: Vec<_> = (0..8).map(enter).collect();
        assert!(!conditions.current().stress, "8 of 10");
        open.push(enter(8));
        assert!(conditions.current().stress, "9 of 10");
        open.truncate(7);
        assert!(conditions.current().stress, "7 of 10 after 9");
        open.truncate(6);
        assert!(!conditions.current().stress, "6 of 10");
        open.clear();
        assert!(!conditions.current().stress);
        let one = Counts::new(Some(conditions.clone()));
        let _only = one.enter(ip("192.0.2.1"), 2, 2);
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
        let counts = Counts::new(None);
        let told: Vec<_> = (0..1000).filter_map(|_| counts.enter(ip("192.0.2.1"), 5, 2)).collect();
        assert_eq!(told.len(), 2 + REFUSED_AT_ONCE_PER_CLIENT);
        assert_eq!(counts.enter(ip("192.0.2.9"), 5, 2).unwrap().1, Admission::Granted);
        drop(told);
        assert_eq!(counts.total(), 0);
        assert!(counts.clients.is_empty());
    }
}
