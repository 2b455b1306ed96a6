//! Repeats: the keys by which a message repeats an earlier one, and the rules for it. Pure values and decisions; it
//! must not remember what was accepted: the store does.
//!
//! Only a message that names itself, by a Message-ID and a Date of these days, can be known again: alarm panels and
//! scripts send identical mails without a clock, hang up without QUIT, and mean each of them. In doubt a message is
//! delivered.

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::throttle::key::KeyHash;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Reason;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// The rules of `[repeat]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatRules {
    /// The time for which accepted messages are remembered.
    pub window: Duration,
    /// Whether a copy of a delivered message is absorbed, where the client did not take the acknowledgement.
    pub absorb: bool,
    /// Copies of one message that are delivered within the window; 0 for any number.
    pub limit: u32,
    /// Octets below which nothing is refused as a repeat.
    pub min_size: u64,
    /// Clients whose repeats are counted and never refused.
    pub except: Except,
}

/// The clients of `repeat.except`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Except {
    /// Whether clients with RELAYCLIENT are excepted.
    pub relay_client: bool,
    /// Whether clients whose AUTH succeeded are excepted.
    pub authenticated: bool,
}

/// The traits by which a message names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTraits {
    /// Whether it has a Message-ID.
    pub message_id: bool,
    /// Its Date, in seconds since the epoch; `None` where it has none that can be read.
    pub date: Option<i64>,
    /// Octets of the message with CRLF line ends.
    pub size: u64,
}

/// The keys under which one recipient's copy of a message is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyKeys {
    /// The key of client network, sender, recipient and all of the message that is not signed anew for each try.
    pub strong: u128,
    /// The key without Received, Date and Message-ID.
    pub weak: u128,
}

/// A complete message, which may be a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The rules about repeats.
    pub rules: RepeatRules,
    /// The message's traits.
    pub traits: MessageTraits,
    /// The keys of the copies, one for each recipient.
    pub copies: Vec<CopyKeys>,
    /// The envelope, when the declared size is large enough for its copies to be refused unread.
    pub envelope: Option<Envelope>,
    /// Whether the client's repeats are never refused.
    pub is_excepted: bool,
}

/// Deliveries within the window to one of the recipients; of large messages only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Deliveries of the same message.
    pub same: u32,
    /// Deliveries of messages that are alike but for Received, Date and Message-ID.
    pub similar: u32,
}

/// The envelope of a large message, by which its tries are known before their bodies come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The key, by [`envelope_key`].
    pub key: u128,
    /// Whether the message has exactly the declared size. Another size proves nothing about the next try.
    pub is_exact: bool,
}

impl RepeatRules {
    /// Whether a message with these traits may be answered 250 without being delivered, or 450 while its twin is on its
    /// way. `now` is in seconds since the epoch.
    pub fn may_absorb(&self, traits: MessageTraits, now: u32) -> bool {
        self.absorb && traits.name_the_message(now)
    }

    /// Whether copies of a message with these traits are counted, and may be refused when it was delivered often
    /// enough.
    pub fn may_refuse(&self, traits: MessageTraits, now: u32) -> bool {
        self.limit > 0 && traits.size >= self.min_size && traits.name_the_message(now)
    }
}

impl MessageTraits {
    /// Whether the traits name the message. A device without a clock sends no Date, or the same one for ever: its mails
    /// may be alike to the octet and are each meant.
    fn name_the_message(&self, now: u32) -> bool {
        let is_of_these_days = |date: i64| i64::from(now).abs_diff(date) <= FARTHEST_DATE.as_secs();
        self.message_id && self.date.is_some_and(is_of_these_days)
    }
}

impl Except {
    /// Whether the exceptions cover this client.
    pub fn covers(self, relay_client: bool, authenticated: bool) -> bool {
        (self.relay_client && relay_client) || (self.authenticated && authenticated)
    }
}

