//! What would happen: `explain` for one message, whose session is rehearsed, `drill` for the incident, on a throwaway
//! instance. It must not change anything of the running proxy.

pub mod backend;
pub mod drill;
pub mod explain;
pub mod explanation;
pub mod message;
pub mod rehearse;
pub mod story;
pub mod told;
