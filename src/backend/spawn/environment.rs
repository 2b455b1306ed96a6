//! The environment of a child: what tcpserver of ucspi-tcp 0.88 would give it, to an IPv6 client what its IPv6 build
//! would. TCP6INTERFACE is never set: the interface's name of a link-local client is not known here.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

use tokio::process::Command;

use crate::backend::Visitor;

/// In tcpserver's order: what it was started with, the connection's variables over that (those without a value are
/// removed), and the client's rule over both. `command` starts with nothing.
pub(super) fn apply(visitor: &Visitor, hostname: &str, command: &mut Command) {
    for (name, value) in visitor.environment.iter() {
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    for (name, value) in connection(visitor, hostname) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for (name, value) in visitor.environment.of_rule() {
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
}

fn connection(visitor: &Visitor, hostname: &str) -> Vec<(&'static str, Option<String>)> {
    let client = canonical(visitor.client);
    let local = canonical(visitor.local);
    let six = client.is_ipv6();
    let only_six = |value: String| six.then_some(value);
    vec![
        ("PROTO", Some(if six { "TCP6" } else { "TCP" }.to_owned())),
        ("TCPLOCALIP", Some(local.ip().to_string())),
        ("TCPLOCALPORT", Some(local.port().to_string())),
        ("TCPLOCALHOST", Some(hostname.to_owned())),
        ("TCPREMOTEIP", Some(client.ip().to_string())),
        ("TCPREMOTEPORT", Some(client.port().to_string())),
        ("TCPREMOTEHOST", visitor.host.clone()),
        ("TCPREMOTEINFO", None),
        ("TCP6LOCALIP", only_six(local.ip().to_string())),
        ("TCP6LOCALPORT", only_six(local.port().to_string())),
        ("TCP6LOCALHOST", only_six(hostname.to_owned())),
        ("TCP6REMOTEIP", only_six(client.ip().to_string())),
        ("TCP6REMOTEPORT", only_six(client.port().to_string())),
        ("TCP6REMOTEHOST", visitor.host.clone().and_then(only_six)),
        ("TCP6REMOTEINFO", None),
        ("TCP6INTERFACE", None),
    ]
}

/// An IPv4-mapped address is IPv4, as for the IPv6 build.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
