//! The entries of a control file as qmail cuts them, and the table that keeps a million of them.
//!
//! It must not open files or judge what an entry means: the lists do that. Where qmail would keep an empty entry (two NUL
//! octets in a row) none is kept, so the null sender can never be listed.

use hashbrown::HashTable;
use memchr::memchr_iter;
use siphasher::sip::SipHasher13;

/// One entry of a control file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The line's number, counted from 1.
    pub line: u32,
    /// The text as it stands in the file; never empty.
    pub text: &'a [u8],
}

/// Cuts `text` as qmail's `control_readfile` does: trailing blanks and TABs are no part of a line, empty lines and lines
/// that begin with `#` (or NUL) are none. CR and leading blanks stay; a NUL ends an entry and begins another.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    lines(text)
        .map(|(line, raw)| (line, trim_end(raw)))
        .filter(|(_, raw)| !matches!(raw.first(), None | Some(b'#' | 0)))
        .flat_map(|(line, raw)| raw.split(|&octet| octet == 0).map(move |text| Entry { line, text }))
        .filter(|entry| !entry.text.is_empty())
}

/// The lines of `text` without their LF, counted from 1.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (1..).zip(text.split(|&octet| octet == b'\n'))
}

/// The line without the blanks and TABs at its end.
pub fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last + 1);
    &line[..end]
}

/// A set of octet strings, each with the line where it first stood.
///
/// One blob holds everything, the table only positions in it: 1 M addresses take some 43 MB, a map of boxes 96 MB.
#[derive(Clone, Default)]
pub struct Entries {
    /// Records of line (4 octets), length (4 octets) and text.
    blob: Vec<u8>,
    table: HashTable<u32>,
}

impl Entries {
    /// An empty set with room for the lines of `text`: growing by doubling would hash each entry twenty times.
    pub fn with_room_for(text: &[u8]) -> Self {
        let lines = memchr_iter(b'\n', text).count().min(MAX_ROOM) + 1;
        let blob = Vec::with_capacity(text.len().min(MAX_ROOM * 32) + lines * 8);
        Self { blob, table: HashTable::with_capacity(lines) }
    }

    /// Adds a text; the first of equal ones stays. False if the text was there already, or if the table is full (4
    /// GiB).
    pub fn insert(&mut self, line: u32, text: &[u8]) -> bool {
        let (Ok(position), Ok(length)) = (u32::try_from(self.blob.len()), u32::try_from(text.len())) else {
            return false;
        };
        let hash = hash(text);
        let blob = &mut self.blob;
        if self.table.find(hash, |&position| record(blob, position).1 == text).is_some() {
            return false;
        }
        blob.extend_from_slice(&line.to_le_bytes());
        blob.extend_from_slice(&length.to_le_bytes());
        blob.extend_from_slice(text);
        self.table.insert_unique(hash, position, |&position| hash_of(blob, position));
        true
    }

    /// The line where `text` stood.
    pub fn line(&self, text: &[u8]) -> Option<u32> {
        let found = self.table.find(hash(text), |&position| record(&self.blob, position).1 == text)?;
        Some(record(&self.blob, *found).0)
    }

    /// Number of different texts.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives back the room that growing left over.
    pub fn shrink(&mut self) {
        self.blob.shrink_to_fit();
        let blob = &self.blob;
        self.table.shrink_to_fit(|&position| hash_of(blob, position));
    }
}

/// Line and text of the record at `position`, which `insert` has written.
fn record(blob: &[u8], position: u32) -> (u32, &[u8]) {
    let (line, rest) = blob[position as usize..].split_first_chunk().expect("insert wrote a line number");
    let (length, rest) = rest.split_first_chunk().expect("insert wrote a length");
    (u32::from_le_bytes(*line), &rest[..u32::from_le_bytes(*length) as usize])
}

fn hash_of(blob: &[u8], position: u32) -> u64 {
    hash(record(blob, position).1)
}

/// The hash by a fixed key, which will do: the texts in the table are the operator's, a stranger only asks.
fn hash(text: &[u8]) -> u64 {
    SipHasher13::new().hash(text)
}

/// Lines that room is made for at once; a longer text grows the table as it goes.
const MAX_ROOM: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_control_readfile_cuts_them() {
        let cases: &[(&str, &[u8], &[(u32, &[u8])])] = &[
            ("an empty file has no entry", b"", &[]),
            ("the last line may lack its LF", b"a\nb", &[(1, b"a"), (2, b"b")]),
            ("trailing blanks and TABs go", b"a \t \n", &[(1, b"a")]),
            ("leading blanks stay", b" a\n", &[(1, b" a")]),
            ("CR stays", b"a\r\n", &[(1, b"a\r")]),
            ("empty lines and comments are counted", b"\n#x\n \na\n", &[(4, b"a")]),
            ("no comment inside a line", b"a # b\n", &[(1, b"a # b")]),
            ("a NUL begins another entry", b"a\0#b\n", &[(1, b"a"), (1, b"#b")]),
            ("a line that begins with NUL is none", b"\0a\nb", &[(2, b"b")]),
            ("the empty entry is never kept", b"a\0\0b\0", &[(1, b"a"), (1, b"b")]),
        ];
        for (what, text, expected) in cases {
            let found: Vec<_> = entries(text).map(|entry| (entry.line, entry.text)).collect();
            assert_eq!(found, *expected, "{what}");
        }
    }

    #[test]
    fn the_first_of_equal_entries_stays() {
        let mut table = Entries::default();
        assert!(table.insert(3, b"a@b"));
        assert!(!table.insert(4, b"a@b"));
        assert!(table.insert(5, b"@b"));
        assert_eq!(table.line(b"a@b"), Some(3));
        assert_eq!(table.line(b"@b"), Some(5));
        assert_eq!(table.line(b"b"), None);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_growing_table_keeps_all() {
        let mut table = Entries::default();
        for line in 1..=10_000 {
            assert!(table.insert(line, format!("user{line}@example.org").as_bytes()));
        }
        for line in 1..=10_000 {
            assert_eq!(table.line(format!("user{line}@example.org").as_bytes()), Some(line));
        }
        assert_eq!(table.line(b"user0@example.org"), None);
    }
}
