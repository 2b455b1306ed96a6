//! A line more or less in badmailfrom. Everything else stays as it is, octet for octet: comments, order, line ends. It must
//! not open files.

use crate::policy::list::entries::Entry;
use crate::policy::list::entries::entries;
use crate::policy::list::entries::lines;
use crate::smtp::address;
use crate::smtp::address::without_trailing_dot;

/// The outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The new text.
    Text {
        /// All of it.
        text: Vec<u8>,
        /// The line that was added, or the first that was removed, counted from 1.
        line: u32,
    },
    /// No change: it is as it should be.
    None {
        /// The line of the entry, if it is there.
        line: Option<u32>,
    },
    /// A NUL octet, where qmail ends an entry and begins another: the file cannot be changed line by line.
    Nul {
        /// The line.
        line: u32,
    },
}

/// Adds `key`, folded, at the end, unless an entry there matches the same addresses.
pub fn add(text: &[u8], key: &str) -> Change {
    if let Some(line) = places(text, key).next() {
        return Change::None { line: Some(line) };
    }
    let mut new = text.to_vec();
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    let line = u32::try_from(lines(&new).count()).unwrap_or(u32::MAX);
    new.extend_from_slice(key.as_bytes());
    new.push(b'\n');
    Change::Text { text: new, line }
}

/// Removes each line that is `key`, folded.
pub fn remove(text: &[u8], key: &str) -> Change {
    let doomed: Vec<u32> = places(text, key).collect();
    let Some(&first) = doomed.first() else { return Change::None { line: None } };
    let is_doomed = |line: u32| doomed.binary_search(&line).is_ok();
    if let Some((line, _)) = lines(text).find(|(line, raw)| is_doomed(*line) && raw.contains(&0)) {
        return Change::Nul { line };
    }
    let kept = (1..).zip(text.split_inclusive(|octet| *octet == b'\n')).filter(|(line, _)| !is_doomed(*line));
    Change::Text { text: kept.flat_map(|(_, raw)| raw).copied().collect(), line: first }
}

/// Lines of the entries that match what `key` matches, in their order.
fn places(text: &[u8], key: &str) -> impl Iterator<Item = u32> {
    let key = address::fold(key);
    let is_it = move |entry: &Entry<'_>| address::fold(without_trailing_dot(entry.text)) == key;
    entries(text).filter(is_it).map(|entry| entry.line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::list::AddressList;
    use crate::policy::list::Dialect;

    fn text(text: &str, line: u32) -> Change {
        Change::Text { text: text.as_bytes().to_vec(), line }
    }

    #[test]
    fn added() {
        let there = |line| Change::None { line: Some(line) };
        let table = [
            ("to an empty file", "", text("a@b.example\n", 1)),
            ("at the end", "# why\n\nc@d.example\n", text("# why\n\nc@d.example\na@b.example\n", 4)),
            ("after a line without its end", "c@d.example", text("c@d.example\na@b.example\n", 2)),
            ("there", "c@d.example\na@b.example\n", there(2)),
            ("there in capitals, with a blank and a dot", "A@B.Example. \t\n", there(1)),
            ("there behind a NUL", "c@d.example\0a@b.example\n", there(1)),
            ("a comment is no entry", "#a@b.example\n", text("#a@b.example\na@b.example\n", 2)),
            ("nor one that qmail does not match", " a@b.example\n", text(" a@b.example\na@b.example\n", 2)),
            ("nor one with a CR", "a@b.example\r\n", text("a@b.example\r\na@b.example\n", 2)),
            ("nor its domain", "@b.example\n", text("@b.example\na@b.example\n", 2)),
        ];
        for (what, before, expected) in table {
            assert_eq!(add(before.as_bytes(), "a@b.example"), expected, "{what}");
        }
        assert_eq!(add("@Bücher.example\n".as_bytes(), "@xn--bcher-kva.example"), there(1), "in UTF-8");
    }

    #[test]
    fn removed() {
        let table = [
            ("the only one", "a@b.example\n", text("", 1)),
            ("each of them", "a@b.example\n# x\nA@B.EXAMPLE\nc@d.example", text("# x\nc@d.example", 1)),
            ("the last without its end", "c@d.example\na@b.example", text("c@d.example\n", 2)),
            ("not there", "#a@b.example\n", Change::None { line: None }),
            ("with another in its line", "c@d.example\0a@b.example\n", Change::Nul { line: 1 }),
        ];
        for (what, before, expected) in table {
            assert_eq!(remove(before.as_bytes(), "a@b.example"), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_is_added_matches_and_nothing_else_changes(before in "([ab@.#\\r\\n\0 A]{0,3}|a@b\n){0,20}") {
            let finds = |text: &[u8]| {
                let list = AddressList::parse("bad".into(), Dialect::Qmail, text);
                list.is_ok_and(|list| list.find_folded(b"a@b").is_some())
            };
            match add(before.as_bytes(), "a@b") {
                Change::Text { text, .. } => {
                    prop_assert!(finds(&text) && text.starts_with(before.as_bytes()));
                    let again = add(&text, "a@b");
                    prop_assert!(matches!(again, Change::None { line: Some(_) }), "{:?}", again);
                    let without_end = |text: &[u8]| text.strip_suffix(b"\n").unwrap_or(text).to_vec();
                    let Change::Text { text: removed, .. } = remove(&text, "a@b") else { panic!("it was added") };
                    prop_assert_eq!(without_end(&removed), without_end(before.as_bytes()));
                }
                Change::None { line } => prop_assert!(line.is_some() && finds(before.as_bytes())),
                Change::Nul { .. } => prop_assert!(false, "adding needs no line of its own"),
            }
        }
    }
}
