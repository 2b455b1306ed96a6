//! Counters that sessions share.
