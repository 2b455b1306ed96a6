//! Storms: a sender at a client network whose copies or tries come over and over: refused, absorbed, or delivered again. One
//! has a beginning and an end in the log, with what it was spared; there is no line a copy of its own here. A large message
//! that is alike but for what senders make anew is counted too, and a client network that guesses passwords is a storm by
//! itself. Mail that is nobody's copy costs nothing. It must not grow with what strangers make up.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::net::client_net;
use crate::policy::repeat::Before;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::report::evict;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::store::clock::Time;

/// All that are counted, running or not yet.
#[derive(Debug)]
pub struct Storms {
    bound: usize,
    begun: AtomicU64,
    by_key: Mutex<HashMap<(IpNet, String), Storm>>,
}

/// A storm of one sender at one client network. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Storm {
    /// Client network and sender.
    pub key: String,
    /// Copies and tries: what would have come in.
    pub copies: u64,
    /// Copies that were answered 250 and kept back.
    pub absorbed: u64,
    /// Copies and tries that were answered 5xx or 421.
    pub refused: u64,
    /// Copies and tries that were answered 4xx.
    pub deferred: u64,
    /// Copies that were delivered once more.
    pub delivered: u64,
    /// Messages that were delivered and are alike but for Received, Date and Message-ID; not among the copies.
    pub similar: u64,
    /// Octets, as far as they are known, that did not reach the queue.
    pub bytes_spared: u64,
    /// Octets of these that did not even cross the wire.
    pub wire_spared: u64,
    /// The reason why the last one was kept out.
    pub reason: &'static str,
    /// The rule that kept it out.
    pub rule: Option<String>,
    /// Recipients, as far as they are known.
    pub recipients: String,
    /// The last Message-ID that was seen.
    pub id: Option<String>,
    /// Time of the first one.
    pub since: u32,
    /// Time of the last one.
    pub last: u32,
    /// Whether it has begun: it is large enough to be a storm.
    pub running: bool,
    /// Copies, and messages that are alike, of each ten minutes of the last two hours, the oldest first.
    pub trend: [u32; PARTS],
    /// The part that is counted last in the trend, in parts since the epoch.
    #[serde(skip)]
    part: u32,
}

impl Storms {
    /// Counts at most `bound` keys.
    pub fn new(bound: usize) -> Self {
        Self { bound, begun: AtomicU64::new(0), by_key: Mutex::default() }
    }

    /// Counts a record.
    pub fn count(&self, record: &Record, now: Time) {
        if !is_stormy(record) {
            return;
        }
        let what = match (record.kind, &record.sender) {
            // One guesser tries many names.
            (Kind::Auth, _) => "auth".to_owned(),
            (_, Some(sender)) => sender.to_ascii_lowercase(),
            (_, None) => return,
        };
        let (now, net) = (now.seconds(), client_net(record.client));
        let key = (net, what);
        let (mut ended, mut news) = (None, None);
        // Nobody waits for the log under the lock.
        {
            let mut storms = self.lock();
            let known = storms.contains_key(&key);
            let quiet = |storm: &Storm| (!storm.running).then_some((storm.copies, storm.last.into()));
            if !known && !evict::lowest(&mut storms, self.bound, quiet) {
                return;
            }
            let named = |(net, sender): &(IpNet, String)| Storm::new(format!("{net} {sender}"), now);
            let storm = storms.entry(key).or_insert_with_key(named);
            if storm.last.saturating_add(QUIET) < now {
                let next = Storm::new(storm.key.clone(), now);
                ended = Some(std::mem::replace(storm, next)).filter(|storm| storm.running);
            }
            let began = storm.add(record, now);
            if began || (storm.running && storm.size().is_power_of_two()) {
                news = Some((began, storm.clone()));
            }
        }
        ended.iter().for_each(Storm::log_end);
        if let Some((began, storm)) = news {
            self.begun.fetch_add(u64::from(began), Ordering::Relaxed);
            storm.log_news(began);
        }
    }

    /// Ends those that are over.
    pub fn sweep(&self, now: Time) {
        let mut ended = Vec::new();
        self.lock().retain(|_, storm| {
            let stays = storm.last.saturating_add(QUIET) >= now.seconds();
            if !stays && storm.running {
                ended.push(storm.clone());
            }
            stays
        });
        ended.iter().for_each(Storm::log_end);
    }

    /// The storms that run, the largest first.
    pub fn running(&self, now: Time) -> Vec<Storm> {
        let mut running: Vec<Storm> = self.lock().values().filter(|storm| storm.running).cloned().collect();
        running.iter_mut().for_each(|storm| storm.turn(now.seconds()));
        running.sort_by(|a, b| (b.bytes_spared, b.copies, &a.key).cmp(&(a.bytes_spared, a.copies, &b.key)));
        running
    }

