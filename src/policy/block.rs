//! The keys of an operator's blocks: an address, a domain, or the network of a client. Matching is badmailfrom's:
//! letter case and spelling are folded, a domain is that domain and none below it. It must not keep a block: the store
//! does.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::smtp::address::ReversePath;
use crate::smtp::address::parse_address;

/// A key of a block, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockKey {
    /// An address: `a@example.org`.
    Sender(String),
    /// A domain: `@example.org`.
    Domain(String),
    /// A network of clients: `192.0.2.1/32`, `2001:db8::/32`.
    Client(IpNet),
}

/// The client and the sender that a block could be about.
#[derive(Clone, Copy, Debug)]
pub struct Suspect<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The reverse-path; `None` before MAIL.
    pub sender: Option<&'a ReversePath>,
}

impl Suspect<'_> {
    /// The keys that the sender could be blocked under. The null sender has none: bounces come from everybody.
    pub fn sender_keys(&self) -> Option<[String; 2]> {
        let address = self.sender?.address()?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Some([text(address.folded()), format!("@{}", address.domain().map(text).unwrap_or_default())])
    }

    /// The ruling by the operator's block that was found under `key`.
    pub fn ruling(&self, key: &str) -> Ruling {
        let of_sender = self.sender.filter(|_| key.parse::<IpNet>().is_err());
        let (reply, reason) = match of_sender {
            Some(sender) => (replies::blocked_sender(sender), Reason::BlockedSender),
            None => (replies::blocked_client(self.client), Reason::BlockedClient),
        };
        Ruling::new(reply, reason).by(format_args!("block:{key}"))
    }
}

impl BlockKey {
    /// The one spelling of a block's key that `unblock` was given; a text that is no key of an operator's is left as it
    /// is.
    pub fn spelling(text: &str) -> String {
        text.parse().map_or_else(|_| text.to_owned(), |key: Self| key.to_string())
    }

    /// Whether the key would refuse what this client sends with this reverse-path, in its angle brackets.
    pub fn hits(&self, client: IpAddr, sender: Option<&str>) -> bool {
        match self {
            Self::Client(network) => network.contains(&client.to_canonical()),
            Self::Sender(_) | Self::Domain(_) => sender.is_some_and(|sender| self.hits_sender(sender)),
        }
    }

    /// Whether the key is of senders, and this reverse-path in its angle brackets is one of them.
    pub fn hits_sender(&self, sender: &str) -> bool {
        match (self, sender.parse()) {
            (Self::Sender(address), Ok(Self::Sender(sender))) => *address == sender,
            (Self::Domain(domain), Ok(Self::Sender(sender))) => {
                sender.rsplit_once('@').is_some_and(|(_, of_sender)| of_sender == domain)
            }
            _ => false,
        }
    }

    /// The form to write instead of a pattern: an asterisk may stand in an address, but is hardly ever meant as one.
    pub fn doubt(&self) -> Option<String> {
        let Self::Sender(address) = self else { return None };
        let (local, domain) = address.rsplit_once('@').filter(|_| address.contains('*'))?;
        Some(format!(
            "{local} would be taken as a mailbox, because patterns do not work here: write @{domain} for every sender there"
        ))
    }

    /// The clients that the key refuses, where these are more than anybody means.
    pub fn breadth(&self) -> Option<String> {
        let Self::Client(network) = self else { return None };
        let (bits, widest) = match network {
            IpNet::V4(network) => (network.prefix_len(), 9),
            IpNet::V6(network) => (network.prefix_len(), 24),
        };
        let kind = if network.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        match bits {
            0 => Some(format!("every {kind} client")),
            _ if bits < widest => Some(format!("1/{} of all {kind} addresses", 1_u32 << bits)),
            _ => None,
        }
    }
}

/// The network as it is looked up: a client that comes as IPv4 in IPv6 is an IPv4 client.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let bits = mapped.prefix_len().checked_sub(96);
    let found = mapped.addr().to_ipv4_mapped().zip(bits).map(|(address, bits)| IpNet::new(address.into(), bits));
    found.and_then(Result::ok).unwrap_or(network)
}

