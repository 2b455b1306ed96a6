//! The header of a message that passes, field by field, as octets come (canonical: CRLF line ends, cut anywhere). It
//! keeps nothing but the beginning of a line, so that a line of ten megabytes takes no memory, and it must not judge.
//!
//! The header ends at the empty line, and also at a line that is no field (RFC 5322 section 2.2): that line and all
//! behind it are body, because in doubt two messages must be told apart.

/// The receiver of a header's pieces.
pub trait HeaderSink {
    /// Begins a field; its octets follow, the name among them.
    fn begin(&mut self, name: &[u8]);

    /// Takes octets of the field, line ends and folded lines included.
    fn octets(&mut self, octets: &[u8]);

    /// Takes octets behind the header, the empty line included.
    fn body(&mut self, octets: &[u8]);
}

/// A scanner of one message, which knows the place of the next octet.
#[derive(Debug, Default)]
pub struct HeaderScanner {
    at: At,
    /// The beginning of a line, until its name is whole.
    name: Vec<u8>,
    has_field: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    LineStart,
    Name,
    Text,
    Body,
}

impl HeaderScanner {
    /// Scans the next octets of the message.
    pub fn feed(&mut self, mut octets: &[u8], sink: &mut impl HeaderSink) {
        while let Some(first) = octets.first() {
            match self.at {
                At::LineStart if self.has_field && matches!(first, b' ' | b'\t') => self.at = At::Text,
                At::LineStart => self.at = At::Name,
                At::Name => {
                    let (clean, rest) = octets.split_at(self.clean(octets));
                    self.name.extend_from_slice(clean);
                    octets = rest;
                    if let Some((next, rest)) = octets.split_first() {
                        self.name.push(*next);
                        octets = rest;
                        self.judge_name(sink);
                    }
                }
                At::Text => {
                    let end = memchr::memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
                    let (part, rest) = octets.split_at(end);
                    sink.octets(part);
                    if part.ends_with(b"\n") {
                        self.at = At::LineStart;
                    }
                    octets = rest;
                }
                At::Body => {
                    sink.body(octets);
                    return;
                }
            }
        }
    }

    /// Ends the message: a line that still waited for its colon was no field.
    pub fn finish(&mut self, sink: &mut impl HeaderSink) {
        if !self.name.is_empty() {
            self.end_header(sink);
        }
    }

    /// Number of octets that continue a name, whatever follows them: the bulk, so they are taken together.
    fn clean(&self, octets: &[u8]) -> usize {
        if self.name.last().is_some_and(|last| !last.is_ascii_graphic()) {
            return 0;
        }
        let room = octets.len().min(LONGEST_NAME.saturating_sub(self.name.len()));
        octets[..room].iter().position(|octet| !octet.is_ascii_graphic() || *octet == b':').unwrap_or(room)
    }

    /// Judges a name after any other octet; blanks before the colon are obsolete, but seen (RFC 5322 section 4.5.3).
    fn judge_name(&mut self, sink: &mut impl HeaderSink) {
        let Some((last, before)) = self.name.split_last() else { return };
        let text = before.trim_ascii_end();
        let goes_on = match last {
            b':' if !text.is_empty() => {
                sink.begin(text);
                sink.octets(&self.name);
                self.name.clear();
                self.has_field = true;
                self.at = At::Text;
                return;
            }
            b' ' | b'\t' => !text.is_empty(),
            b'!'..=b'~' => *last != b':' && text.len() == before.len(),
            // The CR of the empty line.
            b'\r' => before.is_empty(),
            _ => false,
        };
        if !goes_on || self.name.len() > LONGEST_NAME {
            self.end_header(sink);
        }
    }

    fn end_header(&mut self, sink: &mut impl HeaderSink) {
        self.at = At::Body;
        sink.body(&std::mem::take(&mut self.name));
    }
}

/// Octets of the longest name; no field that anybody looks for has a longer one.
const LONGEST_NAME: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(String);

    impl HeaderSink for Seen {
        fn begin(&mut self, name: &[u8]) {
            self.0.push_str(&format!("[{}]", name.escape_ascii()));
        }

        fn octets(&mut self, octets: &[u8]) {
            self.0.push_str(&octets.escape_ascii().to_string());
        }

        fn body(&mut self, octets: &[u8]) {
            self.0.push_str(&octets.escape_ascii().to_string().to_uppercase());
        }
    }

    #[test]
    fn fields_and_body_wherever_it_is_cut() {
        // What stands in the body is shown in capitals.
        let rows = [
            ("fields", "a: b\r\nc: d\r\n\r\ne\r\n", "[a]a: b\\r\\n[c]c: d\\r\\n\\R\\NE\\R\\N"),
            ("folded", "a: b\r\n c\r\nd:e\r\n\r\n", "[a]a: b\\r\\n c\\r\\n[d]d:e\\r\\n\\R\\N"),
            ("blanks before the colon", "a \t: b\r\n\r\n", "[a]a \\t: b\\r\\n\\R\\N"),
            ("no header", "\r\na: b\r\n", "\\R\\NA: B\\R\\N"),
            ("a line that is no field", "a: b\r\nno field\r\nc: d\r\n", "[a]a: b\\r\\nNO FIELD\\R\\NC: D\\R\\N"),
            ("a fold without a field", " a: b\r\n", " A: B\\R\\N"),
            ("no name", ": b\r\n", ": B\\R\\N"),
            ("nothing behind the name", "abc", "ABC"),
            ("eight bits in a name", "\u{e9}: b\r\n", "\\XC3\\XA9: B\\R\\N"),
            ("a colon in the value", "a: b:c\r\n", "[a]a: b:c\\r\\n"),
        ];
        for (what, message, expected) in rows {
            for cut in 1..=message.len() {
                let (mut scanner, mut seen) = (HeaderScanner::default(), Seen::default());
                message.as_bytes().chunks(cut).for_each(|piece| scanner.feed(piece, &mut seen));
                scanner.finish(&mut seen);
                assert_eq!(seen.0, expected, "{what}, cut to {cut}");
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        for start in ["", "x: "] {
            let (mut scanner, mut seen) = (HeaderScanner::default(), Seen::default());
            scanner.feed(start.as_bytes(), &mut seen);
            (0..100).for_each(|_| scanner.feed(&[b'x'; 1000], &mut seen));
            assert!(scanner.name.capacity() <= 2 * LONGEST_NAME);
        }
    }
}
