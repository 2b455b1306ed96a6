//! The operator's settings of connections. It must not hold anything but values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// The settings of the client's side. Addresses and `workers` are read at start only, the rest also at a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Plain listeners; STARTTLS is offered on them when a certificate is set.
    pub listen: Vec<SocketAddr>,
    /// Listeners with TLS from the first octet.
    pub listen_tls: Vec<SocketAddr>,
    /// Threads that serve; `None`: the usual number.
    pub workers: Option<usize>,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections per IPv4 address or IPv6 /64.
    pub max_connections_per_client: usize,
    /// Wait before the banner; a client that talks first is refused.
    pub greet_delay: Duration,
    /// Time limit of a PROXY header and of a TLS handshake.
    pub handshake: Duration,
    /// The networks that may, and must, send a PROXY header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Time that a stop leaves to running transactions.
    pub drain: Duration,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain, our own certificate first.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// Whether the two cannot be listened on at once: the same port at one address, or at one and all of its family. Port 0 is
/// a different one each time, and all of IPv6 is [alone](Settings::only_v6) beside an address of IPv4.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    one.port() == other.port() && one.port() != 0 && ip.is_ipv4() == other_ip.is_ipv4() && covers
}

impl Settings {
    /// All addresses that are listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().chain(&self.listen_tls).copied()
    }

    /// Whether `address`, one of these, takes IPv6 alone: it is `[::]`, and an address of IPv4 has the same port. Else `[::]`
    /// takes IPv4 too, unless the system says otherwise (`net.ipv6.bindv6only`).
    pub fn only_v6(&self, address: SocketAddr) -> bool {
        let shares = |other: SocketAddr| other.port() == address.port() && other.ip().to_canonical().is_ipv4();
        address.is_ipv6() && address.ip().is_unspecified() && self.addresses().any(shares)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_exclude_each_other() {
        let table = [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "127.0.0.1:26", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:25", "127.0.0.2:25", false),
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("[::]:25", "[::1]:25", true),
            ("0.0.0.0:25", "[::]:25", false),
            ("0.0.0.0:25", "[::1]:25", false),
            ("[::ffff:127.0.0.1]:25", "127.0.0.1:25", true),
            ("[::ffff:127.0.0.1]:25", "[::]:25", false),
        ];
        for (one, other, expected) in table {
            let (first, second) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(first, second), expected, "{one} {other}");
            assert_eq!(overlap(second, first), expected, "{other} {one}");
        }
    }
}
