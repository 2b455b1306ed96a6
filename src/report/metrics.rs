//! Counters of what happened, for Prometheus. Their labels are closed lists, or names of the configuration, so that no
//! stranger can grow them; counting is one addition. It must not make a label of a client's octets.

pub mod families;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::report::metrics::families::Families;
use crate::report::storms;
use crate::session::record::Kind;
use crate::session::record::Record;

/// All counters; zero at the start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Granted, refused.
    connections: [AtomicU64; 2],
    transactions: [Counters; Verdict::ALL.len()],
    recipients: Counters,
    commands: Counters,
    logins: Counters,
    received: AtomicU64,
    spared: AtomicU64,
    /// Taken, lost.
    acknowledgements: [AtomicU64; 2],
    answers: Latency,
    /// Counts by the throttle's name: refusals, and what a shadow would have refused.
    throttles: Mutex<BTreeMap<Arc<str>, [u64; 2]>>,
}

/// One for each reason, the last for none.
#[derive(Debug, Default)]
struct Counters([AtomicU64; Reason::ALL.len() + 1]);

/// A histogram of durations: a counter for each bound, and one above them.
#[derive(Debug, Default)]
struct Latency {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    micros: AtomicU64,
}

impl Metrics {
    /// A connection came in.
    pub fn connected(&self, granted: bool) {
        add(&self.connections[usize::from(!granted)], 1);
    }

    /// Whether the client took our 250.
    pub fn acknowledged(&self, taken: bool) {
        add(&self.acknowledgements[usize::from(!taken)], 1);
    }

    /// Counts a record.
    pub fn count(&self, record: &Record) {
        let at = record.reason.map_or(Reason::ALL.len(), |reason| reason as usize);
        match record.kind {
            Kind::Mail => {
                record.verdict.iter().for_each(|verdict| add(&self.transactions[*verdict as usize].0[at], 1));
                add(&self.received, record.received);
                if record.reason.is_some_and(storms::is_spared) {
                    add(&self.spared, storms::believable(record));
                }
                record.answered.iter().for_each(|time| self.answers.observe(*time));
            }
            Kind::Rcpt => add(&self.recipients.0[at], 1),
            Kind::Auth => add(&self.logins.0[at], 1),
            Kind::Command | Kind::Session if record.verdict.is_some() => add(&self.commands.0[at], 1),
            Kind::Command | Kind::Session | Kind::Folded => {}
        }
    }

    /// A throttle was over its limit when it was asked; one in the shadow only would have refused.
    pub fn throttled(&self, name: &Arc<str>, shadow: bool) {
        self.throttles().entry(name.clone()).or_default()[usize::from(shadow)] += 1;
    }

    /// Writes all counters. `throttles` are the configured ones, and whether they are in the shadow: they count from 0.
    ///
    /// # Errors
    /// What the families cannot take.
    pub fn write(&self, throttles: &[(Arc<str>, bool)], to: &mut Families<'_>) -> fmt::Result {
        let pairs = [
            ("connections", "Connections that came in.", "admission", ["granted", "refused"], &self.connections),
            (
                "acknowledgements",
                "Accepted messages by whether the client took the 250.",
                "outcome",
                ["taken", "lost"],
                &self.acknowledgements,
            ),
        ];
        for (name, help, label, values, counters) in pairs {
            let series = values.iter().zip(counters).map(|(value, counter)| ([(label, *value)], read(counter)));
            to.counters(name, help, series)?;
        }
        self.write_endings(to)?;
        self.write_throttles(throttles, to)?;
        to.counter("received_bytes", "Bytes of messages received.", read(&self.received))?;
        to.counter(
            "spared_bytes",
            "Bytes of messages, as far as known, that our own policy kept out of the queue.",
            read(&self.spared),
        )?;
        self.answers.write("answer_seconds", "Time from the end of a message to its final reply.", to)
    }

    fn write_endings(&self, to: &mut Families<'_>) -> fmt::Result {
        let transactions = Verdict::ALL.iter().zip(&self.transactions).flat_map(|(verdict, counters)| {
            counters.all().map(|(reason, count)| ([("verdict", verdict.as_str()), ("reason", reason)], count))
        });
        to.counters("transactions", "Transactions by how they ended.", transactions)?;
        for (name, help, counters) in [
            ("recipients_refused", "Refused recipients by reason.", &self.recipients),
            ("commands_refused", "Refused commands and connections by reason.", &self.commands),
            ("auth_failures", "Failed AUTH commands by reason.", &self.logins),
        ] {
            to.counters(name, help, counters.refused().map(|(reason, count)| ([("reason", reason)], count)))?;
        }
        Ok(())
    }

