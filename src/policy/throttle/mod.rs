//! Throttles: the events that are counted, the parts of a key, and the limit. Only the words and the key live here; the
//! counting is the store's. It must not know the time, and it must not put octets of a client into a key.

pub mod escalation;
mod impossible;
pub mod key;
mod label;
pub mod part;
mod shipped;
pub mod subject;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::throttle::key::KeyHash;
use crate::policy::throttle::key::Seed;
use crate::policy::throttle::label::Labelled;
use crate::policy::throttle::part::Part;
use crate::policy::throttle::subject::Subject;
use crate::smtp::address::ReversePath;

/// A `[[throttle]]`: at most `cells` of `count` in `period` for each key, `burst` of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The rule that log lines and replies name.
    pub name: Arc<str>,
    /// The events that are counted.
    pub count: Count,
    /// The parts that make up a key; empty means that everybody shares one.
    pub per: Vec<Part>,
    /// Groups whose members alone the throttle applies to, when there are any.
    pub only: Vec<Group>,
    /// Groups whose members it does not apply to.
    pub except: Vec<Group>,
    /// The limit's number: octets for `bytes`, else events.
    pub cells: u64,
    /// The time in which the limit holds.
    pub period: Duration,
    /// Cells that an idle key may spend at once.
    pub burst: u64,
    /// The action against a client over the limit.
    pub action: Action,
    /// The length of a block of `action = "block"`.
    pub block: BlockLength,
    /// Defers of the same message after which the reply is 554; 0: it never is.
    pub escalate: u32,
    /// Whether the throttle only reports what would have happened.
    pub shadow: bool,
}

/// The events of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// AUTH that the backend refused.
    AuthFailures,
    /// Octets of messages.
    Bytes,
    /// Connections, at the greeting.
    Connections,
    /// MAIL commands.
    Mails,
    /// Messages that were accepted.
    Messages,
    /// RCPT commands.
    Recipients,
    /// Our own 5xx verdicts about sender, size, repeat or loop.
    Rejections,
    /// Rejections that refuse what was refused before.
    Retries,
    /// Recipients that do not exist: 5xx at RCPT.
    UnknownRecipients,
}

/// The groups of `only` and `except`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Clients to whose AUTH the backend said 235.
    Authenticated,
    /// Null senders: `<>`.
    NullSender,
    /// Clients with RELAYCLIENT.
    RelayClient,
}

/// The values of `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Refuse for a time that doubles.
    Block,
    /// Refuse by 450.
    Defer,
    /// Say 421, or the reply that is due, and close.
    Disconnect,
}

/// The length of a block, and of the longest when it is made again and again (`block`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLength {
    /// The first block; each one that follows before `longest` of quiet has passed lasts twice as long as the one
    /// before.
    pub first: Duration,
    /// The longest block.
    pub longest: Duration,
}

/// A stage in the order of rulings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At AUTH.
    Auth,
    /// Before the greeting.
    Connect,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
}

/// The way a throttle is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Test whether it passes; if so it is charged.
    Take,
    /// Test whether it would pass.
    Test,
    /// Test only whether a block of the throttle's own stands.
    Block,
}

/// The key that a subject is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThrottleKey {
    /// The hash of all parts of `per`.
    pub exact: u128,
    /// The hash of the throttle and the client's network alone: newcomers are counted under it when there is no room
    /// for more keys. A client that forges addresses to fill the table shares it only with its own network.
    pub coarse: u128,
}

/// Cells to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index in the policy's list of throttles.
    pub throttle: usize,
    /// The key, from [`Throttle::key`].
    pub key: ThrottleKey,
    /// Number of cells; octets for `bytes`.
    pub cells: u64,
}

impl Throttle {
    /// The key that `subject` is counted under; `None` when the throttle does not apply to it or a part of the key is
    /// not known yet. Equal throttles give equal keys, so that a reload keeps the counters; what a throttle *does*
    /// (`action`, `shadow`) is no part of the key, so that arming a shadow keeps them too.
    pub fn key(&self, seed: &Seed, subject: &Subject<'_>) -> Option<ThrottleKey> {
        let excepted = self.except.iter().any(|group| group.has(subject));
        let included = self.only.is_empty() || self.only.iter().any(|group| group.has(subject));
        if excepted || !included {
            return None;
        }
        self.hash(seed, subject)
    }

