//! The envelope beside a message in quarantine, as records like qmail's own. It must not open files.
//!
//! `S` (the stage), `u` `p` `b` (uid, qp, birth, as far as known), `F` sender, `T` or `D` recipients, and an empty
//! record as the end: without that the file is not whole, and the queue is untouched. Stage and recipients are changed
//! in place, one octet at a time.

use crate::policy::virtualdomains::VirtualDomains;
use crate::queue::look::Message;
use crate::queue::look::Recipient;
use crate::queue::look::envelope::records;
use crate::queue::look::read::MAX_ENVELOPE;

/// Progress of a message on its way out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Copied; the queue is unchanged, so this can be undone.
    Saved,
    /// The queue is being changed; this must be completed.
    Taking,
    /// Out of the queue.
    Taken,
}

impl Stage {
    /// The first octet of the file.
    pub fn letter(self) -> u8 {
        match self {
            Self::Saved => b'S',
            Self::Taking => b'M',
            Self::Taken => b'Q',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Saved, Self::Taking, Self::Taken].into_iter().find(|stage| stage.letter() == letter)
    }
}

/// An envelope in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The stage of the message.
    pub stage: Stage,
    /// The user that ran qmail-queue.
    pub uid: Option<u32>,
    /// The pid of that qmail-queue.
    pub qp: Option<u32>,
    /// Birth of the message, seconds since 1970.
    pub birth: Option<i64>,
    /// The sender; empty is the null sender.
    pub sender: Box<[u8]>,
    /// The recipients, `local` first, then `remote`, as before qmail-send rewrote them.
    pub recipients: Vec<Recipient>,
    /// Offsets of the recipients' letters in the file.
    pub places: Vec<u64>,
}

/// The file for a message read with all its recipients; `None` without a sender, or over 64 MiB.
pub fn write(message: &Message, domains: &VirtualDomains) -> Option<Vec<u8>> {
    let mut octets = vec![Stage::Saved.letter(), 0];
    let numbers = [("u", message.uid.map(i64::from)), ("p", message.qp.map(i64::from)), ("b", message.birth)];
    for (letter, number) in numbers {
        let Some(number) = number else { continue };
        octets.extend_from_slice(format!("{letter}{number}\0").as_bytes());
    }
    octets.push(b'F');
    octets.extend_from_slice(message.sender.as_ref()?);
    octets.push(0);
    // Only in `local` has qmail-send prefixed addresses.
    let as_is = VirtualDomains::default();
    for (list, domains) in [(&message.queued, &as_is), (&message.local, domains), (&message.remote, &as_is)] {
        let Some(list) = list else { continue };
        if list.kept.len() != list.done + list.to_do {
            return None;
        }
        for recipient in &list.kept {
            octets.push(if recipient.done { b'D' } else { b'T' });
            octets.extend_from_slice(domains.original(&recipient.address));
            octets.push(0);
        }
    }
    octets.push(0);
    // A larger file could not be read back.
    (octets.len() < MAX_ENVELOPE).then_some(octets)
}

/// Parses the file; `None` if it is not whole or not such a file.
pub fn read(octets: &[u8]) -> Option<Saved> {
    let mut all = records(octets);
    let first = all.next().filter(|record| record.text.is_empty())?;
    let mut saved = Saved {
        stage: Stage::of(first.kind)?,
        uid: None,
        qp: None,
        birth: None,
        sender: Box::default(),
        recipients: Vec::new(),
        places: Vec::new(),
    };
    let mut has_sender = false;
    for record in all {
        let text = || str::from_utf8(record.text).ok();
        match record.kind {
            b'u' if !has_sender => saved.uid = Some(text()?.parse().ok()?),
            b'p' if !has_sender => saved.qp = Some(text()?.parse().ok()?),
            b'b' if !has_sender => saved.birth = Some(text()?.parse().ok()?),
            b'F' if !has_sender => {
                saved.sender = record.text.into();
                has_sender = true;
            }
            b'T' | b'D' if has_sender => {
                saved.recipients.push(Recipient { done: record.kind == b'D', address: record.text.into() });
                saved.places.push(record.at);
            }
            0 if has_sender && record.at + 1 == octets.len() as u64 => return Some(saved),
            _ => return None,
        }
    }
    None
}

