//! The qmail queue: `look` reads it, `quarantine` takes messages out of it and brings them back. It must not know of
//! sessions or of the configuration.

pub mod look;
pub mod quarantine;
