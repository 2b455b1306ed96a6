//! The recipients that exist: `recipients.known`, lists and validrcptto.cdb files. A look-up is that of John Simpson's
//! patch of qmail-smtpd, widened where a list cannot know what is honest: an extension of a known address, the address
//! of a bounce that was made for one message, the postmaster. It must not open files.

mod reading;

use std::fmt;
use std::sync::Arc;

use memchr::memrchr;
use memchr::memrchr2_iter;

use crate::policy::list::AddressList;
use crate::policy::list::entries::Entries;
use crate::policy::list::location::Location;
use crate::policy::local::LocalDomains;
use crate::smtp::address::Address;

/// The recipients that exist; without a list none is looked up.
#[derive(Clone, Debug, Default)]
pub struct KnownRecipients {
    lists: Vec<KnownList>,
}

/// A list of known recipients, from one file.
#[derive(Clone)]
pub struct KnownList {
    source: Arc<str>,
    entries: Known,
    /// The domains that the entries are of; `.domain` is all below it.
    domains: LocalDomains,
    has_addresses: bool,
}

/// The entries of a list, by how they are looked up.
#[derive(Clone)]
enum Known {
    /// Addresses, `user-default@domain` and `@domain`: those that exist, and those that do not.
    Keys { known: Entries, unknown: Entries },
    /// A list in the extended dialect, whose exceptions do not exist.
    Extended(AddressList),
}

/// Whether a recipient exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// The recipient exists, or the lists cannot tell.
    Known(Source),
    /// The recipient does not exist, by this entry, file or key.
    Unknown(Arc<str>),
}

/// What says that a recipient exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An entry of a list.
    Entry(Location),
    /// A rule of SMTP.
    Always(&'static str),
    /// Nothing: it is not asked.
    Unasked,
}

impl KnownRecipients {
    /// The recipients of all lists; an entry that one of them says exists does.
    pub fn new(lists: Vec<KnownList>) -> Self {
        Self { lists }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.lists.iter().map(KnownList::len).sum()
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Whether any entry is of this domain, folded.
    pub fn names(&self, domain: &[u8]) -> bool {
        self.lists.iter().any(|list| list.domains.find(domain).is_some())
    }

    /// Whether the recipient exists. Where `local` is not known, only domains that the lists name are asked about.
    pub fn find(&self, recipient: &Address, local: Option<&LocalDomains>) -> Existence {
        let Some(domain) = recipient.domain().filter(|_| !self.is_empty()) else {
            return Existence::Known(Source::Unasked);
        };
        if local.is_none() && !self.names(domain) {
            return Existence::Known(Source::Unasked);
        }
        let address = recipient.folded();
        let (user, host) = address.split_at(address.len() - domain.len() - 1);
        // RFC 5321 section 4.5.1.
        if user == b"postmaster" {
            return Existence::Known(Source::Always("postmaster (RFC 5321)"));
        }
        if is_rewritten_sender(user) {
            return Existence::Known(Source::Always("SRS"));
        }
        self.find_user(user, host).unwrap_or_else(|| match bounced_to(user) {
            Some(user) => self.find_user(user, host).unwrap_or_else(|| self.unlisted()),
            None => self.unlisted(),
        })
    }

    /// The most specific entry: the address, the `default` of each of its extensions, the address that it extends, the
    /// domain.
    fn find_user(&self, user: &[u8], host: &[u8]) -> Option<Existence> {
        let breaks = || memrchr2_iter(b'-', b'+', user);
        let default = |at: usize| [&user[..=at], b"default", host].concat();
        let extended = |at: usize| self.known(&[&user[..at], host].concat());
        self.entry(&[user, host].concat())
            .or_else(|| breaks().find_map(|at| self.entry(&default(at))))
            .or_else(|| breaks().find_map(extended))
            .or_else(|| self.entry(host))
    }

    fn entry(&self, key: &[u8]) -> Option<Existence> {
        let unknown = || self.lists.iter().find_map(|list| list.unknown(key));
        let unknown = || Some(Existence::Unknown(unknown()?.to_string().into()));
        self.known(key).or_else(unknown)
    }

    fn known(&self, key: &[u8]) -> Option<Existence> {
        let location = self.lists.iter().find_map(|list| list.known(key))?;
        Some(Existence::Known(Source::Entry(location)))
    }

    /// What an unlisted recipient is refused by.
    fn unlisted(&self) -> Existence {
        Existence::Unknown(match self.lists.as_slice() {
            [list] => list.source.clone(),
            _ => "recipients.known".into(),
        })
    }
}

impl KnownList {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match &self.entries {
            Known::Keys { known, unknown } => known.len() + unknown.len(),
            Known::Extended(list) => list.len(),
        }
    }

