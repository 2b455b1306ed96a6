//! badmailfrom as the real qmail-smtpd reads it: 41 senders against a list with every odd line. One verdict differs by
//! intent: a trailing dot does not evade the list.

use portcullis::policy::list::AddressList;
use portcullis::policy::list::Dialect;

const LIST: &[u8] = include_bytes!("samples/badmailfrom.vectors");
/// Sender, verdict of qmail-smtpd, verdict of smtpfront-qmail; Latin-1.
const EXPECTED: &[u8] = include_bytes!("samples/badmailfrom.expected.tsv");

#[test]
fn every_sender_is_ruled_on_as_by_qmail() {
    let list = AddressList::parse("badmailfrom".into(), Dialect::Qmail, LIST).expect("qmail's dialect has no faults");
    let mut senders = 0;
    for line in EXPECTED.split(|&octet| octet == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let columns: Vec<&[u8]> = line.split(|&octet| octet == b'\t').collect();
        let sender = columns[0];
        let is_blocked = columns[1] == b"BLOCK" || sender.ends_with(b".");
        assert_eq!(list.find_folded(&folded(sender)).is_some(), is_blocked, "{}", sender.escape_ascii());
        senders += 1;
    }
    assert_eq!(senders, 41);
}

/// What qmail-smtpd's `addrparse` makes of a sender, in lower case and without a trailing dot.
fn folded(sender: &[u8]) -> Vec<u8> {
    let mut rest = sender;
    if sender.starts_with(b"@") {
        let colon = sender.iter().position(|&octet| octet == b':');
        rest = colon.map_or(&[], |colon| &sender[colon + 1..]);
    }
    let mut folded = Vec::new();
    let mut octets = rest.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => {}
            b'\\' => folded.extend(octets.next()),
            _ => folded.push(octet),
        }
    }
    folded.make_ascii_lowercase();
    folded.strip_suffix(b".").map(<[u8]>::to_vec).unwrap_or(folded)
}
