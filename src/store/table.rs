//! A bounded table of small rows with an expiry each, whose changes are collected for the disk: what the ledger, the
//! memory of oversizes and the escalations stand in. It must not grow past its bound, whatever strangers send, and it
//! must not wait for anything but a short lock.

use std::fmt;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use hashbrown::HashTable;

use crate::store::clock::whole;
use crate::store::disk::changes::Batch;
use crate::store::disk::changes::Changes;
use crate::store::disk::changes::Octets;

/// What is remembered under a key. Times are whole seconds since the epoch, enough until 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// How often it happened.
    pub count: u32,
    /// A second number, as the table's owner has it.
    pub other: u32,
    /// When it happened first.
    pub first: u32,
    /// When it is forgotten.
    pub until: u32,
}

/// Rows by key.
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    most_per_shard: usize,
    /// Whole seconds.
    longest: u32,
}

#[derive(Default)]
struct Shard {
    slots: HashTable<(u128, Row)>,
    changes: Changes,
}

impl Table {
    /// Keeps at most `bound` rows. Past it those that have expired go, then those that would expire first. None lives longer
    /// than `longest` from now on, nor than it was meant to when it was written: what was written while the clock was in the
    /// future ends when the clock is right again.
    pub fn new(bound: usize, longest: Duration) -> Self {
        let shards = (bound / LEAST_PER_SHARD).clamp(1, MOST_SHARDS);
        let longest = whole(longest);
        let most_per_shard = (bound / shards).max(1);
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), most_per_shard, longest }
    }

    /// The row, unless it has expired.
    pub fn get(&self, key: u128, now: u32) -> Option<Row> {
        let mut shard = self.shard(key);
        let Shard { slots, changes } = &mut *shard;
        let (_, row) = slots.find_mut(key as u64, |slot| slot.0 == key)?;
        if row.is_of_the_future(now, self.longest) {
            // It stays cut, or it would be cut anew with every look at it and never end.
            *row = row.cut(now, self.longest);
            changes.note(key, true, true);
        }
        Some(*row).filter(|row| row.until > now)
    }

    /// Changes the row in one step: `change` is given it (`None` when there is none or it has expired) and says what
    /// shall stand there. Gives back what stands there then.
    pub fn update(&self, key: u128, now: u32, change: impl FnOnce(Option<Row>) -> Option<Row>) -> Option<Row> {
        let mut shard = self.shard(key);
        let Shard { slots, changes } = &mut *shard;
        let found = slots.find_entry(key as u64, |slot| slot.0 == key).ok();
        let old = found.as_ref().map(|slot| slot.get().1);
        let new = change(old.map(|row| row.cut(now, self.longest)).filter(|row| row.until > now));
        if new != old {
            changes.note(key, found.is_some(), new.is_some());
        }
        match (found, new) {
            (Some(mut slot), Some(row)) => slot.get_mut().1 = row,
            (Some(slot), None) => _ = slot.remove(),
            (None, Some(row)) => {
                if slots.len() >= self.most_per_shard {
                    make_room(slots, changes, self.most_per_shard, now);
                }
                slots.insert_unique(key as u64, (key, row), hash);
            }
            (None, None) => {}
        }
        new
    }

    /// Counts once more under this key, which is remembered from now on for so long; gives the count.
    pub fn count(&self, key: u128, memory: Duration, now: u32) -> u32 {
        let until = now.saturating_add(whole(memory));
        let row = self.update(key, now, |row| {
            let row = row.unwrap_or(Row { first: now, ..Row::default() });
            Some(Row { count: row.count.saturating_add(1), until, ..row })
        });
        row.map_or(1, |row| row.count)
    }

    /// Forgets the row.
    pub fn remove(&self, key: u128, now: u32) {
        self.update(key, now, |_| None);
    }

    /// Drops what has expired. For a timer; the bound holds without it.
    pub fn sweep(&self, now: u32) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { slots, changes } = &mut *shard;
            for (key, row) in slots.iter_mut().filter(|(_, row)| row.is_of_the_future(now, self.longest)) {
                *row = row.cut(now, self.longest);
                changes.note(*key, true, true);
            }
            drop_expired(slots, changes, now);
            // A flood that is over gives its memory back.
            if slots.len() < slots.capacity() / 4 {
                let twice = slots.len() * 2;
                slots.shrink_to(twice, hash);
            }
        }
    }

    /// Rows that are kept, expired ones that were not swept yet included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of the rows, in octets.
    pub fn memory(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.allocation_size()).sum()
    }

    /// What has changed since the last time.
    pub fn take_changes(&self) -> Batch {
        // One shard that lost count makes all of them be written: on the disk they are one table.
        let anew = self.shards.iter().any(|shard| lock(shard).changes.is_all());
        let mut batch = Batch { anew, rows: Vec::new() };
        for shard in &self.shards {
            // Under one lock: what changes later is changed against what is written now.
            let Shard { slots, changes } = &mut *lock(shard);
            if anew {
                changes.take();
                batch.rows.extend(slots.iter().map(|(key, row)| (*key, Some(row.octets()))));
                continue;
            }
            // It lost count just now: next time.
            if changes.is_all() {
                continue;
            }
            for (key, stood) in changes.take() {
                let row = slots.find(key as u64, |slot| slot.0 == key).map(|slot| slot.1.octets());
                batch.rows.extend((stood || row.is_some()).then_some((key, row)));
            }
        }
        batch
    }

    /// What was taken did not get to the disk: all of it next time.
    pub fn write_anew(&self) {
        self.shards.iter().for_each(|shard| lock(shard).changes.all());
    }

    /// A row from the disk.
    pub fn load(&self, key: u128, octets: Octets, now: u32) {
        let written = Row::from_octets(octets);
        let row = written.cut(now, self.longest);
        let mut shard = self.shard(key);
        if row.until > now && shard.slots.len() < self.most_per_shard {
            shard.slots.insert_unique(key as u64, (key, row), hash);
            if row != written {
                shard.changes.note(key, true, true);
            }
        } else {
            shard.changes.note(key, true, false);
        }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        // The other half of the key than the one that is looked up by. A key is a keyed hash: no one can aim.
        lock(&self.shards[(key >> 64) as usize % self.shards.len()])
    }
}

