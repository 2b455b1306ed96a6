//! A message's header for people: fields, unfolded and decoded (RFC 2047). Long fields are cut, because strangers write
//! them. It must not open files, nor judge.

use mailparse::MailHeader;

/// The fields of a header, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Name and decoded text; control characters are not removed.
    pub fields: Vec<(String, String)>,
    /// Whether the header was longer than [`MAX_HEADER`].
    pub is_cut: bool,
}

impl Header {
    /// The first field called `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field called `name`, in any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let is = move |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is).map(|(_, text)| text.as_str())
    }
}

/// Parses the header at the start of a message, with the queue's LF line ends or with CRLF. Keeps only the fields in
/// `names`; without any, all.
pub fn parse(octets: &[u8], names: &[&str]) -> Header {
    let octets = &octets[..octets.len().min(MAX_HEADER)];
    let mut header = Header { fields: Vec::new(), is_cut: octets.len() == MAX_HEADER };
    let mut rest = octets;
    for _ in 0..MAX_FIELDS {
        let length = field_length(rest);
        let (field, after) = rest.split_at(length);
        let Some(colon) = memchr::memchr(b':', field) else { return Header { is_cut: false, ..header } };
        let name = field[..colon].trim_ascii_end();
        // The header ends at the empty line or at the first line that is no field (RFC 5322 section 2.2).
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return Header { is_cut: false, ..header };
        }
        rest = after;
        if names.is_empty() || names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes())) {
            header.fields.push((String::from_utf8_lossy(name).into_owned(), decoded(field, colon)));
        }
        if rest.is_empty() {
            return header;
        }
    }
    header.is_cut = true;
    header
}

/// Length of a field with its folded lines.
fn field_length(octets: &[u8]) -> usize {
    let mut end = 0;
    loop {
        match memchr::memchr(b'\n', &octets[end..]) {
            None => return octets.len(),
            Some(at) => end += at + 1,
        }
        if !matches!(octets.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
}

fn decoded(field: &[u8], colon: usize) -> String {
    let field = &field[..field.len().min(MAX_FIELD)];
    // Most fields are one line without an encoded word: no decoding needed.
    let plain = field.get(colon + 1..).unwrap_or_default().trim_ascii();
    if plain.iter().all(|octet| matches!(octet, b' '..=b'~')) && memchr::memmem::find(plain, b"=?").is_none() {
        return String::from_utf8_lossy(plain).into_owned();
    }
    let value = match mailparse::parse_header(field) {
        Ok((header, _)) => MailHeader::get_value(&header),
        // mailparse refuses the name: keep the text as it is.
        Err(_) => {
            let colon = memchr::memchr(b':', field).map_or(0, |at| at + 1);
            String::from_utf8_lossy(&field[colon..]).trim().to_owned()
        }
    };
    value.trim().to_owned()
}

/// Octets of a header that are read.
pub const MAX_HEADER: usize = 64 << 10;
/// Octets of a field that are decoded.
const MAX_FIELD: usize = 8 << 10;
const MAX_FIELDS: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn subject(text: &str) -> Option<String> {
        parse(text.as_bytes(), &["Subject"]).get("subject").map(str::to_owned)
    }

    #[test]
    fn subjects_are_unfolded_and_decoded() {
        let cases = [
            ("plain", "From: a\nSubject: hello world\n\nSubject: body\n", Some("hello world")),
            ("CRLF", "SUBJECT:hello\r\n\r\n", Some("hello")),
            ("folded", "Subject: hello\n world\nTo: x\n", Some("hello world")),
            ("quoted-printable", "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n\n", Some("Grüße")),
            ("base64, another charset", "Subject: =?iso-8859-1?B?R3L832U=?=\n\n", Some("Grüße")),
            ("two words", "Subject: =?utf-8?Q?a?=\n =?utf-8?Q?b?=\n\n", Some("ab")),
            ("an unknown charset stays", "Subject: =?x-none?Q?a?=\n\n", Some("=?x-none?Q?a?=")),
            ("raw UTF-8", "Subject: Grüße\n\n", Some("Grüße")),
            ("none", "From: a\n\nSubject: in the body\n", None),
            ("a line that is no field ends the header", "From: a\nno field\nSubject: x\n", None),
            ("empty", "Subject:\n\n", Some("")),
            ("no end", "Subject: x", Some("x")),
            ("nothing", "", None),
        ];
        for (what, text, expected) in cases {
            assert_eq!(subject(text).as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn all_fields_in_order() {
        let header = parse(b"Received: a\nReceived: b\nTo : c\n\nX: y\n", &[]);
        let fields: Vec<_> = header.fields.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(fields, [("Received", "a"), ("Received", "b"), ("To", "c")]);
        assert_eq!(header.all("received").count(), 2);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = format!("Subject: {}\nTo: x\n\n", "x".repeat(MAX_HEADER));
        let header = parse(long.as_bytes(), &[]);
        assert!(header.is_cut && header.fields.len() == 1 && header.fields[0].1.len() <= MAX_FIELD);
        let many = parse("A: b\n".repeat(MAX_FIELDS + 9).as_bytes(), &[]);
        assert_eq!(many.fields.len(), MAX_FIELDS);
    }
}
