//! A bare session in the hands of a test: the shells that several test programs share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

pub mod dialog;
pub mod model;
pub mod post;
pub mod talk;
