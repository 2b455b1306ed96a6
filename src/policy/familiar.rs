//! Client networks that have delivered to a recipient before: while a flood of strangers uses a shared budget up, they come
//! first. It must not know what the budget is.

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::throttle::Group;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::key::KeyHash;
use crate::policy::throttle::key::Seed;
use crate::policy::throttle::part::Part;
use crate::smtp::address::Address;

/// The key of a client network that one recipient knows.
pub fn familiar_key(seed: &Seed, client: IpAddr, recipient: &Address) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"familiar");
    hash.add_client_net(client);
    hash.add(recipient.folded());
    hash.finish()
}

impl Throttle {
    /// Whether strangers share its budget: it is for null senders, which cannot be told apart, and its key has no
    /// client in it.
    pub fn is_shared(&self) -> bool {
        self.only.contains(&Group::NullSender) && self.has_recipient() && !self.has_client()
    }

    /// The throttles, and behind them for each that is shared one more of the same name: a quarter of its budget for
    /// one client network, so that a flood from there leaves the rest to others.
    pub fn with_shares(throttles: Vec<Self>) -> Vec<Self> {
        let shares: Vec<Self> = throttles.iter().filter(|throttle| throttle.is_shared()).map(Self::share).collect();
        throttles.into_iter().chain(shares).collect()
    }

    fn share(&self) -> Self {
        let mut per = self.per.clone();
        per.insert(0, Part::ClientNet);
        Self { per, cells: self.cells.div_ceil(4), burst: self.burst.div_ceil(4), ..self.clone() }
    }
}

/// The time for which a network is known after its last delivery, counted from the beginning of the day, so that most
/// deliveries change nothing.
pub const FAMILIAR_MEMORY: Duration = Duration::from_hours(31 * 24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn a_network_has_a_quarter() {
        let all = Throttle::with_shares(Throttle::shipped());
        let shipped = Throttle::shipped();
        assert_eq!(all[..shipped.len()], shipped);
        let share = &all[shipped.len()..];
        assert_eq!(share.len(), 1);
        assert_eq!((&*share[0].name, share[0].cells, share[0].burst), ("bounces", 25, 13));
        assert_eq!(share[0].per, [Part::ClientNet, Part::Recipient]);
        assert!(share[0].faults().is_none() && !share[0].is_shared());
    }

    #[test]
    fn what_a_network_is_known_by() {
        let key = |client: &str, recipient: &str| {
            let recipient = parse_address(recipient.as_bytes()).unwrap();
            familiar_key(&Seed::new([7; 16]), client.parse().unwrap(), &recipient)
        };
        let first = key("192.0.2.1", "joe@example.org");
        assert_eq!(first, key("192.0.2.99", "Joe@Example.org"));
        assert_ne!(first, key("192.0.3.1", "joe@example.org"));
        assert_ne!(first, key("192.0.2.1", "sue@example.org"));
    }
}
