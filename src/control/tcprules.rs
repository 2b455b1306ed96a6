//! tcprules: its text and the cdb that is made of it, into the same rules.
//!
//! The text is read as tcprules of ucspi-tcp 0.88 reads it; as in its IPv6 build the address may have colons. Stricter:
//! a NUL octet is a fault, and a variable without a name is dropped. It must not decide who is allowed: `policy` does.
//!
//! ```
//! use portcullis::control::tcprules;
//!
//! let text = b"192.0.2.66:deny\n192.0.2.:allow,RELAYCLIENT=\"\"\n:allow\nno colon\n";
//! let read = tcprules::parse_text("tcp.smtp", text);
//! assert!(read.faults.is_empty());
//! assert_eq!(read.warnings[0].location.to_string(), "tcp.smtp:4");
//! let (key, rule) = read.rules.find("192.0.2.7".parse().unwrap(), None, None).unwrap();
//! assert_eq!((key, rule.location.line), (&b"192.0.2."[..], 2));
//! assert_eq!(*rule.variables[0].0, *b"RELAYCLIENT");
//! assert!(read.rules.find("192.0.2.66".parse().unwrap(), None, None).unwrap().1.deny);
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use memchr::memchr;
use memchr::memrchr;

use crate::control::cdb::Cdb;
use crate::control::cdb::CdbFault;
use crate::control::client_key::Key;
use crate::policy::client::ClientRule;
use crate::policy::client::ClientRules;
use crate::policy::list::entries::lines;
use crate::policy::list::entries::trim_end;
use crate::policy::list::fault::Faults;
use crate::policy::list::fault::ListFault;
use crate::policy::list::location::Location;

/// A tcprules file as read. The rules must not be used when there are faults.
#[derive(Debug)]
pub struct Tcprules {
    /// The rules.
    pub rules: ClientRules,
    /// Lines that tcprules refuses.
    pub faults: Vec<ListFault>,
    /// Lines that it skips without a word, and keys that no client can have.
    pub warnings: Vec<ListFault>,
}

/// Reads the text that tcprules compiles.
pub fn parse_text(source: &str, text: &[u8]) -> Tcprules {
    let mut reader = Reader::new(source);
    for (line, raw) in lines(text) {
        let rule = trim_end(raw);
        if matches!(rule.first(), None | Some(b'#')) {
            continue;
        }
        if let Err(what) = reader.rule(line, rule) {
            reader.faults.push(line, what);
        }
    }
    reader.finish()
}

/// Reads the compiled form. Its rules have no lines.
///
/// # Errors
/// The file is not a whole cdb.
pub fn parse_cdb(source: &str, bytes: &[u8]) -> Result<Tcprules, CdbFault> {
    let mut reader = Reader::new(source);
    for (key, data) in Cdb::read(bytes)?.iter() {
        let rule = rule_of_data(Location { source: reader.source.clone(), line: 0 }, data);
        match Key::of_cdb(key) {
            // The first of equal keys is the one that tcpserver finds.
            Ok(key) => _ = reader.add(key, rule.into()),
            Err(what) => reader.faults.push(0, what),
        }
        reader.warn_of_dead(0, key);
    }
    Ok(reader.finish())
}

/// `D\0` denies, `+NAME=VALUE\0` sets a variable; tcpserver ignores all else, and a tail without NUL.
fn rule_of_data(location: Location, data: &[u8]) -> ClientRule {
    let mut rule = ClientRule { deny: false, variables: Vec::new(), location };
    let mut rest = data;
    while let Some(end) = memchr(0, rest) {
        match &rest[..end] {
            [b'D', ..] => rule.deny = true,
            [b'+', variable @ ..] => rule.variables.extend(split_variable(variable)),
            _ => {}
        }
        rest = &rest[end + 1..];
    }
    rule
}

/// `NAME=VALUE`; a variable without a name cannot be set.
fn split_variable(variable: &[u8]) -> Option<(Box<[u8]>, Box<[u8]>)> {
    let equals = memchr(b'=', variable).filter(|&equals| equals > 0)?;
    Some((variable[..equals].into(), variable[equals + 1..].into()))
}

