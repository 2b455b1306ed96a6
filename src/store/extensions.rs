//! The EHLO keywords that backends offered, by keys of the backend and of a client's variables, so that the first EHLO
//! after a restart has them. They must not be taken for what a backend offers now.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::store::clock::Clock;
use crate::store::clock::Time;

/// Keywords and their time, as they stand on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Heard {
    /// Each with its parameters.
    keywords: Vec<String>,
    /// Seconds since the epoch.
    at: u32,
}

/// Keywords by key.
#[derive(Debug)]
pub struct Extensions {
    clock: Arc<dyn Clock>,
    bound: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<u128, Heard>,
    has_changed: bool,
}

impl Extensions {
    /// None, and room for at most `bound` keys.
    pub fn new(bound: usize, clock: Arc<dyn Clock>) -> Self {
        Self { clock, bound, entries: Mutex::default() }
    }

    /// The keywords that were heard last under this key.
    pub fn get(&self, key: u128) -> Option<Vec<String>> {
        self.lock().by_key.get(&key).map(|heard| heard.keywords.clone())
    }

    /// Remembers keywords that were heard just now. The oldest of too many are forgotten.
    pub fn put(&self, key: u128, keywords: Vec<String>) {
        let at = self.clock.now().seconds();
        let mut entries = self.lock();
        entries.insert(key, Heard { keywords, at }, self.bound);
        entries.has_changed = true;
    }

    /// Forgets what was heard long ago.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        let mut entries = self.lock();
        let before = entries.by_key.len();
        entries.by_key.retain(|_, heard| now.since(Time::from_seconds(heard.at)) < MEMORY);
        entries.has_changed |= entries.by_key.len() < before;
    }

    /// All of them, if anything has changed since they were taken last.
    pub(super) fn take_changes(&self) -> Option<Vec<(u128, Heard)>> {
        let mut entries = self.lock();
        std::mem::take(&mut entries.has_changed)
            .then(|| entries.by_key.iter().map(|(key, heard)| (*key, heard.clone())).collect())
    }

    /// Has all of them written, whatever the disk has.
    pub(super) fn write_anew(&self) {
        self.lock().has_changed = true;
    }

    /// Takes in keywords from the disk.
    pub(super) fn load(&self, key: u128, heard: Heard) {
        // The clock may have been ahead.
        let at = heard.at.min(self.clock.now().seconds());
        self.lock().insert(key, Heard { at, ..heard }, self.bound);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // An entry is inserted or removed whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, key: u128, heard: Heard, bound: usize) {
        if self.by_key.len() >= bound && !self.by_key.contains_key(&key) {
            let oldest = self.by_key.iter().min_by_key(|(_, heard)| heard.at).map(|(key, _)| *key);
            oldest.and_then(|key| self.by_key.remove(&key));
        }
        self.by_key.insert(key, heard);
    }
}

/// A set of variables that no client has had for so long is not waited for.
const MEMORY: Duration = Duration::from_hours(24 * 31);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::clock::Virtual;

    const NOW: u32 = 1_795_395_525;

    #[test]
    fn what_was_put_is_on_the_disk_and_read_back() {
        let (extensions, clock) = extensions(2);
        assert_eq!(extensions.take_changes(), None);
        extensions.put(1, words("SIZE 1000"));
        let kept = extensions.take_changes().unwrap();
        assert_eq!(serde_json::to_string(&kept[0].1).unwrap(), r#"{"keywords":["SIZE 1000"],"at":1795395525}"#);
        assert_eq!(extensions.take_changes(), None);
        extensions.write_anew();
        assert_eq!(extensions.take_changes(), Some(kept.clone()), "the changes were lost");
        let again = Extensions::new(2, clock);
        kept.into_iter().for_each(|(key, heard)| again.load(key, heard));
        assert_eq!((again.get(1), again.get(2)), (Some(words("SIZE 1000")), None));
        assert_eq!(again.take_changes(), None);
    }

    #[test]
    fn the_oldest_goes_and_all_go_after_a_month() {
        let (extensions, clock) = extensions(2);
        for key in [1, 2, 1, 3] {
            clock.advance(Duration::from_secs(1));
            extensions.put(key, words("DSN"));
        }
        let known = || [1, 2, 3].map(|key| extensions.get(key).is_some());
        assert_eq!(known(), [true, false, true]);
        extensions.take_changes();
        clock.advance(MEMORY - Duration::from_secs(1));
        extensions.sweep();
        assert_eq!(known(), [false, false, true]);
        assert_eq!(extensions.take_changes().unwrap().len(), 1, "the disk forgets it too");
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nothing_for_longer() {
        let (extensions, clock) = extensions(2);
        extensions.load(1, Heard { keywords: words("DSN"), at: NOW + 86_400 * 365 });
        clock.advance(MEMORY);
        extensions.sweep();
        assert_eq!(extensions.get(1), None);
    }

    fn words(keyword: &str) -> Vec<String> {
        vec![keyword.to_owned()]
    }

    fn extensions(bound: usize) -> (Extensions, Arc<Virtual>) {
        let clock = Arc::new(Virtual::new(Time::from_seconds(NOW)));
        (Extensions::new(bound, clock.clone()), clock)
    }
}
