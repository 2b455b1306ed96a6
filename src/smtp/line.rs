//! Lines of the command state, cut out of the network's octets, the same wherever these are cut. At most a limit's
//! worth of an unfinished line is kept; the tail of an overlong line never becomes a command (RFC 5321 4.5.3.1.9). It
//! must not look into a line: a bare CR or another control octet is for the command parser to refuse.
//!
//! Deviation from RFC 5321 2.3.8: with [`LineEnd::AnyLf`] a bare LF ends a line too.

use bytes::Bytes;
use bytes::BytesMut;
use memchr::memchr;

/// Octets of the longest command line, CRLF included; four times RFC 5321 4.5.3.1.4, for parameters.
pub const MAX_COMMAND_LINE: usize = 2048;

/// Octets of the longest line of a SASL exchange, CRLF included (RFC 4954 4).
pub const MAX_AUTH_LINE: usize = 12288;

/// The line ends that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CRLF only; a bare LF is a fault.
    Crlf,
    /// CRLF or a bare LF.
    AnyLf,
}

/// The reason why a line is not handed out, and its first octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The line passed the limit. It was skipped to its end, and reading can go on.
    TooLong(Box<[u8]>),
    /// The line ended in a bare LF under [`LineEnd::Crlf`], whatever its length.
    BareLf(Box<[u8]>),
}

/// A cutter of lines. Where the input is exchanged (STARTTLS) the reader must be too, for it remembers how far it
/// looked.
#[derive(Debug, Default)]
pub struct LineReader {
    /// Octets at the front of the input that hold no LF.
    scanned: usize,
    overlong: bool,
    /// Whether the last octet dropped from an overlong line was CR.
    dropped_cr: bool,
    /// The first octets of an overlong line.
    head: Box<[u8]>,
}

impl LineReader {
    /// The next line without its end, `None` when more input is needed. `limit` counts octets with the line end.
    /// Between lines nothing is remembered: the rest of `input` may be read by others.
    pub fn next(&mut self, input: &mut BytesMut, limit: usize, end: LineEnd) -> Option<Result<Bytes, LineFault>> {
        let Some(found) = memchr(b'\n', &input[self.scanned.min(input.len())..]) else {
            self.wait(input, limit);
            return None;
        };
        let length = self.scanned + found + 1;
        let before = std::mem::take(self);
        let mut line = input.split_to(length);
        line.truncate(length - 1);
        let crlf = line.last().map_or(before.dropped_cr, |&last| last == b'\r');
        let is_bare = !crlf && end == LineEnd::Crlf;
        if is_bare || before.overlong || length > limit {
            let head = if before.overlong { before.head } else { head(&line, limit) };
            return Some(Err(if is_bare { LineFault::BareLf(head) } else { LineFault::TooLong(head) }));
        }
        if crlf {
            line.truncate(line.len() - 1);
        }
        Some(Ok(line.freeze()))
    }

    fn wait(&mut self, input: &mut BytesMut, limit: usize) {
        if self.overlong || input.len() >= limit {
            if !self.overlong {
                self.head = head(input, limit);
            }
            self.overlong = true;
            self.dropped_cr = input.last().map_or(self.dropped_cr, |&last| last == b'\r');
            input.clear();
        }
        self.scanned = input.len();
    }
}

fn head(line: &[u8], limit: usize) -> Box<[u8]> {
    line[..line.len().min(limit).min(HEAD)].into()
}

