//! What would happen: `explain` for one message, `drill` for the incident, on a throwaway instance. It must not change
//! anything of the running proxy.

pub mod drill;
pub mod explain;
pub mod standing;
