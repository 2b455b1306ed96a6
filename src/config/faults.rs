//! The faults of a configuration, each with its place, all at once and in the file's order. It must not decide what is
//! a fault; the sections and `check.rs` do.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use crate::config::key::Key;

/// One fault, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the command line's option.
    pub file: PathBuf,
    /// Counted from 1; 0 for the file as a whole.
    pub line: u32,
    /// The column in characters, counted from 1; 0 for the file as a whole.
    pub column: u32,
    /// A sentence: the fault, and what to write instead.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.what)
    }
}

impl Fault {
    /// A fault of the file as a whole: it cannot be read, for one.
    pub fn of_file(file: &Path, what: String) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, what }
    }

    /// Whether an option of the command line is at fault, not the file.
    pub fn is_of_command_line(&self) -> bool {
        self.file.as_os_str().as_encoded_bytes().starts_with(b"--")
    }
}

/// The place at which something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// On the command line, by this option.
    Option(&'static str),
    /// An octet of the file.
    Octet(usize),
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}

/// The places of all keys that were written, for faults that are found later, on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    file: PathBuf,
    /// `server.listen[1]`, `tls.more[0].key`; the place's `what` is empty.
    keys: HashMap<String, Fault>,
}

impl Places {
    /// A fault of `key`, at its value, or of what it would be in, where it was not written: `server.listen[1]`, else
    /// `server.listen`, else `server`, else the whole file.
    pub fn fault(&self, key: &str, what: impl Into<String>) -> Fault {
        let within = std::iter::successors(Some(key), |key| Some(&key[..key.rfind(['.', '['])?]));
        let place = within.filter_map(|key| self.keys.get(key)).next();
        let place = place.cloned().unwrap_or_else(|| Fault::of_file(&self.file, String::new()));
        Fault { what: what.into(), ..place }
    }
}

/// A fault or a warning, before lines are counted.
#[derive(Debug)]
struct Found {
    at: At,
    what: String,
    /// Another place, whose line is written behind `what`.
    other: Option<At>,
}

/// Collects what the reading and the checking of one file find.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
    places: RefCell<Vec<Found>>,
    sections: RefCell<Vec<KnownSection>>,
    unknown: RefCell<Vec<UnknownKey>>,
    incomplete: Cell<bool>,
}

impl Findings {
    pub(crate) fn fault(&self, at: At, what: impl Into<String>) {
        self.faults.borrow_mut().push(Found { at, what: what.into(), other: None });
    }

    /// A fault of a value that disagrees with the one at `other`, whose line is told behind `what`.
    pub(crate) fn fault_with(&self, at: At, what: impl Into<String>, other: At) {
        self.faults.borrow_mut().push(Found { at, what: what.into(), other: Some(other) });
    }

    pub(crate) fn warn(&self, at: At, what: impl Into<String>) {
        self.warnings.borrow_mut().push(Found { at, what: what.into(), other: None });
    }

    /// Notes where `key` was written; on the command line it takes precedence.
    pub(crate) fn place(&self, key: String, at: At) {
        self.places.borrow_mut().push(Found { at, what: key, other: None });
    }

    /// A part of the file could not be read: what seems to be missing may have been written there.
    pub(crate) fn part_is_unreadable(&self) {
        self.incomplete.set(true);
    }

    /// Notes that a key is missing; a fault only when the whole file could be read.
    pub(crate) fn missing(&self, at: At, what: impl Into<String>) {
        if !self.incomplete.get() {
            self.fault(at, what);
        }
    }

    /// `section` was read and has these keys; of `unknown` it knows nothing.
    pub(crate) fn section(&self, name: &str, keys: Vec<Key>, unknown: Vec<(String, At)>) {
        let unknown = unknown.into_iter().map(|(key, at)| UnknownKey { section: name.to_owned(), key, at });
        self.unknown.borrow_mut().extend(unknown);
        self.sections.borrow_mut().push(KnownSection { name: name.to_owned(), keys });
    }

