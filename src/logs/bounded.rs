//! A map that forgets its oldest entry when it is full. It must not grow past its bound, whatever is inserted and
//! removed.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// A map of at most `most` entries.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    most: usize,
    entries: HashMap<K, (u64, V)>,
    /// Keys in the order in which they came; keys that are gone are still here, until they are in front or too many.
    order: VecDeque<(u64, K)>,
    next: u64,
}

impl<K: Hash + Eq + Copy, V> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// Takes the place of an older entry with this key; what fell out is handed back.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let number = self.next;
        self.next += 1;
        self.entries.insert(key, (number, value));
        self.order.push_back((number, key));
        while self.entries.len() > self.most {
            let Some((number, key)) = self.order.pop_front() else { break };
            if self.is_current(number, key) {
                self.entries.remove(&key);
            }
        }
        if self.order.len() > self.entries.len() * 2 + SLACK {
            let entries = &self.entries;
            self.order.retain(|(number, key)| entries.get(key).is_some_and(|(current, _)| current == number));
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        self.entries.remove(&key).map(|(_, value)| value)
    }

    fn is_current(&self, number: u64, key: K) -> bool {
        self.entries.get(&key).is_some_and(|(current, _)| *current == number)
    }
}

/// Entries of `order` that may be gone, so that it is not swept at each insert.
const SLACK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut map = Bounded::new(3);
        for key in 0..5 {
            map.insert(key, key * 10);
        }
        assert_eq!([0, 1, 2, 3, 4].map(|key| map.get(key).copied()), [None, None, Some(20), Some(30), Some(40)]);
        // One that comes again is young again.
        map.insert(2, 21);
        map.insert(5, 50);
        assert_eq!([2, 3, 4, 5].map(|key| map.get(key).copied()), [Some(21), None, Some(40), Some(50)]);
        assert_eq!(map.remove(4), Some(40));
        *map.get_mut(5).unwrap_or(&mut 0) += 1;
        assert_eq!(map.get(5), Some(&51));
    }

    #[test]
    fn what_is_removed_leaves_nothing() {
        let mut map = Bounded::new(10);
        for key in 0..100_000 {
            map.insert(key, ());
            map.remove(key);
        }
        assert!(map.order.len() <= SLACK + 1 && map.entries.is_empty());
    }
}
