//! The rules of tcprules: the rights of a client's address, and its variables for the backend's environment.
//!
//! The first key found rules alone; nothing is merged. The order is that of tcpserver 0.88, with the networks of ucspi-tcp6. It must not read tcprules files: `control` does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::policy::list::location::Location;
use crate::policy::net::network;

/// One rule of tcprules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    /// Whether the client is denied: `deny` instead of `allow`.
    pub deny: bool,
    /// Variables for the backend's environment, in the order of the rule.
    pub variables: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// The rule's place in its file.
    pub location: Location,
}

/// All rules, by key. Without a rule a client is allowed.
#[derive(Clone, Default)]
pub struct ClientRules {
    rules: HashMap<Box<[u8]>, Arc<ClientRule>>,
    /// Networks, each with its key for messages.
    networks: HashMap<IpNet, (Box<[u8]>, Arc<ClientRule>)>,
}

impl ClientRules {
    /// Adds a rule; the first of a key stays, as in a cdb. False if there was one.
    pub fn insert(&mut self, key: Box<[u8]>, rule: impl Into<Arc<ClientRule>>) -> bool {
        match self.rules.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(rule.into());
                true
            }
        }
    }

    /// Adds a rule for a network; the first of a network stays. False if there was one.
    pub fn insert_network(&mut self, network: IpNet, rule: impl Into<Arc<ClientRule>>) -> bool {
        match self.networks.entry(network) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert((network.to_string().into_bytes().into(), rule.into()));
                true
            }
        }
    }

    /// The rule that tcpserver would obey, and its key. `host` is the client's name if it is known (TCPREMOTEHOST),
    /// compared octet for octet; `info` is ident's answer (TCPREMOTEINFO). An IPv4 address written as IPv6 is an IPv4
    /// address.
    pub fn find(&self, ip: IpAddr, host: Option<&str>, info: Option<&str>) -> Option<(&[u8], &Arc<ClientRule>)> {
        if self.is_empty() {
            return None;
        }
        let address = ip.to_canonical();
        let ip = address.to_string();
        let of_info = info.and_then(|info| {
            let by_address = || self.rule(&[info, "@", &ip]);
            by_address().or_else(|| self.rule(&[info, "@=", host?]))
        });
        of_info
            .or_else(|| self.rule(&[&ip]))
            .or_else(|| self.rule(&["=", host?]))
            .or_else(|| self.rule_of_prefix(&ip))
            .or_else(|| self.rule_of_network(address))
            .or_else(|| self.rule_of_suffix(host?))
            .or_else(|| self.rule(&[""]))
    }

    /// All rules with their keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &ClientRule)> {
        self.rules.iter().map(|(key, rule)| (&**key, &**rule))
    }

    /// All rules that set variables, networks too, in the order of their places.
    pub fn with_variables(&self) -> Vec<&ClientRule> {
        let networks = self.networks.values().map(|(_, rule)| &**rule);
        let all = self.rules.values().map(|rule| &**rule).chain(networks);
        let mut set: Vec<&ClientRule> = all.filter(|rule| !rule.variables.is_empty()).collect();
        set.sort_by_key(|rule| rule.location.line);
        set
    }

    /// Number of keys; a range has one for each of its addresses.
    pub fn len(&self) -> usize {
        self.rules.len() + self.networks.len()
    }

    /// Whether every client is allowed with nothing set.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.networks.is_empty()
    }

    /// The rule of the longest prefix: `192.0.2.`, `192.0.`, `192.`; in IPv6 a prefix of the text that ends in a colon.
    fn rule_of_prefix(&self, ip: &str) -> Option<(&[u8], &Arc<ClientRule>)> {
        let ends = (1..=ip.len()).rev();
        ends.filter(|&end| matches!(ip.as_bytes()[end - 1], b'.' | b':')).find_map(|end| self.rule(&[&ip[..end]]))
    }

    /// The rule of the smallest network, which ucspi-tcp6 looks for behind the prefixes.
    fn rule_of_network(&self, ip: IpAddr) -> Option<(&[u8], &Arc<ClientRule>)> {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let lengths = (!self.networks.is_empty()).then(|| (1..=bits).rev()).into_iter().flatten();
        let found = lengths.filter_map(|length| network(ip, length)).find_map(|network| self.networks.get(&network));
        found.map(|(key, rule)| (&**key, rule))
    }

    /// The rule of the longest suffix: `=.b.example`, `=.example`, then `=` for any name.
    fn rule_of_suffix(&self, host: &str) -> Option<(&[u8], &Arc<ClientRule>)> {
        let suffixes = host.match_indices('.').map(|(dot, _)| &host[dot..]);
        suffixes.chain([""]).find_map(|suffix| self.rule(&["=", suffix]))
    }

    fn rule(&self, key: &[&str]) -> Option<(&[u8], &Arc<ClientRule>)> {
        let found = match key {
            [whole] => self.rules.get_key_value(whole.as_bytes()),
            parts => self.rules.get_key_value(parts.concat().as_bytes()),
        };
        found.map(|(key, rule)| (&**key, rule))
    }
}

