//! Counters of what happened, for Prometheus. Their labels are closed lists, or names of the configuration, so that no
//! stranger can grow them; counting is one addition. It must not make a label of a client's octets.

pub mod families;
pub mod latency;

use std::collections::BTreeMap;
use std::collections::VecDeque;
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
use crate::report::metrics::latency::Counts;
use crate::report::metrics::latency::Latency;
use crate::report::storms;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::session::record::Span;

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
    /// By [`Opening`].
    openings: [AtomicU64; Opening::ALL.len()],
    /// Sent, failed, dropped.
    alerts: [AtomicU64; 3],
    answers: Latency,
    spans: [Latency; Span::ALL.len()],
    /// What `spans` had at the last sweeps, the oldest first.
    earlier: Mutex<VecDeque<[Counts; Span::ALL.len()]>>,
    /// Counts by the throttle's name: refusals, and what a shadow would have refused.
    throttles: Mutex<BTreeMap<Arc<str>, [u64; 2]>>,
}

/// What became of the request for a session with the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// None of `backend.max` was free in time.
    Busy,
    /// The backend could not be reached or started.
    Failed,
    /// A new one was opened.
    Opened,
    /// An idle one was there.
    Reused,
}

impl Opening {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Busy, "busy"), (Self::Failed, "failed"), (Self::Opened, "opened"), (Self::Reused, "reused")];
}

/// One for each reason, the last for none.
#[derive(Debug, Default)]
struct Counters([AtomicU64; Reason::ALL.len() + 1]);

impl Metrics {
    /// A connection came in.
    pub fn connected(&self, granted: bool) {
        add(&self.connections[usize::from(!granted)], 1);
    }

    /// Whether the client took our 250.
    pub fn acknowledged(&self, taken: bool) {
        add(&self.acknowledgements[usize::from(!taken)], 1);
    }

    /// An alert's event was sent.
    pub fn alert_sent(&self) {
        add(&self.alerts[0], 1);
    }

    /// A try to send an alert's event failed.
    pub fn alert_failed(&self) {
        add(&self.alerts[1], 1);
    }

    /// An alert's event was given up.
    pub fn alert_dropped(&self) {
        add(&self.alerts[2], 1);
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

    /// A session with the backend was asked for.
    pub fn opened(&self, opening: Opening) {
        add(&self.openings[opening as usize], 1);
    }

    /// Something that is measured each time took so long.
    pub fn took(&self, span: Span, time: Duration) {
        self.spans[span as usize].observe(time);
    }

    /// What was measured in the last ten minutes, to a minute.
    pub fn lately(&self, span: Span) -> Counts {
        let earliest = lock(&self.earlier).front().map(|counts| counts[span as usize]);
        self.spans[span as usize].counts().since(&earliest.unwrap_or_default())
    }

    /// A minute has passed.
    pub fn sweep(&self) {
        let mut earlier = lock(&self.earlier);
        if earlier.len() >= LATELY {
            earlier.pop_front();
        }
        earlier.push_back(self.spans.each_ref().map(Latency::counts));
    }

    /// A throttle was over its limit when it was asked; one in the shadow only would have refused.
    pub fn throttled(&self, name: &Arc<str>, shadow: bool) {
        lock(&self.throttles).entry(name.clone()).or_default()[usize::from(shadow)] += 1;
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
        let openings =
            Opening::ALL.map(|(opening, word)| ([("outcome", word)], read(&self.openings[opening as usize])));
        to.counters("backend_sessions", "Requests for a session with the backend by outcome.", openings)?;
        self.write_endings(to)?;
        self.write_throttles(throttles, to)?;
        to.counter("received_bytes", "Bytes of messages received.", read(&self.received))?;
        to.counter(
            "spared_bytes",
            "Bytes of messages, as far as known, that our own policy kept out of the queue.",
            read(&self.spared),
        )?;
        let alerts = ["sent", "failed", "dropped"].into_iter().zip(&self.alerts);
        let alerts = alerts.map(|(outcome, count)| ([("outcome", outcome)], read(count)));
        to.counters("alerts", "Events of alerts by outcome.", alerts)?;
        self.write_times(to)
    }

    fn write_times(&self, to: &mut Families<'_>) -> fmt::Result {
        let times = |span: Span| self.spans[span as usize].counts();
        for (name, help, counts) in [
            ("answer_seconds", "Time from the end of a message to its final reply.", self.answers.counts()),
            ("command_seconds", "Time from a command to a reply without the backend.", times(Span::Command)),
            ("question_seconds", "Time of the state's answers to a session's questions.", times(Span::Question)),
            ("hold_seconds", "Time from the first octets of a held message to its last.", times(Span::Hold)),
        ] {
            to.histograms(name, help, [([("", ""); 0], counts.buckets())])?;
        }
        let steps = [
            ("open", Span::BackendOpen),
            ("mail", Span::BackendMail),
            ("rcpt", Span::BackendRcpt),
            ("dot", Span::BackendDot),
        ];
        let series = steps.map(|(step, span)| ([("step", step)], times(span).buckets()));
        to.histograms("backend_seconds", "Time that the backend took, by step.", series)
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
        let counted = lock(&self.throttles).clone();
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

/// No code under these locks panics.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The label of what has no reason.
const NO_REASON: &str = "none";
/// Sweeps, one a minute, that a glance at the latest times looks back.
const LATELY: usize = 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::metrics::families::Format;
    use crate::report::tests::record;

    #[test]
    fn lately_is_the_last_ten_minutes() {
        let metrics = Metrics::default();
        metrics.took(Span::BackendDot, Duration::from_millis(1));
        assert_eq!(metrics.lately(Span::BackendDot).count(), 1);
        (0..LATELY).for_each(|_| metrics.sweep());
        metrics.took(Span::BackendDot, Duration::from_millis(1));
        assert_eq!(metrics.lately(Span::BackendDot).count(), 1, "the first is older");
        metrics.sweep();
        assert_eq!(metrics.lately(Span::BackendDot).count(), 1);
        (0..LATELY).for_each(|_| metrics.sweep());
        assert_eq!(metrics.lately(Span::BackendDot).count(), 0);
    }

    #[test]
    fn the_backend_s_sessions_and_times() {
        let metrics = Metrics::default();
        metrics.took(Span::Question, Duration::ZERO);
        metrics.took(Span::BackendRcpt, Duration::from_millis(3));
        metrics.opened(Opening::Reused);
        let text = families::text(Format::Text, move |to| metrics.write(&[], to)).unwrap();
        for line in [
            "portcullis_backend_sessions_total{outcome=\"busy\"} 0",
            "portcullis_backend_sessions_total{outcome=\"reused\"} 1",
            "portcullis_question_seconds_bucket{le=\"0.0001\"} 1",
            "portcullis_backend_seconds_bucket{step=\"rcpt\",le=\"0.0025\"} 0",
            "portcullis_backend_seconds_bucket{step=\"rcpt\",le=\"0.005\"} 1",
            "portcullis_backend_seconds_count{step=\"dot\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }

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
        for verdict in [command.verdict, None] {
            metrics.count(&Record { kind: Kind::Session, verdict, ..command.clone() });
        }
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
