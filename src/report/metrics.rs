//! Counters of what happened, for Prometheus. Their labels are closed lists, or names of the configuration, so that no
//! stranger can grow them; counting is one addition. It must not make a label of a client's octets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
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

    /// The counters in the text format of Prometheus.
    pub fn encode(&self) -> String {
        let mut text = String::new();
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
            head(&mut text, &format!("{name}_total"), help, "counter");
            for (value, counter) in values.iter().zip(counters) {
                let count = counter.load(Ordering::Relaxed);
                let _ = writeln!(text, "portcullis_{name}_total{{{label}=\"{value}\"}} {count}");
            }
        }
        self.encode_transactions(&mut text);
        self.encode_throttles(&mut text);
        for (name, help, counter) in [
            ("received_bytes", "Octets of messages that crossed the wire.", &self.received),
            (
                "spared_bytes",
                "Octets of messages, as far as known, that our own policy kept from the queue.",
                &self.spared,
            ),
        ] {
            head(&mut text, &format!("{name}_total"), help, "counter");
            let _ = writeln!(text, "portcullis_{name}_total {}", counter.load(Ordering::Relaxed));
        }
        self.answers.encode("answer_seconds", "From the end of a message to its final reply.", &mut text);
        text
    }

    fn encode_transactions(&self, text: &mut String) {
        head(text, "transactions_total", "Transactions by how they ended.", "counter");
        for (verdict, counters) in Verdict::ALL.iter().zip(&self.transactions) {
            for (reason, count) in counters.used() {
                let labels = format!("verdict=\"{verdict}\",reason=\"{reason}\"");
                let _ = writeln!(text, "portcullis_transactions_total{{{labels}}} {count}");
            }
        }
        head(text, "recipients_refused_total", "Refused recipients by reason.", "counter");
        for (reason, count) in self.recipients.used() {
            let _ = writeln!(text, "portcullis_recipients_refused_total{{reason=\"{reason}\"}} {count}");
        }
        head(text, "commands_refused_total", "Refused commands, and connections, by reason.", "counter");
        for (reason, count) in self.commands.used() {
            let _ = writeln!(text, "portcullis_commands_refused_total{{reason=\"{reason}\"}} {count}");
        }
        head(text, "auth_failures_total", "AUTH that failed, by reason.", "counter");
        // The first failure has to show as a change from 0.
        let none_yet = self.logins.0[Reason::AuthFailed as usize].load(Ordering::Relaxed) == 0;
        let first = none_yet.then_some((Reason::AuthFailed.as_str(), 0));
        for (reason, count) in first.into_iter().chain(self.logins.used()) {
            let _ = writeln!(text, "portcullis_auth_failures_total{{reason=\"{reason}\"}} {count}");
        }
    }

    fn encode_throttles(&self, text: &mut String) {
        let throttles = self.throttles().clone();
        let kinds = [
            ("throttled_total", "How often a throttle was over its limit."),
            ("shadow_total", "How often a throttle in the shadow was."),
        ];
        for (kind, (name, help)) in kinds.into_iter().enumerate() {
            head(text, name, help, "counter");
            for (throttle, counts) in throttles.iter().filter(|(_, counts)| counts[kind] > 0) {
                let _ = writeln!(text, "portcullis_{name}{{throttle=\"{throttle}\"}} {}", counts[kind]);
            }
        }
    }

    fn throttles(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, [u64; 2]>> {
        self.throttles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn used(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|reason| reason.as_str()).chain(["none"]);
        names.zip(&self.0).map(|(name, count)| (name, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

impl Latency {
    fn observe(&self, time: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < time);
        add(&self.buckets[bucket], 1);
        add(&self.micros, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn encode(&self, name: &str, help: &str, text: &mut String) {
        head(text, name, help, "histogram");
        let bounds = BOUNDS_MS.iter().map(|bound| (*bound as f64 / 1000.0).to_string()).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, bucket) in bounds.zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "portcullis_{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "portcullis_{name}_sum {seconds}\nportcullis_{name}_count {count}");
    }
}

/// The two lines before the values.
pub fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = write!(text, "# HELP portcullis_{name} {help}\n# TYPE portcullis_{name} {kind}\n");
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Milliseconds: from a backend on this host to one that makes senders come again.
const BOUNDS_MS: [u64; 13] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000, 300_000];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
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
        let text = metrics.encode();
        for line in [
            "portcullis_connections_total{admission=\"granted\"} 1",
            "portcullis_connections_total{admission=\"refused\"} 1",
            "portcullis_acknowledgements_total{outcome=\"lost\"} 1",
            "portcullis_transactions_total{verdict=\"accept\",reason=\"none\"} 1",
            "portcullis_commands_refused_total{reason=\"protocol\"} 3",
            "portcullis_throttled_total{throttle=\"slow\"} 1",
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