    /// The key that [`label`](Self::label) stands for; `None` where it is not of this throttle's form.
    pub fn key_of_label(&self, seed: &Seed, label: &str) -> Option<ThrottleKey> {
        Labelled::read(&self.per, label).and_then(|labelled| self.hash(seed, &labelled.subject()))
    }

    fn hash(&self, seed: &Seed, subject: &Subject<'_>) -> Option<ThrottleKey> {
        let mut hash = KeyHash::new(seed);
        self.identify(&mut hash);
        let mut coarse = hash.clone();
        for part in &self.per {
            part.add(subject, &mut hash)?;
        }
        coarse.add(b"at the bound");
        coarse.add_client_net(subject.client);
        Some(ThrottleKey { exact: hash.finish(), coarse: coarse.finish() })
    }

    /// The parts of the key as people write them: `192.0.2.0/24,a@example.org`. `None` where there is no key.
    pub fn label(&self, subject: &Subject<'_>) -> Option<String> {
        let parts: Option<Vec<String>> = self.per.iter().map(|part| part.label(subject)).collect();
        Some(parts?.join(","))
    }

    /// Whether the key has a recipient in it: such a throttle is tested at RCPT, any other at MAIL.
    pub fn has_recipient(&self) -> bool {
        self.per.iter().any(|part| matches!(part, Part::Recipient | Part::RecipientDomain))
    }

    /// Whether the key has the client in it.
    pub fn has_client(&self) -> bool {
        self.per.iter().any(|part| matches!(part, Part::Client | Part::ClientNet))
    }

    /// The way it is asked at this stage; `None` where it is not. A throttle that counts refusals never keeps out what
    /// is not refused anyway, unless an operator has told it to block.
    pub fn probed_at(&self, stage: Stage) -> Option<Probe> {
        let stage_of_test = if self.has_recipient() { Stage::Recipient } else { Stage::Mail };
        let (at, probe) = match self.count {
            Count::AuthFailures => (Stage::Auth, Probe::Test),
            Count::Connections => (Stage::Connect, Probe::Take),
            Count::Mails => (Stage::Mail, Probe::Take),
            Count::Recipients => (Stage::Recipient, Probe::Take),
            Count::Bytes | Count::Messages => (stage_of_test, Probe::Test),
            Count::Rejections | Count::Retries | Count::UnknownRecipients if self.action == Action::Block => {
                (stage_of_test, Probe::Block)
            }
            Count::Rejections | Count::Retries | Count::UnknownRecipients => return None,
        };
        (stage == at).then_some(probe)
    }

    /// The most that one event costs, as far as it is known: a message of this declared size.
    pub fn cost(&self, size: Option<u64>) -> u64 {
        if self.count == Count::Bytes { size.unwrap_or(0).max(1) } else { 1 }
    }

    /// The time that an exhausted key takes to be idle again.
    pub fn refill(&self) -> Duration {
        let nanos = self.period.as_nanos().saturating_mul(self.burst.into()) / u128::from(self.cells.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn identify(&self, hash: &mut KeyHash) {
        hash.add(self.name.as_bytes());
        hash.add(self.count.name().as_bytes());
        hash.add_names(self.per.iter().map(|part| part.name()));
        hash.add_names(self.only.iter().map(|group| group.name()));
        hash.add_names(self.except.iter().map(|group| group.name()));
        hash.add(&self.cells.to_le_bytes());
        hash.add(&self.period.as_nanos().to_le_bytes());
        hash.add(&self.burst.to_le_bytes());
    }
}

impl Count {
    /// The word in a configuration and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthFailures => "auth_failures",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
            Self::Mails => "mails",
            Self::Messages => "messages",
            Self::Recipients => "recipients",
            Self::Rejections => "rejections",
            Self::Retries => "retries",
            Self::UnknownRecipients => "unknown_recipients",
        }
    }

    /// Whether it counts refusals, which are due before it is asked.
    pub fn is_of_refusals(self) -> bool {
        matches!(self, Self::Rejections | Self::Retries | Self::UnknownRecipients)
    }
}

impl Group {
    /// The word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::NullSender => "null-sender",
            Self::RelayClient => "relayclient",
        }
    }

    fn has(self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Authenticated => subject.authenticated,
            Self::NullSender => subject.sender == Some(&ReversePath::Null),
            Self::RelayClient => subject.relay_client,
        }
    }
}

impl Action {
    /// The word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Defer => "defer",
            Self::Disconnect => "disconnect",
        }
    }
}

