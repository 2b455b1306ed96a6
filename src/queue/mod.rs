//! The qmail queue: `look` reads it, `quarantine` takes messages out of it and brings them back.

pub mod look;
pub mod quarantine;
