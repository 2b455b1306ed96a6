//! `control/virtualdomains`: qmail-send delivers `joe@virt.example` to `prefix-joe@virt.example`, which qmail-local
//! writes into Delivered-To. Read forwards, the file gives a recipient that comes round again; read backwards, as
//! qmail-send's `stripvdomprepend` does for bounces, the original of an address in `local/N`. It must not open files.

use std::collections::HashMap;

use crate::policy::list::entries::entries;
use crate::smtp::address::Address;
use crate::smtp::address::fold;
use crate::smtp::address::fold_domain;

/// The prefix of each address or domain that has one.
#[derive(Clone, Debug, Default)]
pub struct VirtualDomains(HashMap<Vec<u8>, Vec<u8>>);

impl VirtualDomains {
    /// Reads `key:prefix` lines; without a colon a line means nothing.
    pub fn parse(text: &[u8]) -> Self {
        let split = |entry: &[u8]| {
            let colon = memchr::memchr(b':', entry)?;
            Some((folded(&entry[..colon]), entry[colon + 1..].to_vec()))
        };
        Self(entries(text).filter_map(|entry| split(entry.text)).collect())
    }

    /// The recipient as qmail-send rewrites it, folded: the most specific entry decides. `None` for one that is not
    /// rewritten.
    pub fn rewritten(&self, recipient: &Address) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let address = recipient.folded();
        let domain = address.len() - recipient.domain()?.len();
        let prefix = self.0.get(address).or_else(|| self.prefix_of_domain(address, domain))?;
        let rewritten = || [prefix.to_ascii_lowercase().as_slice(), b"-", address].concat();
        (!prefix.is_empty()).then(rewritten)
    }

    /// The address as it was before qmail-send rewrote it.
    pub fn original<'a>(&self, address: &'a [u8]) -> &'a [u8] {
        let Some(at) = memchr::memrchr(b'@', address) else { return address };
        self.of_address(address, at).or_else(|| self.of_domain(address, at + 1)).unwrap_or(address)
    }

    /// The original by an entry for one address, `joe@virt.example:prefix`.
    fn of_address<'a>(&self, address: &'a [u8], at: usize) -> Option<&'a [u8]> {
        memchr::memchr_iter(b'-', &address[..at]).find_map(|dash| {
            let (prefix, original) = (&address[..dash], &address[dash + 1..]);
            (self.get(original)?.as_slice() == prefix).then_some(original)
        })
    }

    /// The prefix by an entry for the domain itself, `.domain` for all above it, or the empty key for all. The first
    /// that is listed decides.
    fn prefix_of_domain(&self, address: &[u8], domain: usize) -> Option<&Vec<u8>> {
        let begins = |at: &usize| *at == domain || *at == address.len() || address[*at] == b'.';
        (domain..=address.len()).filter(begins).find_map(|at| self.get(&address[at..]))
    }

    fn of_domain<'a>(&self, address: &'a [u8], domain: usize) -> Option<&'a [u8]> {
        let prefix = self.prefix_of_domain(address, domain)?;
        match prefix.is_empty() {
            true => None,
            false => address.strip_prefix(prefix.as_slice())?.strip_prefix(b"-"),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.0.get(&folded(key))
    }
}

/// Folds an address, or a domain.
fn folded(key: &[u8]) -> Vec<u8> {
    if key.contains(&b'@') { fold(key) } else { fold_domain(key) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn as_stripvdomprepend() {
        let text = b"# ours\nvirt.example:joe-virt\n.below.example:below\nexempt.below.example:\nfred@one.example:alias-fred\nno colon\n";
        let domains = VirtualDomains::parse(text);
        let cases: &[(&str, &str, &str)] = &[
            ("a virtual domain", "joe-virt-x@virt.example", "x@virt.example"),
            ("in any case", "joe-virt-x@Virt.Example", "x@Virt.Example"),
            ("a domain above", "below-x@a.below.example", "x@a.below.example"),
            ("an exception", "below-x@exempt.below.example", "below-x@exempt.below.example"),
            ("one address", "alias-fred-fred@one.example", "fred@one.example"),
            ("another address there", "alias-fred-x@one.example", "alias-fred-x@one.example"),
            ("not rewritten", "x@virt.example", "x@virt.example"),
            ("a local domain", "joe@mx.example.org", "joe@mx.example.org"),
            ("no domain", "joe", "joe"),
        ];
        for (what, address, expected) in cases {
            assert_eq!(domains.original(address.as_bytes()), expected.as_bytes(), "{what}");
        }
        for (what, rewritten, recipient) in cases.iter().filter(|(_, rewritten, recipient)| rewritten != recipient) {
            let recipient = parse_address(recipient.as_bytes()).unwrap();
            let expected = rewritten.to_ascii_lowercase().into_bytes();
            assert_eq!(domains.rewritten(&recipient), Some(expected), "{what}");
        }
        for recipient in ["x@one.example", "x@exempt.below.example", "below.example", "x@below.example", "joe"] {
            assert_eq!(domains.rewritten(&parse_address(recipient.as_bytes()).unwrap()), None, "{recipient}");
        }
        let all = VirtualDomains::parse(b":all\n");
        assert_eq!(all.original(b"all-x@any.example"), b"x@any.example");
    }
}