impl Row {
    /// It was written while the clock was ahead of where it is now.
    fn is_of_the_future(&self, now: u32, longest: u32) -> bool {
        self.first > now || self.until > now.saturating_add(longest)
    }

    /// As if it had been written now, where it was written later than now: it lives as long as it was meant to, from now.
    fn cut(self, now: u32, longest: u32) -> Self {
        let meant = if self.first > now { self.until.saturating_sub(self.first) } else { u32::MAX };
        let latest = now.saturating_add(longest.min(meant));
        Self { first: self.first.min(now), until: self.until.min(latest), ..self }
    }

    /// As it stands on the disk.
    pub fn octets(&self) -> Octets {
        let words = [self.count, self.other, self.first, self.until];
        let mut octets = [0; 16];
        for (place, word) in octets.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        octets
    }

    /// As it was before.
    pub fn from_octets(octets: Octets) -> Self {
        let word = |at: usize| u32::from_le_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        Self { count: word(0), other: word(4), first: word(8), until: word(12) }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A key is a hash already.
fn hash(slot: &(u128, Row)) -> u64 {
    slot.0 as u64
}

fn drop_expired(slots: &mut HashTable<(u128, Row)>, changes: &mut Changes, now: u32) {
    slots.retain(|(key, row)| {
        let stays = row.until > now;
        if !stays {
            changes.note(*key, true, false);
        }
        stays
    });
}

/// Frees at least one place, and a sixteenth when nothing has expired, so that a flood pays for a scan only now and then.
fn make_room(slots: &mut HashTable<(u128, Row)>, changes: &mut Changes, most: usize, now: u32) {
    drop_expired(slots, changes, now);
    let room = (most / 16).max(1);
    let mut excess = (slots.len() + room).saturating_sub(most);
    if excess == 0 {
        return;
    }
    let mut ends: Vec<u32> = slots.iter().map(|(_, row)| row.until).collect();
    let (_, &mut last, _) = ends.select_nth_unstable(excess - 1);
    for at_most in [last.checked_sub(1), Some(last)].into_iter().flatten() {
        slots.retain(|(key, row)| {
            let goes = excess > 0 && row.until <= at_most;
            if goes {
                excess -= 1;
                changes.note(*key, true, false);
            }
            !goes
        });
    }
}

/// A panic elsewhere leaves no row half written.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const LEAST_PER_SHARD: usize = 1024;
const MOST_SHARDS: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn row(until: u32) -> Row {
        Row { count: 1, other: 2, first: 0, until }
    }

    const YEAR: Duration = Duration::from_hours(24 * 365);

    fn spread(key: u64) -> u128 {
        (u128::from(key) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn what_has_expired_is_not_there() {
        let table = Table::new(10, YEAR);
        table.update(1, 100, |old| {
            assert_eq!(old, None);
            Some(row(200))
        });
        assert_eq!(table.get(1, 199), Some(row(200)));
        assert_eq!(table.get(1, 200), None);
        table.update(1, 200, |old| {
            assert_eq!(old, None, "nor for a change");
            old
        });
        assert!(table.is_empty());
    }

    #[test]
    fn what_was_written_in_the_future_ends_when_the_clock_is_right_again() {
        const DAY: u32 = 86_400;
        let (now, ahead) = (1_000_000, 1_000_000 + 3650 * DAY);
        let window = Duration::from_secs(DAY.into());
        let written = Row { count: 7, other: 1, first: ahead, until: ahead + DAY };
        let loaded = || {
            let table = Table::new(10, window);
            table.load(1, written.octets(), now);
            table
        };
        let running = || {
            let table = Table::new(10, window);
            table.update(1, ahead, |_| Some(written));
            table.take_changes();
            table
        };
        let looks: [fn(&Table, u32); 4] = [
            |table, now| _ = table.get(1, now),
            |table, now| _ = table.update(1, now, |row| row),
            |table, now| table.sweep(now),
            // A sender that goes on trying does not keep it alive.
            |table, now| (0..DAY - 1).step_by(600).for_each(|later| _ = table.get(1, now + later)),
        ];
        let longer = || {
            let table = Table::new(10, YEAR);
            table.load(1, written.octets(), now);
            table
        };
        let tables = [("loaded", &loaded as &dyn Fn() -> Table), ("running", &running), ("of a long table", &longer)];
        for (what, table) in tables {
            for (number, look) in looks.iter().enumerate() {
                let table = table();
                look(&table, now);
                let expected = Row { first: now, until: now + DAY, ..written };
                assert_eq!(table.get(1, now + DAY - 1), Some(expected), "{what} {number}");
                assert_eq!(table.get(1, now + DAY), None, "{what} {number}");
                let batch = table.take_changes();
                assert_eq!(batch.rows, [(1, Some(expected.octets()))], "{what} {number}: the disk learns it");
            }
        }
    }

    #[test]
    fn the_bound_holds_and_the_soonest_to_expire_goes() {
        let table = Table::new(100, YEAR);
        for key in 0..1000 {
            table.update(spread(key), 0, |_| Some(row(1000 + key as u32)));
            assert!(table.len() <= 100);
        }
        assert_eq!(table.get(spread(999), 0), Some(row(1999)), "the newest is there");
        assert_eq!(table.get(spread(0), 0), None);
        assert!(table.len() > 90);
    }

    #[test]
    fn a_million_rows_take_less_than_100_mb() {
        let table = Table::new(1_000_000, YEAR);
        for key in 0..1_100_000 {
            table.update(spread(key), 0, |_| Some(row(1000)));
        }
        assert!(table.len() > 900_000);
        assert!(table.memory() < 100_000_000, "{}", table.memory());
    }

    #[test]
    fn octets_read_back() {
        let row = Row { count: 1, other: u32::MAX, first: 1_795_395_525, until: 7 };
        assert_eq!(Row::from_octets(row.octets()), row);
    }

    proptest! {
        /// Whoever writes each batch to a disk has there what the table has, and a table loaded from it has it too.
        #[test]
        fn the_disk_follows(steps in prop::collection::vec((0u64..40, 0u32..50, any::<bool>(), 0u32..5), 1..200)) {
            let table = Table::new(16, YEAR);
            let mut disk: HashMap<u128, Octets> = HashMap::new();
            let mut now = 0;
            for (key, until, write, pass) in steps {
                now += pass;
                table.update(spread(key), now, |_| (until % 3 > 0).then(|| row(now + until)));
                if until == 7 {
                    table.write_anew();
                }
                if until == 8 {
                    table.sweep(now);
                }
                if write {
                    apply(&mut disk, table.take_changes());
                }
            }
            apply(&mut disk, table.take_changes());
            let mut kept: Vec<(u128, Octets)> = disk.into_iter().collect();
            let loaded = Table::new(1000, YEAR);
            kept.iter().for_each(|(key, octets)| loaded.load(*key, *octets, now));
            for (key, octets) in &kept {
                let row = Row::from_octets(*octets);
                prop_assert_eq!(loaded.get(*key, now), Some(row).filter(|row| row.until > now));
            }
            kept.sort_unstable();
            table.write_anew();
            let mut all: Vec<_> = table.take_changes().rows.into_iter().map(|(key, row)| (key, row.unwrap())).collect();
            all.sort_unstable();
            prop_assert_eq!(kept, all);
        }
    }

    fn apply(disk: &mut HashMap<u128, Octets>, batch: Batch) {
        if batch.anew {
            disk.clear();
        }
        for (key, octets) in batch.rows {
            match octets {
                Some(octets) => _ = disk.insert(key, octets),
                None => _ = disk.remove(&key),
            }
        }
    }
}
