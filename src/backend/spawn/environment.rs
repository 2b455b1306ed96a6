//! The environment of a child: that of tcpserver (ucspi-tcp 0.88), for an IPv6 client that of its IPv6 build. It must not set
//! TCP6INTERFACE: the interface's name of a link-local client is not known here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use tokio::process::Command;

use crate::backend::ClientInfo;
use crate::policy::net::canonical;

/// Sets the variables in tcpserver's order: the inherited ones, the connection's over them (those without a value are
/// removed), and the client's rule over both. `command` starts with none.
pub(super) fn apply(client: &ClientInfo, hostname: &str, command: &mut Command) {
    for (name, value) in client.environment.iter() {
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    for (name, value) in connection(client, hostname) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for (name, value) in client.environment.of_rule() {
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
}

fn connection(client: &ClientInfo, hostname: &str) -> Vec<(&'static str, Option<String>)> {
    // The IPv6 build too takes an IPv4-mapped address for IPv4.
    let remote = canonical(client.address);
    let local = canonical(client.local);
    let six = remote.is_ipv6();
    let only_six = |value: String| six.then_some(value);
    vec![
        ("PROTO", Some(if six { "TCP6" } else { "TCP" }.to_owned())),
        ("TCPLOCALIP", Some(local.ip().to_string())),
        ("TCPLOCALPORT", Some(local.port().to_string())),
        ("TCPLOCALHOST", Some(hostname.to_owned())),
        ("TCPREMOTEIP", Some(remote.ip().to_string())),
        ("TCPREMOTEPORT", Some(remote.port().to_string())),
        ("TCPREMOTEHOST", client.host.clone()),
        ("TCPREMOTEINFO", None),
        ("TCP6LOCALIP", only_six(local.ip().to_string())),
        ("TCP6LOCALPORT", only_six(local.port().to_string())),
        ("TCP6LOCALHOST", only_six(hostname.to_owned())),
        ("TCP6REMOTEIP", only_six(remote.ip().to_string())),
        ("TCP6REMOTEPORT", only_six(remote.port().to_string())),
        ("TCP6REMOTEHOST", client.host.clone().and_then(only_six)),
        ("TCP6REMOTEINFO", None),
        ("TCP6INTERFACE", None),
    ]
}
