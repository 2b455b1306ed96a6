//! Storms: a sender at a client network whose copies or tries we refuse or absorb over and over. One has a beginning and
//! an end in the log, with what it was spared; there is no line a copy of its own here. What is not refused or absorbed
//! costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use ipnet::IpNet;
use serde::Serialize;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Kind;
use crate::session::record::Record;

/// All that are counted, running or not yet.
#[derive(Debug)]
pub struct Storms {
    bound: usize,
    by_key: Mutex<HashMap<(IpNet, String), Storm>>,
}

/// One of them. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Storm {
    /// Client network and sender.
    pub key: String,
    /// Copies and tries: what would have come in.
    pub copies: u64,
    /// Of them answered 250 and kept back.
    pub absorbed: u64,
    /// Octets, as far as they are known, that did not reach the queue.
    pub bytes_spared: u64,
    /// Of them those that did not even cross the wire.
    pub wire_spared: u64,
    /// Why the last one was refused.
    pub reason: &'static str,
    /// The first one.
    pub since: u64,
    /// The last one.
    pub last: u64,
    /// It has begun.
    pub running: bool,
}

impl Storms {
    /// Counts at most `bound` keys.
    pub fn new(bound: usize) -> Self {
        Self { bound, by_key: Mutex::default() }
    }

    /// Counts a record; `now` in nanoseconds since the epoch.
    pub fn count(&self, record: &Record, now: u64) {
        let (Some(sender), Some(reason)) = (&record.sender, record.reason) else { return };
        if !is_stormy(record, reason) {
            return;
        }
        let (now, net) = (now / 1_000_000_000, network(record.client));
        let mut storms = self.lock();
        let key = (net, sender.to_ascii_lowercase());
        if !storms.contains_key(&key) && storms.len() >= self.bound && !make_room(&mut storms, self.bound) {
            return;
        }
        let label = format!("{net} {}", key.1);
        let storm = storms.entry(key).or_insert_with(|| Storm::new(label, now));
        if storm.last + QUIET < now {
            storm.end();
            *storm = Storm::new(std::mem::take(&mut storm.key), now);
        }
        storm.add(record, reason, now);
    }

    /// Ends those that are over; `now` in nanoseconds since the epoch.
    pub fn sweep(&self, now: u64) {
        self.lock().retain(|_, storm| {
            let stays = storm.last + QUIET >= now / 1_000_000_000;
            if !stays {
                storm.end();
            }
            stays
        });
    }

    /// Those that run, the largest first.
    pub fn running(&self) -> Vec<Storm> {
        let mut running: Vec<Storm> = self.lock().values().filter(|storm| storm.running).cloned().collect();
        running.sort_by(|a, b| (b.bytes_spared, b.copies, &a.key).cmp(&(a.bytes_spared, a.copies, &b.key)));
        running
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpNet, String), Storm>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storm {
    fn new(key: String, now: u64) -> Self {
        let (copies, absorbed, bytes_spared, wire_spared) = (0, 0, 0, 0);
        Self { key, copies, absorbed, bytes_spared, wire_spared, reason: "", since: now, last: now, running: false }
    }

    fn add(&mut self, record: &Record, reason: Reason, now: u64) {
        let size = believable(record);
        self.copies += 1;
        self.absorbed += u64::from(record.verdict == Verdict::Absorb);
        self.bytes_spared = self.bytes_spared.saturating_add(size);
        self.wire_spared = self.wire_spared.saturating_add(size.saturating_sub(record.received));
        self.reason = reason.as_str();
        self.last = self.last.max(now);
        if self.copies >= THRESHOLD && !self.running {
            self.running = true;
            let rule = record.rule.as_deref();
            let Self { key, copies, bytes_spared, reason, .. } = self;
            tracing::warn!(key, copies, bytes_spared, reason, rule, "storm began");
        }
    }

    fn end(&self) {
        if self.running {
            let Self { key, copies, absorbed, bytes_spared, wire_spared, .. } = self;
            let seconds = self.last.saturating_sub(self.since);
            tracing::info!(key, copies, absorbed, bytes_spared, wire_spared, seconds, "storm ended");
        }
    }
}

/// By our own policy: what a backend refuses, or who does not speak SMTP, is no storm.
fn is_stormy(record: &Record, reason: Reason) -> bool {
    // A message whose recipients were all refused by memory has a record of its own besides.
    is_spared(reason) && ((record.kind == Kind::Mail) != (reason == Reason::OversizeRemembered))
}

/// Kept out by our own policy.
pub(super) fn is_spared(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BlockedSender
            | Reason::Loop
            | Reason::OversizeData
            | Reason::OversizeDeclared
            | Reason::OversizeRemembered
            | Reason::Repeat
            | Reason::Throttled
    )
}

/// A declared size may be any number: one that nobody could send must not ruin a sum.
pub(super) fn believable(record: &Record) -> u64 {
    record.size.unwrap_or(0).min(LARGEST).max(record.received)
}

/// What `client-net` means.
fn network(client: IpAddr) -> IpNet {
    let client = client.to_canonical();
    let bits = if client.is_ipv4() { 24 } else { 48 };
    IpNet::new(client, bits).map_or_else(|_| client.into(), |network| network.trunc())
}

