//! What must hold for the files of a queue: envelope records, a message's header, and what stands in quarantine.

use portcullis::policy::virtualdomains::VirtualDomains;
use portcullis::queue::look::Message;
use portcullis::queue::look::Recipient;
use portcullis::queue::look::Recipients;
use portcullis::queue::look::envelope;
use portcullis::queue::look::header;
use portcullis::queue::quarantine::saved;
use portcullis::text::readable::shown;

/// The same octets as each of these files: records lie inside it, what is shown is safe, and what is kept in quarantine
/// reads as it was written, for the same recipients.
pub fn queue(input: &[u8]) {
    let records: Vec<_> = envelope::records(input).collect();
    for record in &records {
        let at = usize::try_from(record.at).expect("a place in the file");
        match record.kind {
            0 if record.text.is_empty() => assert_eq!(input[at], 0),
            kind => {
                let end = at + 1 + record.text.len();
                assert_eq!((input[at], &input[at + 1..end], input[end]), (kind, record.text, 0));
            }
        }
    }
    assert!(records.len() <= input.iter().filter(|octet| **octet == 0).count());
    let header = header::parse(input, &[]);
    for (name, text) in &header.fields {
        assert!(!name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic()), "{name:?}");
        assert!(!shown(text).contains(char::is_control), "{text:?}");
    }
    assert_eq!(header::parse(input, &["subject"]).get("Subject"), header.get("SUBJECT"));
    let domains = VirtualDomains::parse(input);
    kept(input, &VirtualDomains::default());
    kept(input, &domains);
    if let Some(saved) = saved::read(input) {
        assert_eq!(saved.recipients.len(), saved.places.len());
        assert!(saved.envelope().ends_with(b"\0\0"), "qmail-queue waits for the end");
    }
}

fn kept(input: &[u8], domains: &VirtualDomains) {
    let kept: Vec<Recipient> = envelope::recipients(input)
        .map(|record| Recipient { done: record.kind == b'D', address: record.text.into() })
        .collect();
    let to_do = kept.iter().filter(|recipient| !recipient.done).count();
    let list = Recipients { done: kept.len() - to_do, to_do, kept, modified: 0 };
    let found = envelope::envelope(input);
    let message = Message {
        uid: found.uid,
        qp: found.qp,
        sender: found.sender.map(Box::from),
        queued: Some(list.clone()),
        ..Message::default()
    };
    let Some(octets) = saved::write(&message, domains) else { return assert!(message.sender.is_none()) };
    let saved = saved::read(&octets).expect("what was written can be read");
    assert_eq!((saved.uid, saved.qp, Some(&saved.sender)), (message.uid, message.qp, message.sender.as_ref()));
    assert_eq!((saved.recipients.len(), saved.to_do()), (list.kept.len(), list.to_do));
    for (saved, recipient) in saved.recipients.iter().zip(&list.kept) {
        assert!(saved.done == recipient.done && recipient.address.ends_with(&saved.address));
    }
}
