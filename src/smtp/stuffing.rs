//! The stuffing of a message that is held without it, on its way behind DATA. It must not judge the message, nor copy
//! octets in which no line begins with a dot.

use bytes::Bytes;
use memchr::memmem;

/// Puts a dot before each line that begins with one (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct Stuffer {
    at_line: bool,
}

impl Default for Stuffer {
    /// A stuffer that stands at the start of the message.
    fn default() -> Self {
        Self { at_line: true }
    }
}

impl Stuffer {
    /// The next octets of the message, stuffed: canonical (no LF without CR), cut anywhere.
    pub fn stuff(&mut self, octets: Bytes) -> Bytes {
        let Some(last) = octets.last() else { return octets };
        let starts_line = std::mem::replace(&mut self.at_line, *last == b'\n');
        let first = if starts_line && octets[0] == b'.' { Some(0) } else { dot_line(&octets, 0) };
        let Some(mut dot) = first else { return octets };
        let mut stuffed = Vec::with_capacity(octets.len() + octets.len() / 16 + 1);
        let mut from = 0;
        loop {
            stuffed.extend_from_slice(&octets[from..dot]);
            stuffed.push(b'.');
            from = dot;
            match dot_line(&octets, from) {
                Some(next) => dot = next,
                None => break,
            }
        }
        stuffed.extend_from_slice(&octets[from..]);
        stuffed.into()
    }
}

/// The first dot behind a line end, from here on.
fn dot_line(octets: &[u8], from: usize) -> Option<usize> {
    memmem::find(&octets[from..], b"\n.").map(|at| from + at + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::data::BareNewline;
    use crate::smtp::data::DataDecoder;
    use crate::smtp::data::Dots;

    fn stuffed(text: &[u8], cut: usize) -> Vec<u8> {
        let mut stuffer = Stuffer::default();
        text.chunks(cut).flat_map(|piece| stuffer.stuff(Bytes::copy_from_slice(piece))).collect()
    }

    #[test]
    fn a_dot_before_each_line_that_begins_with_one() {
        let rows = [
            ("nothing", "", ""),
            ("no dot", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            ("dots elsewhere", "a.\r\n b.\r\n", "a.\r\n b.\r\n"),
            ("the first line", ".a\r\n", "..a\r\n"),
            ("a lone dot", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"),
            ("two dots", "..\r\n", "...\r\n"),
            ("one behind the other", ".\r\n.\r\n.\r\n", "..\r\n..\r\n..\r\n"),
        ];
        for (sentence, text, expected) in rows {
            for cut in 1..=text.len().max(1) {
                assert_eq!(stuffed(text.as_bytes(), cut), expected.as_bytes(), "{sentence}, cut to {cut}");
            }
        }
    }

    #[test]
    fn octets_without_such_a_line_are_not_copied() {
        let text = Bytes::from("a line.\r\n".repeat(9));
        assert_eq!(Stuffer::default().stuff(text.clone()).as_ptr(), text.as_ptr());
    }

    proptest! {
        /// Held plain and stuffed later, a message is the same as stuffed at once.
        #[test]
        fn a_plain_message_stuffed_is_the_stuffed_one(text in "[.a\r\n]{0,40}", cut in 1usize..9) {
            let decoded = |dots| {
                let (mut input, mut output) = (BytesMut::from(text.as_bytes()), Vec::new());
                let mut decoder = DataDecoder::new(BareNewline::Normalize, false, dots);
                let _ = decoder.decode(&mut input, &mut |octets| output.extend_from_slice(&octets));
                output
            };
            prop_assert_eq!(stuffed(&decoded(Dots::Plain), cut), decoded(Dots::Stuffed));
        }
    }
}