    /// Whether the list has no entry at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn known(&self, key: &[u8]) -> Option<Location> {
        match &self.entries {
            Known::Keys { known, .. } => Some(self.at(known.line(key)?)),
            // An entry for all of a domain has matched the address before.
            Known::Extended(_) if key.starts_with(b"@") => None,
            Known::Extended(list) => list.find_folded(key),
        }
    }

    fn unknown(&self, key: &[u8]) -> Option<Location> {
        match &self.entries {
            Known::Keys { unknown, .. } => Some(self.at(unknown.line(key)?)),
            Known::Extended(_) if key.starts_with(b"@") => None,
            Known::Extended(list) => list.find_exception(key),
        }
    }

    fn at(&self, line: u32) -> Location {
        Location { source: self.source.clone(), line }
    }
}

impl fmt::Debug for KnownList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownList({}, {} entries)", self.source, self.len())
    }
}

/// Whether this is an address of the Sender Rewriting Scheme: each is made for one message, and the host that made it
/// can tell whether it is true.
fn is_rewritten_sender(user: &[u8]) -> bool {
    let rest = user.strip_prefix(b"srs0").or_else(|| user.strip_prefix(b"srs1"));
    rest.is_some_and(|rest| rest.len() > 1 && matches!(rest[0], b'=' | b'+' | b'-'))
}

