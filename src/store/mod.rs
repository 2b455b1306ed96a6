//! Counters that sessions share.

pub mod clock;
pub mod throttle;
