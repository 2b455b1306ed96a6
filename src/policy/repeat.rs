//! What makes a message a repeat of an earlier one, and what may be done about it: pure values and decisions. What was
//! accepted before is the store's to remember.
//!
//! Only a message that says who it is can be known again: alarm panels and scripts send identical mails and hang up
//! rudely, and each of those is meant. In doubt a message is delivered.

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::key::KeyHash;
use crate::policy::key::Seed;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// `[repeat]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatRules {
    /// How long what was accepted is remembered.
    pub window: Duration,
    /// Whether a copy of what was delivered, but whose acknowledgement the client did not take, is absorbed.
    pub absorb: bool,
    /// Copies of one message that are delivered within the window; 0 for any number.
    pub limit: u32,
    /// Octets below which nothing is refused as a repeat, nor absorbed without a Message-ID.
    pub min_size: u64,
}

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// It has a Message-ID.
    pub message_id: bool,
    /// It has a Date.
    pub date: bool,
    /// Octets with CRLF line ends.
    pub size: u64,
}

/// What one recipient's copy of a message is remembered under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyKeys {
    /// Sender, recipient and all of the message that is not written anew on its way.
    pub strong: u128,
    /// The same without Date and Message-ID.
    pub weak: u128,
}

/// A message that is here as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dot {
    /// What may be done about it.
    pub rules: RepeatRules,
    /// What it says about itself.
    pub marks: Marks,
    /// One for each recipient.
    pub copies: Vec<CopyKeys>,
    /// Its envelope, when its size was declared and is large enough.
    pub envelope: Option<u128>,
}

impl RepeatRules {
    /// Whether a message with these marks may be answered 250 without being delivered, or 450 while its twin is on its
    /// way.
    pub fn may_absorb(&self, marks: Marks) -> bool {
        self.absorb && (marks.message_id || (marks.date && marks.size >= self.min_size))
    }

    /// Whether a message with these marks may be refused because it was delivered often enough.
    pub fn may_refuse(&self, marks: Marks) -> bool {
        self.limit > 0 && marks.size >= self.min_size && (marks.message_id || marks.date)
    }
}

impl Default for RepeatRules {
    fn default() -> Self {
        Self { window: Duration::from_hours(24), absorb: true, limit: 3, min_size: 64 << 10 }
    }
}

impl CopyKeys {
    /// The keys of the copy for this recipient.
    pub fn new(seed: &Seed, sender: &ReversePath, recipient: &Address, strong: &[u8; 32], weak: &[u8; 32]) -> Self {
        let mut envelope = KeyHash::new(seed);
        add_mailbox(&mut envelope, sender.address());
        add_mailbox(&mut envelope, Some(recipient));
        let key = |kind: &[u8], fingerprint: &[u8; 32]| {
            let mut hash = envelope.clone();
            hash.add(kind);
            hash.add(fingerprint);
            hash.finish()
        };
        Self { strong: key(b"strong", strong), weak: key(b"weak", weak) }
    }
}

/// What the tries of one message are known by before its body has come: client network, sender, recipients in any
/// order, and the declared size.
pub fn envelope_key<'a>(
    seed: &Seed,
    client: IpAddr,
    sender: &ReversePath,
    recipients: impl Iterator<Item = &'a Address>,
    size: u64,
) -> u128 {
    let mut sorted: Vec<(&[u8], &[u8])> = recipients.map(exact).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut hash = KeyHash::new(seed);
    hash.add(b"envelope");
    hash.add_client_net(client);
    add_mailbox(&mut hash, sender.address());
    hash.add(&(sorted.len() as u64).to_le_bytes());
    for (local, domain) in sorted {
        hash.add(local);
        hash.add_folded(domain);
    }
    hash.add(&size.to_le_bytes());
    hash.finish()
}

/// What a refused oversize without a declared size is remembered under.
pub fn oversize_key(seed: &Seed, client: IpAddr, sender: &ReversePath, recipient: &Address) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"oversize");
    hash.add_client_net(client);
    add_mailbox(&mut hash, sender.address());
    add_mailbox(&mut hash, Some(recipient));
    hash.finish()
}

/// RFC 5321 section 2.4: a local part's letters may differ, a domain's do not. Two mailboxes are never taken for one.
fn add_mailbox(hash: &mut KeyHash, mailbox: Option<&Address>) {
    let (local, domain) = mailbox.map(exact).unwrap_or_default();
    hash.add(local);
    hash.add_folded(domain);
}