    /// The number of storms that run.
    pub fn count_running(&self) -> usize {
        self.lock().values().filter(|storm| storm.running).count()
    }

    /// The number of storms that have begun since the start.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpNet, String), Storm>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storm {
    /// Nothing has come yet of this client network and sender.
    pub(crate) fn new(key: String, now: u32) -> Self {
        Self {
            key,
            copies: 0,
            absorbed: 0,
            refused: 0,
            deferred: 0,
            delivered: 0,
            similar: 0,
            bytes_spared: 0,
            wire_spared: 0,
            reason: "",
            rule: None,
            recipients: String::new(),
            id: None,
            since: now,
            last: now,
            running: false,
            trend: [0; PARTS],
            part: now / PART,
        }
    }

    /// True: with this one it has begun.
    fn add(&mut self, record: &Record, now: u32) -> bool {
        let size = if record.verdict == Some(Verdict::Accept) { 0 } else { believable(record) };
        match record.verdict {
            Some(Verdict::Accept) if record.before.same == 0 => self.similar += 1,
            Some(Verdict::Accept) => self.delivered += 1,
            Some(Verdict::Absorb) => self.absorbed += 1,
            Some(Verdict::Defer) => self.deferred += 1,
            Some(Verdict::Disconnect | Verdict::Reject) | None => self.refused += 1,
        }
        self.copies = self.delivered + self.absorbed + self.deferred + self.refused;
        self.bytes_spared = self.bytes_spared.saturating_add(size);
        self.wire_spared = self.wire_spared.saturating_add(size.saturating_sub(record.received.min(size)));
        if let Some(reason) = record.reason.filter(|_| record.verdict != Some(Verdict::Accept)) {
            self.reason = reason.as_str();
            self.rule = record.rule.as_deref().map(str::to_owned);
        }
        if !record.recipients.is_empty() {
            self.recipients = record.recipients.iter().take(MOST_RECIPIENTS).cloned().collect::<Vec<_>>().join(",");
        }
        self.id = record.id.clone().or(self.id.take());
        self.last = self.last.max(now);
        self.turn(now);
        self.trend[PARTS - 1] = self.trend[PARTS - 1].saturating_add(1);
        let begins = self.size() >= THRESHOLD && !self.running;
        self.running |= begins;
        begins
    }

    /// Has the trend end with the ten minutes of this second. A clock that went back counts on where it was.
    fn turn(&mut self, now: u32) {
        let passed = (now / PART).saturating_sub(self.part);
        self.part += passed;
        let passed = (passed as usize).min(PARTS);
        self.trend.rotate_left(passed);
        self.trend[PARTS - passed..].fill(0);
    }

    /// Copies, and what is alike.
    fn size(&self) -> u64 {
        self.copies + self.similar
    }

    /// Logs a storm at its beginning, and whenever it has doubled: a few lines tell the story.
    fn log_news(&self, began: bool) {
        let Self { key, recipients, id, copies, absorbed, refused, deferred, .. } = self;
        let Self { delivered, similar, bytes_spared, reason, rule, .. } = self;
        let (id, rule) = (id.as_deref(), rule.as_deref());
        tracing::warn!(
            message = if began { "storm began" } else { "storm goes on" },
            key,
            recipients,
            id,
            copies,
            absorbed,
            refused,
            deferred,
            delivered,
            similar,
            bytes_spared,
            reason,
            rule,
        );
    }

    fn log_end(&self) {
        let Self { key, copies, absorbed, refused, deferred, delivered, similar, .. } = self;
        let Self { bytes_spared, wire_spared, .. } = self;
        let seconds = self.last.saturating_sub(self.since);
        tracing::info!(
            key,
            copies,
            absorbed,
            refused,
            deferred,
            delivered,
            similar,
            bytes_spared,
            wire_spared,
            seconds,
            "storm ended"
        );
    }
}

