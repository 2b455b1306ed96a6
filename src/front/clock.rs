//! The clock of all sessions: the one place where their time is read. It must not know what a time is for.

use std::cell::Cell;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use jiff::Timestamp;

use crate::session::io::Now;

/// The time now, by tokio's clock, so that a test may stop it.
#[expect(clippy::disallowed_methods, reason = "the one place in which a session's time is read")]
pub fn now() -> Now {
    let monotonic = tokio::time::Instant::now().into_std();
    Now { monotonic, wall: wall(monotonic, || Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)) }
}

/// The wall clock's last reading. Each clock costs as much to read as a command to parse, so the wall time goes on with the
/// monotonic one, and is read anew only from time to time, because somebody may have set it.
fn wall(monotonic: Instant, read: impl FnOnce() -> Timestamp) -> Timestamp {
    let passed = |(at, wall): (Instant, Timestamp)| {
        let passed = monotonic.checked_duration_since(at).filter(|passed| *passed < BELIEVED)?;
        wall.checked_add(passed).ok()
    };
    READ.with(|last| {
        last.get().and_then(passed).unwrap_or_else(|| {
            let wall = read();
            last.set(Some((monotonic, wall)));
            wall
        })
    })
}

thread_local! {
    static READ: Cell<Option<(Instant, Timestamp)>> = const { Cell::new(None) };
}

const BELIEVED: Duration = Duration::from_millis(10);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_soon() {
        let (start, second) = (Instant::now() + Duration::from_secs(3600), Timestamp::from_second);
        let at = |after: u64, read: i64| {
            let read = second(read).unwrap_or_default();
            wall(start + Duration::from_millis(after), || read).as_millisecond()
        };
        assert_eq!(at(0, 1000), 1_000_000);
        assert_eq!(at(9, 5000), 1_000_009, "it goes on");
        assert_eq!(at(10, 5000), 5_000_000, "and was set");
        assert_eq!(at(4, 6000), 6_000_000, "a thread of tests may stop its clock");
        assert_eq!(at(12, 7000), 6_000_008);
    }
}