fn exact(address: &Address) -> (&[u8], &[u8]) {
    let wire = address.wire();
    match memchr::memrchr(b'@', wire) {
        Some(at) => (&wire[..at], &wire[at + 1..]),
        None => (wire, b""),
    }
}

/// Absorbed copies after which DATA of the same envelope and size is refused.
pub const ABSORBED_BEFORE_REFUSAL: u32 = 5;

/// One in so many tries is let through all the same, to prove that it still is the same message.
pub const TRIES_PER_PROOF: u32 = 5;

/// Undeclared oversizes after which the next undeclared try is refused at RCPT.
pub const OVERSIZES_BEFORE_REFUSAL: u32 = 2;

/// How long a refused oversize is remembered.
pub const OVERSIZE_MEMORY: Duration = Duration::from_hours(4);

/// An entry that copies renew lives no longer than this.
pub const LONGEST_RENEWAL: Duration = Duration::from_hours(7 * 24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn what_may_be_done_about_which_message() {
        let rules = RepeatRules::default();
        let (small, large) = (1000, 64 << 10);
        // What; Message-ID, Date, size; may be absorbed, may be refused.
        let table = [
            ("an alarm panel's", (false, false, small), (false, false)),
            ("a panel's with a Date", (false, true, small), (false, false)),
            ("an ordinary small one", (true, true, small), (true, false)),
            ("a large one without marks", (false, false, large), (false, false)),
            ("a large one with a Date", (false, true, large), (true, true)),
            ("a large one with a Message-ID", (true, false, large), (true, true)),
            ("one octet below the size", (true, true, large - 1), (true, false)),
        ];
        for (what, (message_id, date, size), expected) in table {
            let marks = Marks { message_id, date, size };
            assert_eq!((rules.may_absorb(marks), rules.may_refuse(marks)), expected, "{what}");
            let never = RepeatRules { absorb: false, limit: 0, ..rules };
            assert_eq!((never.may_absorb(marks), never.may_refuse(marks)), (false, false), "{what}, switched off");
        }
    }

    #[test]
    fn whose_copies_are_the_same() {
        let key = |sender: &str, recipient: &str, strong: u8| {
            CopyKeys::new(&seed(), &path(sender), &address(recipient), &[strong; 32], &[0; 32])
        };
        let first = key("a@x.example", "r@y.example", 1);
        assert_eq!(first, key("a@X.Example", "r@Y.EXAMPLE", 1), "letters of a domain");
        let others = [
            ("another sender", key("b@x.example", "r@y.example", 1)),
            ("another recipient", key("a@x.example", "s@y.example", 1)),
            ("another fingerprint", key("a@x.example", "r@y.example", 2)),
            ("letters of a local part", key("A@x.example", "r@y.example", 1)),
            ("the null sender", key("", "r@y.example", 1)),
            ("what moved over the @", key("a@x.examplr", "e@y.example", 1)),
        ];
        for (what, other) in others {
            assert_ne!(first.strong, other.strong, "{what}");
        }
        assert_ne!(first.strong, first.weak);
    }

    #[test]
    fn what_an_envelope_is_known_by() {
        let key = |client: &str, sender: &str, recipients: &[&str], size| {
            let recipients: Vec<Address> = recipients.iter().map(|it| address(it)).collect();
            envelope_key(&seed(), client.parse().unwrap(), &path(sender), recipients.iter(), size)
        };
        let first = key("192.0.2.1", "a@x", &["r@y", "s@y"], 100);
        assert_eq!(first, key("192.0.2.99", "a@x", &["s@y", "r@y", "r@y"], 100), "order, doubles, the same network");
        for (what, other) in [
            ("another network", key("192.0.3.1", "a@x", &["r@y", "s@y"], 100)),
            ("another sender", key("192.0.2.1", "b@x", &["r@y", "s@y"], 100)),
            ("a recipient less", key("192.0.2.1", "a@x", &["r@y"], 100)),
            ("another size", key("192.0.2.1", "a@x", &["r@y", "s@y"], 101)),
        ] {
            assert_ne!(first, other, "{what}");
        }
    }

    fn seed() -> Seed {
        Seed::new([7; 16])
    }

    fn address(text: &str) -> Address {
        parse_address(text.as_bytes()).unwrap()
    }

    fn path(text: &str) -> ReversePath {
        if text.is_empty() { ReversePath::Null } else { ReversePath::Address(address(text)) }
    }
}
