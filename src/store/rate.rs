//! A throttle in governor's terms: governor counts in 32 bits and in nanoseconds, a throttle in octets and days. It must not
//! overflow, whatever a configuration says.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use crate::policy::throttle::Count;
use crate::policy::throttle::LONGEST_REFILL;
use crate::policy::throttle::Throttle;
use crate::store::clock::nanos;

/// The rate of a throttle in governor's terms.
pub(super) struct Rate {
    pub(super) quota: Quota,
    /// Octets in one of governor's cells; 1 where something else is counted.
    octets_per_cell: u64,
    /// The time in which one of governor's cells comes back, in nanoseconds.
    interval: u64,
    /// The throttle's window in nanoseconds.
    window: u64,
}

impl Rate {
    /// The rate of this throttle.
    #[inline]
    pub(super) fn of(throttle: &Throttle) -> Self {
        let octets_per_cell = octets_per_cell(throttle);
        let interval = interval(throttle, octets_per_cell).clamp(1, LONGEST);
        // `Throttle::faults` refuses larger ones; here they must not overflow.
        let burst = throttle.burst.div_ceil(octets_per_cell).min(LONGEST / interval);
        let burst = NonZeroU32::new(u32::try_from(burst).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(interval)).expect("at least a nanosecond");
        let window = nanos(throttle.period).min(LONGEST);
        Self { quota: quota.allow_burst(burst), octets_per_cell, interval, window }
    }

    /// The cells in governor's count; `None` when nothing is spent.
    pub(super) fn cells(&self, cells: u64) -> Option<NonZeroU32> {
        let cells = u32::try_from(cells.div_ceil(self.octets_per_cell)).unwrap_or(u32::MAX);
        Some(NonZeroU32::new(cells)?.min(self.quota.burst_size()))
    }

    /// The time that these cells take to come back, in nanoseconds.
    pub(super) fn weight(&self, cells: u64) -> u64 {
        cells.div_ceil(self.octets_per_cell).saturating_mul(self.interval)
    }

    /// The most that is ever owed, in nanoseconds: the next cell is there after one window.
    pub(super) fn debt(&self) -> u64 {
        self.window.saturating_sub(self.interval)
    }

    /// The time that a key at its limit takes to be idle, in nanoseconds.
    pub(super) fn span(&self) -> u64 {
        nanos(self.quota.burst_size_replenished_in())
    }
}

/// The octets that one of governor's cells stands for: it counts in 32 bits and in nanoseconds, so that a burst of 10 GB, or a
/// gigabyte a second, needs cells of a few octets. Messages and the like are counted one by one.
fn octets_per_cell(throttle: &Throttle) -> u64 {
    let mut octets = 1;
    if throttle.count == Count::Bytes {
        let overflows = |octets| throttle.burst.div_ceil(octets) > u32::MAX.into();
        let is_rough = |octets| interval(throttle, octets) < SHORTEST_INTERVAL;
        while octets < MOST_OCTETS && (overflows(octets) || is_rough(octets)) {
            octets *= 2;
        }
    }
    octets
}

/// The time in which one of governor's cells comes back, in nanoseconds.
fn interval(throttle: &Throttle, octets_per_cell: u64) -> u64 {
    let (period, cells) = (throttle.period.as_nanos().saturating_mul(octets_per_cell.into()), throttle.cells.max(1));
    match u64::try_from(period) {
        // A division of 64 bits costs a tenth of one of 128, and this is asked with every decision.
        Ok(period) => period / cells,
        Err(_) => u64::try_from(period / u128::from(cells)).unwrap_or(u64::MAX),
    }
}

const LONGEST: u64 = LONGEST_REFILL.as_secs() * 1_000_000_000;
/// Nanoseconds: a rate is exact to one in a thousand at least.
const SHORTEST_INTERVAL: u64 = 1000;
const MOST_OCTETS: u64 = 1 << 50;
