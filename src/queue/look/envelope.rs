//! The records of `todo`, `intd`, `info`, `local` and `remote`: a letter, text, NUL. A record without its NUL (the file
//! is being written, or a crash cut it) does not count. It must not open files.

use memchr::memchr;

/// One whole record of a queue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The record's letter: `u` `p` `F` `T` `D`; an empty record has NUL.
    pub kind: u8,
    /// The text after the letter, without the NUL.
    pub text: &'a [u8],
    /// Offset of the letter in the file.
    pub at: u64,
}

/// The whole records of a file, in file order.
pub fn records(octets: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &octets[at..];
        let length = memchr(0, rest)?;
        let (kind, text) = rest[..length].split_first().map_or((0, &rest[..0]), |(kind, text)| (*kind, text));
        let record = Record { kind, text, at: at as u64 };
        at += length + 1;
        Some(record)
    })
}

/// The contents of `todo/N`, or as much of `intd/N` as was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The user that ran qmail-queue.
    pub uid: Option<u32>,
    /// The pid of qmail-queue.
    pub qp: Option<u32>,
    /// The sender; empty is the null sender.
    pub sender: Option<&'a [u8]>,
}

/// Reads the records before the recipients.
pub fn envelope(octets: &[u8]) -> Envelope<'_> {
    let mut envelope = Envelope::default();
    for record in records(octets).take_while(|record| !matches!(record.kind, b'T' | b'D')).take(MOST_BEFORE) {
        match record.kind {
            b'u' => envelope.uid = number(record.text),
            b'p' => envelope.qp = number(record.text),
            b'F' => envelope.sender = Some(record.text),
            _ => {}
        }
    }
    envelope
}

/// The sender in `info/N`: the first record; `None` if it is not written yet.
pub fn sender(octets: &[u8]) -> Option<&[u8]> {
    records(octets).next().filter(|record| record.kind == b'F').map(|record| record.text)
}

/// The recipients, up to a record that qmail-send does not know: qmail-send stops reading there too.
pub fn recipients(octets: &[u8]) -> impl Iterator<Item = Record<'_>> {
    records(octets)
        .skip_while(|record| matches!(record.kind, b'u' | b'p' | b'F'))
        .take_while(|record| matches!(record.kind, b'T' | b'D'))
}

/// Whether qmail-send would stop at a record that it does not know, or that is not whole.
pub fn is_odd(octets: &[u8]) -> bool {
    let known = |record: Record<'_>| matches!(record.kind, b'u' | b'p' | b'F' | b'T' | b'D');
    octets.last().is_some_and(|last| *last != 0) || !records(octets).all(known)
}

fn number(text: &[u8]) -> Option<u32> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Records read before the recipients; qmail writes three.
const MOST_BEFORE: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn envelopes_whole_and_cut() {
        let whole = Envelope { uid: Some(0), qp: Some(1599), sender: Some(b"alice@good.example") };
        let cases: &[(&str, &[u8], Envelope<'_>, usize)] = &[
            ("whole", b"u0\0p1599\0Falice@good.example\0Tjoe@example.org\0Tx@y\0", whole, 2),
            ("cut in a recipient", b"u0\0p1599\0Falice@good.example\0Tjoe@exa", whole, 0),
            ("cut in the sender", b"u0\0p1599\0Falice@", Envelope { sender: None, ..whole }, 0),
            ("empty", b"", Envelope::default(), 0),
            ("null sender", b"F\0T\0", Envelope { sender: Some(b""), ..Envelope::default() }, 1),
            ("no numbers", b"u-1\0p99999999999\0", Envelope::default(), 0),
            (
                "an unknown record ends it",
                b"Fa\0Tb\0Xc\0Td\0",
                Envelope { sender: Some(b"a"), ..Envelope::default() },
                1,
            ),
        ];
        for (what, octets, expected, count) in cases {
            assert_eq!(envelope(octets), *expected, "{what}");
            assert_eq!(recipients(octets).count(), *count, "{what}");
        }
    }

    #[test]
    fn records_know_where_they_stand() {
        let octets = b"Tjoe@a\0Dfred@b\0\0T";
        let found: Vec<_> = records(octets).map(|record| (record.kind, record.at)).collect();
        assert_eq!(found, [(b'T', 0), (b'D', 7), (0, 15)]);
        assert!(is_odd(octets) && is_odd(b"X\0") && !is_odd(b"Tjoe\0") && !is_odd(b""));
    }

    #[test]
    fn info_is_one_record() {
        assert_eq!(sender(b"F#@[]\0"), Some(b"#@[]".as_slice()));
        assert_eq!(sender(b"F\0"), Some(b"".as_slice()));
        assert_eq!(sender(b"Fhalf"), None);
        assert_eq!(sender(b"Tjoe\0"), None);
    }
}