impl Saved {
    /// The envelope for qmail-queue: the sender and the remaining recipients.
    pub fn envelope(&self) -> Vec<u8> {
        let mut octets = [b"F", &*self.sender, b"\0"].concat();
        for recipient in self.recipients.iter().filter(|recipient| !recipient.done) {
            octets.push(b'T');
            octets.extend_from_slice(&recipient.address);
            octets.push(0);
        }
        octets.push(0);
        octets
    }

    /// Number of recipients that are not done.
    pub fn to_do(&self) -> usize {
        self.recipients.iter().filter(|recipient| !recipient.done).count()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::queue::look::Recipients;

    fn message() -> Message {
        let row = |done, address: &[u8]| Recipient { done, address: address.into() };
        let local = vec![row(true, b"joe@mx.example.org"), row(false, b"joe-virt-x@virt.example")];
        let remote = vec![row(false, b"Ann@Remote.Example")];
        Message {
            sender: Some(b"owner-list-@lists.example-@[]".as_slice().into()),
            birth: Some(1_795_395_977),
            local: Some(Recipients { done: 1, to_do: 1, kept: local, modified: 0 }),
            remote: Some(Recipients { done: 0, to_do: 1, kept: remote, modified: 0 }),
            ..Message::default()
        }
    }

    #[test]
    fn what_is_written_is_read_and_cut_files_are_not() {
        let domains = VirtualDomains::parse(b"virt.example:joe-virt\n");
        let octets = write(&message(), &domains).unwrap();
        let saved = read(&octets).unwrap();
        assert_eq!((saved.stage, saved.birth, saved.to_do()), (Stage::Saved, Some(1_795_395_977), 2));
        assert_eq!(saved.envelope(), b"Fowner-list-@lists.example-@[]\0Tx@virt.example\0TAnn@Remote.Example\0\0");
        for at in &saved.places {
            assert!(matches!(octets[usize::try_from(*at).unwrap()], b'T' | b'D'));
        }
        for length in 0..octets.len() {
            assert_eq!(read(&octets[..length]), None, "cut to {length}");
        }
        assert_eq!(read(&vec![0; octets.len()]), None, "zeros after a power failure");
        assert_eq!(read(&[&octets[..], b"Tmore\0"].concat()), None);
    }

    #[test]
    fn only_local_recipients_were_rewritten() {
        let domains = VirtualDomains::parse(b"virt.example:joe-virt\nfred@one.example:alias-fred\n");
        let list = |addresses: &[&str]| {
            let kept = addresses.iter().map(|address| Recipient { done: false, address: address.as_bytes().into() });
            Some(Recipients { done: 0, to_do: addresses.len(), kept: kept.collect(), modified: 0 })
        };
        let given = ["joe-virt-x@virt.example", "alias-fred-fred@one.example"];
        let saved = |message: Message| read(&write(&message, &domains).unwrap()).unwrap().envelope();
        let sender = Some(Box::from(b"a@b.example".as_slice()));
        let as_given = b"Fa@b.example\0Tjoe-virt-x@virt.example\0Talias-fred-fred@one.example\0\0";
        let kept = [
            Message { sender: sender.clone(), queued: list(&given), ..Message::default() },
            Message { sender: sender.clone(), remote: list(&given), ..Message::default() },
        ];
        for message in kept {
            assert_eq!(saved(message), as_given);
        }
        let local = Message { sender, local: list(&given), ..Message::default() };
        assert_eq!(saved(local), b"Fa@b.example\0Tx@virt.example\0Tfred@one.example\0\0");
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let most = Recipient { done: false, address: vec![b'a'; MAX_ENVELOPE].into() };
        let list = Recipients { done: 0, to_do: 1, kept: vec![most], modified: 0 };
        assert_eq!(write(&Message { remote: Some(list), ..message() }, &VirtualDomains::default()), None);
    }

    #[test]
    fn stages_are_one_octet() {
        let mut octets = write(&message(), &VirtualDomains::default()).unwrap();
        for stage in [Stage::Saved, Stage::Taking, Stage::Taken] {
            octets[0] = stage.letter();
            assert_eq!(read(&octets).unwrap().stage, stage);
        }
        octets[0] = b'X';
        assert_eq!(read(&octets), None);
    }

    #[test]
    fn a_message_that_is_not_known_whole_is_not_written() {
        let domains = VirtualDomains::default();
        assert_eq!(write(&Message { sender: None, ..message() }, &domains), None);
        let mut cut = message();
        cut.remote.as_mut().unwrap().kept.clear();
        assert_eq!(write(&cut, &domains), None);
    }
}
