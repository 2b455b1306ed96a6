//! `[server]`: the client's side. It must not bind, nor look up a user.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::faults::At;
use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::time_limit;
use crate::config::units;
use crate::session::settings::Auth;

/// The section as written, with defaults where nothing else depends on whether a key was.
pub(crate) struct Server {
    pub(crate) listen: Option<Vec<Written<SocketAddr>>>,
    /// The place of `listen` when it is `[]`.
    pub(crate) empty_listen: Option<At>,
    pub(crate) listen_tls: Vec<Written<SocketAddr>>,
    pub(crate) hostname: Option<String>,
    pub(crate) contact: String,
    pub(crate) workers: Option<u64>,
    pub(crate) max_connections: u64,
    pub(crate) max_connections_per_client: Option<Written<u64>>,
    pub(crate) max_recipients: u32,
    pub(crate) max_errors: u32,
    pub(crate) greet_delay: Duration,
    pub(crate) auth: Auth,
    pub(crate) hide_user: bool,
    pub(crate) user: Option<Written<String>>,
    pub(crate) group: Option<Written<String>>,
    pub(crate) timeout: Timeout,
    pub(crate) min_rate: u64,
    pub(crate) drain: Duration,
    pub(crate) proxy_protocol_from: Vec<IpNet>,
}

/// `timeout = { ... }`
pub(crate) struct Timeout {
    pub(crate) greeting: Duration,
    pub(crate) command: Option<Duration>,
    pub(crate) data: Duration,
    pub(crate) session: Duration,
}

impl Server {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let at_most_a_million = 1..=1_000_000;
        Self {
            listen: section.list("listen", r#""127.0.0.1:2525""#, listen_address),
            empty_listen: section.is_empty_list("listen").then(|| section.key_at("listen")),
            listen_tls: section.list("listen_tls", r#""127.0.0.1:4650""#, listen_address).unwrap_or_default(),
            hostname: section.parsed("hostname", hostname).and_then(|written| written.value),
            contact: section.parsed("contact", contact).map_or_else(String::new, |written| written.value),
            workers: section.number("workers", 1..=1024).map(|written| written.value),
            max_connections: number(section.number("max_connections", at_most_a_million.clone()), 10_000),
            max_connections_per_client: section.number("max_connections_per_client", at_most_a_million),
            max_recipients: small(section.number("max_recipients", 1..=100_000), 100),
            max_errors: small(section.number("max_errors", 1..=100_000), 20),
            greet_delay: duration(section.parsed("greet_delay", greet_delay), "0s"),
            auth: section.choice("auth", &AUTH).map_or(Auth::Tls, |written| written.value),
            hide_user: section.flag("hide_user").is_some_and(|hide| hide.value),
            user: section.optional_text("user"),
            group: section.optional_text("group"),
            timeout: section.table("timeout", Timeout::read),
            min_rate: number(section.quantity("min_rate", min_rate), 500),
            drain: duration(section.parsed("drain", units::duration), "30s"),
            proxy_protocol_from: networks(section.list("proxy_protocol_from", r#""192.0.2.0/24""#, network)),
        }
    }
}

impl Timeout {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            greeting: duration(section.parsed("greeting", time_limit), "30s"),
            command: section.parsed("command", time_limit).map(|written| written.value),
            data: duration(section.parsed("data", time_limit), "3m"),
            session: duration(section.parsed("session", time_limit), "1h"),
        }
    }
}

/// `127.0.0.1:2525`, `[::1]:2525`
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let without_scheme = text.split_once("://").map_or(text, |(_, rest)| rest).trim();
        if let Ok(address) = without_scheme.parse::<SocketAddr>() {
            return format!("write \"{address}\"");
        }
        let (host, port) = without_scheme.rsplit_once(':').unwrap_or(("", without_scheme));
        match (host, port.parse::<NonZeroU16>()) {
            ("" | "*", Ok(port)) => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
            (host, Ok(port)) if host.eq_ignore_ascii_case("localhost") => format!("write \"127.0.0.1:{port}\""),
            _ => "write an IP address and a port, such as \"127.0.0.1:2525\" or \"[::1]:2525\"".to_owned(),
        }
    })
}

/// A host name: no more is asked of it than that it is one word of a reply.
pub(crate) fn hostname(text: &str) -> Result<Option<String>, String> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-._[]:".contains(&octet);
    match text {
        "" => Ok(None),
        _ if text.len() <= 255 && text.bytes().all(fits) => Ok(Some(text.to_owned())),
        _ => Err("write a host name such as \"mx.example.org\"".to_owned()),
    }
}

/// A contact for replies, which has to leave room for the refusal itself in 510 octets.
fn contact(text: &str) -> Result<String, String> {
    match text.len() <= 100 && text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        true => Ok(text.to_owned()),
        false => Err("write a URL or an address in at most 100 characters of ASCII".to_owned()),
    }
}

/// A client waits five minutes for the banner (RFC 5321 section 4.5.3.2.1).
fn greet_delay(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        delay if delay > Duration::from_secs(60) => Err("write at most \"1m\"".to_owned()),
        delay => Ok(delay),
    }
}

/// Octets per second; a rate above zero stays above zero.
fn min_rate(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let rate = units::size_rate(text)?;
    Ok(rate.amount.div_ceil(rate.period.as_secs()))
}

/// `192.0.2.0/24`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse().map(|address: IpAddr| address.into()));
    network.map_err(|_| "write a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned())
}

fn networks(written: Option<Vec<Written<IpNet>>>) -> Vec<IpNet> {
    written.into_iter().flatten().map(|network| network.value).collect()
}

fn number(written: Option<Written<u64>>, default: u64) -> u64 {
    written.map_or(default, |written| written.value)
}

fn small(written: Option<Written<u64>>, default: u32) -> u32 {
    written.and_then(|written| u32::try_from(written.value).ok()).unwrap_or(default)
}

fn duration(written: Option<Written<Duration>>, default: &str) -> Duration {
    let default = || units::duration(default).expect("a default of ours");
    written.map_or_else(default, |written| written.value)
}

const AUTH: [(&str, Auth); 3] = [("always", Auth::Always), ("tls", Auth::Tls), ("off", Auth::Off)];
