//! What must hold for the text of a message that passes: its header, hops and fingerprints.

use portcullis::policy::hops::HopRules;
use portcullis::policy::hops::Hops;
use portcullis::policy::message::MessageFacts;
use portcullis::policy::message::MessageReader;
use portcullis::policy::virtualdomains::VirtualDomains;
use portcullis::smtp::address;

use super::CUTS;

/// A message as it goes to the backend: the same facts wherever it is cut, a fingerprint that its last octet changes, and
/// one that a field which is written anew for every try does not.
pub fn message(input: &[u8]) {
    // A message with a NUL does not pass.
    let input: Vec<u8> = input.iter().copied().filter(|octet| *octet != 0).collect();
    let whole = read(&input, input.len());
    for cut in CUTS {
        let cut_up = read(&input, cut);
        assert_eq!(format!("{whole:?}"), format!("{cut_up:?}"), "cut to {cut}");
    }
    let Some(prints) = whole.fingerprints else { return };
    assert!(whole.message_id.as_ref().is_none_or(|id| !id.contains('\n')), "{:?}", whole.message_id);
    // Behind an empty line it is the body's last octet, whatever stands before.
    let ends = [b"x", b"y"].map(|end| [&input[..], b"\r\n\r\n", end].concat());
    let [one, other] = ends.map(|text| read(&text, text.len()).fingerprints);
    assert_ne!(one, other, "another last octet");
    let signed = [b"DKIM-Signature: v=1;\r\n\tb=x\r\n", &input[..]].concat();
    let anew = read(&signed, signed.len());
    // A first line that goes on with a blank would be a part of the signature.
    if !input.starts_with(b" ") && !input.starts_with(b"\t") {
        assert_eq!(anew.fingerprints, Some(prints), "signed anew");
        assert_eq!(anew.message_id, whole.message_id);
    }
    drop(whole.hops.ruling(HopRules::default()));
}

fn read(text: &[u8], cut: usize) -> MessageFacts {
    let recipient = address::parse_address(b"joe@example.org").ok();
    let mut reader =
        MessageReader::new(Hops::new("mx.example.org", &VirtualDomains::default(), recipient.iter()), Some(&[7; 32]));
    text.chunks(cut.max(1)).for_each(|piece| reader.feed(piece));
    reader.finish()
}
