//! A backend that is the proxy itself: one message would go round until the hops are used up. It must not ask a name
//! server.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;

use crate::backend::Endpoint;
use crate::backend::Target;
use crate::config::checked::AdminListen;
use crate::config::checked::Config;
use crate::config::faults::Fault;
use crate::config::faults::Places;
use crate::front::bind;
use crate::text::bounded;

/// The fault that the backend is one of our listeners, or the admin interface.
pub(super) fn faults(config: &Config, places: &Places) -> Option<Fault> {
    let (key, backend) = match &config.backend.target {
        Target::Lmtp(Endpoint::Tcp(backend)) => ("backend.lmtp", backend),
        Target::Tcp(backend) => ("backend.tcp", backend),
        _ => return None,
    };
    let (host, port) = backend.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let addresses = addresses(host.trim_start_matches('[').trim_end_matches(']'));
    let reaches = |listener: &SocketAddr| {
        listener.port() == port && port != 0 && addresses.iter().any(|address| is_taken(listener.ip(), *address))
    };
    if let Some(listener) = config.front.addresses().find(reaches) {
        let what = format!(
            "{key} = {backend:?} is this proxy itself, which listens on {listener}; write the address of the server \
             behind it"
        );
        return Some(places.fault(key, what));
    }
    match config.admin.listen {
        AdminListen::Tcp(admin) if reaches(&admin) => {
            let what = format!("{key} = {backend:?} is the admin interface; write the address of a mail server");
            Some(places.fault(key, what))
        }
        _ => None,
    }
}

/// Whether a listener at `listener` takes a connection to `address`.
fn is_taken(listener: IpAddr, address: IpAddr) -> bool {
    let (listener, address) = (listener.to_canonical(), address.to_canonical());
    match listener.is_unspecified() {
        // All of IPv6 takes IPv4 as well, or another listener on the port does.
        true => (listener.is_ipv6() || address.is_ipv4()) && is_of_this_host(address),
        false => listener == address,
    }
}

/// An address that can be bound is ours.
fn is_of_this_host(address: IpAddr) -> bool {
    address.is_loopback() || bind::bound(SocketAddr::new(address, 0), false).is_ok()
}

/// The addresses of a host as far as this host knows them itself: numbers, `localhost`, and names in /etc/hosts.
fn addresses(host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    match host.parse::<IpAddr>().or_else(|error| numbers(host).map(IpAddr::from).ok_or(error)) {
        // connect(2) to no address is one to this host.
        Ok(address) if address.is_unspecified() => loopback.to_vec(),
        Ok(address) => vec![address],
        Err(_) if host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost")) => {
            loopback.to_vec()
        }
        Err(_) => {
            let hosts = bounded::read_text(Path::new("/etc/hosts"), LARGEST_HOSTS).unwrap_or_default();
            named(&hosts, host).collect()
        }
    }
}

/// `127.1`, `0x7f000001`: what getaddrinfo(3) takes for an address as inet_aton(3) does.
fn numbers(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let room = 8 * u32::try_from(4_usize.checked_sub(first.len())?).ok()?;
    let begin = first.iter().try_fold(0_u32, |sum, part| (*part < 256).then_some(sum << 8 | part))?;
    match room {
        32 => Some(Ipv4Addr::from(*last)),
        8 | 16 | 24 => (*last < 1 << room).then(|| Ipv4Addr::from(begin << room | last)),
        _ => None,
    }
}

/// hosts(5)
fn named<'h>(hosts: &'h str, host: &str) -> impl Iterator<Item = IpAddr> + use<'h> {
    let host = host.to_owned();
    hosts.lines().filter_map(move |line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(&host)).then_some(address)
    })
}

/// Octets; lists of advertisers have a megabyte or two.
const LARGEST_HOSTS: u64 = 16 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::checked::ControlValues;

    #[test]
    fn a_backend_that_is_the_proxy_itself() {
        let table = [
            ("127.0.0.1:2525", "127.0.0.1:2525", true),
            ("127.0.0.1:2525", "127.0.0.1:2526", false),
            ("127.0.0.1:2525", "localhost:2525", true),
            ("127.0.0.1:2525", "0.0.0.0:2525", true),
            ("127.0.0.2:2525", "127.0.0.1:2525", false),
            ("0.0.0.0:2525", "127.0.0.1:2525", true),
            ("0.0.0.0:2525", "127.9.9.9:2525", true),
            ("0.0.0.0:2525", "[::1]:2525", false),
            ("0.0.0.0:2525", "192.0.2.1:2525", false),
            ("[::]:2525", "127.0.0.1:2525", true),
            ("[::]:2525", "[::1]:2525", true),
            ("[::ffff:127.0.0.1]:2525", "127.0.0.1:2525", true),
            ("127.0.0.1:2525", "127.0.0.1:8025", true),
            ("127.0.0.1:0", "127.0.0.1:25", false),
            ("127.0.0.1:2525", "127.1:2525", true),
            ("127.0.0.1:2525", "2130706433:2525", true),
            ("127.0.0.1:2525", "0x7f.0.1:2525", true),
            ("127.0.0.1:2525", "0177.0.0.1:2525", true),
            ("127.0.0.1:2525", "0:2525", true),
            ("127.0.0.1:2525", "localhost.:2525", true),
            ("127.0.0.1:2525", "smtp.localhost:2525", true),
            ("127.0.0.1:2525", "127.0.0.0.1:2525", false),
            ("127.0.0.1:2525", "127.256:2525", false),
        ];
        for (listen, tcp, expected) in table {
            let text = format!(
                "[server]\nlisten = [\"{listen}\"]\n[backend]\ntcp = \"{tcp}\"\nidentity = \"proxy\"\n[qmail]\n"
            );
            let loaded = config::parse(Path::new("p.toml"), &text).unwrap();
            let found = faults(&loaded.config.complete(&ControlValues::default()), &loaded.places);
            assert_eq!(found.is_some(), expected, "{listen} {tcp}: {found:?}");
            assert!(found.is_none_or(|fault| (fault.line, fault.column) == (4, 7)), "{listen} {tcp}");
        }
    }

    #[test]
    fn names_of_this_host() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tmx.example.org mx # smtp\n::1 ip6-loopback\nrubbish\n";
        assert_eq!(named(hosts, "MX").collect::<Vec<_>>(), ["127.0.1.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(named(hosts, "smtp").count(), 0);
    }
}