    fn write_throttles(&self, configured: &[(Arc<str>, bool)], to: &mut Families<'_>) -> fmt::Result {
        let counted = self.throttles().clone();
        let kinds = [
            ("throttled", "Times that a throttle was over its limit."),
            ("shadow", "Times that a throttle with shadow = true was over its limit."),
        ];
        for (kind, (name, help)) in kinds.into_iter().enumerate() {
            let fresh = configured.iter().filter(|(_, shadow)| usize::from(*shadow) == kind);
            let mut series: BTreeMap<&str, u64> = fresh.map(|(throttle, _)| (&**throttle, 0)).collect();
            series.extend(counted.iter().filter(|(_, counts)| counts[kind] > 0).map(|(name, it)| (&**name, it[kind])));
            to.counters(name, help, series.into_iter().map(|(throttle, count)| ([("throttle", throttle)], count)))?;
        }
        Ok(())
    }

    fn throttles(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, [u64; 2]>> {
        self.throttles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    /// Each reason, and none.
    fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL.iter().map(|reason| reason.as_str()).chain([NO_REASON]).zip(self.0.iter().map(read))
    }

    /// Each reason that a refusal can have, also those that nothing was refused for yet.
    fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.all().filter(|(reason, count)| *reason != NO_REASON || *count > 0)
    }
}

impl Latency {
    fn observe(&self, time: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < time);
        add(&self.buckets[bucket], 1);
        add(&self.micros, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn write(&self, name: &str, help: &str, to: &mut Families<'_>) -> fmt::Result {
        let counts: Vec<u64> = self.buckets.iter().map(read).collect();
        let bounds = BOUNDS_MS.iter().map(|bound| *bound as f64 / 1000.0);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        to.histogram(name, help, read(&self.micros) as f64 / 1e6, counts.iter().sum(), &buckets)
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The label of what has no reason.
const NO_REASON: &str = "none";
/// Milliseconds: from a backend on this host to one so slow that senders retry.
const BOUNDS_MS: [u64; 13] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000, 300_000];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::metrics::families::Format;
    use crate::report::tests::record;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::default();
        metrics.connected(true);
        metrics.connected(false);
        metrics.acknowledged(false);
        let answered = Some(Duration::from_millis(7));
        metrics.count(&Record { answered, ..record("<a@b>", Verdict::Accept, None) });
        metrics.count(&record("<a@b>", Verdict::Defer, Some(Reason::Throttled)));
        let command = Record { kind: Kind::Command, ..record("<a@b>", Verdict::Reject, Some(Reason::Protocol)) };
        metrics.count(&command);
        metrics.count(&Record { counted_only: true, ..command.clone() });
        metrics.count(&Record { kind: Kind::Session, ..command.clone() });
        metrics.count(&Record { kind: Kind::Session, verdict: None, ..command });
        metrics.throttled(&"slow".into(), false);
        metrics.throttled(&"dark".into(), true);
        let throttles: [(Arc<str>, bool); 2] = [("slow".into(), false), ("quiet".into(), true)];
        let text = families::text(Format::Text, move |to| metrics.write(&throttles, to)).unwrap();
        for line in [
            "portcullis_connections_total{admission=\"granted\"} 1",
            "portcullis_connections_total{admission=\"refused\"} 1",
            "portcullis_acknowledgements_total{outcome=\"lost\"} 1",
            "portcullis_transactions_total{verdict=\"accept\",reason=\"none\"} 1",
            "portcullis_commands_refused_total{reason=\"protocol\"} 3",
            "portcullis_transactions_total{verdict=\"reject\",reason=\"blocked_sender\"} 0",
            "portcullis_recipients_refused_total{reason=\"not_local\"} 0",
            "portcullis_commands_refused_total{reason=\"timeout\"} 0",
            "portcullis_auth_failures_total{reason=\"auth_failed\"} 0",
            "portcullis_throttled_total{throttle=\"slow\"} 1",
            "portcullis_shadow_total{throttle=\"quiet\"} 0",
            "portcullis_shadow_total{throttle=\"dark\"} 1",
            "portcullis_received_bytes_total 34",
            "portcullis_spared_bytes_total 34",
            "portcullis_answer_seconds_bucket{le=\"0.005\"} 0",
            "portcullis_answer_seconds_bucket{le=\"0.01\"} 1",
            "portcullis_answer_seconds_bucket{le=\"+Inf\"} 1",
            "portcullis_answer_seconds_sum 0.007",
            "portcullis_answer_seconds_count 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            assert!(text.contains(&format!("# TYPE {family} ")), "{line} has no head");
        }
    }
}