impl Default for BlockLength {
    fn default() -> Self {
        Self { first: Duration::from_mins(15), longest: DAY }
    }
}

impl fmt::Display for Count {
    /// Writes the word for people: `auth failures`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mails => f.write_str("messages"),
            other => f.write_str(&other.name().replace('_', " ")),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest time that a store has to remember a key for.
pub const LONGEST_REFILL: Duration = Duration::from_hours(366 * 24);
pub(super) const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::smtp::address::Address;
    use crate::smtp::address::parse_address;

    #[test]
    fn who_shares_a_key() {
        let table: &[(&str, Part, Who, Who, bool)] = &[
            ("one IPv4 address is itself", Part::Client, who("192.0.2.1"), who("192.0.2.1"), true),
            ("two IPv4 addresses are two", Part::Client, who("192.0.2.1"), who("192.0.2.2"), false),
            ("a mapped address is IPv4", Part::Client, who("::ffff:192.0.2.1"), who("192.0.2.1"), true),
            ("an IPv6 /64 is one client", Part::Client, who("2001:db8:1:2::3"), who("2001:db8:1:2:f::"), true),
            ("another /64 is another", Part::Client, who("2001:db8:1:2::3"), who("2001:db8:1:3::3"), false),
            ("an IPv4 /24 is one network", Part::ClientNet, who("192.0.2.1"), who("192.0.2.200"), true),
            ("another /24 is another", Part::ClientNet, who("192.0.2.1"), who("192.0.3.1"), false),
            ("an IPv6 /48 is one network", Part::ClientNet, who("2001:db8:1:2::"), who("2001:db8:1:3::"), true),
            ("another /48 is another", Part::ClientNet, who("2001:db8:1::"), who("2001:db8:2::"), false),
            ("letter case of HELO", Part::Helo, who("::1"), Who { helo: "MX.Example", ..who("::1") }, true),
            ("letter case of a sender", Part::Sender, who("::1"), Who { sender: "A@EXAMPLE.org", ..who("::1") }, true),
            ("two senders are two", Part::Sender, who("::1"), Who { sender: "b@example.org", ..who("::1") }, false),
            (
                "no domain is not the null sender",
                Part::SenderDomain,
                Who { sender: "root", ..who("::1") },
                Who { sender: "", ..who("::1") },
                false,
            ),
            (
                "nor is an empty one",
                Part::SenderDomain,
                Who { sender: "root@", ..who("::1") },
                Who { sender: "", ..who("::1") },
                false,
            ),
            ("null is not a sender", Part::Sender, who("::1"), Who { sender: "", ..who("::1") }, false),
            ("of one domain", Part::SenderDomain, who("::1"), Who { sender: "b@example.org", ..who("::1") }, true),
            ("two recipients", Part::Recipient, who("::1"), Who { recipient: "s@example.net", ..who("::1") }, false),
            (
                "of one domain",
                Part::RecipientDomain,
                who("::1"),
                Who { recipient: "s@example.net", ..who("::1") },
                true,
            ),
            ("letter case of a user", Part::User, who("::1"), Who { user: "JOE", ..who("::1") }, true),
            ("two users are two", Part::User, who("::1"), Who { user: "ann", ..who("::1") }, false),
            ("the client is no part", Part::Sender, who("192.0.2.1"), who("198.51.100.1"), true),
        ];
        for (what, part, one, other, same) in table {
            let throttle = Throttle { per: vec![*part], except: vec![], ..shipped() };
            assert_eq!(one.key(&throttle).unwrap().exact == other.key(&throttle).unwrap().exact, *same, "{what}");
        }
    }

    #[test]
    fn whom_it_applies_to() {
        let null = Who { sender: "", ..who("::1") };
        let relay = Who { relay_client: true, ..who("::1") };
        let login = Who { authenticated: true, ..who("::1") };
        let (all, none) = (vec![], vec![]);
        let table = [
            ("everybody", who("::1"), all.clone(), none.clone(), true),
            ("only null, and it is", null, vec![Group::NullSender], none.clone(), true),
            ("only null, and it is not", who("::1"), vec![Group::NullSender], none.clone(), false),
            ("only one of two", login, vec![Group::NullSender, Group::Authenticated], none, true),
            ("except null", null, all.clone(), vec![Group::NullSender], false),
            ("except relay clients", relay, all.clone(), vec![Group::RelayClient], false),
            ("except who has logged in", login, all.clone(), vec![Group::Authenticated], false),
            ("except somebody else", relay, all, vec![Group::Authenticated, Group::NullSender], true),
        ];
        for (what, who, only, except, applies) in table {
            let throttle = Throttle { only, except, ..shipped() };
            assert_eq!(who.key(&throttle).is_some(), applies, "{what}");
        }
    }

