//! Lists of addresses: badmailfrom, badrcptto and the lists of the configuration.
//!
//! `Qmail` reads and matches as qmail does: an entry is an address or `@host`, nothing else, in any case. `Extended` is ours
//! and never guessed. Addresses come folded (`Address::folded`), entries are folded alike; that takes a trailing dot from
//! both, where qmail lets `<a@b.>` evade the entry `a@b`. It must not open files.

pub mod entries;
pub mod extended;
pub mod fault;
pub mod lint;
pub mod location;
mod remedy;

use std::fmt;
use std::sync::Arc;

use memchr::memrchr;

use crate::policy::list::entries::Entries;
use crate::policy::list::entries::Entry;
use crate::policy::list::entries::entries;
use crate::policy::list::entries::lines;
use crate::policy::list::extended::Glob;
use crate::policy::list::extended::Pattern;
use crate::policy::list::extended::parse_entry;
use crate::policy::list::fault::Faults;
use crate::policy::list::fault::ListFault;
use crate::policy::list::location::Location;
use crate::smtp::address::Address;
use crate::smtp::address::fold;
use crate::smtp::address::without_trailing_dot;

/// How the entries of a list are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `address` and `@host`, as qmail.
    #[default]
    Qmail,
    /// Also `.domain`, globs with `*` and `?`, and `!entry` for exceptions.
    Extended,
}

/// A list of addresses, from one file.
#[derive(Clone)]
pub struct AddressList {
    source: Arc<str>,
    listed: Patterns,
    exceptions: Patterns,
}

impl AddressList {
    /// Reads a list. `source` is the file's name for messages.
    ///
    /// # Errors
    /// All faults of the text: `Extended` refuses what can match nothing, `Qmail` refuses nothing but a text over 256 MiB.
    pub fn parse(source: Arc<str>, dialect: Dialect, text: &[u8]) -> Result<Self, Vec<ListFault>> {
        let (list, faults) = Self::read(source, dialect, text)?;
        if faults.is_empty() { Ok(list) } else { Err(faults) }
    }

    /// Reads a list without the lines that can match nothing, which are told beside it.
    ///
    /// # Errors
    /// The text cannot be used at all.
    pub fn read(source: Arc<str>, dialect: Dialect, text: &[u8]) -> Result<(Self, Vec<ListFault>), Vec<ListFault>> {
        if text.len() > MAX_TEXT {
            return Err(vec![ListFault::new(&source, 0, "is over 256 MiB: split it into several lists")]);
        }
        let entries = Entries::with_room_for(text);
        let listed = Patterns { entries, ..Patterns::default() };
        let mut list = Self { source, listed, exceptions: Patterns::default() };
        let faults = match dialect {
            Dialect::Qmail => {
                list.read_qmail(text);
                Vec::new()
            }
            Dialect::Extended => list.read_extended(text)?,
        };
        list.listed.entries.shrink();
        Ok((list, faults))
    }

    /// The location of the entry that lists `address`.
    pub fn find(&self, address: &Address) -> Option<Location> {
        self.find_folded(address.folded())
    }

    /// The location of the entry that lists a folded address: lower case, A-labels, without quotes, escapes and
    /// trailing dot.
    pub fn find_folded(&self, folded: &[u8]) -> Option<Location> {
        let line = self.listed.line(folded)?;
        match self.exceptions.line(folded) {
            Some(_) => None,
            None => Some(Location { source: self.source.clone(), line }),
        }
    }

    /// The location of the exception that a folded address is.
    pub fn find_exception(&self, folded: &[u8]) -> Option<Location> {
        Some(Location { source: self.source.clone(), line: self.exceptions.line(folded)? })
    }

    /// Number of different entries, exceptions included.
    pub fn len(&self) -> usize {
        self.listed.len() + self.exceptions.len()
    }

    /// Whether the list lists nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The warnings of `check` about a list that can be read: entries that look as if they meant something else than
    /// they do. `Extended` refuses such entries, so there is nothing left to warn of.
    pub fn warnings(source: &str, dialect: Dialect, text: &[u8]) -> Vec<ListFault> {
        match dialect {
            Dialect::Qmail => lint::addresses(source, text),
            Dialect::Extended => Vec::new(),
        }
    }

