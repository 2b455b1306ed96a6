//! The values that rows keep besides their times, each in two numbers on the disk. A number must not get another meaning there:
//! a state is read by every later version.

use std::time::Duration;

use crate::store::clock::Time;
use crate::store::table::Row;
use crate::store::table::Table;
use crate::store::table::Value;

/// A message that the backend accepted, whose acknowledgement (RFC 1047) is on its way to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Whether the client is known not to have taken it.
    pub lost: bool,
}

/// The number of times that something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times(pub u32);

/// Messages that were refused, of which the next one is deferred unseen once there were enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The number of them.
    pub count: u32,
    /// The tries since there were enough of them.
    pub tries: u32,
}

impl Times {
    pub(super) fn once_more(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Refusals {
    /// The refusals, with one more counted.
    pub(super) fn refused(self) -> Self {
        Self { count: self.count.saturating_add(1), ..self }
    }
}

impl Table<Times> {
    /// Counts once more under this key, which is remembered for so long from now on; gives the count.
    pub fn count(&self, key: u128, memory: Duration, now: Time) -> u32 {
        self.renew(key, memory, now, Times::once_more).0
    }
}

impl Row<Refusals> {
    /// The row, with one more try counted.
    pub(super) fn tried(self) -> Self {
        Self { value: Refusals { tries: self.value.tries.wrapping_add(1), ..self.value }, ..self }
    }

    /// The time for which this try is deferred; one try of `one_of` is not, to prove itself.
    pub(super) fn deferral(&self, one_of: u32, now: Time) -> Option<Duration> {
        (!self.value.tries.is_multiple_of(one_of)).then(|| self.left(now))
    }
}

impl Value for Acknowledgement {
    fn numbers(self) -> [u32; 2] {
        [0, self.lost.into()]
    }

    fn of_numbers([_, lost]: [u32; 2]) -> Self {
        Self { lost: lost == 1 }
    }
}

impl Value for Times {
    fn numbers(self) -> [u32; 2] {
        [self.0, 0]
    }

    fn of_numbers([count, _]: [u32; 2]) -> Self {
        Self(count)
    }
}

impl Value for Refusals {
    fn numbers(self) -> [u32; 2] {
        [self.count, self.tries]
    }

    fn of_numbers([count, tries]: [u32; 2]) -> Self {
        Self { count, tries }
    }
}

/// No value: the row itself says enough.
impl Value for () {
    fn numbers(self) -> [u32; 2] {
        [0; 2]
    }

    fn of_numbers(_: [u32; 2]) -> Self {}
}
