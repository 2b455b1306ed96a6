//! The counters of the throttles: governor's GCRA over a bounded table and a clock of our own. A key is one time, at which it is
//! idle again, so that it can be kept over a restart. It must not grow past its bound, whatever strangers send, and it must not
//! wait.
//!
//! It deviates from governor in two ways: a charge that does not fit is not lost but owed, up to one window beyond the limit,
//! and a test for more than the burst is one for the whole burst.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::Duration;

use governor::RateLimiter;
use governor::clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::policy::throttle::Throttle;
use crate::policy::throttle::ThrottleKey;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::rate::Rate;
use crate::store::shards::Shard;
use crate::store::shards::Shards;
use crate::store::slot::Slot;

/// The counters of all throttles; a throttle's identity is in its keys.
#[derive(Debug)]
pub struct ThrottleTable {
    clock: Arc<dyn Clock>,
    pub(super) keys: Shards<Slot>,
}

impl ThrottleTable {
    /// An empty table for at most `bound` keys. At the bound idle keys are evicted; then newcomers are counted under their coarse
    /// key, so that a flood of forged senders fills no memory, evicts no other key and is held back as one. Where there is no
    /// room for that either, the keys are evicted that have the least of their burst spent.
    pub fn new(bound: usize, clock: Arc<dyn Clock>) -> Self {
        Self { clock, keys: Shards::new(bound, LONGEST_WINDOW) }
    }

    /// Tests whether `cells` could be spent now, and spends nothing. More than the burst passes only when nothing is spent.
    ///
    /// # Errors
    /// The cells do not fit yet; the time after which they would.
    pub fn test(&self, throttle: &Throttle, key: ThrottleKey, cells: u64) -> Result<(), Duration> {
        self.check(throttle, key, cells, false)
    }

    /// Spends `cells` if they fit, as [`test`](Self::test) tells.
    ///
    /// # Errors
    /// The cells do not fit yet, and nothing was charged; the time after which they would.
    pub fn take(&self, throttle: &Throttle, key: ThrottleKey, cells: u64) -> Result<(), Duration> {
        self.check(throttle, key, cells, true)
    }

    /// Spends `cells`, whether they fit or not: what does not fit is owed, and nothing passes until it has come back. More than
    /// one window beyond the limit is never owed.
    pub fn charge(&self, throttle: &Throttle, key: ThrottleKey, cells: u64) {
        let rate = Rate::of(throttle);
        let view = View::new(self, &rate, true);
        let spends = |idle_at: Option<Nanos>| {
            let now = view.now.nanoseconds();
            let from = idle_at.map_or(now, |idle_at| idle_at.as_u64().max(now));
            Ok::<_, Infallible>(((), Nanos::new(from.saturating_add(rate.weight(cells)))))
        };
        if cells > 0 {
            let Ok(()) = view.measure_and_replace(&key, spends);
        }
    }

    /// Takes in what `other` has counted for this key, which has nothing here. What is counted under the coarse key there is
    /// counted under the exact one here.
    pub fn adopt(&self, key: ThrottleKey, other: &Self) {
        let now = other.clock.now();
        let (mut shard, counted) = other.place(key, now, false);
        let slot = shard.find(counted).copied();
        drop(shard);
        slot.into_iter().for_each(|slot| self.keys.shard(key.exact).insert(Slot { key: key.exact, ..slot }, now));
    }

    /// Forgets what this key has spent; false when that is nothing.
    pub fn forget(&self, key: u128) -> bool {
        self.keys.remove(key)
    }

