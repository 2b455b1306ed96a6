//! How many connections there are, in all and per client. Counts by guard: dropping it is the decrement. Connections that
//! are refused for their number are counted apart, or one client could fill the house by being refused.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::watch;

use crate::session::event::Admission;

/// All connections.
#[derive(Debug)]
pub(super) struct Counts {
    total: watch::Sender<Total>,
    clients: DashMap<IpAddr, Total>,
}

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    granted: usize,
    /// Being told that there is no place.
    refused: usize,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    client: IpAddr,
    granted: bool,
}

impl Counts {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { total: watch::Sender::new(Total::default()), clients: DashMap::new() })
    }

    /// `None`: not even the refusals can be borne, the kernel's close has to do.
    pub(super) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        max: usize,
        max_per_client: usize,
    ) -> Option<(Counted, Admission)> {
        let client = network(client);
        let mut of_client = self.clients.entry(client).or_default();
        let mut admission = None;
        self.total.send_if_modified(|total| {
            admission = match () {
                () if of_client.granted >= max_per_client => Some(Admission::FullForClient),
                () if total.granted >= max => Some(Admission::Full),
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
        Some((Counted { counts: self.clone(), client, granted: admission == Admission::Granted }, admission))
    }

    pub(super) fn total(&self) -> usize {
        self.total.borrow().all()
    }

    /// Resolves when the last connection is closed.
    pub(super) async fn none_left(&self) {
        // The sender lives as long as `self`.
        let _ = self.total.subscribe().wait_for(|total| total.all() == 0).await;
    }

    fn forget(&self, client: IpAddr) {
        self.clients.remove_if(&client, |_, of_client| of_client.all() == 0);
    }
}

impl Total {
    fn all(self) -> usize {
        self.granted + self.refused
    }

    fn count(&mut self, granted: bool, by: isize) {
        let counter = if granted { &mut self.granted } else { &mut self.refused };
        *counter = counter.saturating_add_signed(by);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut of_client) = self.counts.clients.get_mut(&self.client) {
            of_client.count(self.granted, -1);
        }
        self.counts.forget(self.client);
        self.counts.total.send_modify(|total| total.count(self.granted, -1));
    }
}

/// A client is an IPv4 address, or the /64 that one IPv6 customer has.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Connections over a limit that are told so at one time.
const REFUSED_AT_ONCE: usize = 100;
const REFUSED_AT_ONCE_PER_CLIENT: usize = 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn limits_hold_in_all_and_per_network_and_guards_give_back() {
        let counts = Counts::new();
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
    fn one_client_cannot_use_up_the_refusals_of_all() {
        let counts = Counts::new();
        let told: Vec<_> = (0..1000).filter_map(|_| counts.enter(ip("192.0.2.1"), 5, 2)).collect();
        assert_eq!(told.len(), 2 + REFUSED_AT_ONCE_PER_CLIENT);
        assert_eq!(counts.enter(ip("192.0.2.9"), 5, 2).unwrap().1, Admission::Granted);
        drop(told);
        assert_eq!(counts.total(), 0);
        assert!(counts.clients.is_empty());
    }
}