/// Octets that are kept of a line that is not handed out.
const HEAD: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines() {
        let rows: [(&str, &str, LineEnd, &[&str], &str); 17] = [
            ("nothing", "", LineEnd::Crlf, &[], ""),
            ("an unfinished line", "NOOP", LineEnd::Crlf, &[], "NOOP"),
            ("an unfinished line end", "NOOP\r", LineEnd::AnyLf, &[], "NOOP\r"),
            ("a line", "NOOP\r\n", LineEnd::Crlf, &["NOOP"], ""),
            ("two lines and a rest", "A\r\nB\r\nC", LineEnd::Crlf, &["A", "B"], "C"),
            ("an empty line", "\r\n", LineEnd::Crlf, &[""], ""),
            ("a bare CR stays for the parser", "A\rB\r\n", LineEnd::Crlf, &["A\rB"], ""),
            ("two CR: one belongs to the end", "A\r\r\n", LineEnd::AnyLf, &["A\r"], ""),
            ("a bare LF is a fault", "A\nB\r\n", LineEnd::Crlf, &["BareLf A", "B"], ""),
            ("a bare LF at the start", "\n", LineEnd::Crlf, &["BareLf "], ""),
            ("a bare LF ends a line", "A\nB\r\n\n", LineEnd::AnyLf, &["A", "B", ""], ""),
            ("as long as the limit", "12345678\r\n", LineEnd::Crlf, &["12345678"], ""),
            ("longer by one", "123456789\r\nA\r\n", LineEnd::Crlf, &["TooLong 123456789\r", "A"], ""),
            ("much longer", "123456789012345678901234\r\nA\r\n", LineEnd::Crlf, &["TooLong 1234567890", "A"], ""),
            ("longer, bare LF taken", "1234567890\nA\n", LineEnd::AnyLf, &["TooLong 1234567890", "A"], ""),
            ("longer, bare LF not taken", "1234567890\nA\r\n", LineEnd::Crlf, &["BareLf 1234567890", "A"], ""),
            ("longer, with CR all over", "12\r45678\r\r\nA\r\n", LineEnd::Crlf, &["TooLong 12\r45678\r\r", "A"], ""),
        ];
        for (sentence, input, end, expected, left) in rows {
            let input = input.as_bytes();
            for (manner, (lines, rest)) in [("whole", fed([input], end)), ("by octets", fed(input.chunks(1), end))] {
                let lines: Vec<_> = lines.iter().map(text_or_fault).collect();
                assert_eq!(lines, expected, "{sentence}, {manner}");
                assert_eq!(rest, left, "{sentence}, {manner}");
            }
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut reader = LineReader::default();
        let mut input = BytesMut::new();
        for _ in 0..1000 {
            input.extend_from_slice(&[b'x'; 100]);
            assert_eq!(reader.next(&mut input, MAX_COMMAND_LINE, LineEnd::AnyLf), None);
            assert!(input.len() < MAX_COMMAND_LINE);
        }
        input.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(
            reader.next(&mut input, MAX_COMMAND_LINE, LineEnd::AnyLf),
            Some(Err(LineFault::TooLong([b'x'; HEAD].into())))
        );
        assert_eq!(reader.next(&mut input, MAX_COMMAND_LINE, LineEnd::AnyLf), Some(Ok(Bytes::from_static(b"NOOP"))));
    }

    #[test]
    fn what_follows_a_line_is_left() {
        let mut input = BytesMut::from("DATA\r\nthe\nmessage");
        let line = LineReader::default().next(&mut input, MAX_COMMAND_LINE, LineEnd::Crlf);
        assert_eq!(line, Some(Ok(Bytes::from_static(b"DATA"))));
        assert_eq!(input, "the\nmessage");
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(text in "[a\r\n]{0,60}", cuts in proptest::collection::vec(1_usize..8, 60), any_lf: bool) {
            let end = if any_lf { LineEnd::AnyLf } else { LineEnd::Crlf };
            let (whole, whole_left) = fed([text.as_bytes()], end);
            let mut rest = text.as_bytes();
            let pieces = cuts.iter().map_while(|&cut| {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                rest = behind;
                (!piece.is_empty()).then_some(piece)
            });
            prop_assert_eq!(fed(pieces, end), (whole.clone(), whole_left.clone()));
            prop_assert_eq!(fed(text.as_bytes().chunks(1), end), (whole, whole_left));
        }
    }

    fn fed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, end: LineEnd) -> (Vec<Result<Bytes, LineFault>>, Bytes) {
        let mut reader = LineReader::default();
        let mut input = BytesMut::new();
        let mut lines = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(line) = reader.next(&mut input, LIMIT, end) {
                lines.push(line);
            }
        }
        (lines, input.freeze())
    }

    fn text_or_fault(line: &Result<Bytes, LineFault>) -> String {
        let text = String::from_utf8_lossy;
        match line {
            Ok(line) => text(line).into_owned(),
            Err(LineFault::TooLong(head)) => format!("TooLong {}", text(head)),
            Err(LineFault::BareLf(head)) => format!("BareLf {}", text(head)),
        }
    }

    const LIMIT: usize = 10;
}
