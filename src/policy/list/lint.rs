//! The doubts of `check` about lists that qmail reads without a word: entries that look as if they meant something else
//! than they do. It must not change what a list matches.

use memchr::memchr;

use crate::policy::list::entries::lines;
use crate::policy::list::entries::trim_end;
use crate::policy::list::fault::Faults;
use crate::policy::list::fault::ListFault;

/// Doubts about badmailfrom and its like.
pub fn addresses(source: &str, text: &[u8]) -> Vec<ListFault> {
    warnings(source, text, &[LINES, ADDRESSES])
}

/// Doubts about rcpthosts.
pub fn domains(source: &str, text: &[u8]) -> Vec<ListFault> {
    warnings(source, text, &[LINES, DOMAINS])
}

/// Finds one doubt a line: the first that fits.
fn warnings(source: &str, text: &[u8], checks: &[&[Check]]) -> Vec<ListFault> {
    let mut found = Faults::new(source);
    for (line, raw) in lines(text) {
        let entry = trim_end(raw);
        if matches!(entry, [] | [b'#', ..] | [b'\r']) {
            continue;
        }
        if let Some(Check(_, what)) = checks.iter().copied().flatten().find(|Check(fits, _)| fits(entry)) {
            found.push(line, *what);
        }
    }
    found.into_vec()
}

fn has(entry: &[u8], octet: u8) -> bool {
    memchr(octet, entry).is_some()
}

fn has_comment(entry: &[u8]) -> bool {
    entry.windows(2).any(|pair| matches!(pair, [b' ' | b'\t', b'#']))
}

/// A test for doubtful entries, and the words about one.
struct Check(fn(&[u8]) -> bool, &'static str);

const LINES: &[Check] = &[
    Check(
        |entry| entry.ends_with(b"\r"),
        "ends in CR, which qmail keeps: the entry matches nothing; save with LF line ends",
    ),
    Check(
        |entry| matches!(entry[0], b' ' | b'\t'),
        "begins with a blank, which qmail keeps: the entry matches nothing",
    ),
    Check(|entry| has(entry, 0), "has a NUL octet: qmail ends the entry there and begins another"),
    Check(
        has_comment,
        "has a comment inside the line, which qmail takes as part of the entry: give it a line of its own",
    ),
];

const ADDRESSES: &[Check] = &[
    Check(|entry| entry[0] == b'<' || entry.ends_with(b">"), "matches nothing: write the address without < and >"),
    Check(|entry| has(entry, b'"') || has(entry, b'\\'), "is compared without quotes and backslashes: leave them out"),
    Check(|entry| entry[0] == b'!', "has ! as a letter of the address: exceptions need dialect = \"extended\""),
    Check(|entry| has(entry, b'*') || has(entry, b'?'), "has * or ? as a letter: globs need dialect = \"extended\""),
    Check(|entry| entry.starts_with(b"@."), "matches nothing: write @domain, or .domain and dialect = \"extended\""),
    Check(
        |entry| entry[0] == b'.' && !has(entry, b'@'),
        "matches nothing in qmail: write @domain, or set dialect = \"extended\"",
    ),
    Check(|entry| !has(entry, b'@'), "matches only an address without a domain: write @ before a domain"),
    Check(|entry| entry.ends_with(b"@"), "matches nothing: there is no domain after the @"),
    Check(|entry| entry.ends_with(b"."), "is read without its trailing dot, as senders are"),
    Check(|entry| entry.len() > 900, "matches nothing: it is longer than any address"),
];

const DOMAINS: &[Check] = &[
    Check(|entry| has(entry, b'@'), "matches nothing: rcpthosts has domains, without @"),
    Check(|entry| has(entry, b'*'), "matches nothing: write .domain for all hosts below it"),
    Check(|entry| entry.ends_with(b"."), "matches nothing: write it without the trailing dot"),
    Check(|entry| has(entry, b':'), "matches nothing: rcpthosts has domains only"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trap_is_told() {
        let cases: &[(&str, &[u8], &str)] = &[
            ("CRLF", b"a@b.example\r\n", "CR"),
            ("a leading blank", b" a@b.example\n", "blank"),
            ("NUL", b"a@b.example\0c@d.example\n", "NUL"),
            ("an inline comment", b"a@b.example # why\n", "comment"),
            ("brackets", b"<a@b.example>\n", "without <"),
            ("quotes", b"\"a b\"@c.example\n", "quotes"),
            ("an exception", b"!a@b.example\n", "exceptions"),
            ("a star", b"*@b.example\n", "globs"),
            ("@.domain", b"@.b.example\n", "@domain"),
            (".domain", b".b.example\n", "dialect"),
            ("a bare domain", b"b.example\n", "write @"),
            ("no domain", b"a@\n", "no domain"),
            ("a trailing dot", b"a@b.example.\n", "trailing dot"),
        ];
        for (what, text, told) in cases {
            let found = addresses("bad", text);
            assert_eq!(found.len(), 1, "{what}");
            assert!(found[0].to_string().starts_with("bad:1: ") && found[0].what.contains(told), "{what}: {found:?}");
        }
    }

    #[test]
    fn what_is_right_is_not_doubted() {
        assert_eq!(addresses("bad", b"# all is well\n\na@b.example\n@C.example \nx y@d.example\n@[192.0.2.9]\n"), []);
        assert_eq!(domains("rcpthosts", b"localhost\nexample.org\n.example.net\n# no @\n"), []);
    }

    #[test]
    fn rcpthosts_has_traps_of_its_own() {
        for text in
            [&b"@example.org\n"[..], b"*.example.org\n", b"example.org.\n", b"example.org\r\n", b"a.example:b\n"]
        {
            assert_eq!(domains("rcpthosts", text).len(), 1, "{text:?}");
        }
    }
}
