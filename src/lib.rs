//! Portcullis: an SMTP policy proxy.
//!
//! # Layout
//!
//! The modules stand in the order in which a session meets them; what the path leans on follows.
//! `tests/layers.rs` holds who may name whom.

#![forbid(unsafe_code)]

pub mod cli;

pub mod front;

pub mod smtp;

pub mod policy;

pub mod session;

pub mod hold;

pub mod backend;

pub mod report;

pub mod store;

pub mod config;

pub mod ops;

pub mod qmail;

#[doc(hidden)]
pub mod fuzzing;