impl FromStr for BlockKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let network = bare.parse::<IpNet>().or_else(|_| bare.parse::<IpAddr>().map(IpNet::from));
        if let Ok(network) = network {
            return Ok(Self::Client(canonical(network.trunc())));
        }
        if let Some(domain) = bare.strip_prefix('@') {
            let address = parse_address(format!("x@{domain}").as_bytes());
            let domain = address.ok().and_then(|address| address.domain().map(|it| String::from_utf8_lossy(it).into()));
            let domain = domain.filter(|domain: &String| !domain.is_empty() && !domain.starts_with('.'));
            return domain.map(Self::Domain).ok_or_else(|| FORMS.to_owned());
        }
        match parse_address(bare.as_bytes()) {
            Ok(address) if address.domain().is_some() => {
                Ok(Self::Sender(String::from_utf8_lossy(address.folded()).into()))
            }
            _ => Err(FORMS.to_owned()),
        }
    }
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender(address) => f.write_str(address),
            Self::Domain(domain) => write!(f, "@{domain}"),
            Self::Client(network) => write!(f, "{network}"),
        }
    }
}

const FORMS: &str =
    "write an address (user@example.org), a domain (@example.org) or a client (192.0.2.1, 192.0.2.0/24)";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_blocked() {
        let table = [
            ("an address", "Newsletter@SillyPlace.com", Some("newsletter@sillyplace.com")),
            ("in brackets", "<a@b.example>", Some("a@b.example")),
            ("with a trailing dot", "a@b.example.", Some("a@b.example")),
            ("quoted", "\"a\"@b.example", Some("a@b.example")),
            ("a domain", "@SillyPlace.com", Some("@sillyplace.com")),
            ("a domain in UTF-8", "@Bücher.example", Some("@xn--bcher-kva.example")),
            ("dots", "a..b.@x.example", Some("a..b.@x.example")),
            ("no domain: more likely a mistake", "root", None),
            ("an address of a client", "192.0.2.1", Some("192.0.2.1/32")),
            ("a network", "192.0.2.77/24", Some("192.0.2.0/24")),
            ("IPv6", "2001:DB8::1", Some("2001:db8::1/128")),
            ("IPv4 in IPv6", "::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("all IPv4 in IPv6", "::ffff:0:0/96", Some("0.0.0.0/0")),
            ("a bare domain", "sillyplace.com", None),
            ("postmaster", "postmaster", None),
            ("nothing", "", None),
            ("the null sender", "<>", None),
            ("an at sign", "@", None),
            ("every domain below", "@.example.org", None),
            ("a host without a name", "root@", Some("root@")),
            ("a long mask", "192.0.2.0/33", None),
            ("two addresses", "a@b c@d", None),
            ("a pattern of domains", "*@*", None),
        ];
        for (what, text, expected) in table {
            assert_eq!(text.parse::<BlockKey>().ok().map(|key| key.to_string()).as_deref(), expected, "{what}");
        }
        assert_eq!(BlockKey::spelling("192.0.2.1"), "192.0.2.1/32");
        assert_eq!(BlockKey::spelling("bounces:joe@x"), "bounces:joe@x");
    }

    #[test]
    fn what_is_too_broad_or_a_pattern() {
        let breadths = [
            ("0.0.0.0/0", Some("every IPv4 client")),
            ("::/0", Some("every IPv6 client")),
            ("::ffff:0:0/96", Some("every IPv4 client")),
            ("128.0.0.0/1", Some("1/2 of all IPv4 addresses")),
            ("2000::/3", Some("1/8 of all IPv6 addresses")),
            ("10.0.0.0/8", Some("1/256 of all IPv4 addresses")),
            ("10.0.0.0/9", None),
            ("2001:db8::/32", None),
            ("@example.org", None),
        ];
        for (text, expected) in breadths {
            assert_eq!(text.parse::<BlockKey>().unwrap().breadth().as_deref(), expected, "{text}");
        }
        let doubt = |text: &str| text.parse::<BlockKey>().unwrap().doubt();
        assert!(doubt("*@x.example").unwrap().contains("write @x.example for every sender there"));
        assert_eq!(doubt("a@x.example"), None);
    }

    #[test]
    fn what_a_key_hits() {
        let table = [
            ("a@x.example", "192.0.2.7", Some("<A@X.example>"), true),
            ("a@x.example", "192.0.2.7", Some("<b@x.example>"), false),
            ("a@x.example", "192.0.2.7", Some("<>"), false),
            ("a@x.example", "192.0.2.7", None, false),
            ("@x.example", "192.0.2.7", Some("<\"a\"@x.example.>"), true),
            ("@x.example", "192.0.2.7", Some("<a@y.x.example>"), false),
            ("@x.example", "192.0.2.7", Some("<@x.example>"), false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", Some("<>"), true),
            ("192.0.2.0/24", "192.0.3.7", Some("<192.0.2.7>"), false),
        ];
        for (key, client, sender, hits) in table {
            let key: BlockKey = key.parse().unwrap();
            assert_eq!(key.hits(client.parse().unwrap(), sender), hits, "{key} {client} {sender:?}");
        }
    }
}
