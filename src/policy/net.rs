//! Addresses as one client, as one client network, and as people know them, wherever shares or keys are made of them. It
//! must not know what is counted.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use ipnet::IpNet;

/// An address as people know it: an IPv4-mapped one, as a listener on `[::]` sees it, is IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// One client: an IPv4 address, or the /64 that one IPv6 customer has.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// One client as people write it: an IPv4 address, or the network of an IPv6 one.
pub fn client_label(address: IpAddr) -> String {
    match client(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// One client network: an IPv4 /24 or an IPv6 /48.
pub fn client_net(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

/// The network of the first `length` bits of `address`; one inside of the IPv4-mapped addresses is IPv4. `None` where an
/// address has fewer bits.
pub fn network(address: IpAddr, length: u8) -> Option<IpNet> {
    let canonical = address.to_canonical();
    let mapped = if address.is_ipv6() && canonical.is_ipv4() { 96 } else { 0 };
    let (address, length) = length.checked_sub(mapped).map_or((address, length), |length| (canonical, length));
    IpNet::new(address, length).ok().map(|network| network.trunc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn who_is_one() {
        let table = [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ];
        for (address, one, label, network) in table {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!((client(address).to_string(), client_label(address)), (one.into(), label.into()));
            assert_eq!(client_net(address).to_string(), network);
        }
    }

    #[test]
    fn who_is_of_one_network() {
        let table = [
            ("the same /48", "2001:db8:1:2::1", "2001:db8:1:ffff::2", true),
            ("another /48", "2001:db8:1::1", "2001:db8:2::1", false),
            ("the same /24", "192.0.2.1", "192.0.2.254", true),
            ("another /24", "192.0.2.1", "192.0.3.1", false),
            ("IPv4 and the same mapped", "192.0.2.1", "::ffff:192.0.2.1", true),
            ("two mapped networks", "::ffff:192.0.3.1", "::ffff:192.0.2.1", false),
        ];
        for (what, one, other, same) in table {
            let (one, other): (IpAddr, IpAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(client_net(one) == client_net(other), same, "{what}");
        }
    }
}
