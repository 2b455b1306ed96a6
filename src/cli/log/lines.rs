//! Cuts the octets of a file or pipe into lines, in large reads and without copying; a carriage return and JSON around
//! a line are left out. Of a very long line only the beginning is kept. It must not interpret a line's text.

use std::io;
use std::io::Read;
use std::ops::Range;

use memchr::memchr;

use crate::logs::wrapped;

/// The lines of one input.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Octets read and not given out yet.
    waiting: Range<usize>,
    /// Number of these octets that are known to have no line end.
    searched: usize,
    /// Whether the rest of a line is skipped whose beginning was given out.
    skipping: bool,
    /// Octets read in all.
    read: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; ROOM], waiting: 0..0, searched: 0, skipping: false, read: 0 }
    }

    /// Octets read so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }

    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// The next line as a range of [`Self::octets`], its end left out. `None` when the input has no more for now; a
    /// line without an end stays.
    pub(super) fn next(&mut self) -> io::Result<Option<Range<usize>>> {
        loop {
            let waiting = &self.buffer[self.waiting.clone()];
            if let Some(at) = memchr(b'\n', &waiting[self.searched..]) {
                let line = self.waiting.start..self.waiting.start + self.searched + at;
                (self.waiting.start, self.searched) = (line.end + 1, 0);
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some(self.bare(line)));
                }
                continue;
            }
            self.searched = waiting.len();
            if self.searched >= LONGEST {
                match self.cut() {
                    Some(line) => return Ok(Some(line)),
                    None => continue,
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The last line of the input, if it has no end.
    pub(super) fn rest(&mut self) -> Option<Range<usize>> {
        let rest = std::mem::replace(&mut self.waiting, 0..0);
        self.searched = 0;
        let skipped = std::mem::take(&mut self.skipping);
        (!rest.is_empty() && !skipped).then(|| self.bare(rest))
    }

    /// The line without what a log of another system put around it.
    fn bare(&mut self, mut line: Range<usize>) -> Range<usize> {
        if self.buffer[line.clone()].starts_with(BYTE_ORDER_MARK) {
            line.start += BYTE_ORDER_MARK.len();
        }
        if self.buffer[line.clone()].ends_with(b"\r") {
            line.end -= 1;
        }
        if let Some(length) = wrapped::unwrap(&mut self.buffer[line.clone()]) {
            line.end = line.start + length;
        }
        line
    }

    pub(super) fn octets(&self, line: Range<usize>) -> &[u8] {
        &self.buffer[line]
    }

    /// The beginning of a line that is too long.
    fn cut(&mut self) -> Option<Range<usize>> {
        let line = std::mem::replace(&mut self.waiting, 0..0);
        self.searched = 0;
        let is_first = !std::mem::replace(&mut self.skipping, true);
        is_first.then_some(line)
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.waiting.is_empty() {
            self.waiting = 0..0;
        } else if self.waiting.end == self.buffer.len() {
            self.buffer.copy_within(self.waiting.clone(), 0);
            self.waiting = 0..self.waiting.len();
            if self.waiting.end == self.buffer.len() {
                self.buffer.resize((self.buffer.len() * 2).min(LONGEST.max(ROOM)), 0);
            }
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.waiting.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.waiting.end += read;
        let is_first = self.read == 0;
        self.read += read as u64;
        if is_first && let Some((_, what)) = UNREADABLE.iter().find(|(magic, _)| self.buffer.starts_with(magic)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, *what));
        }
        Ok(read > 0)
    }
}

/// What an editor of another system puts in front of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// First octets of files that have no lines, and what to do.
const UNREADABLE: &[(&[u8], &str)] = &[
    (b"\x1F\x8B", "compressed with gzip: run zcat FILE | portcullis log"),
    (b"BZh", "compressed with bzip2: run bzcat FILE | portcullis log"),
    (b"\xFD7zXZ", "compressed with xz: run xzcat FILE | portcullis log"),
    (b"\x28\xB5\x2F\xFD", "compressed with zstd: run zstdcat FILE | portcullis log"),
    (b"\xFF\xFE", "in UTF-16: run iconv -f UTF-16 -t UTF-8 FILE | portcullis log"),
    (b"LPKSHHRH", "a file of the journal itself: run journalctl --file FILE | portcullis log"),
];

/// Octets of one read.
const ROOM: usize = 256 << 10;
/// Octets kept of one line.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn lines(input: impl Read) -> Vec<String> {
        let mut lines = Lines::new(input);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(lines.octets(line).to_vec()).unwrap());
        }
        found.extend(lines.rest().map(|line| String::from_utf8(lines.octets(line).to_vec()).unwrap()));
        found
    }

    #[test]
    fn cut_at_line_ends() {
        let table: &[(&str, &[&str])] =
            &[("", &[]), ("a", &["a"]), ("a\n", &["a"]), ("a\n\nb", &["a", "", "b"]), ("\n", &[""])];
        let others: &[(&str, &[&str])] = &[
            ("a\r\nb\r\n\r", &["a", "b", ""]),
            ("\u{feff}a\r\n", &["a"]),
            ("{\"log\":\"a\\n\",\"time\":\"2026-11-29T12:00:00Z\"}\r\nb", &["1795953600.000000000 a", "b"]),
        ];
        for (text, expected) in table.iter().chain(others) {
            assert_eq!(lines(text.as_bytes()), *expected);
        }
        let many: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
        assert_eq!(lines(many.join("\n").as_bytes()), many);
    }

    #[test]
    fn of_a_very_long_line_the_beginning_stays() {
        let text = format!("a\n{}\nb\n", "x".repeat(5 * LONGEST + 17));
        let found = lines(text.as_bytes());
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [1, LONGEST, 1]);
        assert_eq!(found[2], "b");
        let endless = lines("y".repeat(3 * LONGEST).as_bytes());
        assert_eq!(endless.iter().map(String::len).collect::<Vec<_>>(), [LONGEST]);
    }

    #[test]
    fn what_has_no_lines_is_named() {
        for (magic, what) in UNREADABLE {
            let error = Lines::new([magic, &b"\x08\0\n"[..]].concat().as_slice()).next().unwrap_err();
            assert_eq!(error.to_string(), *what);
        }
        assert_eq!(lines(&b"BZ is no mark\n"[..]), ["BZ is no mark"]);
    }

    #[test]
    fn more_may_come() {
        struct Drops(Vec<&'static [u8]>);
        impl Read for Drops {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let Some(drop) = self.0.pop() else { return Ok(0) };
                into[..drop.len()].copy_from_slice(drop);
                Ok(drop.len())
            }
        }
        let mut lines = Lines::new(Drops(vec![b"c\n", b"", b"b", b"", b"a\n"]));
        assert_eq!(lines.next().unwrap(), Some(0..1));
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.next().unwrap(), None, "half a line is none yet");
        let line = lines.next().unwrap().unwrap();
        assert_eq!(lines.octets(line), b"bc");
    }
}
