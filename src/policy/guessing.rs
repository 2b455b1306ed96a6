//! The shipped throttles against guessing passwords.

use std::time::Duration;

use crate::policy::part::Part;
use crate::policy::throttle::Action;
use crate::policy::throttle::BlockLength;
use crate::policy::throttle::Count;
use crate::policy::throttle::Throttle;

impl Throttle {
    /// Who guesses is slowed down in his own network only: he does not lock out the one whose name he uses.
    pub(super) fn against_guessing() -> [Self; 2] {
        let failures = |name: &str, per: &[Part], cells| Self {
            name: name.into(),
            count: Count::AuthFailures,
            per: per.to_vec(),
            only: vec![],
            except: vec![],
            cells,
            period: HOUR,
            burst: cells,
            action: Action::Defer,
            block: BlockLength::default(),
            escalate: 0,
            shadow: false,
        };
        [failures("auth-user", &[Part::ClientNet, Part::User], 10), failures("auth-network", &[Part::ClientNet], 100)]
    }
}

const HOUR: Duration = Duration::from_hours(1);
