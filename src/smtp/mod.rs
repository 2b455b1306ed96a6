//! The words: octets to values and back. Pure: no I/O, no clock, no logging.

pub mod address;
pub mod command;
pub mod data;
pub mod header;
pub mod line;
pub mod login;
mod parameter;
pub mod received;
pub mod reply;
pub mod reply_reader;
