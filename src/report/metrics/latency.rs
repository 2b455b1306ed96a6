//! Histograms of durations: to measure one is two additions, and their size never grows. It must not read a clock.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::report::metrics::families::Buckets;

/// A histogram that is added to by many threads: a counter for each bound, and one for what is above all of them.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

/// What a histogram had at some moment, or what came in between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    buckets: [u64; BUCKETS],
    micros: u64,
}

impl Latency {
    /// Counts one duration.
    pub fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].fetch_add(1, Ordering::Relaxed);
        if micros > 0 {
            self.micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// All that was counted so far.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { micros: self.micros.load(Ordering::Relaxed), ..Counts::default() };
        let all = counts.buckets.iter_mut().zip(&self.buckets);
        all.for_each(|(count, counter)| *count = counter.load(Ordering::Relaxed));
        counts
    }
}

impl Counts {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = Self { micros: self.micros.saturating_sub(earlier.micros), ..*self };
        let all = counts.buckets.iter_mut().zip(&earlier.buckets);
        all.for_each(|(count, earlier)| *count = count.saturating_sub(*earlier));
        counts
    }

    /// The duration that this share of all (0.5: the median) did not exceed, estimated within the bucket as Prometheus
    /// does it; the highest bound where it is above all of them. `None`: there was none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all = Some(self.count()).filter(|count| *count > 0)?;
        let rank = share.clamp(0.0, 1.0) * all as f64;
        let (mut below, mut lower) = (0, 0);
        for (count, upper) in self.buckets.iter().zip(BOUNDS) {
            if *count > 0 && (below + count) as f64 >= rank {
                let part = (rank - below as f64) / *count as f64;
                return Some(Duration::from_micros(lower + (part * (upper - lower) as f64) as u64));
            }
            (below, lower) = (below + count, upper);
        }
        BOUNDS.last().copied().map(Duration::from_micros)
    }

    /// As a scraper is told, in seconds.
    pub fn buckets(&self) -> Buckets {
        let seconds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        Buckets { sum: self.micros as f64 / 1e6, count: self.count(), buckets: seconds.zip(self.buckets).collect() }
    }
}

/// The upper bounds in microseconds: from an answer of this process to a backend so slow that senders retry.
const BOUNDS: [u64; 19] = [
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        let ms = Duration::from_millis;
        let table: [(&[Duration], f64, Option<Duration>); 8] = [
            (&[], 0.5, None),
            (&[Duration::ZERO], 0.5, Some(Duration::from_micros(50))),
            (&[ms(1)], 1.0, Some(ms(1))),
            (&[ms(7), ms(7), ms(7), ms(7)], 0.5, Some(Duration::from_micros(7500))),
            (&[ms(1), ms(1), ms(1), ms(400)], 0.5, Some(Duration::from_micros(833))),
            (&[ms(1), ms(1), ms(1), ms(400)], 0.99, Some(Duration::from_millis(490))),
            (&[ms(3_600_000)], 0.99, Some(ms(300_000))),
            (&[ms(1), ms(3_600_000)], 0.0, Some(Duration::from_micros(500))),
        ];
        for (times, share, expected) in table {
            let latency = Latency::default();
            times.iter().for_each(|time| latency.observe(*time));
            assert_eq!(latency.counts().quantile(share), expected, "{share} of {times:?}");
        }
    }

    #[test]
    fn what_came_since() {
        let latency = Latency::default();
        latency.observe(Duration::from_secs(100));
        let earlier = latency.counts();
        latency.observe(Duration::from_millis(1));
        latency.observe(Duration::from_millis(1));
        let since = latency.counts().since(&earlier);
        assert_eq!((since.count(), since.micros), (2, 2000));
        assert_eq!(since.quantile(1.0), Some(Duration::from_millis(1)));
        assert_eq!(latency.counts().count(), 3);
    }
}
