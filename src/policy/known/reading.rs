//! The lists of known recipients as they are written: a line for each, or a validrcptto.cdb. What cannot be meant is an
//! error here, where a list of blocked addresses has a warning: an entry that matches no recipient refuses honest mail. It
//! must not open files.

use std::sync::Arc;

use memchr::memchr;
use memchr::memrchr;

use crate::policy::known::Known;
use crate::policy::known::KnownList;
use crate::policy::known::KnownRecipients;
use crate::policy::list::AddressList;
use crate::policy::list::Dialect;
use crate::policy::list::entries::Entries;
use crate::policy::list::entries::lines;
use crate::policy::list::fault::Faults;
use crate::policy::list::fault::ListFault;
use crate::policy::local::LocalDomains;
use crate::smtp::address::fold;
use crate::smtp::address::parse_address;
use crate::smtp::address::without_trailing_dot;

impl KnownList {
    /// Reads a list. `source` is the file's name for messages.
    ///
    /// # Errors
    /// Entries that match no recipient, and a text that names no recipient or does not end with a line: it was not written whole.
    pub fn parse(source: Arc<str>, dialect: Dialect, text: &[u8]) -> Result<Self, Vec<ListFault>> {
        let list = match dialect {
            Dialect::Qmail => Self::of_lines(source, text)?,
            Dialect::Extended => Self::of_patterns(source, text)?,
        };
        if list.is_empty() {
            return Err(vec![ListFault::new(&list.source, 0, NO_RECIPIENT)]);
        }
        if !text.ends_with(b"\n") {
            let last = u32::try_from(lines(text).count()).unwrap_or(u32::MAX);
            let what = "ends in the middle of a line: end the last line with a newline, if the file is whole";
            return Err(vec![ListFault::new(&list.source, last, what)]);
        }
        Ok(list)
    }

    /// Reads the records of a validrcptto.cdb: the keys exist, unless their data begins with `-`. In sagredo's
    /// morevalidrcptto.cdb the key itself does.
    ///
    /// # Errors
    /// A cdb that names no recipient.
    pub fn of_records<'a>(
        source: Arc<str>,
        records: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Vec<ListFault>> {
        let mut reader = Reader::default();
        for (key, data) in records.filter(|(key, _)| memchr(b'@', key).is_some()) {
            reader.add(0, key, data.starts_with(b"-"));
        }
        let list = reader.finish(source);
        match list.is_empty() {
            true => Err(vec![ListFault::new(&list.source, 0, NO_RECIPIENT)]),
            false => Ok(list),
        }
    }

    /// Whether the list says of any recipient that it exists.
    pub fn has_addresses(&self) -> bool {
        self.has_addresses
    }

    fn of_lines(source: Arc<str>, text: &[u8]) -> Result<Self, Vec<ListFault>> {
        let (mut reader, mut faults) = (Reader::with_room_for(text), Faults::new(&source));
        for (line, entry) in entries(text) {
            match Line::read(entry) {
                Ok(Line { address, is_unknown }) => reader.add(line, &address, is_unknown),
                Err(what) => faults.push(line, what),
            }
        }
        faults.finish()?;
        Ok(reader.finish(source))
    }

    fn of_patterns(source: Arc<str>, text: &[u8]) -> Result<Self, Vec<ListFault>> {
        let list = AddressList::parse(source.clone(), Dialect::Extended, text)?;
        let known = entries(text).map(|(_, entry)| entry).filter(|entry| !entry.starts_with(b"!"));
        let mut has_addresses = false;
        let mut domains = Vec::new();
        for entry in known {
            has_addresses = true;
            let domain = memrchr(b'@', entry).map_or(entry, |at| &entry[at + 1..]);
            domains.extend_from_slice(domain);
            domains.push(b'\n');
        }
        let domains = LocalDomains::parse(source.clone(), &domains);
        Ok(Self { source, entries: Known::Extended(list), domains, has_addresses })
    }
}

