//! What a table has changed since it was last written to the disk. It must not grow without a bound when the disk
//! stands still: past it the whole table is written anew.

/// The keys of changed rows.
#[derive(Debug, Default)]
pub(super) struct Changes {
    keys: Vec<u128>,
    all: bool,
}

/// What is to be written: a row's octets, or `None` for one that is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whatever is on the disk goes first.
    pub anew: bool,
    /// At most one for each key when they are many, the last one counts.
    pub rows: Vec<(u128, Option<Octets>)>,
}

/// A row as it stands on the disk.
pub type Octets = [u8; 16];

impl Changes {
    /// A row was written or removed.
    pub(super) fn note(&mut self, key: u128) {
        if self.all {
            return;
        }
        if self.keys.len() >= MOST {
            self.all();
            return;
        }
        self.keys.push(key);
    }

    /// Everything is to be written anew.
    pub(super) fn all(&mut self) {
        self.keys = Vec::new();
        self.all = true;
    }

    /// Takes them: `None` for everything.
    pub(super) fn take(&mut self) -> Option<Vec<u128>> {
        if std::mem::take(&mut self.all) {
            return None;
        }
        Some(std::mem::take(&mut self.keys))
    }
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        !self.anew && self.rows.is_empty()
    }
}

/// Of one shard.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_stands_still_takes_no_memory() {
        let mut changes = Changes::default();
        (0..10 * MOST as u128).for_each(|key| changes.note(key));
        assert_eq!(changes.keys.capacity(), 0);
        assert_eq!(changes.take(), None, "all of it");
        changes.note(7);
        assert_eq!(changes.take(), Some(vec![7]));
        assert_eq!(changes.take(), Some(vec![]));
    }
}
