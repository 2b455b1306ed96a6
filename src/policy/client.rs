//! tcprules: what a client's address allows (placeholder, being written).

use crate::policy::place::Place;

/// One rule of tcprules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    /// `deny` instead of `allow`.
    pub deny: bool,
    /// Variables for the backend's environment, in the order of the rule.
    pub variables: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// Where the rule stands.
    pub place: Place,
}
