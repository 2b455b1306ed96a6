//! The clock of everything that is kept: nanoseconds since the epoch, so that a stored time means the same after a
//! restart. The one place that asks the system for the time; everybody else is handed a [`Clock`].

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::time::ClockId;
use nix::time::clock_gettime;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Nanoseconds since the epoch. Enough until the year 2554.
    fn now(&self) -> u64;
}

/// The system's clock, which follows a step forward and goes on through a step back: a wall clock that was set back by
/// an hour must neither lock every key for an hour nor stand still.
#[derive(Debug)]
pub struct Wall {
    /// By the clock that is never set.
    started: u64,
    /// The time when `started` was taken, as the wall clock has it now or had it before it went back.
    epoch: AtomicU64,
}

/// A clock that goes only where it is told to.
#[derive(Debug, Default)]
pub struct Virtual(AtomicU64);

impl Wall {
    /// Reads the time.
    #[expect(clippy::new_without_default, reason = "a clock is not a value that has a default")]
    pub fn new() -> Self {
        Self { started: monotonic(), epoch: AtomicU64::new(wall()) }
    }
}

impl Clock for Wall {
    fn now(&self) -> u64 {
        let since = monotonic().saturating_sub(self.started);
        let epoch = wall().saturating_sub(since);
        // Written only after a real step: the two clocks drift against each other by microseconds.
        if epoch > self.epoch.load(Ordering::Relaxed).saturating_add(SMALLEST_STEP) {
            self.epoch.fetch_max(epoch, Ordering::Relaxed);
        }
        self.epoch.load(Ordering::Relaxed).saturating_add(since)
    }
}

impl Virtual {
    /// Stands at `now` nanoseconds since the epoch.
    pub fn new(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Ordering::Relaxed);
    }

    /// Jumps, also back.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Clock for Virtual {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whole seconds of a clock's time. Enough until the year 2106.
pub fn seconds(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Whole seconds of a length of time, as rows keep it.
pub(super) fn whole(length: Duration) -> u32 {
    u32::try_from(length.as_secs()).unwrap_or(u32::MAX)
}

fn wall() -> u64 {
    read(ClockId::CLOCK_REALTIME_COARSE)
}

fn monotonic() -> u64 {
    read(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// The coarse clocks are exact to a few milliseconds, which is enough for limits of seconds to days, and cost a tenth.
fn read(clock: ClockId) -> u64 {
    nanos(clock_gettime(clock).map(Duration::from).unwrap_or_default())
}

/// Nanoseconds of a length of time. Enough for 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const SMALLEST_STEP: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_was_when_the_wall_clock_steps_back() {
        let clock = Wall::new();
        let hour = 3_600_000_000_000;
        // As if the wall clock had been an hour ahead when we started, and was set right since.
        clock.epoch.fetch_add(hour, Ordering::Relaxed);
        let before = clock.now();
        let after = clock.now();
        assert!(before > wall() + hour / 2);
        assert!(after >= before);
    }

    #[test]
    fn follows_a_step_forward() {
        let clock = Wall::new();
        clock.epoch.fetch_sub(3_600_000_000_000, Ordering::Relaxed);
        assert!(wall().abs_diff(clock.now()) < SMALLEST_STEP * 10);
    }
}