    #[test]
    fn a_part_that_is_not_known_yet_gives_no_key() {
        let nobody = Subject {
            client: "::1".parse().unwrap(),
            helo: b"",
            sender: None,
            recipient: None,
            relay_client: false,
            authenticated: false,
            user: None,
        };
        let unknown =
            [Part::Helo, Part::Sender, Part::SenderDomain, Part::Recipient, Part::RecipientDomain, Part::User];
        for part in unknown {
            let throttle = Throttle { per: vec![Part::Client, part], ..shipped() };
            assert_eq!(throttle.key(&seed(), &nobody), None, "{part}");
        }
        for part in [Part::Client, Part::ClientNet] {
            assert!(Throttle { per: vec![part], ..shipped() }.key(&seed(), &nobody).is_some(), "{part}");
        }
    }

    #[test]
    fn which_changes_keep_the_counters() {
        let old = shipped();
        let table = [
            ("none", old.clone(), true),
            ("the action", Throttle { action: Action::Defer, ..old.clone() }, true),
            ("a shadow that is armed", Throttle { shadow: true, ..old.clone() }, true),
            ("the name", Throttle { name: "other".into(), ..old.clone() }, false),
            ("what is counted", Throttle { count: Count::Mails, ..old.clone() }, false),
            ("the limit", Throttle { cells: 13, ..old.clone() }, false),
            ("the burst", Throttle { burst: 6, ..old.clone() }, false),
            ("the period", Throttle { period: Duration::from_hours(1), ..old.clone() }, false),
            ("the groups", Throttle { except: vec![], ..old.clone() }, false),
        ];
        for (what, new, kept) in table {
            assert_eq!(who("::1").key(&new) == who("::1").key(&old), kept, "{what}");
        }
        assert_ne!(who("::1").key(&old), old.key(&Seed::new([8; 16]), &who("::1").subject(&None, &None)), "the seed");
    }

    #[test]
    fn the_coarse_key_is_the_client_network() {
        let here = who("192.0.2.1").key(&shipped()).unwrap();
        let forged = Who { sender: "b@example.org", ..who("192.0.2.9") }.key(&shipped()).unwrap();
        let elsewhere = who("198.51.100.1").key(&shipped()).unwrap();
        assert_eq!(here.coarse, forged.coarse);
        assert_ne!(here.coarse, elsewhere.coarse);
        let per_net = Throttle { per: vec![Part::ClientNet], ..shipped() };
        let key = who("192.0.2.1").key(&per_net).unwrap();
        assert_ne!(key.exact, key.coarse);
    }

    #[test]
    fn a_key_never_changes_between_builds() {
        // Stored keys would be orphans. To be changed only together with the format of the state.
        let throttle = Throttle { count: Count::Rejections, ..shipped() };
        assert_eq!(who("192.0.2.1").key(&throttle).unwrap().exact, 0x64a50817835e27c7be27a00aa8b67e7a);
    }

    #[test]
    fn impossible_throttles() {
        let connections = Throttle { count: Count::Connections, per: vec![Part::Client], except: vec![], ..shipped() };
        let table = [
            ("the first shipped one", Throttle::shipped()[0].clone(), ""),
            ("the second shipped one", Throttle::shipped()[1].clone(), ""),
            ("the third shipped one", Throttle::shipped()[2].clone(), ""),
            ("the fourth shipped one", Throttle::shipped()[3].clone(), ""),
            ("connections per client", connections.clone(), ""),
            ("for all", Throttle { per: vec![], ..shipped() }, ""),
            ("relay clients", Throttle { except: vec![Group::RelayClient], ..connections.clone() }, ""),
            ("per sender", Throttle { per: vec![Part::Sender], ..connections.clone() }, "before the sender is known"),
            ("per helo", Throttle { per: vec![Part::Helo], ..connections.clone() }, "before the helo is known"),
            (
                "except",
                Throttle { except: vec![Group::NullSender], ..connections.clone() },
                "before \"null-sender\" is known",
            ),
            (
                "mails per recipient",
                Throttle { count: Count::Mails, per: vec![Part::Recipient], ..shipped() },
                "count = \"recipients\"",
            ),
            ("a defer that escalates", Throttle { escalate: 3, action: Action::Defer, ..mails() }, ""),
            ("a block that does", Throttle { escalate: 3, action: Action::Block, ..mails() }, "554 from its first"),
            ("a refusal that does", Throttle { escalate: 3, ..shipped() }, "refused for good already"),
            ("a refusal that is deferred", Throttle { action: Action::Defer, ..shipped() }, "action = \"disconnect\""),
            ("a connection", Throttle { escalate: 3, ..connections.clone() }, "before a message is known"),
            ("no limit", Throttle { cells: 0, ..shipped() }, "limit of 0"),
            ("no burst", Throttle { burst: 0, ..shipped() }, "burst of 0"),
            ("no time", Throttle { period: Duration::ZERO, ..shipped() }, "limit of 0"),
            ("two years", Throttle { cells: 1, burst: 730, ..shipped() }, "730 days"),
            ("no overflow", Throttle { cells: 1, burst: u64::MAX, period: Duration::MAX, ..shipped() }, "days"),
        ];
        assert_faults(&table);
    }

