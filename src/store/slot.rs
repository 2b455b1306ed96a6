//! One key of a throttle as it is kept: packed, because there may be a million, and how room is made for more of them. It
//! must not know the throttle.

use std::time::Duration;

use hashbrown::HashTable;

use crate::store::clock::Time;
use crate::store::disk::changes::Changes;
use crate::store::disk::changes::Octets;

/// Packed: 28 octets instead of 32, a million times.
#[derive(Clone, Copy)]
#[repr(Rust, packed(4))]
pub(super) struct Slot {
    pub(super) key: u128,
    /// GCRA's theoretical arrival time.
    pub(super) idle_at: Time,
    /// From the limit to idle, in units of 2^24 ns (17 ms), in 31 bits; the longest refill fits. The highest bit: changed since
    /// it was last written to the disk.
    pub(super) span: u32,
}

impl Slot {
    /// A key is a hash already.
    pub(super) fn hash(&self) -> u64 {
        self.key as u64
    }

    pub(super) fn is_idle(&self, now: Time) -> bool {
        now >= { self.idle_at }
    }

    /// How much of its burst the key has spent: 0 is idle, 2^24 at its limit, more is owed.
    fn spent(&self, now: Time) -> u64 {
        self.idle_at.nanoseconds().saturating_sub(now.nanoseconds()) / u64::from(self.span & !UNWRITTEN).max(1)
    }

    /// No further from idle than a key may be: the way from its limit, and the longest window, which may be owed. Further is
    /// what was written while the clock was in the future. And whether it was.
    pub(super) fn cut(self, now: Time) -> (Self, bool) {
        let span = u64::from(self.span & !UNWRITTEN).saturating_add(1) << SPAN_SHIFT;
        let latest = now.plus(Duration::from_nanos(span)).plus(LONGEST_WINDOW);
        match { self.idle_at } > latest {
            true => (Self { idle_at: latest, span: self.span | UNWRITTEN, ..self }, true),
            false => (self, false),
        }
    }

    /// As it goes to the disk, where it stands from now on.
    pub(super) fn write(&mut self) -> (u128, Option<Octets>) {
        self.span &= !UNWRITTEN;
        (self.key, Some(self.octets()))
    }

    pub(super) fn is_unwritten(&self) -> bool {
        self.span & UNWRITTEN != 0
    }

    fn octets(&self) -> Octets {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.idle_at.nanoseconds().to_le_bytes());
        octets[8..12].copy_from_slice(&(self.span & !UNWRITTEN).to_le_bytes());
        octets
    }

    pub(super) fn from_octets(key: u128, octets: Octets) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = octets;
        let [i, j, k, l, ..] = rest;
        Self {
            key,
            idle_at: Time::from_nanoseconds(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            span: u32::from_le_bytes([i, j, k, l]),
        }
    }
}

pub(super) fn span_units(span: u64) -> u32 {
    u32::try_from(span >> SPAN_SHIFT).unwrap_or(u32::MAX).clamp(1, !UNWRITTEN)
}

pub(super) fn drop_idle(slots: &mut HashTable<Slot>, changes: &mut Changes, now: Time) {
    slots.retain(|slot| {
        let stays = !slot.is_idle(now);
        if !stays {
            changes.note(slot.key, true, false);
        }
        stays
    });
}

/// Frees at least one place, and a sixteenth when nothing is idle, so that a flood pays for a scan only now and then.
pub(super) fn make_room(slots: &mut HashTable<Slot>, changes: &mut Changes, most: usize, now: Time) {
    drop_idle(slots, changes, now);
    let mut excess = (slots.len() + room(most)).saturating_sub(most);
    if excess == 0 {
        return;
    }
    let mut spent: Vec<u64> = slots.iter().map(|slot| slot.spent(now)).collect();
    let (_, &mut enough, _) = spent.select_nth_unstable(excess - 1);
    // Those below first: ties must not be preferred to them.
    for at_most in [enough.checked_sub(1), Some(enough)].into_iter().flatten() {
        slots.retain(|slot| {
            let goes = excess > 0 && slot.spent(now) <= at_most;
            if goes {
                excess -= 1;
                changes.note(slot.key, true, false);
            }
            !goes
        });
    }
}

/// Places that are freed at once.
pub(super) fn room(most: usize) -> usize {
    (most / 16).max(1)
}

const SPAN_SHIFT: u32 = 24;
pub(super) const UNWRITTEN: u32 = 1 << 31;
/// No limit is per more than that.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);
