//! The backend's answers to EHLO, per distinct set of variables: DATABYTES and CVM_… change the offer of mailfront. It must
//! not grow with what strangers send: sets come from tcprules, and the oldest of a thousand is evicted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::smtp::reply::Offer;

/// Offers by [`Environment::key`](crate::policy::environment::Environment::key).
#[derive(Debug, Default)]
pub(super) struct Offers {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of other backends before this one.
    generation: u64,
    learned: HashMap<u64, Learned>,
}

#[derive(Debug)]
struct Learned {
    offer: Arc<Offer>,
    at: Instant,
}

impl Offers {
    /// The last offer, and whether it is fresh.
    pub(super) fn find(&self, key: u64, now: Instant) -> Option<(Arc<Offer>, bool)> {
        let known = self.lock();
        let found = known.learned.get(&key)?;
        Some((found.offer.clone(), now.saturating_duration_since(found.at) < FRESH))
    }

    /// The generation of the backend that is there now.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Remembers an offer, unless it is from a session with a backend before this one.
    pub(super) fn learn(&self, key: u64, offer: Arc<Offer>, generation: u64, now: Instant) {
        let mut known = self.lock();
        if known.generation != generation {
            return;
        }
        let learned = &mut known.learned;
        if learned.len() >= MAX_OFFERS && !learned.contains_key(&key) {
            let oldest = learned.iter().min_by_key(|(_, entry)| entry.at).map(|(key, _)| *key);
            oldest.and_then(|key| learned.remove(&key));
        }
        learned.insert(key, Learned { offer, at: now });
    }

    /// Forgets all offers: another backend has taken the place of this one.
    pub(super) fn forget(&self) {
        let mut known = self.lock();
        known.generation += 1;
        known.learned.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // An entry is inserted or removed whole; a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time in which an offer is good enough to refuse a client by.
const FRESH: Duration = Duration::from_secs(60);
const MAX_OFFERS: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_fresh_for_a_minute_and_kept_after_it() {
        let offers = Offers::default();
        let start = Instant::now();
        offers.learn(7, sized(1), 0, start);
        let table = [("at once", 0, true), ("just before", 59, true), ("a minute later", 60, false)];
        for (what, seconds, fresh) in table {
            assert_eq!(offers.find(7, start + Duration::from_secs(seconds)), Some((sized(1), fresh)), "{what}");
        }
        assert_eq!(offers.find(8, start), None, "another set of variables");
        offers.learn(7, sized(2), 0, start + FRESH);
        assert_eq!(offers.find(7, start + FRESH), Some((sized(2), true)), "learned anew");
        offers.forget();
        assert_eq!(offers.find(7, start), None);
        offers.learn(7, sized(1), 0, start);
        assert_eq!(offers.find(7, start), None, "a session with the backend before says what it offered");
        offers.learn(7, sized(3), offers.generation(), start);
        assert_eq!(offers.find(7, start), Some((sized(3), true)));
    }

    #[test]
    fn the_oldest_of_too_many_is_evicted() {
        let offers = Offers::default();
        let start = Instant::now();
        let at = |key: u64| start + Duration::from_millis(key);
        for key in 0..1000 {
            offers.learn(key, sized(key), 0, at(key));
        }
        offers.learn(0, sized(0), 0, at(1000));
        offers.learn(1001, sized(1001), 0, at(1001));
        assert_eq!(offers.lock().learned.len(), MAX_OFFERS);
        let known = |key| offers.find(key, at(1001)).is_some();
        assert_eq!([known(0), known(1), known(2), known(1001)], [true, false, true, true]);
    }

    fn sized(size: u64) -> Arc<Offer> {
        Arc::new(Offer { size: Some(size), ..Offer::NONE })
    }
}