    fn read_qmail(&mut self, text: &[u8]) {
        let mut folded = Vec::new();
        for Entry { line, text } in entries(text) {
            folded.clear();
            folded.extend_from_slice(without_trailing_dot(text));
            folded = fold(folded);
            self.listed.entries.insert(line, &folded);
        }
    }

    fn read_extended(&mut self, text: &[u8]) -> Result<Vec<ListFault>, Vec<ListFault>> {
        let mut faults = Faults::new(&self.source);
        for (line, raw) in lines(text) {
            let entry = raw.trim_ascii();
            if matches!(entry.first(), None | Some(b'#')) {
                continue;
            }
            let (patterns, entry) = match entry.strip_prefix(b"!") {
                Some(exception) => (&mut self.exceptions, exception),
                None => (&mut self.listed, entry),
            };
            match lint::regex(entry).map_or_else(|| read_entry(entry), Err) {
                Ok(pattern) => patterns.insert(line, pattern),
                Err(what) => faults.push(line, what),
            }
            if patterns.globs.len() > MAX_GLOBS {
                let what =
                    format!("has more than {MAX_GLOBS} globs, and each is tried for each message: write .domain");
                faults.push(line, what);
                return Err(faults.into_vec());
            }
        }
        Ok(faults.into_vec())
    }
}

/// An entry of the extended dialect.
fn read_entry(entry: &[u8]) -> Result<Pattern, String> {
    let pattern = parse_entry(entry)?;
    lint::in_extended(entry, &pattern).map_or(Ok(pattern), Err)
}

impl fmt::Debug for AddressList {
    /// Shows the number of entries alone: a million of them are no use in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressList({}, {} entries)", self.source, self.len())
    }
}

/// An address without quotes, or `@domain`, as lists compare it.
pub fn folded(address: &str) -> String {
    String::from_utf8_lossy(&fold(address)).into_owned()
}

/// Entries of one sense: those that list, or those that except.
#[derive(Clone, Default)]
struct Patterns {
    /// `address`, `@host` and, if `has_suffixes`, `.domain`.
    entries: Entries,
    has_suffixes: bool,
    globs: Vec<(u32, Glob)>,
}

impl Patterns {
    fn insert(&mut self, line: u32, pattern: Pattern) {
        match pattern {
            Pattern::Exact(text) => {
                self.entries.insert(line, &text);
            }
            Pattern::Below(domain) => {
                self.entries.insert(line, &domain);
                self.has_suffixes = true;
            }
            Pattern::Glob(glob) => self.globs.push((line, glob)),
        }
    }

    fn line(&self, folded: &[u8]) -> Option<u32> {
        let host = memrchr(b'@', folded).map(|at| &folded[at..]);
        self.entries
            .line(folded)
            .or_else(|| self.entries.line(host?))
            .or_else(|| self.line_of_suffix(host?))
            .or_else(|| self.globs.iter().find(|(_, glob)| glob.matches(folded, host)).map(|(line, _)| *line))
    }

    /// The line of the first suffix that is listed: `@a.b.c` is below `.b.c` and `.c`.
    fn line_of_suffix(&self, host: &[u8]) -> Option<u32> {
        if !self.has_suffixes {
            return None;
        }
        memchr::memchr_iter(b'.', host).find_map(|dot| self.entries.line(&host[dot..]))
    }

    fn len(&self) -> usize {
        self.entries.len() + self.globs.len()
    }
}

