//! A bounded map in shards, whose changes are collected for the disk: the counters of the throttles, the ledger and all
//! memories are kept in such maps. It must not grow past its bound, whatever strangers send, and it must not wait for anything
//! but a short lock.

use std::fmt;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use hashbrown::HashTable;

use crate::store::clock::Time;
use crate::store::disk::changes::Batch;
use crate::store::disk::changes::Changes;
use crate::store::disk::changes::Octets;

/// An entry of [`Shards`], its key included.
pub trait Entry: Copy + PartialEq {
    /// The key: a keyed hash, so that nobody can aim at a shard.
    fn key(&self) -> u128;

    /// Whether the entry means nothing any more.
    fn is_expired(&self, now: Time) -> bool;

    /// The order of eviction among entries that have not expired: the lowest rank goes first.
    fn rank(&self, now: Time) -> u64;

    /// The entry with no longer a life than `longest` from now on; an entry that was written while the clock was ahead of
    /// `now` ends when the clock is right again.
    #[must_use]
    fn cut(self, now: Time, longest: Duration) -> Self;

    /// The entry as it is written to the disk, where it stands from now on.
    fn write(&mut self) -> Octets;

    /// The entry as it stood on the disk.
    fn read(key: u128, octets: Octets) -> Self;
}

/// A table that is kept on the disk.
pub(super) trait Persistent {
    /// Evicts expired entries. For a timer; the bound holds without it.
    fn sweep(&self, now: Time);

    /// The changes since they were taken last.
    fn take_changes(&self) -> Batch;

    /// Has everything written anew, because changes that were taken did not get to the disk.
    fn write_anew(&self);

    /// Takes in an entry from the disk.
    fn load(&self, key: u128, octets: Octets, now: Time);
}

/// Entries by key. At the bound those that have expired are evicted, then those of the lowest rank.
pub struct Shards<E>(Box<[Mutex<Shard<E>>]>);

/// The entries that share a lock.
pub(super) struct Shard<E> {
    entries: HashTable<E>,
    changes: Changes,
    most: usize,
    longest: Duration,
    /// The time at which [`evict_expired_now_and_then`](Self::evict_expired_now_and_then) looked at all entries last.
    searched: Time,
}

impl<E: Entry> Shards<E> {
    /// An empty map for at most `bound` entries, none of which lives longer than `longest` from now on.
    pub fn new(bound: usize, longest: Duration) -> Self {
        let count = (bound / LEAST_PER_SHARD).clamp(1, MOST_SHARDS);
        let most = (bound / count).max(1);
        Self((0..count).map(|_| Mutex::new(Shard::new(most, longest))).collect())
    }

    /// The number of entries, expired ones that were not swept yet included.
    pub fn len(&self) -> usize {
        self.all().map(|shard| shard.entries.len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in the entry that `other` has under this key, which has none here.
    pub fn adopt(&self, key: u128, other: &Self, now: Time) {
        let entry = other.shard(key).find(key).copied();
        entry.into_iter().for_each(|entry| self.shard(key).insert(entry, now));
    }

    /// Forgets the entry of this key; false when there is none.
    pub fn remove(&self, key: u128) -> bool {
        self.shard(key).remove(key)
    }

    /// The shard of this key, locked.
    pub(super) fn shard(&self, key: u128) -> MutexGuard<'_, Shard<E>> {
        // The half of the key that is not used for looking it up within the shard.
        lock(&self.0[(key >> 64) as usize % self.0.len()])
    }

    /// Memory of the entries, in octets.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.all().map(|shard| shard.entries.allocation_size()).sum()
    }

    /// A copy of every entry.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<E> {
        self.all().flat_map(|shard| shard.entries.iter().copied().collect::<Vec<_>>()).collect()
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard<E>>> {
        self.0.iter().map(lock)
    }
}

impl<E: Entry> Persistent for Shards<E> {
    fn sweep(&self, now: Time) {
        self.all().for_each(|mut shard| shard.sweep(now));
    }

    fn take_changes(&self) -> Batch {
        // One shard that lost count makes all of them be written: on the disk they are one table.
        let anew = self.all().any(|shard| shard.changes.is_all());
        let mut batch = Batch { anew, rows: Vec::new() };
        // Each shard under its lock: later changes are changes against what is written now.
        self.all().for_each(|mut shard| shard.take_changes(&mut batch));
        batch
    }

    fn write_anew(&self) {
        self.all().for_each(|mut shard| shard.changes.all());
    }

    fn load(&self, key: u128, octets: Octets, now: Time) {
        self.shard(key).load(E::read(key, octets), now);
    }
}

impl<E: Entry> Shard<E> {
    fn new(most: usize, longest: Duration) -> Self {
        let (changes, searched) = (Changes::default(), Time::default());
        Self { entries: HashTable::new(), changes, most, longest, searched }
    }

    /// The entry of this key, unless it has expired.
    pub(super) fn get(&mut self, key: u128, now: Time) -> Option<E> {
        let entry = self.entries.find_mut(key as u64, |entry| entry.key() == key)?;
        let cut = entry.cut(now, self.longest);
        if cut != *entry {
            // Stored cut: otherwise each look would cut it anew, and it would never end.
            *entry = cut;
            self.changes.note(key, true, true);
        }
        Some(cut).filter(|entry| !entry.is_expired(now))
    }

