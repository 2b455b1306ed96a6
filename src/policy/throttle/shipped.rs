//! The throttles that are shipped. `config/portcullis.toml` shows them to people, and a test holds the two together. It must
//! not look at what an operator has written.

use std::time::Duration;

use crate::policy::throttle::Action;
use crate::policy::throttle::BlockLength;
use crate::policy::throttle::Count;
use crate::policy::throttle::DAY;
use crate::policy::throttle::Group;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::part::Part;

impl Throttle {
    /// The throttles of a configuration that sets none.
    pub fn shipped() -> Vec<Self> {
        let retrying_sender = Self {
            except: vec![Group::NullSender, Group::RelayClient, Group::Authenticated],
            period: DAY,
            burst: 5,
            action: Action::Disconnect,
            ..hourly("retrying-sender", Count::Retries, &[Part::ClientNet, Part::Sender], 12)
        };
        let bounces = Self {
            only: vec![Group::NullSender],
            burst: 50,
            ..hourly("bounces", Count::Messages, &[Part::Recipient], 100)
        };
        // Guesses slow down their own network only: they do not lock out the user whose name they use.
        let auth_user = hourly("auth-user", Count::AuthFailures, &[Part::ClientNet, Part::User], 10);
        let auth_network = hourly("auth-network", Count::AuthFailures, &[Part::ClientNet], 100);
        vec![retrying_sender, bounces, auth_user, auth_network]
    }
}

/// A throttle of so many events an hour, all of them at once if need be; more are deferred.
fn hourly(name: &str, count: Count, per: &[Part], cells: u64) -> Throttle {
    Throttle {
        name: name.into(),
        count,
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
    }
}

const HOUR: Duration = Duration::from_hours(1);
