//! What all sessions are under: whether we are stopping, and whether connections are nearly used up. Whoever changes it does
//! so through one channel, and each session hears of it at once. Values only.

/// What all sessions are under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether we are stopping.
    pub stop: Stop,
    /// Connections are nearly used up: the limits of waiting and erring are shorter.
    pub stress: bool,
}

impl Condition {
    /// A stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.stop > Stop::Run
    }
}

/// The phases of stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// We are not.
    #[default]
    Run,
    /// Transactions that run may end, others do not begin.
    Drain,
    /// Everything ends now.
    Kill,
}