    /// Every key that was asked for, below its section.
    pub(crate) fn keys(&self) -> Vec<(String, Key)> {
        let sections = self.sections.borrow();
        sections.iter().flat_map(|it| it.keys.iter().map(|key| (it.name.clone(), key.clone()))).collect()
    }

    /// Every key's place.
    pub(crate) fn places(&self, file: &Path, text: &str) -> Places {
        let mut placed = place_all(file, text, self.places.take());
        // The command line's come first, and the last one counts.
        placed.reverse();
        let keys = placed.into_iter().map(|mut place| (std::mem::take(&mut place.what), place)).collect();
        Places { file: file.to_owned(), keys }
    }

    /// Faults and warnings, placed.
    pub(crate) fn placed(&self, file: &Path, text: &str) -> (Vec<Fault>, Vec<Fault>) {
        for unknown in self.unknown.take() {
            // A key below a header that cannot be read seems to stand in another section.
            if !self.incomplete.get() || !unknown.belongs_elsewhere(&self.sections.borrow()) {
                let what = unknown.what(&self.sections.borrow());
                self.fault(unknown.at, what);
            }
        }
        (place_all(file, text, self.faults.take()), place_all(file, text, self.warnings.take()))
    }
}

/// The name among `known` that was probably meant by `written`.
pub(crate) fn meant<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = fold(written);
    let distance = |name: &&str| strsim::damerau_levenshtein(&folded, &fold(name));
    let nearest = known.into_iter().min_by_key(distance)?;
    let tolerated = 1 + nearest.len().min(written.len()) / 5;
    let first_octet_agrees = folded.as_bytes().first() == nearest.as_bytes().first();
    (distance(&nearest) <= tolerated && (first_octet_agrees || nearest.len() > 3)).then_some(nearest)
}

/// `"a", "b" or "c"`
pub(crate) fn one_of<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("{name:?}")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[derive(Debug)]
struct KnownSection {
    name: String,
    keys: Vec<Key>,
}

impl KnownSection {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

#[derive(Debug)]
struct UnknownKey {
    section: String,
    key: String,
    at: At,
}

impl UnknownKey {
    fn what(&self, sections: &[KnownSection]) -> String {
        let own = sections.iter().find(|section| section.name == self.section);
        let keys: Vec<&str> = own.map_or_else(Vec::new, |section| section.names().collect());
        let subject = self.subject();
        if let Some(name) = meant(&self.key, keys.iter().copied()) {
            return format!("{subject}; write {name} instead");
        }
        let elsewhere = sections.iter().find(|section| section.names().any(|name| name == self.key));
        match elsewhere {
            Some(section) if !section.name.is_empty() => format!("{subject}; it belongs in {}", header(&section.name)),
            Some(_) if self.key == "throttle" && !self.section.is_empty() => {
                format!("{subject}; write it above the first section")
            }
            _ if self.section.is_empty() => format!("{subject}; the sections are {}", keys.join(", ")),
            _ => format!("{subject}; its keys are {}", keys.join(", ")),
        }
    }

    fn belongs_elsewhere(&self, sections: &[KnownSection]) -> bool {
        sections.iter().any(|section| section.names().any(|name| name == self.key))
    }

