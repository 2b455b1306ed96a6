//! The client networks with most of what all share: connections, octets of held messages, backend sessions. It must not
//! count: the counts are kept elsewhere.

use std::cmp::Reverse;
use std::collections::HashMap;

use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::status::Handles;

/// One network's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Network {
    pub(crate) network: String,
    pub(crate) connections: u64,
    pub(crate) held_octets: u64,
    pub(crate) backend_sessions: u64,
}

/// The `most` networks with the largest share of anything, largest first.
pub(crate) fn largest(handles: &Handles, most: usize) -> Vec<Network> {
    let count = |(network, count): (IpNet, usize)| (network, count as u64);
    let connections = handles.acceptor.by_network().into_iter().map(count);
    let held = handles.services.holds.by_network().into_iter();
    let sessions = handles.services.backends.by_network().into_iter().map(count);
    rank(connections.collect(), held.collect(), sessions.collect(), most)
}

fn rank(
    connections: HashMap<IpNet, u64>,
    held: HashMap<IpNet, u64>,
    sessions: HashMap<IpNet, u64>,
    most: usize,
) -> Vec<Network> {
    let kinds = [connections, held, sessions];
    let sums = kinds.each_ref().map(|kind| kind.values().sum::<u64>().max(1));
    let of = |network: &IpNet| kinds.each_ref().map(|kind| kind.get(network).copied().unwrap_or(0));
    // The network's largest share, in thousandths.
    let part = |network: &IpNet| of(network).iter().zip(sums).map(|(has, sum)| has * 1000 / sum).max();
    let mut networks: Vec<IpNet> = kinds.iter().flat_map(HashMap::keys).copied().collect();
    networks.sort();
    networks.dedup();
    networks.sort_by_key(|network| Reverse(part(network)));
    networks.truncate(most);
    let named = |network: &IpNet| {
        let [connections, held_octets, backend_sessions] = of(network);
        Network { network: network.to_string(), connections, held_octets, backend_sessions }
    };
    networks.iter().map(named).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_of_anything_comes_first() {
        let of = |has: &[(u8, u64)]| -> HashMap<IpNet, u64> {
            has.iter().map(|(number, has)| (format!("192.0.{number}.0/24").parse().unwrap(), *has)).collect()
        };
        let table = rank(of(&[(1, 60), (2, 30), (3, 10)]), of(&[(3, 900), (4, 100)]), of(&[(1, 1), (2, 1)]), 3);
        let shown: Vec<_> =
            table.iter().map(|it| (&*it.network, it.connections, it.held_octets, it.backend_sessions)).collect();
        let expected = [("192.0.3.0/24", 10, 900, 0), ("192.0.1.0/24", 60, 0, 1), ("192.0.2.0/24", 30, 0, 1)];
        assert_eq!(shown, expected);
        assert!(rank(of(&[]), of(&[]), of(&[]), 3).is_empty());
    }
}
