//! The one place in which a session's time is read.

use std::time::SystemTime;

use crate::session::event::Now;

/// tokio's clock, so that a test may stop it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(super) fn now() -> Now {
    Now { monotonic: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
}
