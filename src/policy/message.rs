//! The reading of a message while it passes: its Message-ID and Date, its hops, and its fingerprints. Only the header
//! is looked at, folded lines included, and only so much of a field as memory allows; hashed is all of it. It must not
//! judge the message.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::policy::fingerprint::Fingerprints;
use crate::policy::fingerprint::Hashes;
use crate::policy::hops::Hops;
use crate::smtp::header::HeaderScanner;
use crate::smtp::header::HeaderSink;

/// A reader of one message.
#[derive(Debug)]
pub struct MessageReader {
    scanner: HeaderScanner,
    sink: Sink,
}

/// The facts that a message tells about itself.
#[derive(Debug)]
pub struct MessageFacts {
    /// The first Message-ID that is not empty, as it was written, with its angle brackets.
    pub message_id: Option<String>,
    /// The first Date, in seconds since the epoch; `None` where it cannot be read.
    pub date: Option<i64>,
    /// The hops in the header.
    pub hops: Hops,
    /// The fingerprints, unless no key was given.
    pub fingerprints: Option<Fingerprints>,
}

#[derive(Debug)]
struct Sink {
    field: Field,
    /// The field's octets, its name included, as far as they are looked at.
    text: Vec<u8>,
    message_id: Option<String>,
    date: Option<i64>,
    hops: Hops,
    hashes: Option<Hashes>,
}

/// The fields that are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Date,
    DeliveredTo,
    MessageId,
    Other,
    Received,
}

impl MessageReader {
    /// A reader before the first octet. Without a key no fingerprints are made.
    pub fn new(hops: Hops, key: Option<&[u8; 32]>) -> Self {
        let sink = Sink {
            field: Field::Other,
            text: Vec::new(),
            message_id: None,
            date: None,
            hops,
            hashes: key.map(Hashes::new),
        };
        Self { scanner: HeaderScanner::default(), sink }
    }

    /// Reads the next octets of the message, canonical, cut anywhere.
    pub fn feed(&mut self, octets: &[u8]) {
        self.scanner.feed(octets, &mut self.sink);
    }

    /// Ends the message.
    pub fn finish(mut self) -> MessageFacts {
        self.scanner.finish(&mut self.sink);
        self.sink.end_field();
        let Sink { message_id, date, hops, hashes, .. } = self.sink;
        MessageFacts { message_id, date, hops, fingerprints: hashes.map(|hashes| hashes.finish()) }
    }
}

impl HeaderSink for Sink {
    fn begin(&mut self, name: &[u8]) {
        self.end_field();
        self.field = Field::of(name);
        if let Some(hashes) = &mut self.hashes {
            hashes.begin(name);
        }
    }

    fn octets(&mut self, octets: &[u8]) {
        if self.field != Field::Other {
            let room = LOOKED_AT.saturating_sub(self.text.len());
            self.text.extend_from_slice(&octets[..octets.len().min(room)]);
        }
        if let Some(hashes) = &mut self.hashes {
            hashes.header(octets);
        }
    }

    fn body(&mut self, octets: &[u8]) {
        self.end_field();
        if let Some(hashes) = &mut self.hashes {
            hashes.body(octets);
        }
    }
}

impl Sink {
    fn end_field(&mut self) {
        let field = std::mem::replace(&mut self.field, Field::Other);
        if field == Field::Other {
            return;
        }
        let colon = memchr::memchr(b':', &self.text).map_or(0, |at| at + 1);
        let value = &self.text[colon..];
        match field {
            Field::Date => self.date = self.date.or_else(|| seconds(value)),
            Field::DeliveredTo => self.hops.delivered_to(value),
            // RFC 5322 section 3.6.4 allows one, folded or not.
            Field::MessageId if self.message_id.is_none() => {
                let lines = value.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
                let id = lines.into_iter().find(|line| !line.is_empty());
                self.message_id = id.map(|id| String::from_utf8_lossy(id).into_owned());
            }
            Field::MessageId | Field::Other => {}
            Field::Received => self.hops.received(value),
        }
        self.text.clear();
    }
}

