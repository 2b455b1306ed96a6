//! The environment of a child: that of tcpserver (ucspi-tcp 0.88), for an IPv6 client that of its IPv6 build. It must not set
//! TCP6INTERFACE: the interface's name of a link-local client is not known here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::backend::ClientInfo;
use crate::policy::net::canonical;

/// The variables in tcpserver's order: the inherited ones, the connection's over them (those without a value are
/// removed), and the client's rule over both.
pub(super) fn variables(client: &ClientInfo, hostname: &str) -> BTreeMap<OsString, OsString> {
    let text = |octets: &[u8]| OsStr::from_bytes(octets).to_owned();
    let mut all: BTreeMap<OsString, OsString> =
        client.environment.iter().map(|(name, value)| (text(name), text(value))).collect();
    for (name, value) in connection(client, hostname) {
        match value {
            Some(value) => _ = all.insert(name.into(), value.into()),
            None => _ = all.remove(OsStr::new(name)),
        }
    }
    all.extend(client.environment.of_rule().map(|(name, value)| (text(name), text(value))));
    all
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