    /// Changes an entry in one step: `change` turns the entry, `None` when there is none or it has expired, into the one that takes
    /// its place, which is given back.
    pub(super) fn update(&mut self, key: u128, now: Time, change: impl FnOnce(Option<E>) -> Option<E>) -> Option<E> {
        let found = self.entries.find_entry(key as u64, |entry| entry.key() == key).ok();
        let old = found.as_ref().map(|entry| *entry.get());
        let new = change(old.map(|entry| entry.cut(now, self.longest)).filter(|entry| !entry.is_expired(now)));
        if new != old {
            self.changes.note(key, old.is_some(), new.is_some());
        }
        match (found, new) {
            (Some(mut entry), Some(new)) => *entry.get_mut() = new,
            (Some(entry), None) => _ = entry.remove(),
            (None, Some(new)) => self.place(new, now),
            (None, None) => {}
        }
        new
    }

    /// The entry of this key, expired or not. A change of it has to be noted by [`changed`](Self::changed).
    pub(super) fn find(&mut self, key: u128) -> Option<&mut E> {
        self.entries.find_mut(key as u64, |entry| entry.key() == key)
    }

    /// Notes that the disk has another entry under this key.
    pub(super) fn changed(&mut self, key: u128) {
        self.changes.note(key, true, true);
    }

    /// Takes in an entry whose key has none.
    pub(super) fn insert(&mut self, entry: E, now: Time) {
        self.changes.note(entry.key(), false, true);
        self.place(entry, now);
    }

    /// Whether there is more room left than an eviction frees.
    pub(super) fn is_roomy(&self) -> bool {
        self.entries.len() < self.most - self.freed_at_once()
    }

    /// Evicts expired entries, but looks at all entries only now and then: a flood must not pay for a scan with each key.
    pub(super) fn evict_expired_now_and_then(&mut self, now: Time) {
        if now.nanoseconds().abs_diff(self.searched.nanoseconds()) >= SEARCH_EVERY {
            self.searched = now;
            self.evict_expired(now);
        }
    }

    fn remove(&mut self, key: u128) -> bool {
        let Ok(found) = self.entries.find_entry(key as u64, |entry| entry.key() == key) else { return false };
        found.remove();
        self.changes.note(key, true, false);
        true
    }

    fn place(&mut self, entry: E, now: Time) {
        if self.entries.len() >= self.most {
            self.make_room(now);
        }
        self.entries.insert_unique(hash(&entry), entry, hash);
    }

    /// Frees at least one place, and a sixteenth when nothing has expired, so that a flood pays for a scan only now and then.
    fn make_room(&mut self, now: Time) {
        self.evict_expired(now);
        let mut excess = (self.entries.len() + self.freed_at_once()).saturating_sub(self.most);
        if excess == 0 {
            return;
        }
        let mut ranks: Vec<u64> = self.entries.iter().map(|entry| entry.rank(now)).collect();
        let (_, &mut enough, _) = ranks.select_nth_unstable(excess - 1);
        // Lower ranks first, so that ties are not evicted before them.
        for at_most in [enough.checked_sub(1), Some(enough)].into_iter().flatten() {
            self.evict(|entry| {
                let goes = excess > 0 && entry.rank(now) <= at_most;
                excess -= usize::from(goes);
                goes
            });
        }
    }

    fn freed_at_once(&self) -> usize {
        (self.most / 16).max(1)
    }

    fn evict_expired(&mut self, now: Time) {
        self.evict(|entry| entry.is_expired(now));
    }

    fn evict(&mut self, mut goes: impl FnMut(&E) -> bool) {
        let Self { entries, changes, .. } = self;
        entries.retain(|entry| {
            let goes = goes(entry);
            if goes {
                changes.note(entry.key(), true, false);
            }
            !goes
        });
    }

    fn sweep(&mut self, now: Time) {
        for entry in &mut self.entries {
            let cut = entry.cut(now, self.longest);
            if cut != *entry {
                *entry = cut;
                self.changes.note(cut.key(), true, true);
            }
        }
        self.evict_expired(now);
        // A flood that is over gives its memory back.
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2, hash);
        }
    }

    fn load(&mut self, written: E, now: Time) {
        let entry = written.cut(now, self.longest);
        let stays = !entry.is_expired(now) && self.entries.len() < self.most;
        if !stays || entry != written {
            self.changes.note(entry.key(), true, stays);
        }
        if stays {
            self.entries.insert_unique(hash(&entry), entry, hash);
        }
    }

    fn take_changes(&mut self, batch: &mut Batch) {
        let Self { entries, changes, .. } = self;
        if batch.anew {
            changes.take();
            batch.rows.extend(entries.iter_mut().map(|entry| (entry.key(), Some(entry.write()))));
            return;
        }
        // The shard just lost count of its changes: write them next time.
        if changes.is_all() {
            return;
        }
        for (key, stood) in changes.take() {
            let octets = entries.find_mut(key as u64, |entry| entry.key() == key).map(E::write);
            batch.rows.extend((stood || octets.is_some()).then_some((key, octets)));
        }
    }
}

impl<E: Entry> fmt::Debug for Shards<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The key is a hash already.
fn hash<E: Entry>(entry: &E) -> u64 {
    entry.key() as u64
}

/// A panic elsewhere leaves no entry half written.
fn lock<E>(shard: &Mutex<Shard<E>>) -> MutexGuard<'_, Shard<E>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const LEAST_PER_SHARD: usize = 1024;
const MOST_SHARDS: usize = 64;
/// Nanoseconds.
const SEARCH_EVERY: u64 = 100_000_000;
