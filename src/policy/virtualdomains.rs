//! `control/virtualdomains`, read backwards: qmail-send writes `joe@virt.example` into `local/N` as `prefix-joe@virt.example`,
//! and would do so once more with a recipient that comes back that way. It does for us what qmail-send's `stripvdomprepend`
//! does for bounces. It must not open files.

use std::collections::HashMap;

use crate::policy::entries::entries;

/// What stands in front of whose addresses.
#[derive(Clone, Debug, Default)]
pub struct VirtualDomains(HashMap<Vec<u8>, Vec<u8>>);

impl VirtualDomains {
    /// Reads `key:prefix` lines; without a colon a line means nothing.
    pub fn parse(text: &[u8]) -> Self {
        let split = |entry: &[u8]| {
            let colon = memchr::memchr(b':', entry)?;
            Some((entry[..colon].to_ascii_lowercase(), entry[colon + 1..].to_vec()))
        };
        Self(entries(text).filter_map(|entry| split(entry.text)).collect())
    }

    /// The address as it was before qmail-send rewrote it.
    pub fn original<'a>(&self, address: &'a [u8]) -> &'a [u8] {
        let Some(at) = memchr::memrchr(b'@', address) else { return address };
        self.of_address(address, at).or_else(|| self.of_domain(address, at + 1)).unwrap_or(address)
    }

    /// An entry for one address, `joe@virt.example:prefix`.
    fn of_address<'a>(&self, address: &'a [u8], at: usize) -> Option<&'a [u8]> {
        memchr::memchr_iter(b'-', &address[..at]).find_map(|dash| {
            let (prefix, original) = (&address[..dash], &address[dash + 1..]);
            (self.get(original)?.as_slice() == prefix).then_some(original)
        })
    }

    /// The domain itself, `.domain` for all above it, and the empty key for all. The first that is listed decides.
    fn of_domain<'a>(&self, address: &'a [u8], domain: usize) -> Option<&'a [u8]> {
        let begins = |at: &usize| *at == domain || *at == address.len() || address[*at] == b'.';
        let prefix = (domain..=address.len()).filter(begins).find_map(|at| self.get(&address[at..]))?;
        match prefix.is_empty() {
            true => None,
            false => address.strip_prefix(prefix.as_slice())?.strip_prefix(b"-"),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.0.get(&key.to_ascii_lowercase())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

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
        let all = VirtualDomains::parse(b":all\n");
        assert_eq!(all.original(b"all-x@any.example"), b"x@any.example");
    }
}
