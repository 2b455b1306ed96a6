//! The way from a canonical body on the wire to the text of a Maildir: dots unstuffed (RFC 5321 4.5.2), CRLF to LF. It must
//! not be fed anything but our own session's output: a bare LF is no line end here.

use bytes::Buf;
use bytes::BytesMut;

/// Decodes one body. The result is the same wherever the input is cut.
#[derive(Debug, Default)]
pub(super) struct BodyDecoder {
    at: At,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    LineStart,
    Text,
    Cr,
    Dot,
    DotCr,
}

impl BodyDecoder {
    /// Takes `input`, up to the final dot if that is in it; adds the text to `text`. True at the end.
    pub(super) fn decode(&mut self, input: &mut BytesMut, text: &mut Vec<u8>) -> bool {
        let mut rest: &[u8] = input;
        while let [first, after @ ..] = rest {
            (self.at, rest) = match (self.at, *first) {
                (At::LineStart, b'.') => (At::Dot, after),
                (At::Dot, b'\r') => (At::DotCr, after),
                (At::DotCr, b'\n') => {
                    let taken = input.len() - after.len();
                    input.advance(taken);
                    return true;
                }
                (At::Cr, b'\n') => {
                    text.push(b'\n');
                    (At::LineStart, after)
                }
                (At::Cr | At::DotCr, _) => {
                    text.push(b'\r');
                    (At::Text, rest)
                }
                (At::LineStart | At::Dot | At::Text, _) => match memchr::memchr(b'\r', rest) {
                    Some(end) => {
                        text.extend_from_slice(&rest[..end]);
                        (At::Cr, &rest[end + 1..])
                    }
                    None => {
                        text.extend_from_slice(rest);
                        (At::Text, &rest[rest.len()..])
                    }
                },
            };
        }
        input.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    proptest! {
        /// Any lines, cut anywhere: the same text, and what follows the final dot stays.
        #[test]
        fn decoding_undoes_encoding(
            lines in prop::collection::vec("[.a\t]{0,4}", 0..8),
            cuts in prop::collection::vec(1usize..6, 40),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut wire = encode(text.as_bytes());
            wire.extend_from_slice(b"QUIT\r\n");
            let (mut rest, mut input, mut decoded) = (wire.as_slice(), BytesMut::new(), Vec::new());
            let mut decoder = BodyDecoder::default();
            for cut in cuts.into_iter().chain(std::iter::repeat(9)) {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                (rest, input) = (after, part.into());
                if decoder.decode(&mut input, &mut decoded) {
                    break;
                }
                prop_assert!(input.is_empty() && !rest.is_empty());
            }
            prop_assert_eq!(decoded, text.into_bytes());
            prop_assert_eq!([&input[..], rest].concat(), b"QUIT\r\n");
        }
    }
}