/// Forged senders push out their own: those with the fewest copies, the quietest first, a sixteenth at once. One that
/// runs stays; false when all do.
fn make_room(storms: &mut HashMap<(IpNet, String), Storm>, bound: usize) -> bool {
    let quiet = storms.values().filter(|storm| !storm.running);
    let mut ranks: Vec<(u64, u64)> = quiet.map(|storm| (storm.copies, storm.last)).collect();
    let mut excess = (bound / 16).max(1).min(ranks.len());
    if excess == 0 {
        return false;
    }
    let (_, &mut enough, _) = ranks.select_nth_unstable(excess - 1);
    storms.retain(|_, storm| {
        let goes = excess > 0 && !storm.running && (storm.copies, storm.last) <= enough;
        excess -= usize::from(goes);
        !goes
    });
    true
}

/// Copies with which a storm begins: three an hour are seen in the second hour.
const THRESHOLD: u64 = 5;
/// Octets of one message.
const LARGEST: u64 = 1 << 30;
/// Seconds without a copy after which it has ended.
const QUIET: u64 = 2 * 3600;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: u64 = 1_795_395_525;
    const SECOND: u64 = 1_000_000_000;

    fn record(sender: &str, verdict: Verdict, reason: Option<Reason>) -> Record {
        Record {
            kind: Kind::Mail,
            session: "S".into(),
            client: "192.0.2.7".parse().unwrap(),
            helo: None,
            tls: None,
            sender: Some(sender.to_owned()),
            recipients: vec![],
            size: Some(34),
            received: if verdict == Verdict::Absorb { 34 } else { 0 },
            id: None,
            verdict,
            code: None,
            reason,
            rule: None,
            shadow: vec![],
            backend: None,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn the_incident_is_one_storm() {
        let storms = Storms::new(10);
        storms.count(&record("<n@s.example>", Verdict::Accept, None), START * SECOND);
        for copy in 1..72 {
            let now = (START + 1200 * copy) * SECOND;
            let verdict = if copy < 6 { Verdict::Absorb } else { Verdict::Reject };
            storms.count(&record("<N@S.example>", verdict, Some(Reason::Repeat)), now);
            storms.sweep(now);
            assert_eq!(storms.running().len(), usize::from(copy >= 5), "copy {copy}");
        }
        let storm = storms.running().remove(0);
        assert_eq!((storm.key.as_str(), storm.copies, storm.absorbed), ("192.0.2.0/24 <n@s.example>", 71, 5));
        assert_eq!((storm.bytes_spared, storm.wire_spared), (71 * 34, 66 * 34));
        storms.sweep((START + 1200 * 71 + QUIET + 1) * SECOND);
        assert!(storms.running().is_empty());
    }

    #[test]
    fn what_is_no_storm() {
        let storms = Storms::new(10);
        let table = [
            ("accepted mail", Verdict::Accept, None),
            ("the backend's refusals", Verdict::Reject, Some(Reason::BackendRejected)),
            ("a client without manners", Verdict::Disconnect, Some(Reason::Protocol)),
            ("time limits", Verdict::Disconnect, Some(Reason::Timeout)),
        ];
        for (what, verdict, reason) in table {
            (0..9).for_each(|_| storms.count(&record("<a@b>", verdict, reason), START * SECOND));
            assert!(storms.lock().is_empty(), "{what}");
        }
        for copy in 0..9 {
            let now = (START + copy * (QUIET + 1)) * SECOND;
            storms.count(&record("<a@b>", Verdict::Reject, Some(Reason::Repeat)), now);
        }
        assert!(storms.running().is_empty(), "one now and then");
    }

    #[test]
    fn forged_senders_do_not_end_it() {
        let storms = Storms::new(100);
        (0..9).for_each(|_| storms.count(&record("<n@s>", Verdict::Reject, Some(Reason::Repeat)), START * SECOND));
        for sender in 0..100_000 {
            let forged = record(&format!("<{sender}@x>"), Verdict::Reject, Some(Reason::BlockedSender));
            storms.count(&forged, (START + 1) * SECOND);
            assert!(storms.lock().len() <= 100);
        }
        assert_eq!(storms.running().len(), 1);
    }

    #[test]
    fn strangers_neither_end_storms_nor_ruin_sums() {
        let storms = Storms::new(32);
        for sender in 0..40 {
            let forged = record(&format!("<{sender}@x>"), Verdict::Reject, Some(Reason::BlockedSender));
            (0..5).for_each(|_| storms.count(&forged, START * SECOND));
        }
        assert_eq!(storms.running().len(), 32, "those that run stay");
        let storms = Storms::new(10);
        let endless =
            Record { size: Some(u64::MAX), ..record("<a@b>", Verdict::Reject, Some(Reason::OversizeDeclared)) };
        (0..5).for_each(|_| storms.count(&endless, START * SECOND));
        assert_eq!(storms.running()[0].bytes_spared, 5 * LARGEST);
    }

    #[test]
    fn a_try_that_is_refused_by_memory_counts_once() {
        let storms = Storms::new(10);
        let mail = record("<a@b>", Verdict::Reject, Some(Reason::OversizeRemembered));
        let rcpt = Record { kind: Kind::Rcpt, ..mail.clone() };
        (0..4).for_each(|_| [&rcpt, &mail].iter().for_each(|record| storms.count(record, START * SECOND)));
        assert!(storms.running().is_empty(), "four tries");
    }
}
