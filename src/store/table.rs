//! Tables of small rows with an expiry each, for the ledger and all memories. A row must not live longer than its table says,
//! whatever the clock does.

use std::time::Duration;

use crate::store::clock::Time;
use crate::store::clock::whole;
use crate::store::disk::changes::Octets;
use crate::store::shards::Entry;
use crate::store::shards::Shards;

/// A value that is remembered under a key. Times are whole seconds since the epoch, enough until 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row<V> {
    /// The value.
    pub value: V,
    /// The time at which the row was made.
    pub first: u32,
    /// The time at which it is forgotten.
    pub until: u32,
}

/// The value of a row: two numbers on the disk.
pub trait Value: Copy + Default + PartialEq {
    /// The value as it is written to the disk.
    fn numbers(self) -> [u32; 2];

    /// The value as it stood on the disk.
    fn of_numbers(numbers: [u32; 2]) -> Self;
}

/// Rows by key. At the bound those that have expired are evicted, then those that would expire first.
pub type Table<V> = Shards<(u128, Row<V>)>;

impl<V: Value> Table<V> {
    /// The row, unless it has expired.
    pub(super) fn get(&self, key: u128, now: Time) -> Option<Row<V>> {
        self.shard(key).get(key, now).map(|(_, row)| row)
    }

    /// Changes a row in one step: `change` turns the row, `None` when there is none or it has expired, into the one that takes its
    /// place, which is given back.
    pub(super) fn update(
        &self,
        key: u128,
        now: Time,
        change: impl FnOnce(Option<Row<V>>) -> Option<Row<V>>,
    ) -> Option<Row<V>> {
        let change = |old: Option<(u128, Row<V>)>| change(old.map(|(_, row)| row)).map(|row| (key, row));
        self.shard(key).update(key, now, change).map(|(_, row)| row)
    }

    /// Changes the value of a row, which is remembered for `memory` from now on, and gives the new value back.
    pub(super) fn renew(&self, key: u128, memory: Duration, now: Time, change: impl FnOnce(V) -> V) -> V {
        let mut value = V::default();
        self.update(key, now, |row| {
            let new = Row::new(now, memory);
            let old = row.unwrap_or(new);
            value = change(old.value);
            Some(Row { value, first: old.first, until: new.until })
        });
        value
    }
}

impl<V: Value> Row<V> {
    /// A row that is new, and forgotten after `memory`.
    pub(super) fn new(now: Time, memory: Duration) -> Self {
        Self { value: V::default(), first: now.seconds(), until: now.plus(memory).seconds() }
    }

    /// The time until the row is forgotten.
    pub(super) fn left(&self, now: Time) -> Duration {
        Duration::from_secs(self.until.saturating_sub(now.seconds()).into())
    }
}

impl<V: Value> Entry for (u128, Row<V>) {
    fn key(&self) -> u128 {
        self.0
    }

    fn is_expired(&self, now: Time) -> bool {
        self.1.until <= now.seconds()
    }

    fn rank(&self, _: Time) -> u64 {
        self.1.until.into()
    }

    /// A row of the future is as if it had been written now: it lives as long as it was meant to, from now.
    fn cut(self, now: Time, longest: Duration) -> Self {
        let (key, row) = self;
        let now = now.seconds();
        let meant = if row.first > now { row.until.saturating_sub(row.first) } else { u32::MAX };
        let latest = now.saturating_add(whole(longest).min(meant));
        (key, Row { first: row.first.min(now), until: row.until.min(latest), ..row })
    }