impl Default for RepeatRules {
    fn default() -> Self {
        let except = Except { relay_client: true, authenticated: true };
        Self { window: Duration::from_hours(24), absorb: true, limit: 3, min_size: 64 << 10, except }
    }
}

impl CopyKeys {
    /// The keys of this client's copy for this recipient. A copy that comes from another network is none: a
    /// stranger that sends a known message first must not have the true one taken for its repeat.
    pub fn new(
        seed: &Seed,
        client: IpAddr,
        sender: &ReversePath,
        recipient: &Address,
        strong: &[u8; 32],
        weak: &[u8; 32],
    ) -> Self {
        let mut envelope = KeyHash::new(seed);
        envelope.add_client_net(client);
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

/// The key of one large message's tries before its body has come: client network, sender, recipients in any order, and
/// the declared size.
pub fn envelope_key<'a>(
    seed: &Seed,
    client: IpAddr,
    sender: &ReversePath,
    recipients: impl Iterator<Item = &'a Address>,
    size: u64,
) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"envelope");
    hash.add_client_net(client);
    add_mailbox(&mut hash, sender.address());
    add_mailboxes(&mut hash, recipients);
    hash.add(&size.to_le_bytes());
    hash.finish()
}

/// The key of a refusal of ours, by which its retry is known: one oversize to six colleagues is no retry where its
/// recipients are known by then. A refusal at MAIL has no recipients.
pub fn refusal_key(
    seed: &Seed,
    client: IpAddr,
    sender: &ReversePath,
    recipients: &[&Address],
    reason: Reason,
    size: Option<u64>,
) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"refusal");
    hash.add_client_net(client);
    add_mailbox(&mut hash, sender.address());
    add_mailboxes(&mut hash, recipients.iter().copied());
    hash.add(reason.as_str().as_bytes());
    hash.add(size.map(u64::to_le_bytes).as_ref().map_or(b"", |size| size.as_slice()));
    hash.finish()
}

/// The key under which a refused oversize without a declared size is remembered.
pub fn oversize_key(seed: &Seed, client: IpAddr, sender: &ReversePath, recipient: &Address) -> u128 {
    let mut hash = KeyHash::new(seed);
    hash.add(b"oversize");
    hash.add_client_net(client);
    add_mailbox(&mut hash, sender.address());
    add_mailbox(&mut hash, Some(recipient));
    hash.finish()
}

/// Adds a mailbox. RFC 5321 section 2.4: a local part's letters may differ, a domain's do not. Two mailboxes are never
/// taken for one.
fn add_mailbox(hash: &mut KeyHash, mailbox: Option<&Address>) {
    let (local, domain) = mailbox.map(exact).unwrap_or_default();
    hash.add(local);
    hash.add_folded(domain);
}

/// Adds mailboxes in any order, each once.
fn add_mailboxes<'a>(hash: &mut KeyHash, mailboxes: impl Iterator<Item = &'a Address>) {
    let mut sorted: Vec<(&[u8], &[u8])> = mailboxes.map(exact).collect();
    sorted.sort_unstable();
    sorted.dedup();
    hash.add(&(sorted.len() as u64).to_le_bytes());
    for (local, domain) in sorted {
        hash.add(local);
        hash.add_folded(domain);
    }
}

fn exact(address: &Address) -> (&[u8], &[u8]) {
    let wire = address.wire();
    match address.domain() {
        // `root` and `root@` are two.
        None | Some([]) => (wire, b""),
        Some(domain) => (&wire[..memchr::memrchr(b'@', wire).unwrap_or(wire.len())], domain),
    }
}

/// The largest distance of a Date from now; beyond it a Date says nothing about when the message was written.
const FARTHEST_DATE: Duration = Duration::from_hours(8 * 24);

/// Octets of a message whose further copies may be refused before their bodies cross the wire.
pub const REFUSED_UNREAD: u64 = 1 << 20;

