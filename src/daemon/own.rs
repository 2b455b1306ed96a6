//! Whether a block would hit ourselves: this host, clients that may relay, domains that mail is taken for. It must not
//! forbid it: the operator is asked.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::Path;

use ipnet::IpNet;
use ipnet::Ipv4Net;

use crate::control::files;
use crate::control::load;
use crate::control::load::Sources;
use crate::daemon::assemble::Salvage;
use crate::policy::Policy;
use crate::policy::block::BlockKey;
use crate::policy::client::ClientRule;
use crate::policy::client::ClientRules;
use crate::policy::local::LocalDomains;
use crate::text::bounded;

/// What is known of ourselves.
#[derive(Clone, Copy)]
pub struct Ours<'a> {
    /// The lists.
    pub policy: &'a Policy,
    /// The control folder.
    pub control: Option<&'a Path>,
    /// The tcprules, to be read because the policy's could not be.
    pub unread: Option<&'a Path>,
}

impl<'a> Ours<'a> {
    /// What could be read of the files.
    pub fn of(read: &'a Salvage) -> Self {
        let unread = read.config.qmail.tcprules.as_deref().filter(|_| !read.lists_are_whole);
        Self { policy: &read.snapshot.policy, control: read.config.qmail.control.as_deref(), unread }
    }
}

/// Why `key` needs a second thought: one sentence with what it would hit, or `None`. `beside`: a control folder besides that
/// of the configuration.
pub fn doubt(ours: Ours<'_>, beside: Option<&Path>, key: &BlockKey) -> Option<String> {
    let found = match key {
        BlockKey::Client(network) => of_network(ours, network),
        BlockKey::Domain(domain) => of_domain(ours, beside, domain),
        BlockKey::Sender(sender) => of_domain(ours, beside, sender.rsplit_once('@')?.1),
    };
    found.or_else(|| key.breadth().map(|whom| format!("{key} is {whom}")))
}

fn of_network(ours: Ours<'_>, network: &IpNet) -> Option<String> {
    let has = |address: &IpAddr| network.contains(address);
    if network.addr().is_loopback() {
        return Some(format!("{network} has this host's own programs (loopback), which could send no mail"));
    }
    // So wide that it needs no other reason.
    if network.prefix_len() < 8 {
        return None;
    }
    if let Some(own) = own_addresses().into_iter().find(has) {
        return Some(format!("{network} has an address of this host, {own}"));
    }
    let loaded;
    let clients = match ours.unread {
        None => &ours.policy.clients,
        Some(tcprules) => {
            let sources = Sources { tcprules: Some(tcprules.to_owned()), ..Sources::default() };
            loaded = load::load(&sources).lists.unwrap_or_default().clients;
            &loaded
        }
    };
    let (whom, rule) = relay_client(clients, network)?;
    Some(format!("{network} has clients that may relay: {} sets RELAYCLIENT for {whom}", rule.location))
}

/// A rule that lets clients of the network relay, and which.
fn relay_client<'r>(clients: &'r ClientRules, network: &IpNet) -> Option<(String, &'r ClientRule)> {
    let relays = |rule: &ClientRule| rule.variables.iter().any(|(name, _)| **name == *b"RELAYCLIENT");
    let of_first = clients.find(network.addr(), None, None).filter(|(_, rule)| relays(rule));
    let first = of_first.map(|(_, rule)| (network.addr().to_string(), &**rule));
    first.or_else(|| {
        let inside = |key: &[u8]| key_network(key).filter(|found| network.contains(found));
        clients.iter().filter(|(_, rule)| relays(rule)).find_map(|(key, rule)| Some((inside(key)?.to_string(), rule)))
    })
}

/// The network of a key such as `192.0.2.1` or `192.0.2.`.
fn key_network(key: &[u8]) -> Option<IpNet> {
    let text = str::from_utf8(key).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.into());
    }
    let parts: Vec<u8> = text.strip_suffix('.')?.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let mut octets = [0; 4];
    octets.get_mut(..parts.len())?.copy_from_slice(&parts);
    let bits = u8::try_from(parts.len() * 8).ok()?;
    Ipv4Net::new(octets.into(), bits).ok().map(IpNet::from)
}