impl KnownRecipients {
    /// The warnings of `check` about domains of rcpthosts: every recipient of one that no list names is refused.
    pub fn warnings(&self, source: &str, local: &[u8]) -> Vec<ListFault> {
        let mut warnings = Faults::new(source);
        for (line, raw) in lines(local) {
            let domain = raw.trim_ascii_end();
            if self.is_empty() || matches!(domain.first(), None | Some(b'#' | b'.' | 0)) || self.names(domain) {
                continue;
            }
            let domain = String::from_utf8_lossy(domain);
            let what = format!(
                "recipients.known names no recipient at {domain}, so all but postmaster are refused: add them, or \
                 @{domain} if the backend knows"
            );
            warnings.push(line, what);
        }
        warnings.into_vec()
    }
}

/// The lines of a text that are neither blank nor a comment, each with its number.
fn entries(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let trimmed = lines(text).map(|(line, raw)| (line, raw.trim_ascii()));
    trimmed.filter(|(_, entry)| !matches!(entry.first(), None | Some(b'#')))
}

/// A line of a list: the entry, and whether it says that the recipient does not exist.
struct Line {
    address: Vec<u8>,
    is_unknown: bool,
}

impl Line {
    /// Reads `address`, `@domain`, either with the data of the cdb behind it as `cdbmake-12` takes it, or with a `-`
    /// before it.
    fn read(line: &[u8]) -> Result<Self, String> {
        let (entry, data) = split(line);
        let is_negated = entry.starts_with(b"-@") || data.starts_with(b"-");
        let entry = if entry.starts_with(b"-@") { &entry[1..] } else { entry };
        if entry.starts_with(b"!") || entry.contains(&b'*') {
            let what =
                "is a pattern of the extended dialect: set recipients.dialect = \"extended\", or write an address";
            return Err(format!("\"{}\" {what}", shown(line)));
        }
        let of_domain = [b"x", entry].concat();
        let address = parse_address(if entry.starts_with(b"@") { &of_domain } else { entry });
        let is_of_nobody = entry == b"@" || entry.contains(&b',');
        let Some(address) = address.ok().filter(|_| !is_of_nobody) else {
            return Err(format!("\"{}\" is not an address: write one address or @domain on a line", shown(line)));
        };
        let folded = address.folded();
        // The postmaster is known without being listed.
        if address.domain().is_none_or(<[u8]>::is_empty) && folded != b"postmaster" {
            return Err(without_domain(&shown(entry)));
        }
        let address = if entry.starts_with(b"@") { &folded[1..] } else { folded };
        Ok(Self { address: address.to_owned(), is_unknown: is_negated })
    }
}

/// The beginning of a line or entry, for an error.
fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(&octets[..octets.len().min(MOST_SHOWN)]).escape_debug().to_string()
}

/// The words about an entry without a domain.
fn without_domain(entry: &str) -> String {
    let user = entry.trim_end_matches('@');
    let instead = match user.contains('.') && user == entry {
        true => format!("@{user} for all recipients of that domain, or a whole address"),
        false => format!("{user}@example.org, or @example.org for all recipients of a domain"),
    };
    format!("\"{entry}\" has no domain: write {instead}")
}

/// An entry and the data behind it. A quoted local part has its blanks.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = |octet: &u8| {
        let ends = octet.is_ascii_whitespace() && !is_quoted && !is_escaped;
        is_quoted ^= *octet == b'"' && !is_escaped;
        is_escaped = *octet == b'\\' && !is_escaped;
        ends
    };
    let end = line.iter().position(ends).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii_start())
}

/// A list that is being read.
#[derive(Default)]
struct Reader {
    known: Entries,
    unknown: Entries,
    /// The domains, a line for each entry whose domain is not that of the entry before.
    domains: Vec<u8>,
    last: Vec<u8>,
}

impl Reader {
    fn with_room_for(text: &[u8]) -> Self {
        Self { known: Entries::with_room_for(text), ..Self::default() }
    }

    fn add(&mut self, line: u32, key: &[u8], is_unknown: bool) {
        let key = fold(without_trailing_dot(key));
        self.note_domain(&key);
        // In the lists of sagredo's qmail, `-joe@example.org` does not exist. Elsewhere it may be an address.
        if let Some(negated) = key.strip_prefix(b"-").filter(|_| !is_unknown) {
            self.unknown.insert(line, negated);
        }
        match is_unknown {
            true => self.unknown.insert(line, &key),
            false if key.starts_with(b"-@") => false,
            false => self.known.insert(line, &key),
        };
    }