/// Copies refused at the final dot, one after the other, after which DATA of the same envelope and size is answered 450.
pub const REFUSED_BEFORE_DATA: u32 = 10;

/// One in so many of the tries that are answered 450 is let through all the same, to show whether it still is the same
/// message.
pub const TRIES_PER_PROOF: u32 = 5;

/// Undeclared oversizes after which the next undeclared try is deferred at RCPT.
pub const OVERSIZES_BEFORE_DEFERRAL: u32 = 3;

/// One in so many of the tries that are deferred is let through, to prove itself.
pub const TRIES_PER_OVERSIZE: u32 = 3;

/// The time for which a refusal is known after its last try, so that the next one is a retry.
pub const REFUSAL_MEMORY: Duration = Duration::from_hours(24);

/// The time for which a refused oversize is remembered.
pub const OVERSIZE_MEMORY: Duration = Duration::from_hours(4);

/// The longest life of an entry that copies renew.
pub const LONGEST_RENEWAL: Duration = Duration::from_hours(7 * 24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::parse_address;

    #[test]
    fn what_may_be_done_about_which_message() {
        let rules = RepeatRules::default();
        let now = 1_795_395_525;
        let (small, large, days) = (1000, 64 << 10, |days: i64| Some(i64::from(now) + days * 86_400));
        // The message; its Message-ID, Date, size; may be absorbed, may be refused.
        let table = [
            ("an alarm panel's", (false, None, small), (false, false)),
            ("a panel's with a Date", (false, days(0), small), (false, false)),
            ("a sketch's with a Message-ID", (true, None, large), (false, false)),
            ("a sketch's of 1970", (true, Some(0), large), (false, false)),
            ("an ordinary small one", (true, days(0), small), (true, false)),
            ("a large one without traits", (false, None, large), (false, false)),
            ("a large one with a Date", (false, days(0), large), (false, false)),
            ("a large one with both", (true, days(0), large), (true, true)),
            ("one octet below the size", (true, days(0), large - 1), (true, false)),
            ("queued for a week", (true, days(-8), large), (true, true)),
            ("of a clock that is a week ahead", (true, days(8), large), (true, true)),
            ("too old", (true, days(-9), large), (false, false)),
            ("of the future", (true, days(9), large), (false, false)),
        ];
        for (what, (message_id, date, size), expected) in table {
            let traits = MessageTraits { message_id, date, size };
            assert_eq!((rules.may_absorb(traits, now), rules.may_refuse(traits, now)), expected, "{what}");
            let never = RepeatRules { absorb: false, limit: 0, ..rules };
            let off = (never.may_absorb(traits, now), never.may_refuse(traits, now));
            assert_eq!(off, (false, false), "{what}, switched off");
        }
    }

    #[test]
    fn whose_copies_are_the_same() {
        let from = |client: &str, sender: &str, recipient: &str, strong: u8| {
            let client = client.parse().unwrap();
            CopyKeys::new(&seed(), client, &path(sender), &address(recipient), &[strong; 32], &[0; 32])
        };
        let key = |sender: &str, recipient: &str, strong| from("192.0.2.1", sender, recipient, strong);
        let first = key("a@x.example", "r@y.example", 1);
        assert_eq!(first, key("a@X.Example", "r@Y.EXAMPLE", 1), "letters of a domain");
        assert_eq!(first, from("192.0.2.200", "a@x.example", "r@y.example", 1), "another host of the network");
        let one_domain = key("a@bücher.example", "r@y.example", 1);
        assert_eq!(one_domain, key("a@xn--bcher-kva.example", "r@y.example", 1), "A-labels");
        let without = key("a", "r@y.example", 1);
        assert_ne!(without, key("a@", "r@y.example", 1), "no domain, and an empty one");
        let others = [
            ("no domain", without),
            ("another network", from("192.0.3.1", "a@x.example", "r@y.example", 1)),
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
