//! A throttle in governor's terms: governor counts in 32 bits and in nanoseconds, a throttle in octets and days. It must
//! not overflow, whatever a configuration says.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use crate::policy::throttle::Count;
use crate::policy::throttle::LONGEST_REFILL;
use crate::policy::throttle::Throttle;
use crate::store::clock::nanos;

/// A throttle in governor's terms.
pub(super) struct Rate {
    pub(super) quota: Quota,
    /// Cells of the throttle in one of governor's.
    grain: u64,
    /// Nanoseconds in which one of governor's cells comes back.
    interval: u64,
    /// Nanoseconds of the throttle's window.
    window: u64,
}

impl Rate {
    pub(super) fn of(throttle: &Throttle) -> Self {
        let grain = grain(throttle);
        let interval = interval(throttle, grain).clamp(1, LONGEST);
        // What `Throttle::faults` refuses is cut here, lest it overflow.
        let burst = throttle.burst.div_ceil(grain).min(LONGEST / interval);
        let burst = NonZeroU32::new(u32::try_from(burst).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(interval)).expect("at least a nanosecond");
        let window = nanos(throttle.period).min(LONGEST);
        Self { quota: quota.allow_burst(burst), grain, interval, window }
    }

    /// None when nothing is spent.
    pub(super) fn cells(&self, cells: u64) -> Option<NonZeroU32> {
        let cells = u32::try_from(cells.div_ceil(self.grain)).unwrap_or(u32::MAX);
        Some(NonZeroU32::new(cells)?.min(self.quota.burst_size()))
    }

    /// Nanoseconds that these cells take to come back.
    pub(super) fn weight(&self, cells: u64) -> u64 {
        cells.div_ceil(self.grain).saturating_mul(self.interval)
    }

    /// Nanoseconds that are owed at most: the next cell is there after one window.
    pub(super) fn debt(&self) -> u64 {
        self.window.saturating_sub(self.interval)
    }

    /// Nanoseconds that a key at its limit takes to be idle.
    pub(super) fn span(&self) -> u64 {
        nanos(self.quota.burst_size_replenished_in())
    }
}

/// governor counts in 32 bits and in nanoseconds: a burst of 10 GB, or a gigabyte a second, is counted in grains of a
/// few octets. What comes one by one is never rounded.
fn grain(throttle: &Throttle) -> u64 {
    let mut grain = 1;
    if throttle.count == Count::Bytes {
        let coarse = |grain| throttle.burst.div_ceil(grain) > u32::MAX.into();
        let short = |grain| interval(throttle, grain) < SHORTEST_INTERVAL;
        while grain < LARGEST_GRAIN && (coarse(grain) || short(grain)) {
            grain *= 2;
        }
    }
    grain
}

/// Nanoseconds in which one grain comes back.
fn interval(throttle: &Throttle, grain: u64) -> u64 {
    let (period, cells) = (throttle.period.as_nanos().saturating_mul(grain.into()), throttle.cells.max(1));
    match u64::try_from(period) {
        // A division of 64 bits costs a tenth of one of 128, and this is asked with every decision.
        Ok(period) => period / cells,
        Err(_) => u64::try_from(period / u128::from(cells)).unwrap_or(u64::MAX),
    }
}

const LONGEST: u64 = LONGEST_REFILL.as_secs() * 1_000_000_000;
/// One in a thousand is how exact a rate is at least.
const SHORTEST_INTERVAL: u64 = 1000;
const LARGEST_GRAIN: u64 = 1 << 50;