/// A copy, or kept out by our own policy: what a backend refuses, or a client that does not speak SMTP, is no storm.
fn is_stormy(record: &Record) -> bool {
    let is_mail = record.kind == Kind::Mail;
    match record.reason {
        reason if record.kind == Kind::Auth => reason == Some(Reason::AuthFailed),
        // A message whose recipients were all deferred by memory has a record of its own besides.
        Some(reason) if is_spared(reason) => is_mail != (reason == Reason::OversizeRemembered),
        _ => is_mail && record.verdict == Some(Verdict::Accept) && record.before != Before::default(),
    }
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

/// Copies with which a storm begins: three an hour are seen in the second hour.
const THRESHOLD: u64 = 5;
/// Octets of one message.
const LARGEST: u64 = 1 << 30;
/// Recipients of a storm that are named.
const MOST_RECIPIENTS: usize = 3;
/// Seconds without a copy after which it has ended.
const QUIET: u32 = 2 * 3600;
/// Parts of a trend, and seconds of each.
const PARTS: usize = 12;
const PART: u32 = 600;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::tests::record;

    const START: u32 = 1_795_395_525;

    #[test]
    fn the_incident_is_one_storm() {
        let storms = Storms::new(10);
        storms.count(&record("<n@s.example>", Verdict::Accept, None), Time::from_seconds(START));
        for copy in 1..72 {
            let now = Time::from_seconds(START + 1200 * copy);
            let verdict = if copy < 6 { Verdict::Absorb } else { Verdict::Reject };
            storms.count(&record("<N@S.example>", verdict, Some(Reason::Repeat)), now);
            storms.sweep(now);
            assert_eq!(storms.running(now).len(), usize::from(copy >= 5), "copy {copy}");
        }
        let last = Time::from_seconds(START + 1200 * 71);
        let storm = storms.running(last).remove(0);
        assert_eq!(storm.trend, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        let later = storms.running(last.plus(std::time::Duration::from_secs(1800))).remove(0);
        assert_eq!(later.trend, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(storms.running(Time::from_seconds(0))[0].trend, storm.trend, "a clock that went back");
        assert_eq!(storms.running(Time::from_seconds(u32::MAX))[0].trend, [0; PARTS], "or far ahead");
        assert_eq!((storm.key.as_str(), storm.copies, storm.absorbed), ("192.0.2.0/24 <n@s.example>", 71, 5));
        assert_eq!((storm.bytes_spared, storm.wire_spared), (71 * 34, 66 * 34));
        storms.sweep(Time::from_seconds(START + 1200 * 71 + QUIET + 1));
        assert!(storms.running(Time::from_seconds(START)).is_empty());
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
            (0..9).for_each(|_| storms.count(&record("<a@b>", verdict, reason), Time::from_seconds(START)));
            assert!(storms.lock().is_empty(), "{what}");
        }
        for copy in 0..9 {
            let now = Time::from_seconds(START + copy * (QUIET + 1));
            storms.count(&record("<a@b>", Verdict::Reject, Some(Reason::Repeat)), now);
        }
        assert!(storms.running(Time::from_seconds(START)).is_empty(), "one now and then");
    }

    #[test]
    fn forged_senders_do_not_end_it() {
        let storms = Storms::new(100);
        (0..9).for_each(|_| {
            storms.count(&record("<n@s>", Verdict::Reject, Some(Reason::Repeat)), Time::from_seconds(START))
        });
        for sender in 0..100_000 {
            let forged = record(&format!("<{sender}@x>"), Verdict::Reject, Some(Reason::BlockedSender));
            storms.count(&forged, Time::from_seconds(START + 1));
            assert!(storms.lock().len() <= 100);
        }
        assert_eq!(storms.running(Time::from_seconds(START)).len(), 1);
    }

    #[test]
    fn strangers_neither_end_storms_nor_ruin_sums() {
        let storms = Storms::new(32);
        for sender in 0..40 {
            let forged = record(&format!("<{sender}@x>"), Verdict::Reject, Some(Reason::BlockedSender));
            (0..5).for_each(|_| storms.count(&forged, Time::from_seconds(START)));
        }
        assert_eq!(storms.running(Time::from_seconds(START)).len(), 32, "those that run stay");
        let storms = Storms::new(10);
        let endless =
            Record { size: Some(u64::MAX), ..record("<a@b>", Verdict::Reject, Some(Reason::OversizeDeclared)) };
        (0..5).for_each(|_| storms.count(&endless, Time::from_seconds(START)));
        assert_eq!(storms.running(Time::from_seconds(START))[0].bytes_spared, 5 * LARGEST);
    }

    #[test]
    fn a_try_that_is_refused_by_memory_counts_once() {
        let storms = Storms::new(10);
        let mail = record("<a@b>", Verdict::Reject, Some(Reason::OversizeRemembered));
        let rcpt = Record { kind: Kind::Rcpt, ..mail.clone() };
        (0..4).for_each(|_| [&rcpt, &mail].iter().for_each(|record| storms.count(record, Time::from_seconds(START))));
        assert!(storms.running(Time::from_seconds(START)).is_empty(), "four tries");
    }
}
