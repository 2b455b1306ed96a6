//! Blocks: keys that are refused until a time, made by an operator or by a throttle. A block that a throttle makes
//! again before `longest` of quiet has passed lasts twice as long as the one before. It must not wait for the disk: a caller
//! that needs a block to be durable asks [`State::flush`](crate::store::state::State::flush).

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::block::BlockKey;
use crate::policy::block::Suspect;
use crate::policy::throttle::BlockLength;
use crate::store::clock::Clock;
use crate::store::clock::whole;

/// A block, as it stands on the disk and in JSON. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Block {
    /// The key as `unblock` takes it: `a@example.org`, `@example.org`, `192.0.2.0/24`, or a throttle's name and its key.
    pub key: String,
    /// The reason in the operator's words; empty for a throttle's block.
    pub why: String,
    /// The maker.
    pub by: By,
    /// The time at which it was made, or made again.
    pub since: u32,
    /// The time at which it ends.
    pub until: u32,
    /// The block's length in seconds; a throttle's next block is twice as long.
    pub length: u32,
    /// The time at which it is forgotten, so that a throttle's next block is short again.
    pub forgotten: u32,
    /// The key of the throttle that made it; in JSON as text, because most readers have no numbers of 128 bits.
    #[serde(with = "as_text")]
    pub throttled: Option<u128>,
}

mod as_text {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;
    use serde::de::Error;

    pub(super) fn serialize<S: Serializer>(key: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
        key.map(|key| format!("{key:032x}")).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u128>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| u128::from_str_radix(&text, 16).map_err(D::Error::custom)).transpose()
    }
}

impl Block {
    /// Whether it was made while the clock was ahead of where it is now.
    fn is_of_the_future(&self, now: u32) -> bool {
        self.since > now || self.until > now.saturating_add(self.length)
    }

    /// The block as if it had been made now, where it was made later than now: its length stays.
    fn cut(&self, now: u32) -> Self {
        let until = self.until.min(now.saturating_add(self.length));
        let quiet = self.forgotten.saturating_sub(self.until);
        let forgotten = self.forgotten.min(until.saturating_add(quiet));
        Self { since: self.since.min(now), until, forgotten, ..self.clone() }
    }
}

/// The maker of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// An operator, by `portcullis block`.
    Operator,
    /// A throttle with `action = "block"`.
    Throttle,
}

impl By {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Throttle => "throttle",
        }
    }
}

/// The fault that there are too many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// All blocks, by key.
pub struct Blocks {
    clock: Arc<dyn Clock>,
    bound: usize,
    /// The number of entries: without any, a question takes no lock.
    count: AtomicUsize,
    entries: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<String, Block>,
    /// The keys of throttles' blocks, by the key of the throttle.
    throttled: HashMap<u128, String>,
    networks: BTreeSet<IpNet>,
    changed: BTreeSet<String>,
}

impl Blocks {
    /// No blocks, and room for at most `bound`.
    pub fn new(bound: usize, clock: Arc<dyn Clock>) -> Self {
        Self { clock, bound, count: AtomicUsize::new(0), entries: RwLock::default() }
    }

    /// The block of this client or of this sender, if there is one now.
    pub fn find(&self, suspect: Suspect<'_>) -> Option<Block> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = self.now();
        let entries = self.read();
        let keys = suspect.sender_keys().into_iter().flatten();
        let of_sender = keys.filter_map(|key| entries.by_key.get(&key)).find(|block| block.until > now);
        let client = suspect.client.to_canonical();
        let of_client = || {
            let networks = entries.networks.iter().filter(|network| network.contains(&client));
            networks.filter_map(|network| entries.by_key.get(&network.to_string())).find(|block| block.until > now)
        };
        of_sender.or_else(of_client).cloned()
    }

