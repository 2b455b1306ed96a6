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
    /// Streams besides, for requests with the token.
    reserve: Arc<Semaphore>,
}

impl Limits {
    pub(super) fn new() -> Self {
        let [known, others] = [(); 2].map(|()| RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(AT_ONCE)));
        let [streams, reserve] = [MOST_STREAMS, RESERVED_STREAMS].map(|most| Arc::new(Semaphore::new(most)));
        Self { known, others, streams, reserve }
    }

    /// Whether one request more may be answered now.
    pub(super) fn allows(&self, with_token: bool) -> bool {
        let limiter = if with_token { &self.known } else { &self.others };
        limiter.check().is_ok()
    }

    /// A place for a stream, kept as long as the permit; `None` when all are taken.
    pub(super) fn stream(&self, with_token: bool) -> Option<OwnedSemaphorePermit> {
        let reserved = || self.reserve.clone().try_acquire_owned().ok().filter(|_| with_token);
        self.streams.clone().try_acquire_owned().ok().or_else(reserved)
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
/// Streams at one time, and those of requests with the token when they are in use.
pub(super) const MOST_STREAMS: usize = 100;
const RESERVED_STREAMS: usize = 20;
