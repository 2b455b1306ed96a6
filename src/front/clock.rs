//! The one place in which a session's time is read.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::session::event::Now;

/// tokio's clock, so that a test may stop it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Now {
    let wall = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    Now { monotonic: tokio::time::Instant::now().into_std(), wall }
}
