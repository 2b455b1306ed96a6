//! The ruling: pure functions from words and lists to a verdict.

pub mod client;
pub mod environment;
pub mod list;
pub mod local;
pub mod place;
pub mod throttle;