impl fmt::Debug for ClientRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientRules({} keys)", self.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn rules(keys: &[&str]) -> ClientRules {
        let mut rules = ClientRules::default();
        for (line, key) in (1..).zip(keys) {
            let location = Location { source: "tcp.smtp".into(), line };
            rules.insert(key.as_bytes().into(), ClientRule { deny: false, variables: Vec::new(), location });
        }
        rules
    }

    #[test]
    fn the_first_key_of_the_order_rules() {
        let order =
            ["joe@192.0.2.1", "joe@=a.b.example", "192.0.2.1", "=a.b.example", "192.0.2.", "192.", "=.b.example"];
        let order: Vec<&str> = order.into_iter().chain(["=.example", "=", ""]).collect();
        let ip = "192.0.2.1".parse().unwrap();
        for first in 0..order.len() {
            let rules = rules(&order[first..]);
            let (key, _) = rules.find(ip, Some("a.b.example"), Some("joe")).unwrap();
            assert_eq!(key, order[first].as_bytes());
        }
        assert!(rules(&[]).find(ip, Some("a.b.example"), Some("joe")).is_none());
    }

    #[test]
    fn addresses_are_matched_as_tcpserver_writes_them() {
        let all = ["2001:db8::1", "2001:db8::", "192.0.2.1", "fe80:", "=", ""];
        let cases = [
            ("an IPv6 address", "2001:DB8:0::1", None, "2001:db8::1"),
            ("a prefix of the text", "2001:db8::2", None, "2001:db8::"),
            ("a prefix that ends in a colon", "fe80::2", None, "fe80:"),
            ("IPv4 in IPv6", "::ffff:192.0.2.1", None, "192.0.2.1"),
            ("a known name", "198.51.100.1", Some("x.example"), "="),
            ("an unknown name", "198.51.100.1", None, ""),
        ];
        for (what, ip, host, expected) in cases {
            let rules = rules(&all);
            let (key, rule) = rules.find(ip.parse().unwrap(), host, None).unwrap();
            assert_eq!(key, expected.as_bytes(), "{what}");
            assert_eq!(all[rule.location.line as usize - 1], expected, "{what}");
        }
    }

    #[test]
    fn networks_come_behind_prefixes_the_smallest_first() {
        let networks = ["10.0.0.0/8", "10.2.0.0/16", "10.2.3.0/24", "10.2.3.4/32", "2001:db8::/32", "2001:db8:1::/48"];
        let mut rules = rules(&["10.2.3.5", "10.2.9.", "=.example", ""]);
        for network in networks {
            let location = Location { source: "tcp.smtp".into(), line: 1 };
            let rule = ClientRule { deny: false, variables: Vec::new(), location };
            assert!(rules.insert_network(network.parse().unwrap(), rule.clone()));
            assert!(!rules.insert_network(network.parse().unwrap(), rule));
        }
        assert_eq!(rules.len(), 10);
        let table = [
            ("10.1.1.1", "10.0.0.0/8"),
            ("10.2.1.1", "10.2.0.0/16"),
            ("10.2.3.9", "10.2.3.0/24"),
            ("10.2.3.4", "10.2.3.4/32"),
            ("10.2.3.5", "10.2.3.5"),
            ("10.2.9.1", "10.2.9."),
            ("::ffff:10.1.1.1", "10.0.0.0/8"),
            ("2001:db8:2::1", "2001:db8::/32"),
            ("2001:db8:1::1", "2001:db8:1::/48"),
            ("192.0.2.1", "=.example"),
        ];
        for (ip, expected) in table {
            let (key, _) = rules.find(ip.parse().unwrap(), Some("a.example"), None).unwrap();
            assert_eq!(String::from_utf8_lossy(key), expected, "{ip}");
        }
    }

    #[test]
    fn the_first_of_equal_keys_stays() {
        let rules = rules(&["10.", "10."]);
        assert_eq!(rules.len(), 1);
        assert_eq!(rules.find("10.0.0.1".parse().unwrap(), None, None).unwrap().1.location.line, 1);
    }
}
