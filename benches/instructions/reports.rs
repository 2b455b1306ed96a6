//! Works of the reports: what one refused MAIL costs with metrics, history and the last records, and what it would cost
//! without them. They must not write a log.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use portcullis::policy::throttle::key::Seed;
use portcullis::report::Reports;
use portcullis::session::record::Record;
use portcullis::session::record::Span;
use portcullis::store::clock::Time;
use portcullis::store::clock::Wall;
use portcullis::store::state::State;

use crate::work;

/// All of it.
pub(crate) fn of_rejects(times: u64) {
    let (reports, record) = (reports(), record());
    for number in 0..times {
        let now = at(number);
        reports.connected(true, now);
        // The answers to EHLO, MAIL and QUIT, and to the two questions in between.
        for span in [Span::Question, Span::Command, Span::Question, Span::Command, Span::Command] {
            reports.metrics.took(span, black_box(Duration::ZERO));
        }
        reports.ended(record.clone(), now);
    }
}

/// Only what is counted to find and to tell a storm.
pub(crate) fn of_rejects_alone(times: u64) {
    let (reports, record) = (reports(), record());
    for number in 0..times {
        let now = at(number);
        reports.traffic.connected(now);
        reports.traffic.count(&record, now);
        reports.storms.count(&record, now);
    }
}

fn reports() -> Reports {
    let state = State::in_memory(Seed::new([7; 16]), Arc::new(Wall::new()));
    Reports::new(state.tables().history.clone())
}

/// One that is counted, and written to no log.
fn record() -> Arc<Record> {
    let record = work::record_of_reject();
    Arc::new(Record { counted_only: true, ..(*record).clone() })
}

/// A hundred in a second.
fn at(number: u64) -> Time {
    Time::from_nanoseconds(1_800_000_000_000_000_000 + number * 10_000_000)
}
