//! The client's side of the wire: accept, TLS, and the loop that drives a session.

pub mod settings;