/// Octets of a list; positions in the table are 32 bits wide.
const MAX_TEXT: usize = 256 << 20;
/// Most globs of a list: they are tried one after the other for each address.
const MAX_GLOBS: usize = 10_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn extended(text: &str) -> AddressList {
        AddressList::parse("list".into(), Dialect::Extended, text.as_bytes()).unwrap()
    }

    fn line(list: &AddressList, folded: &str) -> Option<u32> {
        list.find_folded(folded.as_bytes()).map(|location| location.line)
    }

    #[test]
    fn qmail_knows_addresses_and_hosts_only() {
        let text = b"a@b.example\n@Host.Example\n.below.example\n*@glob.example\n!c@d.example\nq@dot.example.\n@\n\
                    @B\xc3\xbccher.example\nRoot\n@Latin-\xe9.example\n";
        let list = AddressList::parse("bad".into(), Dialect::Qmail, text).unwrap();
        let cases = [
            ("an address", "a@b.example", Some(1)),
            ("a host", "x@host.example", Some(2)),
            ("not a host below", "x@y.host.example", None),
            ("a leading dot means nothing", "x@y.below.example", None),
            ("a star is a letter", "x@glob.example", None),
            ("a star is a letter of its own", "*@glob.example", Some(4)),
            ("an exclamation mark is a letter", "c@d.example", None),
            ("an entry's trailing dot goes, as the sender's does", "q@dot.example", Some(6)),
            ("an empty host is a host", "foo@", Some(7)),
            ("an entry in UTF-8 by its A-labels", "joe@xn--bcher-kva.example", Some(8)),
            ("no domain, as it stands", "root", Some(9)),
            ("the null sender is never listed", "", None),
        ];
        for (what, folded, expected) in cases {
            assert_eq!(line(&list, folded), expected, "{what}");
        }
        assert_eq!(format!("{list:?}"), "AddressList(bad, 10 entries)");
    }

    #[test]
    fn extended_knows_domains_globs_and_exceptions() {
        let list = extended(
            "# ours\r\n!good@below.example\r\n.below.example\r\n  A@B.example. \r\nnews*@?.example\r\n@*mail.example\n\
             *@host.example\n*@*.sub.example\n!@ok.sub.example\nquoted user@q.example\n@[192.0.2.9]\n\
             .bücher.example\n*@*.käse.example\n",
        );
        let cases = [
            ("a host below a domain", "x@y.below.example", Some(3)),
            ("two levels below", "x@z.y.below.example", Some(3)),
            ("not the domain itself", "x@below.example", None),
            ("not a name that only ends alike", "x@notbelow.example", None),
            ("an address", "a@b.example", Some(4)),
            ("a glob", "newsletter@x.example", Some(5)),
            ("a question mark is one octet", "newsletter@xy.example", None),
            ("a glob over the host", "x@hotmail.example", Some(6)),
            ("a glob over the host starts at the last @", "a@mail.example@b.example", None),
            ("any sender of a host", "x@host.example", Some(7)),
            ("any sender below", "x@y.sub.example", Some(8)),
            ("an exception wins", "x@ok.sub.example", None),
            ("a quoted local part, unquoted", "quoted user@q.example", Some(10)),
            ("an address literal", "x@[192.0.2.9]", Some(11)),
            ("below a U-label", "x@y.xn--bcher-kva.example", Some(12)),
            ("a glob beside a U-label", "x@y.xn--kse-qla.example", Some(13)),
        ];
        for (what, folded, expected) in cases {
            assert_eq!(line(&list, folded), expected, "{what}");
        }
        assert_eq!(list.len(), 12);
    }

    #[test]
    fn an_exception_wins_wherever_it_stands() {
        for text in ["!a@b.example\n@b.example\n", "@b.example\n!a@b.example\n", "*\n!a@*\n"] {
            let list = extended(text);
            assert_eq!(line(&list, "a@b.example"), None, "{text}");
            assert!(line(&list, "x@b.example").is_some(), "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let text = "bare.example\nok@x.example\nuser@\n@*bücher.example\n".as_bytes();
        let faults = AddressList::parse("list".into(), Dialect::Extended, text).unwrap_err();
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3);
        assert!(told[2].contains("*bücher matches nothing"), "{told:?}");
        assert!(told[0].starts_with("list:1: bare.example is neither an address nor a domain"), "{told:?}");
        assert!(told[1].starts_with("list:3: "), "{told:?}");
    }

    #[test]
    fn faults_are_bounded() {
        let text = "bare\n".repeat(1000);
        let faults = AddressList::parse("list".into(), Dialect::Extended, text.as_bytes()).unwrap_err();
        assert_eq!(faults.len(), 101);
        assert_eq!(faults.last().unwrap().to_string(), "list: and 900 more like these");
    }
}