struct Reader {
    source: Arc<str>,
    rules: ClientRules,
    faults: Faults,
    warnings: Faults,
}

impl Reader {
    fn new(source: &str) -> Self {
        let (faults, warnings) = (Faults::new(source), Faults::new(source));
        Self { source: source.into(), rules: ClientRules::default(), faults, warnings }
    }

    fn finish(self) -> Tcprules {
        Tcprules { rules: self.rules, faults: self.faults.into_vec(), warnings: self.warnings.into_vec() }
    }

    /// One line: `address:allow` or `address:deny`, then `,NAME="VALUE"` with any octet for the quotes.
    fn rule(&mut self, line: u32, text: &[u8]) -> Result<(), String> {
        if memchr(0, text).is_some() {
            return Err("has a NUL octet: the name of a compiled file must end in .cdb".to_owned());
        }
        let Some(colon) = end_of_address(text) else {
            self.warnings.push(line, "has no colon, so tcprules skips the line: write # before a comment");
            return Ok(());
        };
        let (address, instructions) = (&text[..colon], &text[colon + 1..]);
        let (deny, variables) = split_keyword(instructions).ok_or_else(|| bad_keyword(instructions))?;
        let location = Location { source: self.source.clone(), line };
        let variables = self.variables(line, variables)?;
        self.insert(line, address, Arc::new(ClientRule { deny, variables, location }))
    }

    fn variables(&mut self, line: u32, text: &[u8]) -> Result<Vec<(Box<[u8]>, Box<[u8]>)>, String> {
        let mut variables = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, value, after) = split_setting(rest).ok_or_else(|| bad_setting(rest))?;
            if name.trim_ascii().len() < name.len() {
                self.warnings.push(
                    line,
                    "has a blank next to the name of a variable, which becomes part of the name: remove it",
                );
            }
            if name.is_empty() {
                self.warnings.push(line, "has a variable without a name, which is not set: write ,NAME=\"VALUE\"");
            } else {
                variables.push((name.into(), value.into()));
            }
            rest = after;
        }
        Ok(variables)
    }

    /// A range makes a key of each of its addresses.
    fn insert(&mut self, line: u32, address: &[u8], rule: Arc<ClientRule>) -> Result<(), String> {
        self.warn_of_dead(line, address);
        let Some(dash) = memchr(b'-', address).filter(|_| !is_named(address)) else {
            return self.insert_key(line, Key::of_text(address)?, rule);
        };
        let left = memrchr(b'.', &address[..dash]).map_or(0, |dot| dot + 1);
        let right = memchr(b'.', &address[dash + 1..]).map_or(address.len(), |dot| dash + 1 + dot);
        let (Some(low), Some(high)) = (number(&address[left..dash]), number(&address[dash + 1..right])) else {
            return Err(format!("{} is not a range: write numbers, as in 192.0.2.10-20", shown(address)));
        };
        if low > high.min(255) {
            self.warnings.push(line, "is an empty range: write the lower number first, and none over 255");
        }
        for middle in low..=high.min(255) {
            let key = [&address[..left], middle.to_string().as_bytes(), &address[right..]].concat();
            self.insert_key(line, Key::of_text(&key)?, rule.clone())?;
        }
        Ok(())
    }

    fn insert_key(&mut self, line: u32, key: Key, rule: Arc<ClientRule>) -> Result<(), String> {
        if !self.add(key, rule) {
            self.warnings.push(line, "repeats an address of a line above, whose rule holds: remove one of them");
        }
        Ok(())
    }

    fn add(&mut self, key: Key, rule: Arc<ClientRule>) -> bool {
        match key {
            Key::Network(network) => self.rules.insert_network(network, rule),
            Key::Text(text) => self.rules.insert(text, rule),
        }
    }

    fn warn_of_dead(&mut self, line: u32, address: &[u8]) {
        if let Some(what) = dead_address(address) {
            self.warnings.push(line, what);
        }
    }
}

