//! What several test programs share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

pub mod client;
pub mod dialog;
pub mod house;
pub mod model;
pub mod post;
pub mod postfix;
