//! The conversation: a state machine without sockets, clock, files or logging.

pub mod settings;