fn of_domain(ours: Ours<'_>, beside: Option<&Path>, domain: &str) -> Option<String> {
    let of_folder = [ours.control, beside].into_iter().flatten().find_map(|control| place_of(control, domain));
    let local = ours.policy.local.as_ref();
    let place = of_folder.or_else(|| Some(local?.find(domain.as_bytes())?.to_string()))?;
    Some(format!("{domain} is yours ({place}): mail that your own users send from outside would be refused"))
}

/// The line of a control file that makes the domain ours.
fn place_of(control: &Path, domain: &str) -> Option<String> {
    for name in ["rcpthosts", "locals", "me", "virtualdomains"] {
        let path = control.join(name);
        let Ok(Some(mut text)) = files::read(&path) else { continue };
        if name == "virtualdomains" {
            text = keys_of(&text);
        }
        let found = LocalDomains::parse(path.display().to_string().into(), &text).find(domain.as_bytes());
        if let Some(location) = found {
            return Some(location.to_string());
        }
    }
    None
}

/// The lines of virtualdomains up to their colon; one without a colon means nothing.
fn keys_of(text: &[u8]) -> Vec<u8> {
    let keys = text.split(|octet| *octet == b'\n').map(|line| match memchr::memchr(b':', line) {
        Some(colon) => &line[..colon],
        None => &[],
    });
    keys.collect::<Vec<_>>().join(&b'\n')
}

/// The addresses of this host's interfaces, as the kernel lists them.
fn own_addresses() -> Vec<IpAddr> {
    let read = |path: &str| bounded::read_text(Path::new(path), LARGEST_TABLE).unwrap_or_default();
    let (tries, six) = (read("/proc/net/fib_trie"), read("/proc/net/if_inet6"));
    v4_of(&tries).into_iter().map(IpAddr::from).chain(v6_of(&six).into_iter().map(IpAddr::from)).collect()
}

/// Those of `/proc/net/fib_trie`: `|-- 192.0.2.1`, and below it `/32 host LOCAL`.
fn v4_of(table: &str) -> Vec<Ipv4Addr> {
    let (mut address, mut found) = (None, Vec::new());
    for line in table.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(text) => address = text.parse::<Ipv4Addr>().ok(),
            None if line == "/32 host LOCAL" => found.extend(address),
            None => {}
        }
    }
    found.dedup();
    found
}

/// Those of `/proc/net/if_inet6`: 32 digits, then what is no concern here.
fn v6_of(table: &str) -> Vec<Ipv6Addr> {
    let number = |line: &str| u128::from_str_radix(line.split_ascii_whitespace().next()?, 16).ok();
    table.lines().filter_map(number).map(Ipv6Addr::from).collect()
}

/// Octets of a table of the kernel.
const LARGEST_TABLE: u64 = 16 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::control::tcprules;

    #[test]
    fn clients_that_relay_are_found_in_a_network() {
        let text = "10.1.:allow,RELAYCLIENT=\"\"\n192.0.2.7:allow,RELAYCLIENT=\"\"\n198.51.100.:allow\n:allow\n";
        let rules = tcprules::parse_text("tcp.smtp", text.as_bytes()).rules;
        let rows = [
            ("10.1.2.3/32", Some("10.1.2.3")),
            ("10.0.0.0/8", Some("10.1.0.0/16")),
            ("192.0.2.0/24", Some("192.0.2.7/32")),
            ("192.0.2.8/32", None),
            ("198.51.100.0/24", None),
            ("0.0.0.0/0", Some("")),
            ("2001:db8::/32", None),
        ];
        for (network, expected) in rows {
            let found = relay_client(&rules, &network.parse().unwrap()).map(|(whom, _)| whom);
            assert_eq!(found.is_some(), expected.is_some(), "{network}: {found:?}");
            assert!(found.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{network}");
        }
    }

    #[test]
    fn addresses_of_the_kernel() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.9\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(v4_of(table), [Ipv4Addr::new(192, 0, 2, 9)]);
        let line = "20010db8000000000000000000000001 02 40 00 80     eth0\nfoo\n";
        assert_eq!(v6_of(line), ["2001:db8::1".parse::<Ipv6Addr>().unwrap()]);
    }
}