    fn note_domain(&mut self, key: &[u8]) {
        let Some(at) = memrchr(b'@', key).filter(|at| self.last != key[at + 1..]) else { return };
        self.last = key[at + 1..].to_vec();
        self.domains.extend_from_slice(&self.last);
        self.domains.push(b'\n');
    }

    fn finish(mut self, source: Arc<str>) -> KnownList {
        self.known.shrink();
        self.unknown.shrink();
        let domains = LocalDomains::parse(source.clone(), &self.domains);
        let has_addresses = !self.known.is_empty();
        let entries = Known::Keys { known: self.known, unknown: self.unknown };
        KnownList { source, entries, domains, has_addresses }
    }
}

const NO_RECIPIENT: &str = "names no recipient, so every recipient would be refused: restore a copy, write @domain for each domain \
                      of yours, or remove its name from recipients.known";
/// Octets of an entry that are shown.
const MOST_SHOWN: usize = 60;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        let table: [(&str, &[u8], u32, &str); 13] = [
            ("an empty file", b"", 0, "names no recipient"),
            ("nothing but comments", b"# joe@example.org\n\n", 0, "names no recipient"),
            ("a name alone", b"ok@example.org\njoe\n", 2, "write joe@example.org, or @example.org for all"),
            ("a name and data", b"joe in sales\n", 1, "\"joe\" has no domain: write joe@example.org, or"),
            ("a name and an at sign", b"joe@\n", 1, "write joe@example.org"),
            ("a domain alone", b"example.org\n", 1, "has no domain: write @example.org for all"),
            ("two in a line", b"joe@example.org,fred@example.org\n", 1, "one address or @domain on a line"),
            ("a glob", b"*@example.org\n", 1, "recipients.dialect"),
            ("an exception", b"!joe@example.org\n", 1, "recipients.dialect"),
            ("an alias", b"joe@example.org: joe\n", 1, "is not an address"),
            ("octets of Latin-1", b"j\xf6e@example.org\n", 1, "is not an address"),
            ("a half", b"joe@example.org\nfred@exam", 2, "ends in the middle of a line"),
            ("a domain with a blank", b"@ example.org\n", 1, "is not an address"),
        ];
        for (what, text, line, expected) in table {
            let faults = KnownList::parse("known".into(), Dialect::Qmail, text).unwrap_err();
            assert_eq!((faults.len(), faults[0].location.line), (1, line), "{what}: {faults:?}");
            assert!(faults[0].what.contains(expected), "{what}: {faults:?}");
        }
    }

    #[test]
    fn what_can_be_read() {
        let table: [(&[u8], usize, bool); 8] = [
            (b"\"a \\\" b\"@example.org -\n", 1, false),
            (b"joe@example.org\n", 1, true),
            (b"joe@example.org\r\n\r\n", 1, true),
            (b"joe@example.org virtual\n", 1, true),
            (b"postmaster\n", 1, true),
            (b"spam@example.org -\n", 1, false),
            (b"-@example.org\n", 1, false),
            (b"joe@example.org\nJOE@example.org.\n", 1, true),
        ];
        for (text, entries, has_addresses) in table {
            let list = KnownList::parse("known".into(), Dialect::Qmail, text).unwrap();
            assert_eq!((list.len(), list.has_addresses()), (entries, has_addresses), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_cdb_of_something_else_names_nobody() {
        let records: [(&[u8], &[u8]); 2] = [(b"10.", b"D\0"), (b"", b"")];
        let faults = KnownList::of_records("tcp.smtp.cdb".into(), records.into_iter()).unwrap_err();
        assert!(faults[0].what.contains("names no recipient"), "{faults:?}");
    }

    #[test]
    fn a_domain_that_no_list_names_is_told() {
        let list = KnownList::parse("known".into(), Dialect::Qmail, b"joe@example.org\n@all.example\n").unwrap();
        let known = KnownRecipients::new(vec![list]);
        let rcpthosts = b"example.org\n# x\nall.example\n.below.example\nforgotten.example\n";
        let warnings = known.warnings("rcpthosts", rcpthosts);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].location.line == 5 && warnings[0].what.contains("@forgotten.example"), "{warnings:?}");
        assert_eq!(KnownRecipients::default().warnings("rcpthosts", rcpthosts), []);
    }
}
