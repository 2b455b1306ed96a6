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