/// The colon before `allow` or `deny`: an IPv6 address has others before it. Else the first.
fn end_of_address(text: &[u8]) -> Option<usize> {
    let starts_rule = |&colon: &usize| split_keyword(&text[colon + 1..]).is_some();
    memchr::memchr_iter(b':', text).find(starts_rule).or_else(|| memchr(b':', text))
}

/// Whether it denies, and what follows the keyword.
fn split_keyword(text: &[u8]) -> Option<(bool, &[u8])> {
    let allowed = text.strip_prefix(b"allow").map(|rest| (false, rest));
    allowed.or_else(|| Some((true, text.strip_prefix(b"deny")?)))
}

/// `,NAME=qVALUEq` as name, value and what follows.
fn split_setting(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let text = text.strip_prefix(b",")?;
    let equals = memchr(b'=', text)?;
    let (quote, value) = text[equals + 1..].split_first()?;
    let end = memchr(*quote, value)?;
    Some((&text[..equals], &value[..end], &value[end + 1..]))
}

fn bad_keyword(instructions: &[u8]) -> String {
    let lower = instructions.to_ascii_lowercase();
    if split_keyword(lower.trim_ascii()).is_some() {
        return "write allow or deny in lower case, right after the colon".to_owned();
    }
    "has neither allow nor deny after the colon".to_owned()
}

fn bad_setting(rest: &[u8]) -> String {
    match rest {
        [b'\r', ..] | [.., b'\r'] => "ends in CR: save with LF line ends".to_owned(),
        [b',', ..] => format!("{} is not a variable: write ,NAME=\"VALUE\"", shown(rest)),
        _ => format!("there must be a comma before {}", shown(rest)),
    }
}

/// The reason why no client ever has this key, though tcprules takes it. Names are not looked up, and ident is not
/// asked.
fn dead_address(address: &[u8]) -> Option<String> {
    let text = shown(address);
    if address.trim_ascii() != address {
        return Some(format!("{text} has a blank next to the address: no client matches it"));
    }
    if memchr(b'@', address).is_some() {
        return Some(format!("{text} matches no client: ident is not used (as with tcpserver -R)"));
    }
    if address.first() == Some(&b'=') {
        return Some(format!(
            "{text} matches no client: names are not looked up (as with tcpserver -H); write addresses"
        ));
    }
    match address {
        [] | [b'_' | b'^', ..] | [.., b'.'] => None,
        [.., b':'] => is_padded(address).then(|| format!("{text} matches no client: write a network, 2001:db8::/32")),
        _ if is_named(address) || address.iter().any(|octet| matches!(octet, b'-' | b'/')) => None,
        _ if str::from_utf8(address).is_ok_and(|text| text.parse::<IpAddr>().is_ok()) => None,
        _ => Some(format!("{text} matches no client: a prefix ends in a dot, a network has a slash (10.0.0.0/8)")),
    }
}

/// Whether a group has a leading zero, which tcpserver does not write.
fn is_padded(prefix: &[u8]) -> bool {
    prefix.split(|octet| *octet == b':').any(|group| matches!(group, [b'0', _, ..]))
}

/// Keys of host names and of ident have no ranges.
fn is_named(address: &[u8]) -> bool {
    memchr(b'=', address).is_some() || memchr(b'@', address).is_some()
}