    /// The number of keys, idle ones that were not swept yet included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn check(&self, throttle: &Throttle, key: ThrottleKey, cells: u64, writes: bool) -> Result<(), Duration> {
        let rate = Rate::of(throttle);
        let Some(cells) = rate.cells(cells) else { return Ok(()) };
        let view = View::new(self, &rate, writes);
        let now = view.now.nanoseconds();
        // governor stores times since its limiter was made, so the limiter is made at the epoch.
        let limiter: RateLimiter<ThrottleKey, View<'_>, Reading, NoOpMiddleware<Nanos>> =
            RateLimiter::new(rate.quota, view, Reading(Cell::new(0)));
        limiter.clock().0.set(now);
        limiter
            .check_key_n(&key, cells)
            .expect("never more cells than the burst")
            .map_err(|until| until.wait_time_from(Nanos::new(now)))
    }

    /// The shard and the key under which `key` is counted: the exact one, or at the bound, where nothing is idle, the coarse one.
    /// The room that is left for coarse keys is as much as is freed at once when they fill it.
    fn place(&self, key: ThrottleKey, now: Time, writes: bool) -> (MutexGuard<'_, Shard<Slot>>, u128) {
        let mut shard = self.keys.shard(key.exact);
        if shard.is_roomy() || shard.find(key.exact).is_some() {
            return (shard, key.exact);
        }
        if writes {
            shard.evict_expired_now_and_then(now);
        }
        if shard.is_roomy() {
            return (shard, key.exact);
        }
        drop(shard);
        (self.keys.shard(key.coarse), key.coarse)
    }
}

/// The table as governor sees it for one question.
struct View<'a> {
    table: &'a ThrottleTable,
    now: Time,
    /// The way from the limit to idle, in nanoseconds.
    span: u64,
    /// The way from the most that is ever owed to the limit, in nanoseconds.
    debt: u64,
    /// Whether the question spends anything.
    writes: bool,
}

impl<'a> View<'a> {
    fn new(table: &'a ThrottleTable, rate: &Rate, writes: bool) -> Self {
        Self { table, now: table.clock.now(), span: rate.span(), debt: rate.debt(), writes }
    }

    /// The latest time at which a key is idle again; only one that was written before the clock went back is later. A key that
    /// newcomers share owes nothing: a flood that is over must not hold them up.
    fn farthest(&self, is_shared: bool) -> Nanos {
        let debt = if is_shared { 0 } else { self.debt };
        Nanos::new(self.now.nanoseconds().saturating_add(self.span).saturating_add(debt))
    }
}

impl StateStore for View<'_> {
    type Key = ThrottleKey;

    fn measure_and_replace<T, F, E>(&self, asked: &ThrottleKey, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (mut shard, key) = self.table.place(*asked, self.now, self.writes);
        let farthest = self.farthest(key != asked.exact);
        let found = shard.find(key);
        let idle_at = found.as_ref().map(|slot| Nanos::new(slot.idle_at.nanoseconds()).min(farthest));
        let (outcome, next) = decide(idle_at)?;
        if self.writes {
            let slot = Slot::new(key, Time::from_nanoseconds(next.min(farthest).as_u64()), self.span);
            match found {
                None => shard.insert(slot, self.now),
                Some(old) => {
                    if !std::mem::replace(old, slot).is_unwritten() {
                        shard.changed(key);
                    }
                }
            }
        }
        Ok(outcome)
    }
}

/// The time of one question, which governor takes for a clock.
struct Reading(Cell<u64>);

impl clock::Clock for Reading {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

/// The bound of a table where nothing else is configured.
pub const DEFAULT_BOUND: usize = 1_000_000;
/// The longest period of a limit.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::throttle::Count;
    use crate::policy::throttle::Throttle;
    use crate::store::clock::Virtual;
    use crate::store::shards::Persistent;

    #[test]
    fn three_an_hour_is_seen_by_the_third_hour() {
        let (table, clock) = table(1000);
        let throttle = Throttle::shipped().remove(0);
        let mut first_refusal = None;
        let mut passed = 0;
        for attempt in 0..72 {
            let verdict = table.test(&throttle, KEY, 1);
            table.charge(&throttle, KEY, 1);
            match verdict {
                Ok(()) => passed += 1,
                Err(_) => _ = first_refusal.get_or_insert(attempt),
            }
            clock.advance(minutes(20));
        }
        assert!(first_refusal.unwrap() <= 9, "the third hour ends with the ninth: {first_refusal:?}");
        assert_eq!(passed, 5, "who goes on at this pace never gets out again");
        assert_eq!(table.test(&throttle, KEY, 1), Err(minutes(24 * 60 - 20)), "a day after the last try at most");
    }