    #[test]
    fn impossible_throttles_of_guesses() {
        let auth = Throttle::shipped().remove(2);
        let unknown = Throttle { count: Count::UnknownRecipients, per: vec![Part::ClientNet], ..shipped() };
        let table = [
            ("mails per user", Throttle { per: vec![Part::User], ..shipped() }, "count = \"auth_failures\""),
            ("failures per sender", Throttle { per: vec![Part::Sender], ..auth.clone() }, "before the sender is known"),
            ("per user, a defer", Throttle { per: vec![Part::User], ..auth.clone() }, ""),
            (
                "per user, a block",
                Throttle { per: vec![Part::User], action: Action::Block, ..auth.clone() },
                "lock out another: write action = \"defer\"",
            ),
            ("and network, a block", Throttle { action: Action::Block, ..auth.clone() }, ""),
            ("failures escalate", Throttle { escalate: 3, ..auth.clone() }, "leave escalate out"),
            ("unknown recipients", unknown.clone(), ""),
            ("deferred", Throttle { action: Action::Defer, ..unknown.clone() }, "write action = \"disconnect\""),
            (
                "per recipient",
                Throttle { per: vec![Part::Recipient], ..unknown.clone() },
                "write per = [\"client-net\"]",
            ),
        ];
        assert_faults(&table);
    }

    /// Asserts the fault of each throttle; an empty one: it is possible.
    fn assert_faults(table: &[(&str, Throttle, &str)]) {
        for (what, throttle, said) in table {
            match throttle.faults() {
                Some(fault) => assert!(!said.is_empty() && fault.contains(said), "{what}: {fault}"),
                None => assert_eq!("", *said, "{what}"),
            }
        }
    }

    fn mails() -> Throttle {
        Throttle { count: Count::Mails, ..shipped() }
    }

    #[derive(Clone, Copy)]
    struct Who {
        client: IpAddr,
        helo: &'static str,
        sender: &'static str,
        recipient: &'static str,
        relay_client: bool,
        authenticated: bool,
        user: &'static str,
    }

    impl Who {
        fn key(&self, throttle: &Throttle) -> Option<ThrottleKey> {
            let sender = match self.sender {
                "" => ReversePath::Null,
                sender => ReversePath::Address(parse_address(sender.as_bytes()).unwrap()),
            };
            let recipient = parse_address(self.recipient.as_bytes()).unwrap();
            throttle.key(&seed(), &self.subject(&Some(sender), &Some(recipient)))
        }

        fn subject<'a>(&self, sender: &'a Option<ReversePath>, recipient: &'a Option<Address>) -> Subject<'a> {
            Subject {
                client: self.client,
                helo: self.helo.as_bytes(),
                sender: sender.as_ref(),
                recipient: recipient.as_ref(),
                relay_client: self.relay_client,
                authenticated: self.authenticated,
                user: Some(self.user.as_bytes()),
            }
        }
    }

    fn who(client: &str) -> Who {
        Who {
            client: client.parse().unwrap(),
            helo: "mx.example",
            sender: "a@example.org",
            recipient: "r@example.net",
            relay_client: false,
            authenticated: false,
            user: "joe",
        }
    }

    fn shipped() -> Throttle {
        Throttle::shipped().remove(0)
    }

    fn seed() -> Seed {
        Seed::new([7; 16])
    }
}
