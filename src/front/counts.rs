//! How many connections there are, in all and per client. Counts by guard: dropping it is the decrement.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::watch;

use crate::session::event::Admission;

/// All connections.
#[derive(Debug)]
pub(super) struct Counts {
    total: watch::Sender<usize>,
    clients: DashMap<IpAddr, usize>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    client: IpAddr,
}

impl Counts {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { total: watch::Sender::new(0), clients: DashMap::new() })
    }

    /// Counts it in any case: also one that is refused takes a place until it is closed.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, max: usize, max_per_client: usize) -> (Counted, Admission) {
        let client = network(client);
        let of_client = {
            let mut count = self.clients.entry(client).or_insert(0);
            *count += 1;
            *count
        };
        let mut total = 0;
        self.total.send_modify(|count| {
            *count += 1;
            total = *count;
        });
        let admission = match () {
            () if total > max => Admission::Full,
            () if of_client > max_per_client => Admission::FullForClient,
            () => Admission::Granted,
        };
        (Counted { counts: self.clone(), client }, admission)
    }

    pub(super) fn total(&self) -> usize {
        *self.total.borrow()
    }

    /// Resolves when the last connection is closed.
    pub(super) async fn none_left(&self) {
        // The sender lives as long as `self`.
        let _ = self.total.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut count) = self.counts.clients.get_mut(&self.client) {
            *count -= 1;
        }
        self.counts.clients.remove_if(&self.client, |_, count| *count == 0);
        self.counts.total.send_modify(|count| *count -= 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_in_all_and_per_network_and_guards_give_back() {
        let counts = Counts::new();
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (_a, first) = counts.enter(ip("2001:db8::1"), 3, 2);
        let (b, second) = counts.enter(ip("2001:db8::2"), 3, 2);
        let (c, third) = counts.enter(ip("2001:db8::3"), 3, 2);
        let (d, fourth) = counts.enter(ip("192.0.2.1"), 3, 2);
        assert_eq!(
            [first, second, third, fourth],
            [Admission::Granted, Admission::Granted, Admission::FullForClient, Admission::Full]
        );
        drop((b, c, d));
        assert_eq!(counts.total(), 1);
        assert_eq!(counts.clients.len(), 1);
        let (_e, fifth) = counts.enter(ip("2001:db8::4"), 3, 2);
        assert_eq!(fifth, Admission::Granted);
    }
}