    #[test]
    fn what_a_key_may_spend() {
        enum Do {
            Take(u64, Result<(), u64>),
            Test(u64, Result<(), u64>),
            Charge(u64),
            Wait(u64),
        }
        use Do::{Charge, Take, Test, Wait};
        // A limit of 60 a minute, a burst of 5; waits in seconds.
        let cases: &[(&str, &[Do])] = &[
            ("a burst, then one a second", &[Take(5, Ok(())), Take(1, Err(1)), Wait(1), Take(1, Ok(()))]),
            ("what was refused costs nothing", &[Take(4, Ok(())), Take(2, Err(1)), Take(1, Ok(()))]),
            ("a test costs nothing", &[Test(5, Ok(())), Test(5, Ok(())), Take(5, Ok(())), Test(1, Err(1))]),
            ("nothing is always free", &[Take(5, Ok(())), Take(0, Ok(())), Test(0, Ok(()))]),
            ("what does not fit is owed", &[Take(4, Ok(())), Charge(3), Test(1, Err(3)), Test(5, Err(7))]),
            ("whatever has come back", &[Take(5, Ok(())), Wait(2), Charge(9), Test(1, Err(8)), Test(5, Err(12))]),
            (
                "no more than one window",
                &[Charge(5), Charge(5), Charge(u64::MAX), Test(1, Err(60)), Wait(60), Test(1, Ok(()))],
            ),
            ("more than the burst is the whole burst", &[Take(u64::MAX, Ok(())), Test(1, Err(1)), Test(99, Err(5))]),
            ("and passes only when nothing is spent", &[Take(1, Ok(())), Take(6, Err(1)), Wait(1), Take(6, Ok(()))]),
            (
                "an idle key has no more than its burst",
                &[Take(1, Ok(())), Wait(9999), Take(5, Ok(())), Test(1, Err(1))],
            ),
        ];
        for (what, steps) in cases {
            let (table, clock) = table(1000);
            let throttle = throttle(60, 60, 5);
            let seconds = |wait: Result<(), Duration>| wait.map_err(|wait| wait.as_secs());
            for step in *steps {
                match step {
                    Take(cells, expected) => {
                        assert_eq!(seconds(table.take(&throttle, KEY, *cells)), *expected, "{what}")
                    }
                    Test(cells, expected) => {
                        assert_eq!(seconds(table.test(&throttle, KEY, *cells)), *expected, "{what}")
                    }
                    Charge(cells) => table.charge(&throttle, KEY, *cells),
                    Wait(seconds) => clock.advance(Duration::from_secs(*seconds)),
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_owed() {
        let (table, clock) = table(1000);
        let megabytes = |number: u64| number * 1_000_000;
        let throttle = Throttle { count: Count::Bytes, ..throttle(megabytes(3), 24 * 3600, megabytes(3)) };
        let hours = |hours: u64| Duration::from_hours(hours);
        let wait =
            |table: &ThrottleTable| table.test(&throttle, KEY, 1).map_err(|wait| wait.as_secs_f64().round() as u64);
        table.charge(&throttle, KEY, megabytes(4));
        assert_eq!(wait(&table), Err(8 * 3600), "until a megabyte has come back");
        clock.advance(hours(8) + Duration::from_secs(1));
        assert_eq!(wait(&table), Ok(()));
        table.charge(&throttle, KEY, megabytes(1000));
        assert_eq!(wait(&table), Err(24 * 3600), "one window at most");
        clock.advance(hours(24));
        assert_eq!(wait(&table), Ok(()));
    }

    #[test]
    fn large_numbers_of_octets() {
        let table_of_limits = [
            ("200 MB a day", 200_000_000, 86_400),
            ("34 GB a day", 34_000_000_000, 86_400),
            ("10 GB a second", 10_000_000_000, 1),
            ("a petabyte a day", 1_000_000_000_000_000, 86_400),
            ("all there is", u64::MAX, 1),
        ];
        for (what, limit, period) in table_of_limits {
            let (table, clock) = table(1000);
            let throttle = Throttle { count: Count::Bytes, ..throttle(limit, period, limit) };
            assert_eq!(table.take(&throttle, KEY, limit / 2), Ok(()), "{what}");
            assert_eq!(table.take(&throttle, KEY, limit / 2 - limit / 1000), Ok(()), "{what}");
            let wait = table.test(&throttle, KEY, limit / 2).unwrap_err().as_secs_f64();
            let exact = period as f64 * 0.499;
            assert!((wait - exact).abs() < exact / 100.0, "{what}: {wait} instead of {exact}");
            clock.advance(Duration::from_secs(period));
            assert_eq!(table.test(&throttle, KEY, limit), Ok(()), "{what}: idle after its period");
        }
    }

    #[test]
    fn what_faults_refuses_does_no_harm_either() {
        let worst = [
            Throttle { cells: 0, burst: 0, period: Duration::ZERO, ..throttle(1, 1, 1) },
            Throttle { cells: 1, burst: u64::MAX, period: Duration::MAX, ..throttle(1, 1, 1) },
            Throttle { cells: u64::MAX, burst: u64::MAX, period: Duration::from_nanos(1), ..throttle(1, 1, 1) },
        ];
        for throttle in worst.iter().flat_map(|one| [one.clone(), Throttle { count: Count::Bytes, ..one.clone() }]) {
            let (table, clock) = table(10);
            for cells in [0, 1, u64::MAX] {
                _ = table.test(&throttle, KEY, cells);
                _ = table.take(&throttle, KEY, cells);
                table.charge(&throttle, KEY, cells);
                clock.advance(Duration::from_secs(1));
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_an_hour_does_not_lock_a_key() {
        let (table, clock) = table(1000);
        let throttle = throttle(60, 60, 5);
        table.charge(&throttle, KEY, 5);
        clock.set(Time::from_seconds(START - 3600));
        assert_eq!(table.test(&throttle, KEY, 1), Err(Duration::from_secs(60)), "one window, and no further");
        table.charge(&throttle, KEY, 1);
        clock.advance(Duration::from_secs(64));
        assert_eq!(table.test(&throttle, KEY, 5), Ok(()));
    }

    #[test]
    fn idle_keys_go_first() {
        let (table, clock) = table(100);
        for key in 0..50 {
            table.charge(&throttle(60, 60, 5), spread(key), 5);
        }
        clock.advance(Duration::from_secs(5));
        for key in 50..150 {
            table.charge(&throttle(60, 60, 5), spread(key), 1);
        }
        assert_eq!(table.len(), 100);
        for key in 50..150 {
            assert!(table.test(&throttle(60, 60, 5), spread(key), 5).is_err(), "{key} was not idle and is forgotten");
        }
    }

    #[test]
    fn a_flood_of_forged_senders_pushes_out_itself() {
        let (table, clock) = table(2000);
        // The victim's storm is over in a minute, one of the flood's keys stays for two hours: the time alone
        // would throw out the storm.
        let (storm, flood) = (throttle(60, 60, 60), Throttle::shipped().remove(0));
        for key in 0..100 {
            table.charge(&storm, spread(key), 60);
        }
        for key in 100..50_000 {
            table.charge(&flood, spread(key), 1);
            assert!(table.len() <= 2000);
            if key % 100 == 0 {
                clock.advance(Duration::from_millis(10));
            }
        }
        for key in 0..100 {
            assert!(table.test(&storm, spread(key), 60).is_err(), "{key} was held back and is forgotten");
        }
        assert_eq!(table.take(&flood, spread(50_000), 1), Ok(()), "a newcomer is not locked out");
        assert!(table.test(&flood, spread(50_000), 5).is_err(), "and it is counted");
    }

    #[test]
    fn at_the_bound_newcomers_are_counted_by_their_network() {
        let (table, clock) = table(1000);
        let throttle = Throttle::shipped().remove(0);
        let from = |net: u64, sender: u64| ThrottleKey {
            exact: spread(net << 32 | sender).exact,
            coarse: spread(1 << 62 | net).exact,
        };
        let victim = from(1, 7);
        table.charge(&throttle, victim, 4);
        for sender in 0..100_000 {
            table.charge(&throttle, from(2, sender), 1);
            assert!(table.len() <= 1000);
        }
        assert_eq!(table.test(&throttle, victim, 1), Ok(()), "one of five is left");
        assert!(table.test(&throttle, victim, 2).is_err(), "and it is not forgotten");
        assert!(table.test(&throttle, from(2, 200_000), 1).is_err(), "who floods is held back, whatever the sender");
        assert_eq!(table.take(&throttle, from(3, 1), 1), Ok(()), "a newcomer from elsewhere is not");
        assert!(table.test(&throttle, from(3, 1), 5).is_err(), "but is counted");
        clock.advance(minutes(11 * 60));
        assert_eq!(table.test(&throttle, from(2, 200_000), 5), Ok(()), "when the flood is over, all is as before");
    }

    #[test]
    fn each_shard_is_searched_for_idle_keys_by_itself() {
        let (table, clock) = table(2048);
        (0..5000).for_each(|key| table.charge(&throttle(60, 60, 5), spread(key), 5));
        clock.advance(Duration::from_secs(5));
        for exact in [7, 1 << 64 | 7] {
            table.charge(&throttle(60, 60, 5), ThrottleKey { exact, coarse: 8 }, 1);
            assert!(table.keys.shard(exact).find(exact).is_some(), "{exact:x} is counted under its exact key");
        }
    }

    #[test]
    fn the_smallest_tables_work() {
        for bound in 0..4 {
            let (table, _) = table(bound);
            for key in 0..10 {
                table.charge(&throttle(60, 60, 5), spread(key), 1);
                assert!(table.len() <= bound.max(1));
                assert!(table.test(&throttle(60, 60, 5), spread(key), 5).is_err(), "the newest is kept");
            }
        }
    }

    #[test]
    fn a_sweep_drops_what_is_idle_and_gives_memory_back() {
        let (table, clock) = table(100_000);
        for key in 0..10_000 {
            table.charge(&throttle(60, 60, 5), spread(key), if key < 10 { 5 } else { 1 });
        }
        let full = table.keys.memory();
        clock.advance(Duration::from_secs(4));
        table.keys.sweep(clock.now());
        assert_eq!(table.len(), 10);
        assert!(table.keys.memory() < full / 10, "{} of {full}", table.keys.memory());
        clock.advance(Duration::from_secs(1));
        table.keys.sweep(clock.now());
        assert!(table.is_empty());
    }

    #[test]
    fn a_key_of_the_future_is_back_within_its_limit() {
        let (table, clock) = table(8);
        let throttle = throttle(60, 60, 5);
        table.charge(&throttle, KEY, 5);
        clock.advance(minutes(60 * 24 * 3650));
        table.charge(&throttle, spread(1), 5);
        let written = table.keys.take_changes().rows;
        let (loaded, clock) = self::table(8);
        written.into_iter().for_each(|(key, octets)| loaded.keys.load(key, octets.unwrap(), clock.now()));
        assert_eq!(loaded.keys.take_changes().rows.len(), 1, "the disk learns it");
        assert_eq!(loaded.len(), 2);
        clock.advance(minutes(60 * 24) + Duration::from_secs(6));
        assert_eq!(loaded.test(&throttle, spread(1), 5), Ok(()));
        loaded.keys.sweep(clock.now());
        assert!(loaded.is_empty());
    }

    #[test]
    fn a_million_keys_take_less_than_64_mib() {
        let (table, _) = table(DEFAULT_BOUND);
        let throttle = Throttle::shipped().remove(0);
        for key in 0..DEFAULT_BOUND as u64 + 100_000 {
            table.charge(&throttle, spread(key), 1);
        }
        let (keys, memory) = (table.len(), table.keys.memory());
        println!("{keys} keys: {} KiB", memory >> 10);
        assert!((DEFAULT_BOUND * 9 / 10..=DEFAULT_BOUND).contains(&keys), "{keys}");
        assert!(memory < 64 << 20, "{memory}");
    }

    #[test]
    fn two_threads_never_take_more_than_there_is() {
        let (table, _) = table(1000);
        let throttle = throttle(1, 60, 1000);
        let taken: usize = thread::scope(|scope| {
            let take = || (0..1000).filter(|_| table.take(&throttle, KEY, 1).is_ok()).count();
            let threads = [scope.spawn(take), scope.spawn(take)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        #[test]
        fn a_test_never_changes_anything(steps in proptest::collection::vec(step(), 1..60), burst in 1u64..20) {
            let throttle = throttle(60, 60, burst);
            let ((tested, tested_clock), (plain, plain_clock)) = (table(8), table(8));
            for step in steps {
                _ = tested.test(&throttle, spread(step.key), step.probe);
                tested_clock.advance(step.wait);
                plain_clock.advance(step.wait);
                prop_assert_eq!(
                    tested.take(&throttle, spread(step.key), step.cells),
                    plain.take(&throttle, spread(step.key), step.cells)
                );
                _ = tested.test(&throttle, spread(step.key), step.probe);
                prop_assert_eq!(contents(&tested), contents(&plain));
            }
        }

        #[test]
        fn to_take_is_to_test_and_to_charge(steps in proptest::collection::vec(step(), 1..60), burst in 1u64..20) {
            let throttle = throttle(60, 60, burst);
            let ((taken, taken_clock), (charged, charged_clock)) = (table(8), table(8));
            for step in steps {
                taken_clock.advance(step.wait);
                charged_clock.advance(step.wait);
                let verdict = charged.test(&throttle, spread(step.key), step.cells);
                if verdict.is_ok() {
                    charged.charge(&throttle, spread(step.key), step.cells.min(burst));
                }
                prop_assert_eq!(taken.take(&throttle, spread(step.key), step.cells), verdict);
                prop_assert_eq!(contents(&taken), contents(&charged));
            }
        }

        #[test]
        fn the_wait_is_exact(before in 0u64..20, cells in 1u64..20, burst in 1u64..20) {
            let (table, clock) = table(8);
            let throttle = throttle(60, 60, burst);
            table.charge(&throttle, KEY, before);
            if let Err(wait) = table.test(&throttle, KEY, cells) {
                clock.advance(wait - Duration::from_nanos(1));
                prop_assert!(table.test(&throttle, KEY, cells).is_err());
                clock.advance(Duration::from_nanos(1));
                prop_assert_eq!(table.test(&throttle, KEY, cells), Ok(()));
            }
        }
    }

    #[derive(Debug)]
    struct Step {
        key: u64,
        cells: u64,
        probe: u64,
        wait: Duration,
    }

    fn step() -> impl Strategy<Value = Step> {
        (0u64..20, 0u64..30, 0u64..30, 0u64..3000).prop_map(|(key, cells, probe, wait)| Step {
            key,
            cells,
            probe,
            wait: Duration::from_millis(wait),
        })
    }

    fn contents(table: &ThrottleTable) -> Vec<(u128, u64)> {
        let entries = table.keys.entries().into_iter();
        let mut all: Vec<_> = entries.map(|slot| (slot.key, slot.idle_at.nanoseconds())).collect();
        all.sort_unstable();
        all
    }

    fn table(bound: usize) -> (ThrottleTable, Arc<Virtual>) {
        let clock = Arc::new(Virtual::new(Time::from_seconds(START)));
        (ThrottleTable::new(bound, clock.clone()), clock)
    }

    fn throttle(cells: u64, period: u64, burst: u64) -> Throttle {
        Throttle {
            count: Count::Mails,
            cells,
            period: Duration::from_secs(period),
            burst,
            ..Throttle::shipped().remove(0)
        }
    }

    /// Spreads small numbers over all bits, as the keyed hash does.
    fn spread(key: u64) -> ThrottleKey {
        let key = u128::from(key) + 1;
        let exact = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ (key << 7))
            .rotate_left(64)
            .wrapping_mul(0xda94_2042_e4dd_58b5_da94_2042_e4dd_58b5);
        ThrottleKey { exact, coarse: exact }
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    const KEY: ThrottleKey = ThrottleKey { exact: 0x0123 << 64 | 0x4567, coarse: 0x0123 << 64 | 0x4567 };
    const START: u32 = 1_700_000_000;
}
