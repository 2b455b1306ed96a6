//! The history of mail: what came in and what became of it, over the last hour, day, week and year. It must not keep the
//! rows: the state does, so that they survive a restart.

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::verdict::Verdict;
use crate::report::storms;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::store::clock::Time;
use crate::store::history;
use crate::store::history::Counts;

/// What is counted, and what it gives to a chart.
#[derive(Debug)]
pub struct History(Arc<history::History>);

/// The length of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// 60 minutes.
    #[default]
    Hour,
    /// 288 times five minutes.
    Day,
    /// 168 hours.
    Week,
    /// 366 days, which begin at midnight UTC.
    Year,
}

/// The counts of one step of a chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Point {
    /// The beginning of the step, in seconds since the epoch: a multiple of the step.
    pub at: u32,
    /// What happened in it.
    #[serde(flatten)]
    pub counts: Counts,
}

impl History {
    /// Counts into these rows.
    pub fn new(rows: Arc<history::History>) -> Self {
        Self(rows)
    }

    /// A connection came in.
    pub fn connected(&self, now: Time) {
        self.0.count(now, |counts| counts.connections += 1);
    }

    /// Counts a record.
    pub fn count(&self, record: &Record, now: Time) {
        let Some(verdict) = record.verdict.filter(|_| record.kind == Kind::Mail) else { return };
        self.0.count(now, |counts| {
            let is_passed = matches!(verdict, Verdict::Accept | Verdict::Absorb);
            match verdict {
                Verdict::Accept => counts.accepted += 1,
                Verdict::Absorb => counts.absorbed += 1,
                Verdict::Defer => counts.deferred += 1,
                Verdict::Disconnect | Verdict::Reject => counts.refused += 1,
            }
            counts.bytes += record.received;
            if let Some(reason) = record.reason {
                counts.spared += if storms::is_spared(reason) { storms::believable(record) } else { 0 };
                if !is_passed {
                    counts.reasons.add(reason, 1);
                }
            }
        });
    }

    /// The steps of this range in which something happened, the oldest first; the last one is not over.
    pub fn points(&self, range: Range, now: Time) -> Vec<Point> {
        let (now, step) = (now.seconds(), range.step());
        let sums = self.0.sums(now.saturating_sub(range.seconds() - step), now, step);
        sums.into_iter().map(|(at, counts)| Point { at, counts }).collect()
    }
}

impl Range {
    /// Seconds of one step.
    pub fn step(self) -> u32 {
        match self {
            Self::Hour => 60,
            Self::Day => 300,
            Self::Week => 3600,
            Self::Year => DAY,
        }
    }

    /// Seconds of all steps.
    fn seconds(self) -> u32 {
        match self {
            Self::Hour => 3600,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Year => 366 * DAY,
        }
    }
}

const DAY: u32 = 86_400;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::verdict::Reason;
    use crate::report::tests::empty_state;
    use crate::report::tests::record;

    /// Twenty seconds into a minute.
    const NOW: u32 = 1_795_395_560;

    #[test]
    fn what_became_of_mail_is_counted_by_its_time() {
        let history = History::new(empty_state().tables().history.clone());
        let at = Time::from_seconds;
        history.connected(at(NOW));
        for (verdict, reason) in [
            (Verdict::Accept, None),
            (Verdict::Absorb, Some(Reason::Repeat)),
            (Verdict::Defer, Some(Reason::BackendDeferred)),
            (Verdict::Reject, Some(Reason::BlockedSender)),
            (Verdict::Disconnect, Some(Reason::Throttled)),
        ] {
            history.count(&record("<a@b>", verdict, reason), at(NOW));
        }
        let command = Record { kind: Kind::Command, ..record("<a@b>", Verdict::Reject, Some(Reason::Protocol)) };
        history.count(&command, at(NOW));
        let points = history.points(Range::Hour, at(NOW));
        let json = serde_json::to_value(&points).unwrap();
        let expected = serde_json::json!([{
            "at": NOW - 20, "connections": 1, "accepted": 1, "absorbed": 1, "deferred": 1, "refused": 2, "bytes": 68,
            "spared": 102, "reasons": {"backend_deferred": 1, "blocked_sender": 1, "throttled": 1}
        }]);
        assert_eq!(json, expected);
    }

    #[test]
    fn a_range_has_the_steps_that_end_now() {
        let history = History::new(empty_state().tables().history.clone());
        for minutes in (0..8 * 1440).step_by(7) {
            history.connected(Time::from_seconds(NOW - 8 * DAY + minutes * 60));
        }
        for (range, most, earliest) in [
            (Range::Hour, 9, NOW - 3600),
            (Range::Day, 206, NOW - DAY),
            (Range::Week, 168, NOW - 7 * DAY),
            (Range::Year, 9, NOW - 366 * DAY),
        ] {
            let points = history.points(range, Time::from_seconds(NOW));
            assert!(points.len() <= most && points.len() >= most - 1, "{range:?}: {}", points.len());
            assert!(points.iter().all(|point| point.at > earliest && point.at.is_multiple_of(range.step())));
        }
    }
}