    /// The time for which the key of a throttle is still blocked.
    pub fn find_throttled(&self, key: u128) -> Option<Duration> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = self.now();
        let entries = self.read();
        let block = entries.throttled.get(&key).and_then(|key| entries.by_key.get(key))?;
        block.until.checked_sub(now).filter(|left| *left > 0).map(|left| Duration::from_secs(left.into()))
    }

    /// Takes in the block that `other` has under this key, also one that has ended and is not forgotten, unless there is one here.
    pub fn adopt(&self, key: &str, other: &Self) {
        let block = other.read().by_key.get(key).cloned();
        block.into_iter().for_each(|block| self.load_missing(block));
    }

    /// The key of the block that this throttle makes of what `label` names.
    pub fn throttled_key(throttle: &str, label: &str) -> String {
        format!("{throttle}:{label}")
    }

    /// Makes an operator's block, in place of a block with the same key: that one's reason stays if the new block has none, and
    /// its end is given back beside the new block.
    ///
    /// # Errors
    /// There are too many blocks.
    pub fn add(&self, key: &BlockKey, length: Duration, why: &str) -> Result<(Block, Option<u32>), Full> {
        let (now, length) = (self.now(), whole(length));
        let until = now.saturating_add(length);
        let block = Block {
            key: key.to_string(),
            why: why.to_owned(),
            by: By::Operator,
            since: now,
            until,
            length,
            forgotten: until,
            throttled: None,
        };
        let mut entries = self.write();
        let before = entries.by_key.get(&block.key).filter(|before| before.until > now);
        let (until_before, why_before) = (before.map(|before| before.until), before.map(|before| before.why.clone()));
        let block = Block { why: why_before.filter(|_| why.is_empty()).unwrap_or(block.why), ..block };
        if entries.by_key.len() >= self.bound && !entries.by_key.contains_key(&block.key) {
            entries.forget_past(now);
            if entries.by_key.len() >= self.bound {
                return Err(Full);
            }
        }
        entries.insert(block.clone());
        self.counted(&entries);
        Ok((block, until_before))
    }

    /// Makes a throttle's block of the throttle's key `key`, which `label` names for people. Gives back how long it lasts.
    pub fn add_throttled(&self, name: &str, label: &str, key: u128, lengths: BlockLength) -> Duration {
        let now = self.now();
        let text = Self::throttled_key(name, label);
        let mut entries = self.write();
        let (first, longest) = (whole(lengths.first), whole(lengths.longest));
        let before = entries.by_key.get(&text).filter(|block| block.forgotten > now).map(|block| block.length);
        let length = before.map_or(first, |length| length.saturating_mul(2)).min(longest).max(1);
        let until = now.saturating_add(length);
        if entries.by_key.len() >= self.bound && !entries.by_key.contains_key(&text) {
            entries.make_room(self.bound, now);
        }
        entries.insert(Block {
            key: text,
            why: String::new(),
            by: By::Throttle,
            since: now,
            until,
            length,
            forgotten: until.saturating_add(longest),
            throttled: Some(key),
        });
        self.counted(&entries);
        Duration::from_secs(length.into())
    }

    /// Ends a block at once, and gives it back; `None` if there is none.
    pub fn remove(&self, key: &str) -> Option<Block> {
        let now = self.now();
        let mut entries = self.write();
        let removed = entries.remove(key).filter(|block| block.until > now);
        self.counted(&entries);
        removed
    }

    /// The blocks that hold now, by the time at which they end.
    pub fn list(&self) -> Vec<Block> {
        let now = self.now();
        let mut blocks: Vec<Block> = self.read().by_key.values().filter(|block| block.until > now).cloned().collect();
        blocks.sort_by(|a, b| (a.until, &a.key).cmp(&(b.until, &b.key)));
        blocks
    }

    /// The number of blocks that hold now.
    pub fn holding(&self) -> usize {
        let now = self.now();
        self.read().by_key.values().filter(|block| block.until > now).count()
    }

    /// The number of blocks, ended ones that are not forgotten included.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is no block, not even an ended one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets blocks that have ended long enough ago, and cuts those that were made while the clock was ahead.
    pub fn sweep(&self) {
        if self.is_empty() {
            return;
        }
        let now = self.now();
        let mut entries = self.write();
        let early: Vec<Block> = entries.by_key.values().filter(|it| it.is_of_the_future(now)).cloned().collect();
        early.into_iter().for_each(|block| entries.insert(block.cut(now)));
        entries.forget_past(now);
        self.counted(&entries);
    }

    /// The changes since they were taken last: keys, with their blocks unless those are gone.
    pub(super) fn take_changes(&self) -> Vec<(String, Option<Block>)> {
        if self.read().changed.is_empty() {
            return Vec::new();
        }
        let mut entries = self.write();
        let changed = std::mem::take(&mut entries.changed);
        changed.into_iter().map(|key| (key.clone(), entries.by_key.get(&key).cloned())).collect()
    }

    /// Puts back changes that did not get to the disk.
    pub(super) fn put_back(&self, keys: impl Iterator<Item = String>) {
        self.write().changed.extend(keys);
    }

    /// Has all blocks written, whatever the disk has.
    pub(super) fn write_anew(&self) {
        let mut entries = self.write();
        let keys: Vec<String> = entries.by_key.keys().cloned().collect();
        entries.changed.extend(keys);
    }

    /// Takes in a block from the disk, unless one with its key was made or ended since.
    pub(super) fn load_missing(&self, block: Block) {
        let entries = self.read();
        let is_known = entries.by_key.contains_key(&block.key) || entries.changed.contains(&block.key);
        drop(entries);
        if !is_known {
            self.load(block);
        }
    }

    /// Takes in a block from the disk.
    pub(super) fn load(&self, block: Block) {
        let now = self.now();
        let mut entries = self.write();
        if block.forgotten > now && entries.by_key.len() < self.bound {
            match block.is_of_the_future(now) {
                true => entries.insert(block.cut(now)),
                false => entries.place(block),
            }
        } else {
            entries.changed.insert(block.key);
        }
        self.counted(&entries);
    }

    fn now(&self) -> u32 {
        self.clock.now().seconds()
    }

    fn counted(&self, entries: &Entries) {
        self.count.store(entries.by_key.len(), Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, block: Block) {
        self.changed.insert(block.key.clone());
        self.place(block);
    }

    fn place(&mut self, block: Block) {
        if let Ok(network) = block.key.parse() {
            self.networks.insert(network);
        }
        if let Some(key) = block.throttled {
            self.throttled.insert(key, block.key.clone());
        }
        self.by_key.insert(block.key.clone(), block);
    }

    fn remove(&mut self, key: &str) -> Option<Block> {
        let block = self.by_key.remove(key)?;
        if let Ok(network) = key.parse() {
            self.networks.remove(&network);
        }
        if let Some(key) = block.throttled {
            self.throttled.remove(&key);
        }
        self.changed.insert(block.key.clone());
        Some(block)
    }

    fn forget_past(&mut self, now: u32) {
        let past = self.by_key.values().filter(|block| block.forgotten <= now).map(|block| block.key.clone());
        for key in past.collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    /// Evicts throttles' blocks, those that end first: strangers can have these made. A sixteenth of the bound at once, so that
    /// a flood pays for a scan only now and then.
    fn make_room(&mut self, bound: usize, now: u32) {
        self.forget_past(now);
        if self.by_key.len() < bound {
            return;
        }
        let of_throttles = self.by_key.values().filter(|block| block.by == By::Throttle);
        let mut ends: Vec<(u32, String)> = of_throttles.map(|block| (block.until, block.key.clone())).collect();
        ends.sort_unstable();
        for (_, key) in ends.into_iter().take((bound / 16).max(1)) {
            self.remove(&key);
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::smtp::address::ReversePath;
    use crate::smtp::address::parse_address;
    use crate::store::clock::Time;
    use crate::store::clock::Virtual;

    fn blocks(bound: usize) -> (Blocks, Arc<Virtual>) {
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        (Blocks::new(bound, clock.clone()), clock)
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn who_is_blocked() {
        let table = [
            ("an address", "newsletter@sillyplace.com", "192.0.2.1", "Newsletter@SillyPlace.com", true),
            ("another of its domain", "newsletter@sillyplace.com", "192.0.2.1", "joe@sillyplace.com", false),
            ("a domain", "@sillyplace.com", "192.0.2.1", "joe@SILLYPLACE.com", true),
            ("a subdomain is another", "@sillyplace.com", "192.0.2.1", "joe@mail.sillyplace.com", false),
            ("an address of a client", "192.0.2.1", "192.0.2.1", "a@b", true),
            ("its neighbour", "192.0.2.1", "192.0.2.2", "a@b", false),
            ("a network", "192.0.2.0/24", "192.0.2.200", "a@b", true),
            ("a network by way of IPv6", "192.0.2.0/24", "::ffff:192.0.2.200", "a@b", true),
            ("an IPv6 network", "2001:db8::/32", "2001:db8:1::1", "a@b", true),
            ("the null sender is nobody", "@sillyplace.com", "192.0.2.1", "", false),
        ];
        for (what, key, client, sender, blocked) in table {
            let (blocks, _) = blocks(10);
            blocks.add(&key.parse().unwrap(), minutes(1), "").unwrap();
            let sender = match sender {
                "" => ReversePath::Null,
                sender => ReversePath::Address(parse_address(sender.as_bytes()).unwrap()),
            };
            assert_eq!(
                blocks.find(Suspect { client: client.parse().unwrap(), sender: Some(&sender) }).is_some(),
                blocked,
                "{what}"
            );
        }
    }

    #[test]
    fn a_block_ends_and_can_be_ended() {
        let (blocks, clock) = blocks(10);
        let client = Suspect { client: "192.0.2.1".parse().unwrap(), sender: None };
        blocks.add(&"192.0.2.1".parse().unwrap(), minutes(60), "storm").unwrap();
        clock.advance(minutes(59));
        assert_eq!(blocks.find(client).unwrap().why, "storm");
        clock.advance(minutes(1));
        assert_eq!(blocks.find(client), None);
        assert!(blocks.list().is_empty());
        assert_eq!(blocks.remove("192.0.2.1/32"), None, "it is over");
        blocks.add(&"192.0.2.1".parse().unwrap(), minutes(60), "").unwrap();
        assert!(blocks.remove("192.0.2.1/32").is_some());
        assert_eq!(blocks.find(client), None);
    }

    #[test]
    fn a_throttles_blocks_double_and_are_forgotten_after_quiet() {
        let (blocks, clock) = blocks(10);
        let lengths = BlockLength { first: minutes(15), longest: minutes(24 * 60) };
        let mut seen = Vec::new();
        for _ in 0..9 {
            let length = blocks.add_throttled("storm", "192.0.2.0/24,a@b", 7, lengths);
            assert_eq!(blocks.find_throttled(7), Some(length));
            seen.push(length.as_secs() / 60);
            clock.advance(length);
            assert_eq!(blocks.find_throttled(7), None);
        }
        assert_eq!(seen, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        clock.advance(minutes(24 * 60));
        blocks.sweep();
        assert!(blocks.is_empty());
        assert_eq!(blocks.add_throttled("storm", "192.0.2.0/24,a@b", 7, lengths), minutes(15));
        assert!(blocks.remove("storm:192.0.2.0/24,a@b").is_some(), "an operator can end it");
        assert_eq!(blocks.find_throttled(7), None);
    }

    #[test]
    fn one_that_was_made_in_the_future_keeps_its_length() {
        let (blocks, clock) = blocks(10);
        let now = clock.now();
        clock.advance(minutes(10 * 365 * 24 * 60));
        blocks.add(&"192.0.2.1".parse().unwrap(), minutes(60), "").unwrap();
        let lengths = BlockLength { first: minutes(15), longest: minutes(24 * 60) };
        blocks.add_throttled("storm", "192.0.2.0/24,a@b", 7, lengths);
        let written: Vec<Block> = blocks.take_changes().into_iter().filter_map(|(_, block)| block).collect();
        let loaded = self::blocks(10);
        written.into_iter().for_each(|block| loaded.0.load(block));
        clock.set(now);
        blocks.sweep();
        for (what, (blocks, clock)) in [("running", (blocks, clock)), ("loaded", loaded)] {
            let client = Suspect { client: "192.0.2.1".parse().unwrap(), sender: None };
            assert_eq!(blocks.take_changes().len(), 2, "{what}: the disk learns it");
            assert!(blocks.list().iter().all(|block| block.since == clock.now().seconds()), "{what}");
            clock.advance(minutes(14));
            assert_eq!(blocks.find_throttled(7), Some(minutes(1)), "{what}");
            clock.advance(minutes(45));
            assert!(blocks.find(client).is_some(), "{what}");
            clock.advance(minutes(1));
            assert_eq!(blocks.find(client), None, "{what}");
            clock.advance(minutes(23 * 60 + 14));
            blocks.sweep();
            assert_eq!(blocks.len(), 1, "{what}: the next one of the throttle would be twice as long");
            clock.advance(minutes(1));
            blocks.sweep();
            assert!(blocks.is_empty(), "{what}");
        }
    }

    #[test]
    fn strangers_push_out_their_own_only() {
        let (blocks, _) = blocks(100);
        blocks.add(&"@sillyplace.com".parse().unwrap(), minutes(1), "").unwrap();
        for key in 0..10_000u128 {
            blocks.add_throttled("t", &key.to_string(), key, BlockLength::default());
            assert!(blocks.len() <= 100);
        }
        assert!(blocks.list().iter().any(|block| block.key == "@sillyplace.com"));
        assert!(blocks.find_throttled(9_999).is_some(), "the newest is there");
        let (operators, _) = self::blocks(2);
        for (key, fits) in [("@a.example", true), ("@b.example", true), ("@c.example", false), ("@a.example", true)] {
            assert_eq!(operators.add(&key.parse().unwrap(), minutes(1), "").is_ok(), fits, "{key}");
        }
    }
}