impl Field {
    fn of(name: &[u8]) -> Self {
        let fields: [(&[u8], Self); 4] = [
            (b"date", Self::Date),
            (b"delivered-to", Self::DeliveredTo),
            (b"message-id", Self::MessageId),
            (b"received", Self::Received),
        ];
        let found = fields.iter().find(|(field, _)| name.eq_ignore_ascii_case(field));
        found.map_or(Self::Other, |(_, field)| *field)
    }
}

/// The time of a Date in seconds since the epoch (RFC 5322 section 3.3), obsolete zones included. A wrong day of the
/// week is ignored.
fn seconds(value: &[u8]) -> Option<i64> {
    let text = str::from_utf8(value).ok()?.trim();
    Some(DATES.parse_timestamp(text).ok()?.as_second())
}

const DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// Octets of a field that are looked at (RFC 5322 section 2.1.1: a line has at most 998).
const LOOKED_AT: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::hops::HopRules;
    use crate::policy::virtualdomains::VirtualDomains;
    use crate::smtp::address::Address;
    use crate::smtp::address::parse_address;

    fn read_for(recipients: &[&str], message: &[u8], cut: usize) -> MessageFacts {
        let recipients: Vec<Address> = recipients.iter().map(|it| parse_address(it.as_bytes()).unwrap()).collect();
        let virtual_domains = VirtualDomains::parse(b"virt.example:list-virt\n");
        let hops = Hops::new("MX.example.org", &virtual_domains, recipients.iter());
        let mut reader = MessageReader::new(hops, Some(&[7; 32]));
        message.chunks(cut.max(1)).for_each(|piece| reader.feed(piece));
        reader.finish()
    }

    fn fingerprints(message: &str) -> Fingerprints {
        read_for(&[], message.as_bytes(), usize::MAX).fingerprints.unwrap()
    }

    #[test]
    fn the_message_id_and_the_date() {
        let rows = [
            (
                "plain",
                "From: a\r\nMessage-ID: <1@x>\r\nDate: Mon, 23 Nov 2026 00:58:45 GMT\r\n\r\nbody\r\n",
                Some("<1@x>"),
                true,
            ),
            ("letter case and blanks", "mEsSaGe-iD \t:  <1@x> \r\n\r\n", Some("<1@x>"), false),
            (
                "folded",
                "Message-ID:\r\n <1@x>\r\nDate:\r\n Mon, 23 Nov 2026\r\n\t00:58:45 GMT (of the sun)\r\n\r\n",
                Some("<1@x>"),
                true,
            ),
            ("the first counts", "Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", Some("<1@x>"), false),
            ("not an empty one", "Message-ID: \r\nMessage-ID: <2@x>\r\nDate: \r\n\r\n", Some("<2@x>"), false),
            (
                "not in the body",
                "From: a\r\n\r\nMessage-ID: <1@x>\r\nDate: Mon, 23 Nov 2026 00:58:45 GMT\r\n",
                None,
                false,
            ),
            ("not in another field's fold", "Subject: x\r\n Message-ID: <1@x>\r\n\r\n", None, false),
            ("a name that only begins so", "Message-IDs: <1@x>\r\nDated: x\r\n\r\n", None, false),
            ("no header at all", "\r\nMessage-ID: <1@x>\r\n", None, false),
            ("nothing behind it", "Message-ID: <1@x>\r\n", Some("<1@x>"), false),
        ];
        for (what, message, id, date) in rows {
            for cut in 1..message.len() {
                let facts = read_for(&[], message.as_bytes(), cut);
                assert_eq!((facts.message_id.as_deref(), facts.date.is_some()), (id, date), "{what}, cut to {cut}");
            }
        }
    }

    #[test]
    fn dates_as_people_write_them() {
        let rows = [
            ("as it should be", "Mon, 23 Nov 2026 00:58:45 +0000", Some(1_795_395_525)),
            ("of another zone", "Mon, 23 Nov 2026 01:58:45 +0100", Some(1_795_395_525)),
            ("with its name behind", "Mon, 23 Nov 2026 00:58:45 +0000 (UTC)", Some(1_795_395_525)),
            ("of an obsolete zone", "Sun, 22 Nov 2026 19:58:45 EST", Some(1_795_395_525)),
            ("without a day of the week", "23 Nov 2026 00:58:45 +0000", Some(1_795_395_525)),
            ("of the wrong day", "Fri, 23 Nov 2026 00:58:45 +0000", Some(1_795_395_525)),
            ("without seconds", "Mon, 23 Nov 2026 00:58 +0000", Some(1_795_395_480)),
            ("of a device without a clock", "Thu, 1 Jan 1970 00:00:00 +0000", Some(0)),
            ("no date", "yesterday", None),
            ("nothing", "", None),
        ];
        for (what, date, expected) in rows {
            assert_eq!(read_for(&[], format!("Date: {date}\r\n\r\n").as_bytes(), 7).date, expected, "{what}");
        }
    }

    #[test]
    fn which_messages_are_the_same() {
        let first = "From: a\r\nDate: 1\r\nMessage-ID: <1@x>\r\nSubject: s\r\n\r\nbody\r\n";
        let (none, weak, both) = ((false, false), (false, true), (true, true));
        let rows = [
            ("itself", first.to_owned(), both),
            ("signed anew", format!("DKIM-Signature: v=1\r\n\tb=abc\r\nARC-Seal: i=1\r\narc-x: y\r\n{first}"), both),
            ("by others", format!("X-Google-DKIM-Signature: x\r\ndomainkey-signature: y\r\n{first}"), both),
            ("received on another way", format!("Received: by x\r\n\tfor y\r\n{first}"), weak),
            ("delivered", format!("Delivered-To: x\r\n{first}"), none),
            ("judged", format!("Authentication-Results: x\r\n{first}"), none),
            ("returned", format!("Return-Path: <>\r\n{first}"), none),
            ("by another's field", format!("X-Received: z\r\n{first}"), none),
            ("another Date", first.replace("Date: 1", "Date: 2"), weak),
            ("another Message-ID", first.replace("<1@x>", "<2@x>"), weak),
            ("no Date", first.replace("Date: 1\r\n", ""), weak),
            ("the last octet of the body", first.replace("body", "bodz"), none),
            ("an octet of the header", first.replace("Subject: s", "Subject: t"), none),
            ("an octet that moved", first.replace("Subject: s\r\n\r\n", "\r\nSubject: s\r\n"), none),
            ("an empty line more", first.replace("\r\n\r\n", "\r\n\r\n\r\n"), none),
            ("Date elsewhere", first.replace("Date: 1\r\n", "").replace("Subject", "Date: 1\r\nSubject"), weak),
            ("Date in the body", first.replace("Date: 1\r\n", "").replace("body", "Date: 1\r\nbody"), none),
            ("twice the Date", first.replace("Date: 1\r\n", "Date: 1\r\nDate: 1\r\n"), weak),
            ("folded elsewhere", first.replace("Subject: s", "Subject:\r\n s"), none),
            ("a field with nearly such a name", format!("DKIM-Signatures: x\r\n{first}"), none),
            ("a field with a shorter name", format!("DKIM-Signatur: x\r\n{first}"), none),
            ("such a field in the body", format!("{first}Received: by x\r\n"), none),
            ("one behind a line that is no field", format!("From x\r\nReceived: y\r\n{first}"), none),
            ("nothing", String::new(), none),
        ];
        let expected = fingerprints(first);
        for (what, message, (strong, weak)) in rows {
            let found = fingerprints(&message);
            assert_eq!((found.strong == expected.strong, found.weak == expected.weak), (strong, weak), "{what}");
        }
        assert_ne!(fingerprints("").strong, fingerprints("\r\n").strong);
        assert_ne!(fingerprints("a: b\r\n").strong, fingerprints("a: b\r\n\r\n").strong);
    }

    #[test]
    fn loops() {
        let own = "Delivered-To: joe@example.org\r\n";
        let prefixed = "Delivered-To: List-virt-Joe@Virt.Example\r\n";
        let ours = "Received: from x (y)\r\n  by mx.example.org with ESMTP id 1\r\n  for <Joe@example.org>; now\r\n";
        let others = "Received: from x by mx.example.net for <joe@example.org>; now\r\n";
        let for_nobody = "Received: from x by mx.example.org; now\r\n";
        let rows = [
            ("at the limit", own.repeat(3), &["joe@example.org"][..], None),
            ("over it", own.repeat(4), &["joe@example.org"], Some("message.own_hops")),
            ("by a virtual domain", prefixed.repeat(4), &["joe@virt.example"], Some("message.own_hops")),
            (
                "of a user whose name ends alike",
                "Delivered-To: mary-joe@example.org\r\n".repeat(9),
                { &["joe@example.org"] },
                None,
            ),
            ("another prefix", "Delivered-To: virt-joe@virt.example\r\n".repeat(9), &["joe@virt.example"], None),
            ("A-labels", "Delivered-To: joe@xn--bcher-kva.example\r\n".repeat(4), &["joe@bücher.example"], {
                Some("message.own_hops")
            }),
            ("a longer name is another", "Delivered-To: ajoe@example.org\r\n".repeat(9), &["joe@example.org"], None),
            ("for one of two", own.repeat(9), &["joe@example.org", "sue@example.org"], None),
            ("our own Received", ours.repeat(4), &["joe@example.org"], Some("message.own_hops")),
            ("Received and Delivered-To of one delivery", format!("{ours}{own}").repeat(3), &["joe@example.org"], None),
            ("another host's", others.repeat(9), &["joe@example.org"], None),
            ("without a recipient", for_nobody.repeat(9), &["joe@example.org"], None),
            ("in the body", format!("\r\n{}", own.repeat(99)), &["joe@example.org"], None),
            ("many hops", others.repeat(50), &["joe@example.org"], None),
            ("too many hops", others.repeat(51), &["joe@example.org"], Some("message.max_hops")),
            ("too many deliveries", "Delivered-To: x@y\r\n".repeat(51), &["joe@example.org"], Some("message.max_hops")),
        ];
        for (what, header, recipients, rule) in rows {
            for cut in [1, 7, usize::MAX] {
                let facts = read_for(recipients, header.as_bytes(), cut);
                let ruling = facts.hops.ruling(HopRules::default());
                assert_eq!(ruling.as_ref().and_then(|ruling| ruling.rule.as_deref()), rule, "{what}, cut to {cut}");
                assert!(ruling.is_none_or(|ruling| ruling.reply.code == 554 && ruling.reply.status == "5.4.6"));
            }
        }
    }

    #[test]
    fn a_field_without_end_takes_no_memory() {
        let mut reader = MessageReader::new(Hops::new("x", &VirtualDomains::default(), std::iter::empty()), None);
        reader.feed(b"Received: ");
        (0..1000).for_each(|_| reader.feed(&[b'x'; 1000]));
        assert!(reader.sink.text.capacity() <= 2 * LOOKED_AT);
    }

    proptest! {
        #[test]
        fn a_cut_makes_no_difference(lines in prop::collection::vec("[DRd :a]{0,3}(ate: x|eceived: y|elivered-To: a@b)?", 0..8),
                                     cut in 1usize..9) {
            let message = lines.join("\r\n");
            let (whole, cut) = (read_for(&["a@b"], message.as_bytes(), usize::MAX), read_for(&["a@b"], message.as_bytes(), cut));
            prop_assert_eq!(whole.fingerprints, cut.fingerprints);
            prop_assert_eq!(format!("{:?}", whole.hops), format!("{:?}", cut.hops));
            prop_assert_eq!(whole.date, cut.date);
        }
    }
}