    fn write(&mut self) -> Octets {
        let Row { value, first, until } = self.1;
        let [one, other] = value.numbers();
        let mut octets = [0; 16];
        for (place, number) in octets.chunks_exact_mut(4).zip([one, other, first, until]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        octets
    }

    fn read(key: u128, octets: Octets) -> Self {
        let number = |at: usize| u32::from_le_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        (key, Row { value: V::of_numbers([number(0), number(4)]), first: number(8), until: number(12) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::disk::changes::Batch;
    use crate::store::rows::Acknowledgement;
    use crate::store::rows::Refusals;
    use crate::store::rows::Times;
    use crate::store::shards::Persistent;

    type Table = super::Table<Refusals>;

    const VALUE: Refusals = Refusals { count: 1, tries: u32::MAX };

    fn row(until: u32) -> Row<Refusals> {
        Row { value: VALUE, first: 0, until }
    }

    fn octets<V: Value>(row: Row<V>) -> Octets {
        (0, row).write()
    }

    fn at(seconds: u32) -> Time {
        Time::from_seconds(seconds)
    }

    const YEAR: Duration = Duration::from_hours(24 * 365);

    fn spread(key: u64) -> u128 {
        (u128::from(key) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn what_has_expired_is_not_there() {
        let table = Table::new(10, YEAR);
        table.update(1, at(100), |old| {
            assert_eq!(old, None);
            Some(row(200))
        });
        assert_eq!(table.get(1, at(199)), Some(row(200)));
        assert_eq!(table.get(1, at(200)), None);
        table.update(1, at(200), |old| {
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
        let written = Row { value: VALUE, first: ahead, until: ahead + DAY };
        let loaded = || {
            let table = Table::new(10, window);
            table.load(1, octets(written), at(now));
            table
        };
        let running = || {
            let table = Table::new(10, window);
            table.update(1, at(ahead), |_| Some(written));
            table.take_changes();
            table
        };
        let looks: [fn(&Table, u32); 4] = [
            |table, now| _ = table.get(1, at(now)),
            |table, now| _ = table.update(1, at(now), |row| row),
            |table, now| table.sweep(at(now)),
            // A sender that goes on trying does not keep it alive.
            |table, now| (0..DAY - 1).step_by(600).for_each(|later| _ = table.get(1, at(now + later))),
        ];
        let longer = || {
            let table = Table::new(10, YEAR);
            table.load(1, octets(written), at(now));
            table
        };
        let tables = [("loaded", &loaded as &dyn Fn() -> Table), ("running", &running), ("of a long table", &longer)];
        for (what, table) in tables {
            for (number, look) in looks.iter().enumerate() {
                let table = table();
                look(&table, now);
                let expected = Row { first: now, until: now + DAY, ..written };
                assert_eq!(table.get(1, at(now + DAY - 1)), Some(expected), "{what} {number}");
                assert_eq!(table.get(1, at(now + DAY)), None, "{what} {number}");
                let batch = table.take_changes();
                assert_eq!(batch.rows, [(1, Some(octets(expected)))], "{what} {number}: the disk learns it");
            }
        }
    }

    #[test]
    fn the_bound_holds_and_the_soonest_to_expire_goes() {
        let table = Table::new(100, YEAR);
        for key in 0..1000 {
            table.update(spread(key), at(0), |_| Some(row(1000 + key as u32)));
            assert!(table.len() <= 100);
        }
        assert_eq!(table.get(spread(999), at(0)), Some(row(1999)), "the newest is there");
        assert_eq!(table.get(spread(0), at(0)), None);
        assert!(table.len() > 90);
    }

    #[test]
    fn a_million_rows_take_less_than_100_mb() {
        let table = Table::new(1_000_000, YEAR);
        for key in 0..1_100_000 {
            table.update(spread(key), at(0), |_| Some(row(1000)));
        }
        assert!(table.len() > 900_000);
        assert!(table.memory() < 100_000_000, "{}", table.memory());
    }

    #[test]
    fn rows_stand_on_the_disk_as_four_numbers_and_read_back() {
        fn check<V: Value + std::fmt::Debug>(value: V, numbers: [u32; 2]) {
            let (first, until) = (1_795_395_525, 7);
            let row = Row { value, first, until };
            let expected: Vec<u8> = numbers.into_iter().chain([first, until]).flat_map(u32::to_le_bytes).collect();
            assert_eq!(octets(row).as_slice(), expected, "{value:?}");
            assert_eq!(<(u128, Row<V>)>::read(9, octets(row)), (9, row));
        }
        check(VALUE, [1, u32::MAX]);
        check(Times(3), [3, 0]);
        check(Acknowledgement { lost: true }, [0, 1]);
        check(Acknowledgement { lost: false }, [0, 0]);
        check((), [0, 0]);
        assert!(Acknowledgement::of_numbers([7, 1]).lost, "earlier versions counted copies there");
    }

    proptest! {
        /// A disk to which each batch is written has the rows of the table, and a table that is loaded from it has them too.
        #[test]
        fn the_disk_follows(steps in prop::collection::vec((0u64..40, 0u32..50, any::<bool>(), 0u32..5), 1..200)) {
            let table = Table::new(16, YEAR);
            let mut disk: HashMap<u128, Octets> = HashMap::new();
            let mut now = 0;
            for (key, until, write, pass) in steps {
                now += pass;
                table.update(spread(key), at(now), |_| (until % 3 > 0).then(|| row(now + until)));
                if until == 7 {
                    table.write_anew();
                }
                if until == 8 {
                    table.sweep(at(now));
                }
                if write {
                    apply(&mut disk, table.take_changes());
                }
            }
            apply(&mut disk, table.take_changes());
            let mut kept: Vec<(u128, Octets)> = disk.into_iter().collect();
            let loaded = Table::new(1000, YEAR);
            kept.iter().for_each(|(key, octets)| loaded.load(*key, *octets, at(now)));
            for (key, octets) in &kept {
                let (_, row) = Entry::read(*key, *octets);
                prop_assert_eq!(loaded.get(*key, at(now)), Some(row).filter(|row| row.until > now));
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
