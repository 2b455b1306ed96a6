//! What is read in the header of a message while it passes: its Message-ID, for the record. Only the header is looked
//! at, folded lines included, and only so much of it as memory allows.

/// Reads canonical octets (CRLF line ends) until the header ends.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    line: Vec<u8>,
    in_message_id: bool,
    done: bool,
    message_id: Option<String>,
}

impl HeaderReader {
    /// The next octets of the message, cut anywhere.
    pub(super) fn feed(&mut self, mut octets: &[u8]) {
        while !self.done && !octets.is_empty() {
            let end = memchr::memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
            let (part, rest) = octets.split_at(end);
            let room = LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
            octets = rest;
        }
    }

    /// With its angle brackets, as it was written.
    pub(super) fn into_message_id(self) -> Option<String> {
        self.message_id
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        if text.is_empty() {
            self.done = true;
            return;
        }
        let folded = line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        if !folded {
            self.in_message_id = false;
            if let Some(value) = value_of(text, b"message-id") {
                self.in_message_id = true;
                self.keep(value);
            }
        } else if self.in_message_id {
            self.keep(text);
        }
        self.line = line;
        self.line.clear();
    }

    /// The first value that is not empty: RFC 5322 section 3.6.4 allows one, folded or not.
    fn keep(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if self.message_id.is_none() && !value.is_empty() {
            self.message_id = Some(String::from_utf8_lossy(value).into_owned());
        }
    }
}

/// What stands behind the colon, if the field has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let colon = memchr::memchr(b':', line)?;
    let (field, value) = line.split_at(colon);
    field.trim_ascii_end().eq_ignore_ascii_case(name).then(|| &value[1..])
}

/// Octets of a line that are looked at (RFC 5322 section 2.1.1: a line has at most 998).
const LINE_LIMIT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_message_id_wherever_it_is_cut() {
        let rows: [(&str, &[u8], Option<&str>); 8] = [
            ("plain", b"From: a\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n", Some("<1@x>")),
            ("letter case and blanks", b"mEsSaGe-iD \t:  <1@x> \r\n\r\n", Some("<1@x>")),
            ("folded", b"Message-ID:\r\n <1@x>\r\n\r\n", Some("<1@x>")),
            ("the first counts", b"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", Some("<1@x>")),
            ("not in the body", b"From: a\r\n\r\nMessage-ID: <1@x>\r\n", None),
            ("not in another field's fold", b"Subject: x\r\n Message-ID: <1@x>\r\n\r\n", None),
            ("a name that only begins so", b"Message-IDs: <1@x>\r\n\r\n", None),
            ("no header at all", b"\r\nMessage-ID: <1@x>\r\n", None),
        ];
        for (what, message, expected) in rows {
            for cut in 1..message.len() {
                let mut reader = HeaderReader::default();
                message.chunks(cut).for_each(|chunk| reader.feed(chunk));
                assert_eq!(reader.into_message_id().as_deref(), expected, "{what}, cut to {cut}");
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut reader = HeaderReader::default();
        (0..1000).for_each(|_| reader.feed(&[b'x'; 1000]));
        assert!(reader.line.capacity() <= 2 * LINE_LIMIT);
    }
}
