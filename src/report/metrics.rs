//! Counters of what ended, for Prometheus. Their labels are closed lists, so that no stranger can grow them; counting is
//! one addition.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::report::storms;
use crate::session::record::Kind;
use crate::session::record::Record;

/// All counters; zero at the start.
#[derive(Debug, Default)]
pub struct Metrics {
    transactions: [Counters; Verdict::ALL.len()],
    recipients: Counters,
    received: AtomicU64,
    spared: AtomicU64,
}

/// One for each reason, the last for none.
#[derive(Debug, Default)]
struct Counters([AtomicU64; Reason::ALL.len() + 1]);

impl Metrics {
    /// Counts a record.
    pub fn count(&self, record: &Record) {
        let at = record.reason.map_or(Reason::ALL.len(), |reason| reason as usize);
        match record.kind {
            Kind::Mail => {
                add(&self.transactions[record.verdict as usize].0[at], 1);
                add(&self.received, record.received);
                if record.reason.is_some_and(storms::is_spared) {
                    add(&self.spared, storms::believable(record));
                }
            }
            Kind::Rcpt => add(&self.recipients.0[at], 1),
            Kind::Session => {}
        }
    }

    /// As Prometheus reads it.
    pub fn encode(&self) -> String {
        let mut text = String::from(
            "# HELP portcullis_transactions_total Transactions by how they ended.\n\
             # TYPE portcullis_transactions_total counter\n",
        );
        for (verdict, counters) in Verdict::ALL.iter().zip(&self.transactions) {
            for (reason, count) in counters.used() {
                let _ = writeln!(
                    text,
                    "portcullis_transactions_total{{verdict=\"{verdict}\",reason=\"{reason}\"}} {count}"
                );
            }
        }
        text.push_str(
            "# HELP portcullis_recipients_refused_total Refused recipients by reason.\n\
             # TYPE portcullis_recipients_refused_total counter\n",
        );
        for (reason, count) in self.recipients.used() {
            let _ = writeln!(text, "portcullis_recipients_refused_total{{reason=\"{reason}\"}} {count}");
        }
        for (name, help, counter) in [
            ("received_bytes", "Octets of messages that crossed the wire.", &self.received),
            (
                "spared_bytes",
                "Octets of messages, as far as known, that our own policy kept from the queue.",
                &self.spared,
            ),
        ] {
            let count = counter.load(Ordering::Relaxed);
            let _ = write!(text, "# HELP portcullis_{name}_total {help}\n# TYPE portcullis_{name}_total counter\n");
            let _ = writeln!(text, "portcullis_{name}_total {count}");
        }
        text
    }
}

impl Counters {
    fn used(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|reason| reason.as_str()).chain(["none"]);
        names.zip(&self.0).map(|(name, count)| (name, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
