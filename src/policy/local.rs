//! The domains that mail is taken for: rcpthosts and morercpthosts.cdb.
//!
//! As in qmail, `.domain` stands for every host below it. A trailing dot of an entry is not taken off: that would make a
//! domain local which is not local in qmail. It must not open files.

use std::fmt;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::policy::list::entries::Entries;
use crate::policy::list::entries::Entry;
use crate::policy::list::entries::entries;
use crate::policy::list::fault::ListFault;
use crate::policy::list::lint;
use crate::policy::list::location::Location;
use crate::smtp::address::fold_domain;

/// The local domains. An empty set: nobody is local.
#[derive(Clone, Default)]
pub struct LocalDomains {
    /// rcpthosts, then morercpthosts.cdb: qmail asks all of the first before the second.
    files: Vec<(Arc<str>, Entries)>,
}

impl LocalDomains {
    /// Reads rcpthosts. `source` is the file's name for messages.
    pub fn parse(source: Arc<str>, text: &[u8]) -> Self {
        let mut domains = Entries::with_room_for(text);
        for Entry { line, text } in entries(text) {
            domains.insert(line, &fold_domain(text));
        }
        domains.shrink();
        Self { files: vec![(source, domains)] }
    }

    /// Adds the keys of morercpthosts.cdb. They are octets: qmail never finds one that is not in lower case.
    pub fn add_more<'a>(&mut self, source: Arc<str>, keys: impl Iterator<Item = &'a [u8]>) {
        let mut domains = Entries::default();
        for key in keys {
            match key.is_ascii() {
                true => domains.insert(0, key),
                false => domains.insert(0, &fold_domain(key)),
            };
        }
        domains.shrink();
        self.files.push((source, domains));
    }

    /// The location of the entry that makes `domain` local: the host itself, then each `.suffix` of it.
    pub fn find(&self, domain: &[u8]) -> Option<Location> {
        let domain = fold_domain(domain);
        self.files.iter().find_map(|(source, domains)| {
            let below = memchr_iter(b'.', &domain).filter(|&dot| dot > 0);
            let line = std::iter::once(0).chain(below).find_map(|start| domains.line(&domain[start..]))?;
            Some(Location { source: source.clone(), line })
        })
    }

    /// Number of domains.
    pub fn len(&self) -> usize {
        self.files.iter().map(|(_, domains)| domains.len()).sum()
    }

    /// Whether nobody is local.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The warnings of `check` about rcpthosts: entries that match nothing.
    pub fn warnings(source: &str, text: &[u8]) -> Vec<ListFault> {
        lint::domains(source, text)
    }
}

impl fmt::Debug for LocalDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalDomains({} domains)", self.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_host_or_a_suffix_of_it_is_local() {
        let mut local = LocalDomains::parse(
            "rcpthosts".into(),
            "Example.org\n.example.net\n# x\ndotted.example.\nbücher.example\n.Käse.example\n".as_bytes(),
        );
        let keys: [&[u8]; 5] =
            [b"more.example", b".below.example", b"Upper.example", b"sub.example.net", "tür.example".as_bytes()];
        local.add_more("more.cdb".into(), keys.into_iter());
        let cases = [
            ("the host itself", "example.org", "rcpthosts:1"),
            ("in any case", "EXAMPLE.ORG", "rcpthosts:1"),
            ("not a host below it", "a.example.org", ""),
            ("a host below", "a.example.net", "rcpthosts:2"),
            ("far below", "b.a.example.net", "rcpthosts:2"),
            ("not the domain of the suffix", "example.net", ""),
            ("rcpthosts is asked before the cdb", "sub.example.net", "rcpthosts:2"),
            ("a key of the cdb", "more.example", "more.cdb"),
            ("a suffix in the cdb", "x.below.example", "more.cdb"),
            ("an upper-case key matches nothing", "upper.example", ""),
            ("no trailing dot is taken off", "dotted.example", ""),
            ("A-labels of an entry in UTF-8", "xn--bcher-kva.example", "rcpthosts:5"),
            ("UTF-8 itself", "BÜCHER.example", "rcpthosts:5"),
            ("below it", "x.xn--kse-qla.example", "rcpthosts:6"),
            ("A-labels of a key in UTF-8", "xn--tr-xka.example", "more.cdb"),
            ("no domain", "", ""),
        ];
        for (what, domain, expected) in cases {
            let found = local.find(domain.as_bytes()).map(|location| location.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn the_empty_file_makes_nobody_local() {
        assert!(LocalDomains::default().is_empty());
        assert_eq!(LocalDomains::parse("rcpthosts".into(), b"#\n").find(b"example.org"), None);
    }
}