/// Decimal digits; no digit at all is 0, as `scan_ulong` has it.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |value: u64, octet: &u8| {
        octet.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(octet - b'0')))
    };
    digits.iter().try_fold(0, digit)
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    const TEXT: &[u8] = include_bytes!("../../tests/samples/tcp.smtp");
    const COMPILED: &[u8] = include_bytes!("../../tests/samples/tcp.smtp.cdb");
    const EXPECTED: &str = include_str!("../../tests/samples/tcprules.expected.tsv");

    /// The answer as tcprulescheck prints it.
    fn told(rules: &ClientRules, ip: &str, host: &str, info: &str) -> String {
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let found = rules.find(ip.parse().unwrap(), some(host).as_deref(), some(info).as_deref());
        let Some((key, rule)) = found else { return "default:;allow connection;".to_owned() };
        let mut told = format!("rule {}:;", String::from_utf8_lossy(key));
        for (name, value) in &rule.variables {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            told += &format!("set environment variable {name}={value};");
        }
        told + if rule.deny { "deny connection;" } else { "allow connection;" }
    }

    fn both() -> [ClientRules; 2] {
        let text = parse_text("tcp.smtp", TEXT);
        assert_eq!(text.faults, []);
        let compiled = parse_cdb("tcp.smtp.cdb", COMPILED).unwrap();
        assert_eq!(compiled.faults, []);
        [text.rules, compiled.rules]
    }

    #[test]
    fn text_and_cdb_rule_as_the_real_tcprulescheck() {
        let both = both();
        for line in EXPECTED.lines() {
            let [ip, host, info, expected] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            for rules in &both {
                assert_eq!(told(rules, ip, host, info), expected, "{line}");
            }
        }
        assert_eq!(EXPECTED.lines().count(), 21);
    }

    #[test]
    fn what_the_sample_hides_is_told() {
        let warnings = parse_text("tcp.smtp", TEXT).warnings;
        let lines: Vec<u32> = warnings.iter().map(|warning| warning.location.line).collect();
        assert_eq!(lines, [10, 11, 12, 13, 14, 17], "names, ident, and a line without a colon: {warnings:?}");
        assert!(warnings[5].what.starts_with("has no colon"), "{warnings:?}");
    }

    /// The keys of one line, with what they do, and what is wrong.
    fn line(text: &[u8]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let read = parse_text("t", text);
        let mut keys = Vec::new();
        for ip in ["1.2.3.0", "1.2.3.1", "1.2.3.255", "1.2.9.9", "::1", "8.8.8.8"] {
            let ip = ip.parse().unwrap();
            if let Some((key, _)) = read.rules.find(ip, Some("a.b"), None) {
                keys.push(shown(key));
            }
        }
        keys.dedup();
        let told = |faults: Vec<ListFault>| faults.iter().map(ToString::to_string).collect();
        (keys, told(read.faults), told(read.warnings))
    }

    #[test]
    fn addresses_and_ranges_are_read_as_tcprules_reads_them() {
        let cases: &[(&str, &[u8], &[&str])] = &[
            ("an address", b"1.2.3.1:allow", &["1.2.3.1"]),
            ("a prefix", b"1.2.3.:deny\n", &["1.2.3."]),
            ("a range", b"1.2.3.0-1:allow", &["1.2.3.0", "1.2.3.1"]),
            ("a range without a lower end", b"1.2.3.-1:allow", &["1.2.3.0", "1.2.3.1"]),
            ("a range over 255", b"1.2.3.250-300:allow", &["1.2.3.255"]),
            ("an empty range", b"1.2.3.9-3:allow", &[]),
            ("a range in a prefix", b"1.2.3-9.:allow", &["1.2.3.", "1.2.9."]),
            ("a name", b"=a.b:allow", &["=a.b"]),
            ("a network", b"1.2.3.0/24:deny", &["1.2.3.0/24"]),
            ("a network of IPv6", b"::/64:deny", &["::/64"]),
            ("an IPv6 address in full", b"0000:0000:0000:0000:0000:0000:0000:0001:allow", &["::1"]),
            ("a name with a dash is no range", b"=a-b:allow", &[]),
            ("an IPv6 address", b"::1:allow", &["::1"]),
            ("everybody", b":allow", &[""]),
            ("trailing blanks are cut", b":allow \t\n", &[""]),
            ("a leading blank stays", b" 8.8.8.8:allow", &[]),
            ("a comment", b"#:allow", &[]),
        ];
        for (what, text, expected) in cases {
            let (keys, faults, _) = line(text);
            assert_eq!(keys, *expected, "{what}");
            assert!(faults.is_empty(), "{what}: {faults:?}");
        }
    }

    #[test]
    fn variables_have_any_quotes() {
        let cases: &[(&[u8], &[(&str, &str)], bool)] = &[
            (b":allow,A=\"1\",B=/two words/", &[("A", "1"), ("B", "two words")], false),
            (b":deny,A=xbx", &[("A", "b")], true),
            (b":allow,A=\"\"", &[("A", "")], false),
            (b":allow,A=\"B=,c\"", &[("A", "B=,c")], false),
            (b":allow,=\"x\"", &[], false),
        ];
        for (text, expected, deny) in cases {
            let read = parse_text("t", text);
            let (_, rule) = read.rules.find("8.8.8.8".parse().unwrap(), None, None).unwrap();
            let pairs: Vec<_> = rule.variables.iter().map(|(name, value)| (shown(name), shown(value))).collect();
            let expected: Vec<_> = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!((pairs, rule.deny), (expected, *deny), "{}", shown(text));
        }
    }

    #[test]
    fn what_tcprules_refuses_is_a_fault_with_its_line() {
        let cases: &[(&[u8], &str)] = &[
            (b"1.2.3-5-7:allow", "not a range"),
            (b"a-b:allow", "not a range"),
            (b":allow,A", "write ,NAME="),
            (b":allow,A=", "write ,NAME="),
            (b":allow,A=\"b", "write ,NAME="),
            (b":allow,A=\"b\"c", "there must be a comma before c"),
            (b":allow,", "write ,NAME="),
            (b":Allow", "lower case"),
            (b": allow", "right after the colon"),
            (b":denyx", "there must be a comma before x"),
            (b":allow\r", "ends in CR"),
            (b"10.:", "neither allow nor deny"),
            (b"\0:allow", "NUL"),
            (b"10.0.0.0/33:deny", "10.0.0.0/33 is not a network"),
            (b"0.0.0.0/0:deny", "write an empty address"),
        ];
        for (text, expected) in cases {
            let (_, faults, _) = line(&[b":allow\n", *text].concat());
            assert_eq!(faults.len(), 1, "{}", shown(text));
            assert!(faults[0].starts_with("t:2: ") && faults[0].contains(expected), "{faults:?}");
        }
        assert_eq!(line(b"a\n:x\n:y\n").1.len(), 2);
    }

    #[test]
    fn what_matches_nobody_is_a_warning() {
        let cases: &[(&[u8], &str)] = &[
            (b"no colon", "has no colon"),
            (b"\r", "has no colon"),
            (b"10.2:allow", "a prefix ends in a dot"),
            (b"mail.example:allow", "a prefix ends in a dot"),
            (b"2001:0db8::allow", "2001:0db8: matches no client"),
            (b"=a.example:allow", "=a.example matches no client"),
            (b"=:allow", "= matches no client"),
            (b"joe@10.0.0.1:allow", "ident is not used"),
            (b" 10.:allow", "a blank next to the address"),
            (b"1.2.3.9-3:allow", "an empty range"),
            (b":allow, A=\"1\"", "a blank next to the name"),
            (b":allow,=\"1\"", "without a name"),
            (b"10.:allow\n10.:deny", "repeats an address"),
        ];
        for (text, expected) in cases {
            let (_, faults, warnings) = line(text);
            assert_eq!((faults.len(), warnings.len()), (0, 1), "{}", shown(text));
            assert!(warnings[0].contains(expected), "{warnings:?}");
        }
    }

    /// A cdb as tcprules makes it.
    fn cdb(records: &[(&[u8], &[u8])]) -> Vec<u8> {
        let (mut body, mut tables) = (Vec::new(), vec![Vec::new(); 256]);
        for (key, data) in records {
            let hash = key.iter().fold(5381_u32, |hash, octet| (hash << 5).wrapping_add(hash) ^ u32::from(*octet));
            tables[(hash % 256) as usize].push((hash, 2048 + body.len() as u32));
            body.extend([key.len() as u32, data.len() as u32].iter().flat_map(|length| length.to_le_bytes()));
            body.extend([*key, *data].concat());
        }
        let (mut head, mut slots) = (Vec::new(), Vec::new());
        for table in &tables {
            let length = table.len() * 2;
            head.extend(
                [(2048 + body.len() + slots.len()) as u32, length as u32].iter().flat_map(|it| it.to_le_bytes()),
            );
            let mut places = vec![(0, 0); length];
            for (hash, position) in table {
                let start = (hash / 256) as usize;
                let free = (0..length).map(|step| (start + step) % length).find(|at| places[*at].1 == 0).unwrap();
                places[free] = (*hash, *position);
            }
            slots.extend(
                places.iter().flat_map(|(hash, position)| [hash.to_le_bytes(), position.to_le_bytes()].concat()),
            );
        }
        [head, body, slots].concat()
    }

    #[test]
    fn networks_of_a_cdb_are_matched_in_their_order() {
        let deny: &[u8] = b"D\0";
        let one: &[u8] = b"+N=1\0";
        for networks in [
            [&b"_00001010"[..], b"_0000101000000010", b"^00100000000000010000110110111000"],
            [&b"_0000e0g0"[..], b"_0000e0g0000000o0", b"^00`000000000000a0000bc0de0fgh000"],
        ] {
            let [ten, small, v6] = networks;
            let address = b"2001:0DB8:0000:0000:0000:0000:0000:0001";
            let octets = cdb(&[(ten, b""), (small, one), (v6, b""), (address, one), (b"10.2.3.", deny), (b"", deny)]);
            let read = parse_cdb("c", &octets).unwrap();
            assert_eq!((read.faults, read.warnings), (vec![], vec![]));
            let table = [
                ("10.1.1.1", "rule 10.0.0.0/8:;allow connection;"),
                ("10.2.1.1", "rule 10.2.0.0/16:;set environment variable N=1;allow connection;"),
                ("10.2.3.4", "rule 10.2.3.:;deny connection;"),
                ("11.1.1.1", "rule :;deny connection;"),
                ("2001:db8:1::1", "rule 2001:db8::/32:;allow connection;"),
                ("2001:db8::1", "rule 2001:db8::1:;set environment variable N=1;allow connection;"),
                ("2001:db9::1", "rule :;deny connection;"),
            ];
            for (ip, expected) in table {
                assert_eq!(told(&read.rules, ip, "", ""), expected, "{ip}");
            }
        }
    }

    #[test]
    fn keys_of_a_cdb_that_cannot_be_matched_are_named() {
        let read = parse_cdb("c", &cdb(&[(b"_0000x010", b""), (b"10.2", b""), (b"=a.b", b""), (b"10.0.0.0/99", b"")]));
        let read = read.unwrap();
        let named = |faults: &[ListFault], key: &str| faults.iter().any(|fault| fault.what.contains(key));
        assert!(read.faults.len() == 2 && named(&read.faults, "_0000x010") && named(&read.faults, "10.0.0.0/99"));
        assert!(read.warnings.len() == 2 && named(&read.warnings, "10.2") && named(&read.warnings, "=a.b"));
    }

    #[test]
    fn records_that_tcpserver_ignores_are_ignored() {
        let location = Location { source: "t".into(), line: 0 };
        let rule = rule_of_data(location, b"X\0\0+A\0+=b\0+C=d\0D\0+E=cut");
        assert!(rule.deny);
        assert_eq!(rule.variables, [(b"C".as_slice().into(), b"d".as_slice().into())]);
    }

    proptest! {
        #[test]
        fn text_and_cdb_are_the_same(
            ip in "(127\\.0\\.0|10\\.[2-4]\\.3|192\\.0\\.2|203\\.0\\.113|198\\.51\\.100)\\.(1?[0-9]|6[5-7]|10[0-4])",
            host in "(|(x\\.|)(dialup\\.example\\.com|mail\\.partner\\.example|corp\\.example))",
            info in "(|joe|bill)",
        ) {
            let [text, compiled] = both();
            prop_assert_eq!(told(&text, &ip, &host, &info), told(&compiled, &ip, &host, &info));
        }

        #[test]
        fn no_text_is_too_strange(text in any::<Vec<u8>>(), line in "[-0-9.:=@,a-c\"\r ]{0,9}:?(allow|deny)?[,=\"A-B]{0,6}") {
            parse_text("t", &text);
            parse_text("t", line.as_bytes());
        }

        #[test]
        fn no_data_is_too_strange(data in any::<Vec<u8>>()) {
            rule_of_data(Location { source: "t".into(), line: 0 }, &data);
        }
    }
}
