//! A key of a throttle as it is kept: packed, because there may be a million. It must not know the throttle.

use std::time::Duration;

use crate::store::clock::Time;
use crate::store::disk::changes::Octets;
use crate::store::shards::Entry;

/// A key and its counter in 28 octets, not 32, a million times.
#[derive(Clone, Copy, PartialEq)]
#[repr(Rust, packed(4))]
pub(super) struct Slot {
    pub(super) key: u128,
    /// The time at which the key is idle again, GCRA's theoretical arrival time.
    pub(super) idle_at: Time,
    /// The way from the limit to idle, in units of 2^24 ns (17 ms), in 31 bits, which are enough for the longest refill. The
    /// highest bit is set when the slot has changed since it was last written to the disk.
    pub(super) span: u32,
}

impl Slot {
    /// A slot that is not on the disk yet. `span` is the way from the limit to idle in nanoseconds.
    pub(super) fn new(key: u128, idle_at: Time, span: u64) -> Self {
        let units = u32::try_from(span >> SPAN_SHIFT).unwrap_or(u32::MAX).clamp(1, !UNWRITTEN);
        Self { key, idle_at, span: units | UNWRITTEN }
    }

    pub(super) fn is_unwritten(&self) -> bool {
        self.span & UNWRITTEN != 0
    }

    fn span_units(&self) -> u64 {
        (self.span & !UNWRITTEN).into()
    }
}

impl Entry for Slot {
    fn key(&self) -> u128 {
        self.key
    }

    /// Whether it is idle.
    fn is_expired(&self, now: Time) -> bool {
        now >= { self.idle_at }
    }

    /// The share of its burst that the key has spent: 0 is idle, 2^24 at its limit, more is owed.
    fn rank(&self, now: Time) -> u64 {
        self.idle_at.nanoseconds().saturating_sub(now.nanoseconds()) / self.span_units().max(1)
    }

    /// The slot no further from idle than the way from its limit, and the longest window, which may be owed.
    fn cut(self, now: Time, longest: Duration) -> Self {
        let span = Duration::from_nanos(self.span_units().saturating_add(1) << SPAN_SHIFT);
        let latest = now.plus(span).plus(longest);
        match { self.idle_at } > latest {
            true => Self { idle_at: latest, span: self.span | UNWRITTEN, ..self },
            false => self,
        }
    }

    fn write(&mut self) -> Octets {
        self.span &= !UNWRITTEN;
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.idle_at.nanoseconds().to_le_bytes());
        octets[8..12].copy_from_slice(&{ self.span }.to_le_bytes());
        octets
    }

    fn read(key: u128, octets: Octets) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = octets;
        let idle_at = Time::from_nanoseconds(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        Self { key, idle_at, span: u32::from_le_bytes([i, j, k, l]) }
    }
}

const SPAN_SHIFT: u32 = 24;
const UNWRITTEN: u32 = 1 << 31;