/// The user to whom a bounce goes by an address of Bounce Address Tag Validation: `prvs=0123456789=joe`.
fn bounced_to(user: &[u8]) -> Option<&[u8]> {
    let tagged = user.strip_prefix(b"prvs=")?;
    let user = &tagged[memrchr(b'=', tagged)? + 1..];
    (!user.is_empty()).then_some(user)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::list::Dialect;
    use crate::smtp::address::parse_address;

    fn list(text: &str) -> KnownList {
        KnownList::parse("known".into(), Dialect::Qmail, text.as_bytes()).unwrap()
    }

    fn told(known: &KnownRecipients, recipient: &str) -> String {
        let local = LocalDomains::parse("rcpthosts".into(), b"example.org\n");
        match known.find(&parse_address(recipient.as_bytes()).unwrap(), Some(&local)) {
            Existence::Known(Source::Entry(location)) => location.to_string(),
            Existence::Known(Source::Always(rule)) => rule.to_owned(),
            Existence::Known(Source::Unasked) => "unasked".to_owned(),
            Existence::Unknown(rule) => format!("unknown by {rule}"),
        }
    }

    #[test]
    fn honest_habits() {
        let text = "# who there is\njoe@Example.ORG\r\n  list-default@example.org\n@all.example\n\"mary ann\"@example.org\n\
                    fred@b\u{fc}cher.example\nshop=orders@example.org\n\"a b\"@example.org\nowner-news@example.org\n";
        let known = KnownRecipients::new(vec![list(text)]);
        let table = [
            ("as it is listed", "joe@example.org", "known:2"),
            ("in any case", "JOE@EXAMPLE.Org", "known:2"),
            ("with a dot at the end", "joe@example.org.", "known:2"),
            ("in quotes", "\"joe\"@example.org", "known:2"),
            ("with a backslash", "\\joe@example.org", "known:2"),
            ("with a blank in quotes", "\"mary ann\"@example.org", "known:5"),
            ("with an extension", "joe-lists@example.org", "known:2"),
            ("with two of them", "joe-lists-qmail@example.org", "known:2"),
            ("with one of Postfix's kind", "joe+shop@example.org", "known:2"),
            ("by its .qmail-default", "list-return-7-mary=far.example@example.org", "known:3"),
            ("its VERP behind an address", "owner-news-mary=far.example@example.org", "known:9"),
            ("a tagged one (BATV)", "prvs=0123456789=joe@example.org", "known:2"),
            ("of SRS", "SRS0=abcd=XY=far.example=mary@example.org", "SRS"),
            ("of SRS, forwarded on", "SRS1+abcd=hop.example==xx=XY=far.example=mary@example.org", "SRS"),
            ("with an equals sign", "shop=orders@example.org", "known:7"),
            ("of a domain that has everybody", "anybody@all.example", "known:4"),
            ("by A-labels", "fred@xn--bcher-kva.example", "known:6"),
            ("by U-labels", "fred@b\u{fc}cher.example", "known:6"),
            ("postmaster", "Postmaster@example.org", "postmaster (RFC 5321)"),
            ("postmaster of no domain", "postmaster", "unasked"),
            ("without a domain", "joe", "unasked"),
            ("not listed", "jo@example.org", "unknown by known"),
            ("not behind an extension either", "lists-joe@example.org", "unknown by known"),
            ("SRS alone is a name", "srs0@example.org", "unknown by known"),
            ("nobody behind the tag", "prvs=0123456789=jo@example.org", "unknown by known"),
            ("a tag alone", "prvs=0123456789=@example.org", "unknown by known"),
            ("abuse has to be listed", "abuse@example.org", "unknown by known"),
        ];
        for (what, recipient, expected) in table {
            assert_eq!(told(&known, recipient), expected, "{what}");
        }
    }

    #[test]
    fn as_the_patch_looks_them_up() {
        let records: [(&[u8], &[u8]); 8] = [
            (b"joe@example.org", b""),
            (b"joe-spam@example.org", b"-"),
            (b"list-default@example.org", b"1"),
            (b"list-old-default@example.org", b"-gone"),
            (b"@all.example", b""),
            (b"trap@all.example", b"-"),
            (b"-@none.example", b""),
            (b"-gone@all.example", b""),
        ];
        let list = KnownList::of_records("v.cdb".into(), records.into_iter()).unwrap();
        let known = KnownRecipients::new(vec![list]);
        let table = [
            ("an address", "joe@example.org", "v.cdb"),
            ("data that begins with a dash", "joe-spam@example.org", "unknown by v.cdb"),
            ("the default of the extension", "list-return-1@example.org", "v.cdb"),
            ("the longest is found first", "list-old-x@example.org", "unknown by v.cdb"),
            ("the shorter for the rest", "list-older-x@example.org", "v.cdb"),
            ("no default without its dash", "list@example.org", "unknown by v.cdb"),
            ("everybody of a domain", "x@all.example", "v.cdb"),
            ("but one", "trap@all.example", "unknown by v.cdb"),
            ("and one with a dash before it", "gone@all.example", "unknown by v.cdb"),
            ("nobody of a domain", "x@none.example", "unknown by v.cdb"),
        ];
        for (what, recipient, expected) in table {
            assert_eq!(told(&known, recipient), expected, "{what}");
        }
    }

    #[test]
    fn of_several_lists_any_may_know() {
        let first = list("joe@example.org -\n@other.example\n");
        let second = KnownList::parse("two".into(), Dialect::Qmail, b"joe@example.org\n-@other.example\n").unwrap();
        let known = KnownRecipients::new(vec![first, second]);
        assert_eq!(told(&known, "joe@example.org"), "two:1");
        assert_eq!(told(&known, "x@other.example"), "known:2");
        assert_eq!(told(&known, "x@example.org"), "unknown by recipients.known");
    }

    #[test]
    fn the_extended_dialect_has_patterns_and_exceptions() {
        let text = b"joe@example.org\n!joe-spam@example.org\nsales*@example.org\n.below.example\n";
        let list = KnownList::parse("known".into(), Dialect::Extended, text).unwrap();
        let known = KnownRecipients::new(vec![list]);
        let table = [
            ("joe-x@example.org", "known:1"),
            ("joe-spam@example.org", "unknown by known:2"),
            ("sales7@example.org", "known:3"),
            ("x@host.below.example", "known:4"),
            ("x@example.org", "unknown by known"),
        ];
        for (recipient, expected) in table {
            assert_eq!(told(&known, recipient), expected, "{recipient}");
        }
    }

    #[test]
    fn without_rcpthosts_only_the_domains_that_are_named_are_asked_about() {
        let known = KnownRecipients::new(vec![list("joe@example.org\n")]);
        let find = |recipient: &str| known.find(&parse_address(recipient.as_bytes()).unwrap(), None);
        assert_eq!(find("x@far.example"), Existence::Known(Source::Unasked));
        assert_eq!(find("x@example.org"), Existence::Unknown("known".into()));
        let nobody_asks = KnownRecipients::default();
        assert_eq!(told(&nobody_asks, "x@example.org"), "unasked");
    }
}
