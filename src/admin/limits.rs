//! How many requests and streams there may be: what comes without the token cannot use up what the operator needs. It
//! must not know what is asked.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::DefaultDirectRateLimiter;
use governor::Quota;
use governor::RateLimiter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// The limits of all connections together.
#[derive(Debug)]
pub(super) struct Limits {
    known: DefaultDirectRateLimiter,
    others: DefaultDirectRateLimiter,
    streams: Arc<Semaphore>,
}

impl Limits {
    pub(super) fn new() -> Self {
        let [known, others] = [(); 2].map(|()| RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(AT_ONCE)));
        Self { known, others, streams: Arc::new(Semaphore::new(MOST_STREAMS)) }
    }

    /// Whether one request more may be answered now.
    pub(super) fn allows(&self, with_token: bool) -> bool {
        let limiter = if with_token { &self.known } else { &self.others };
        limiter.check().is_ok()
    }

    /// A place for a stream, kept as long as the permit; `None` when all are taken.
    pub(super) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        self.streams.clone().try_acquire_owned().ok()
    }
}

/// The limit of one connection. What it refuses is not counted by the other limits.
#[derive(Debug)]
pub(super) struct Pace(DefaultDirectRateLimiter);

impl Pace {
    pub(super) fn allows(&self) -> bool {
        self.0.check().is_ok()
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self(RateLimiter::direct(Quota::per_second(OF_ONE_A_SECOND).allow_burst(OF_ONE_AT_ONCE)))
    }
}

/// Requests a second, and at once: a hundred pages may be opened together.
const A_SECOND: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
const AT_ONCE: NonZeroU32 = NonZeroU32::new(3000).expect("not zero");
/// The same of one connection.
const OF_ONE_A_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const OF_ONE_AT_ONCE: NonZeroU32 = NonZeroU32::new(40).expect("not zero");
/// Streams at one time.
pub(super) const MOST_STREAMS: usize = 100;
