//! The time of everything that is kept: wall-clock time, so that a stored time means the same after a restart. Only this file
//! asks the system for it; everything else is handed a [`Clock`]. It must not stand still or jump when the system's clock is
//! set back.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::ClockId;
use nix::time::clock_gettime;

/// A point in time, in nanoseconds since the epoch, which are enough until the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

/// A source of the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time.
    fn now(&self) -> Time;
}

/// The system's clock, which follows a step forward and goes on through a step back: a wall clock that was set back by
/// an hour must neither lock every key for an hour nor stand still.
#[derive(Debug)]
pub struct Wall {
    /// Nanoseconds of the clock that is never set, when this one was made.
    started: u64,
    /// The time at `started` in nanoseconds since the epoch, as the wall clock has it now or had it before it went back.
    epoch: AtomicU64,
}

/// A clock that is moved by hand, for tests and drills.
#[derive(Debug)]
pub struct Virtual(AtomicU64);

impl Time {
    /// The time that is `nanoseconds` after the epoch.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The time that is `seconds` after the epoch.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds as u64 * SECOND)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch, rounded down; the largest number from the year 2106 on.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0 / SECOND).unwrap_or(u32::MAX)
    }

    /// The time so much later, or the latest that there is.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanos(length)))
    }

    /// The length of time since `earlier`; zero when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Timestamp> for Time {
    /// The epoch, where it is before that.
    fn from(time: Timestamp) -> Self {
        Self(u64::try_from(time.as_nanosecond()).unwrap_or_default())
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self::from_nanosecond(time.0.into()).unwrap_or(Self::MAX)
    }
}

impl Wall {
    /// Reads the time.
    #[expect(clippy::new_without_default, reason = "a clock is not a value that has a default")]
    pub fn new() -> Self {
        Self { started: monotonic(), epoch: AtomicU64::new(wall()) }
    }
}

impl Clock for Wall {
    fn now(&self) -> Time {
        let since = monotonic().saturating_sub(self.started);
        let epoch = wall().saturating_sub(since);
        // Written only after a real step: the two clocks drift against each other by microseconds.
        if epoch > self.epoch.load(Ordering::Relaxed).saturating_add(SMALLEST_STEP) {
            self.epoch.fetch_max(epoch, Ordering::Relaxed);
        }
        Time(self.epoch.load(Ordering::Relaxed).saturating_add(since))
    }
}

impl Virtual {
    /// A clock that stands at `now`.
    pub const fn new(now: Time) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Ordering::Relaxed);
    }

    /// Jumps, also back.
    pub fn set(&self, now: Time) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for Virtual {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

/// Seconds in a length of time, rounded down, as rows and blocks keep them.
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
#[expect(clippy::disallowed_methods, reason = "the one place in which what is kept is dated")]
fn read(clock: ClockId) -> u64 {
    nanos(clock_gettime(clock).map(Duration::from).unwrap_or_default())
}

/// Nanoseconds of a length of time. Enough for 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    // Fewer instructions than a product in 64 bits that must not overflow.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;
const SMALLEST_STEP: u64 = SECOND;

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
        assert!(before.nanoseconds() > wall() + hour / 2);
        assert!(after >= before);
    }

    #[test]
    fn follows_a_step_forward() {
        let clock = Wall::new();
        clock.epoch.fetch_sub(3_600_000_000_000, Ordering::Relaxed);
        assert!(wall().abs_diff(clock.now().nanoseconds()) < SMALLEST_STEP * 10);
    }
}
