//! The changes of a table since it was last written to the disk. They must not grow without a bound when the disk stands still:
//! past it the whole table is written anew.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;

/// The keys of changed rows, and whether the disk has a row of theirs.
#[derive(Debug, Default)]
pub(in crate::store) struct Changes {
    keys: HashMap<u128, bool, BuildHasherDefault<Keyed>>,
    all: bool,
}

/// The rows to be written: each with its octets, or `None` for a row that is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Batch {
    /// Whether everything that is on the disk is removed first.
    pub(in crate::store) anew: bool,
    /// At most one for each key.
    pub(in crate::store) rows: Vec<(u128, Option<Octets>)>,
}

/// A row as it stands on the disk.
pub(in crate::store) type Octets = [u8; 16];

impl Changes {
    /// Notes that a row was written or removed: `stood` if there was one before, `stands` if there is one now. A row that came and
    /// went between two writes is no change.
    pub(in crate::store) fn note(&mut self, key: u128, stood: bool, stands: bool) {
        if self.all {
            return;
        }
        if self.keys.len() >= MOST {
            self.all();
            return;
        }
        // A row that stood and was not changed since the last write is on the disk.
        let on_disk = *self.keys.entry(key).or_insert(stood);
        if !on_disk && !stands {
            self.keys.remove(&key);
        }
    }

    /// Notes that everything is to be written anew.
    pub(in crate::store) fn all(&mut self) {
        self.keys = HashMap::default();
        self.all = true;
    }

    /// Whether everything is to be written anew.
    pub(in crate::store) fn is_all(&self) -> bool {
        self.all
    }

    /// Takes the changes; there are none when everything is to be written.
    pub(in crate::store) fn take(&mut self) -> HashMap<u128, bool, BuildHasherDefault<Keyed>> {
        self.all = false;
        std::mem::take(&mut self.keys)
    }
}

/// A hasher for keys, which are hashes already.
#[derive(Debug, Default)]
pub(in crate::store) struct Keyed(u64);

impl Hasher for Keyed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.0 = self.0.rotate_left(8) ^ u64::from(*octet));
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

impl Batch {
    /// Whether there is nothing to write.
    pub(in crate::store) fn is_empty(&self) -> bool {
        !self.anew && self.rows.is_empty()
    }
}

/// Changes of one shard.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_stands_still_takes_no_memory() {
        let mut changes = Changes::default();
        (0..10 * MOST as u128).for_each(|key| changes.note(key, false, true));
        assert_eq!(changes.keys.capacity(), 0);
        assert!(changes.is_all());
        assert!(changes.take().is_empty());
        changes.note(7, true, true);
        assert_eq!(changes.take().into_iter().collect::<Vec<_>>(), [(7, true)]);
        assert!(changes.take().is_empty());
    }

    #[test]
    fn what_the_disk_has_is_what_stood_at_the_first_change() {
        let mut changes = Changes::default();
        for (key, stood, stands) in [
            (1, false, true),
            (1, true, true),
            (2, true, false),
            (2, false, true),
            (2, true, true),
            (3, false, true),
            (3, true, false),
            (4, true, false),
        ] {
            changes.note(key, stood, stands);
        }
        let mut taken: Vec<_> = changes.take().into_iter().collect();
        taken.sort_unstable();
        assert_eq!(taken, [(1, false), (2, true), (4, true)], "what came and went leaves nothing");
    }
}
