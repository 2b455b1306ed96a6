//! The share of the log that one client network has: a quarter of what may wait to be written, each second. Lines past it,
//! of what brought no mail, are counted and said. It must not leave out a line about a message that was accepted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use ipnet::IpNet;

use crate::policy::net::client_net;
use crate::policy::verdict::Verdict;
use crate::session::record::Record;
use crate::store::clock::Time;

/// The lines that networks have written within this second.
#[derive(Debug, Default)]
pub(super) struct LogShares(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    /// Seconds since the epoch.
    at: u32,
    networks: HashMap<IpNet, Lines>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    written: u32,
    left_out: u32,
}

impl LogShares {
    /// Whether the line of this record is written.
    pub(super) fn take(&self, record: &Record, now: Time) -> bool {
        if matches!(record.verdict, Some(Verdict::Accept | Verdict::Absorb)) {
            return true;
        }
        let (written, past) = {
            let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let past = second.turn(now.seconds());
            (second.take(client_net(record.client)), past)
        };
        say(past);
        written
    }

    /// Says what was left out before this second.
    pub(super) fn sweep(&self, now: Time) {
        let past = self.0.lock().unwrap_or_else(PoisonError::into_inner).turn(now.seconds());
        say(past);
    }
}

impl Second {
    /// A new second begins: gives back what was left out in the one before.
    fn turn(&mut self, at: u32) -> Vec<(IpNet, u32)> {
        if at == self.at {
            return Vec::new();
        }
        self.at = at;
        let past = self.networks.drain().filter(|(_, lines)| lines.left_out > 0);
        past.map(|(network, lines)| (network, lines.left_out)).collect()
    }

    fn take(&mut self, network: IpNet) -> bool {
        if self.networks.len() >= MOST_NETWORKS && !self.networks.contains_key(&network) {
            return true;
        }
        let lines = self.networks.entry(network).or_default();
        let has_room = lines.written < LINES_A_SECOND;
        *if has_room { &mut lines.written } else { &mut lines.left_out } += 1;
        has_room
    }
}

/// Logs what was left out; not to be called under the lock, so that nobody waits for the log there.
fn say(left_out: Vec<(IpNet, u32)>) {
    for (network, lines) in left_out {
        tracing::warn!(%network, lines, "lines left out");
    }
}

/// A quarter of the mebibyte that may wait to be written, in lines of some 200 octets.
const LINES_A_SECOND: u32 = 1300;
/// Networks that are counted within one second.
const MOST_NETWORKS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::Reason;
    use crate::report::tests::record;

    #[test]
    fn a_flood_of_one_network_leaves_the_log_to_others() {
        let (shares, second) = (LogShares::default(), Time::from_seconds(1));
        let refused = record("<a@b>", Verdict::Reject, Some(Reason::BlockedSender));
        let written = (0..5000).filter(|_| shares.take(&refused, second)).count();
        assert_eq!(written, LINES_A_SECOND as usize);
        let elsewhere = Record { client: [198, 51, 100, 1].into(), ..refused.clone() };
        assert!(shares.take(&elsewhere, second), "another network");
        assert!(shares.take(&record("<a@b>", Verdict::Accept, None), second), "a message that was accepted");
        assert_eq!(shares.0.lock().map(|mut it| it.turn(2)).ok().map(|past| past[0].1), Some(5000 - LINES_A_SECOND));
        assert!(shares.take(&refused, Time::from_seconds(2)), "the next second");
    }
}
