//! Portcullis: an SMTP policy proxy.
//!
//! # Layout
//!
//! The modules stand in the order in which a session meets them; what the path leans on follows.
//! `tests/layers.rs` holds which module may name which; a module must not name one above it.

#![forbid(unsafe_code)]

pub mod front;

pub mod smtp;

pub mod policy;

pub mod session;

pub mod hold;

pub mod backend;

pub mod report;

pub mod store;

pub mod config;

pub mod control;

pub mod queue;

pub mod logs;

pub mod takeover;

pub mod rehearsal;

pub(crate) mod status;

pub(crate) mod alerts;

pub mod admin;

pub mod daemon;

pub mod text;

pub mod cli;
