//! Eviction from a map that strangers can fill: the entries of the lowest rank. It must not know the entries.

use std::collections::HashMap;
use std::hash::Hash;

/// Evicts a sixteenth of `bound`, lowest rank first, once the map has `bound` entries; entries without a rank stay. Gives
/// whether there is room for one more.
pub(super) fn lowest<K: Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    bound: usize,
    rank: impl Fn(&V) -> Option<(u64, u64)>,
) -> bool {
    if map.len() < bound {
        return true;
    }
    let mut ranks: Vec<(u64, u64)> = map.values().filter_map(&rank).collect();
    let mut excess = (bound / 16).max(1).min(ranks.len());
    if excess == 0 {
        return false;
    }
    let (_, &mut enough, _) = ranks.select_nth_unstable(excess - 1);
    map.retain(|_, value| {
        let goes = excess > 0 && rank(value).is_some_and(|rank| rank <= enough);
        excess -= usize::from(goes);
        !goes
    });
    true
}
