//! The places of the admin interface: a bounded number of connections. When all are taken, a newcomer gets that of a
//! connection whose first request is slow to come, or else that of one without the token: slow requests cannot keep the
//! operator out. A connection that asks for nothing more loses its place too. It must not know what is asked.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::admin::limits::Pace;
use crate::front::clock;

/// The places of all connections.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The connections that have a place, in the order of arrival.
    taken: Mutex<Vec<Arc<Visit>>>,
}

/// A connection's progress, and its notice to leave.
#[derive(Debug)]
pub(super) struct Visit {
    progress: AtomicU8,
    arrived: Instant,
    /// Requests so far.
    requests: AtomicU64,
    streams: AtomicBool,
    pub(super) pace: Pace,
    leave: Notify,
}

/// A connection's place, freed when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    visit: Arc<Visit>,
}

impl Places {
    /// Takes a place; `None` when all belong to requests with the token.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let now = clock::now().monotonic;
        let mut taken = self.lock();
        if taken.len() >= MOST {
            let (at, worth) = taken.iter().map(|visit| visit.worth(now)).enumerate().min_by_key(|it| it.1)?;
            if worth == Worth::HasToken {
                return None;
            }
            taken.remove(at).leave.notify_one();
        }
        let visit = Arc::new(Visit::new(now));
        taken.push(visit.clone());
        Some(Place { places: self.clone(), visit })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Visit>>> {
        // No code under this lock panics.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn visit(&self) -> Arc<Visit> {
        self.visit.clone()
    }

    /// Resolves when the place has gone to another connection.
    pub(super) async fn left(&self) {
        self.visit.leave.notified().await;
    }

    /// Resolves when the last request has had its time, unless its answer is a stream.
    pub(super) async fn out_of_time(&self) {
        loop {
            let before = self.visit.requests.load(Ordering::Relaxed);
            sleep(WHOLE).await;
            let is_another = self.visit.requests.load(Ordering::Relaxed) != before;
            if !is_another && !self.visit.streams.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|visit| !Arc::ptr_eq(visit, &self.visit));
    }
}

impl Visit {
    fn new(arrived: Instant) -> Self {
        let (progress, requests, streams) = (AtomicU8::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { progress, arrived, requests, streams, pace: Pace::default(), leave: Notify::new() }
    }

    /// Notes that the header of a request is complete.
    pub(super) fn has_asked(&self, with_token: bool) {
        self.progress.store(if with_token { WITH_TOKEN } else { ASKED }, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whether the answer is a stream, which may last.
    pub(super) fn streams(&self, is_stream: bool) {
        self.streams.store(is_stream, Ordering::Relaxed);
    }

    /// Whether its last request came with the token.
    pub(super) fn has_token(&self) -> bool {
        self.progress.load(Ordering::Relaxed) == WITH_TOKEN
    }

    fn worth(&self, now: Instant) -> Worth {
        match self.progress.load(Ordering::Relaxed) {
            WITH_TOKEN => Worth::HasToken,
            ASKED => Worth::Asked,
            // Through SSH a request comes a round trip behind its connection.
            _ if now.saturating_duration_since(self.arrived) < YOUNG => Worth::Young,
            _ => Worth::Slow,
        }
    }
}

/// The worth of a connection: the least gives up its place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// No request is complete.
    Slow,
    /// One without the token is.
    Asked,
    /// It has only come.
    Young,
    HasToken,
}

/// Connections at one time: more than there may be streams.
const MOST: usize = 200;
/// Time for a request and its answer, at least.
const WHOLE: Duration = Duration::from_secs(60);
/// Progress of a request whose header is complete; 0 before.
const ASKED: u8 = 1;
const WITH_TOKEN: u8 = 2;
/// Time in which a first request comes.
const YOUNG: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_is_slow_leaves_and_one_with_the_token_stays() {
        let places = Arc::new(Places::default());
        let all: Vec<Place> = (0..MOST).map(|_| places.take().unwrap()).collect();
        all[0].visit().has_asked(true);
        all[1].visit().has_asked(false);
        tokio::time::advance(YOUNG).await;
        let more: Vec<Place> = (2..MOST).map(|_| places.take().unwrap()).collect();
        all[2].left().await;
        all[MOST - 1].left().await;
        more.iter().for_each(|place| place.visit().has_asked(true));
        let last = places.take().unwrap();
        all[1].left().await;
        last.visit().has_asked(true);
        assert!(places.take().is_none(), "all have the token");
        drop((all, more, last));
        assert!(places.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_only_come_has_time_for_its_request() {
        let places = Arc::new(Places::default());
        let others: Vec<Place> = (0..MOST).map(|_| places.take().unwrap()).collect();
        others.iter().for_each(|place| place.visit().has_asked(false));
        let operator = places.take().unwrap();
        let flood: Vec<Place> = (1..MOST).map(|_| places.take().unwrap()).collect();
        assert!(places.lock().iter().any(|visit| Arc::ptr_eq(visit, &operator.visit())));
        operator.visit().has_asked(true);
        drop((others, flood, operator));
    }
}
