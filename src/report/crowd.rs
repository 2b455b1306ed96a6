//! Room in a map that strangers can fill: those with the least go.

use std::collections::HashMap;
use std::hash::Hash;

/// Frees a sixteenth of `bound`, lowest rank first; what has no rank stays. False: nothing could go.
pub(super) fn make_room<K: Eq + Hash, V>(
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