    fn subject(&self) -> String {
        match self.section.as_str() {
            "" => format!("there is no section {}", self.key.escape_debug()),
            section => format!("{} has no key {}", header(section), self.key.escape_debug()),
        }
    }
}

/// `[server]`, `[[throttle]]`; a table that is a value keeps its dotted name.
fn header(section: &str) -> String {
    if section.ends_with(']') || section.contains('.') { section.to_owned() } else { format!("[{section}]") }
}

fn fold(name: &str) -> String {
    name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Sorted by place. The text is walked once, however many faults there are.
fn place_all(file: &Path, text: &str, mut found: Vec<Found>) -> Vec<Fault> {
    found.sort_by_key(|found| found.at);
    let mut walk = Walk { text, octet: 0, line: 1, column: 1 };
    let place = |Found { at, mut what, other }| {
        other.iter().for_each(|other| what.push_str(&line_of(*other, text)));
        match at {
            At::Option(name) => Fault::of_file(Path::new(name), what),
            At::Octet(octet) => {
                walk.to(octet);
                Fault { file: file.to_owned(), line: walk.line, column: walk.column, what }
            }
        }
    };
    found.into_iter().map(place).collect()
}

fn line_of(at: At, text: &str) -> String {
    match at {
        At::Option(name) => format!(" (see {name})"),
        At::Octet(octet) => {
            let before = &text.as_bytes()[..octet.min(text.len())];
            format!(" (see line {})", 1 + before.iter().filter(|octet| **octet == b'\n').count())
        }
    }
}

struct Walk<'t> {
    text: &'t str,
    octet: usize,
    line: u32,
    column: u32,
}

impl Walk<'_> {
    fn to(&mut self, octet: usize) {
        let end = self.text.floor_char_boundary(octet);
        for c in self.text[self.octet..end.max(self.octet)].chars() {
            match c {
                '\n' => (self.line, self.column) = (self.line.saturating_add(1), 1),
                _ => self.column = self.column.saturating_add(1),
            }
        }
        self.octet = end.max(self.octet);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        let text = "ä = 1\nb = 2\n";
        let found = vec![
            (At::Octet(7), "the b", None),
            (At::Octet(5), "the 1", Some(At::Octet(7))),
            (At::Octet(900), "past the end", None),
            (At::Option("--backend"), "an option", Some(At::Option("--listen"))),
        ];
        let found = found.into_iter().map(|(at, what, other)| Found { at, what: what.to_owned(), other }).collect();
        let placed: Vec<String> = place_all(Path::new("p.toml"), text, found).iter().map(ToString::to_string).collect();
        assert_eq!(
            placed,
            [
                "--backend: an option (see --listen)",
                "p.toml:1:5: the 1 (see line 2)",
                "p.toml:2:1: the b",
                "p.toml:3:1: past the end"
            ]
        );
    }

    #[test]
    fn a_later_fault_has_the_place_of_its_key_or_of_what_that_would_be_in() {
        let findings = Findings::default();
        findings.place("server".to_owned(), At::Octet(0));
        findings.place("server.listen[0]".to_owned(), At::Octet(14));
        findings.place("server.listen".to_owned(), At::Octet(11));
        findings.place("backend.tcp".to_owned(), At::Octet(1));
        findings.place("backend.tcp".to_owned(), At::Option("--backend"));
        let places = findings.places(Path::new("p.toml"), "server = { x = 1 }");
        let table = [
            ("server.listen[0]", "p.toml:1:15: x"),
            ("server.listen[1]", "p.toml:1:12: x"),
            ("server.user", "p.toml:1:1: x"),
            ("backend.tcp", "--backend: x"),
            ("state.url", "p.toml: x"),
        ];
        for (key, expected) in table {
            assert_eq!(places.fault(key, "x").to_string(), expected, "{key}");
        }
    }

    #[test]
    fn suggestions() {
        let known = ["listen", "listen_tls", "max_connections", "max_recipients", "tls", "off"];
        let table = [
            ("a letter is missing", "lisen", Some("listen")),
            ("two letters are exchanged", "lsiten", Some("listen")),
            ("a hyphen for the underscore", "max-recipients", Some("max_recipients")),
            ("capitals", "Listen", Some("listen")),
            ("camel case", "maxConnections", Some("max_connections")),
            ("a short one, exchanged", "tsl", Some("tls")),
            ("another word", "colour", None),
            ("another short word", "toss", None),
            ("a short other word", "on", None),
            ("nothing", "", None),
        ];
        for (what, written, expected) in table {
            assert_eq!(meant(written, known), expected, "{what}");
        }
    }

    #[test]
    fn a_list_of_names() {
        assert_eq!(one_of(["a"]), "\"a\"");
        assert_eq!(one_of(["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
