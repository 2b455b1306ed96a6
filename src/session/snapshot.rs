//! The lists, limits and settings in force for a transaction, from its MAIL to its end. They must not be changed: a
//! reload replaces them whole.

use crate::policy::Policy;
use crate::session::settings::Settings;

/// Lists, limits and settings: one finished value, replaced as a whole at a reload.
#[derive(Debug)]
pub struct Snapshot {
    /// The lists and limits.
    pub policy: Policy,
    /// The settings of conversations.
    pub settings: Settings,
}
