//! What must hold for any input: the bodies of the fuzz targets, which `tests/corpus.rs` runs over the committed corpora
//! too. They panic where it does not hold; nothing of the program calls them.

/// A client's command lines.
pub fn command(_input: &[u8]) {}

/// A configuration file.
pub fn config(_input: &[u8]) {}

/// A message as the client sends it, from behind the 354.
pub fn data(_input: &[u8]) {}

/// A backend's replies.
pub fn reply(_input: &[u8]) {}

/// A whole session: lines of what client (`C`) and backend (`B`) say, and of seconds that pass (`@`).
pub fn session(_input: &[u8]) {}
