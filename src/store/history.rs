//! The history of mail: counts by the minute for a day, and by the hour for a year. Rows without mail do not exist. It must
//! not grow past its bounds, nor lose what it has to a clock that was wrong for a while.
//!
//! In memory a row takes some 110 octets, and 8 more for each reason in it: all 10,224 rows take 1.5 MB with five reasons
//! each, and 3.2 MB with every reason there is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde::de::value::StrDeserializer;
use utoipa::ToSchema;

use crate::policy::verdict::Reason;
use crate::store::clock::Time;

/// Counts of a minute, an hour, or a longer time; as they stand on the disk and in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = HistoryCounts)]
pub struct Counts {
    /// Connections that came in.
    pub connections: u64,
    /// Messages that the backend accepted.
    pub accepted: u64,
    /// Messages that were delivered before.
    pub absorbed: u64,
    /// Transactions that ended with 4xx, or without a word.
    pub deferred: u64,
    /// Transactions that ended with 5xx or 421.
    pub refused: u64,
    /// Octets of messages that crossed the wire.
    pub bytes: u64,
    /// Octets, as far as they are known, that our own policy kept out of the queue.
    pub spared: u64,
    /// Deferred and refused transactions by reason.
    #[schema(value_type = std::collections::BTreeMap<String, u32>)]
    pub reasons: Reasons,
}

/// How often each reason was given; one that never was takes no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(Reason, u32)>);

/// All rows. Sessions count under a lock of their own, so that none of them waits while rows are read or written; whoever
/// takes both locks takes that of the rows first.
#[derive(Debug)]
pub struct History {
    open: Mutex<Open>,
    rows: Mutex<Rows>,
}

/// The minute that is being counted, which is not in the rows yet.
#[derive(Debug, Default)]
struct Open {
    /// Its beginning in seconds since the epoch.
    minute: u32,
    counts: Counts,
}

#[derive(Debug)]
struct Rows {
    minutes: Series,
    hours: Series,
    /// Whether everything on the disk is to be replaced.
    anew: bool,
}

/// Rows of one length, by their beginning in seconds since the epoch.
#[derive(Debug)]
struct Series {
    /// Seconds of a row.
    step: u32,
    bound: usize,
    rows: BTreeMap<u32, Counts>,
    /// Rows that are not on the disk as they are here, or are only there.
    changed: BTreeSet<u32>,
}

/// The rows to be written: each with its counts, or `None` for a row that is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Batch {
    /// Whether everything that is on the disk is removed first.
    pub(in crate::store) anew: bool,
    pub(in crate::store) minutes: Vec<(u32, Option<Counts>)>,
    pub(in crate::store) hours: Vec<(u32, Option<Counts>)>,
}

/// The rows that stand on the disk.
#[derive(Debug, Default)]
pub(in crate::store) struct Stored {
    pub(in crate::store) minutes: Vec<(u32, Counts)>,
    pub(in crate::store) hours: Vec<(u32, Counts)>,
}

impl History {
    /// No rows.
    pub(super) fn new() -> Self {
        let (minutes, hours) = (Series::new(MINUTE, MOST_MINUTES), Series::new(HOUR, MOST_HOURS));
        Self { open: Mutex::default(), rows: Mutex::new(Rows { minutes, hours, anew: false }) }
    }

    /// Counts into the minute of this time.
    pub fn count(&self, now: Time, count: impl FnOnce(&mut Counts)) {
        let over = {
            let mut open = self.open();
            let over = open.turn(now.seconds());
            count(&mut open.counts);
            over
        };
        // Once a minute.
        if let Some(over) = over {
            self.rows().add(&over);
        }
    }

    /// The sums of each `step` seconds, by their beginning: from the one in which `from` is to the one in which `until` is,
    /// both in seconds since the epoch. A step of whole hours is made of hours, any other of minutes. Steps without mail are
    /// left out.
    pub fn sums(&self, from: u32, until: u32, step: u32) -> Vec<(u32, Counts)> {
        let range = from - from % step..=until;
        let mut sums: BTreeMap<u32, Counts> = BTreeMap::new();
        let mut add = |at: u32, counts: &Counts| sums.entry(at - at % step).or_default().add(counts);
        let rows = self.rows();
        let series = if step.is_multiple_of(HOUR) { &rows.hours } else { &rows.minutes };
        series.rows.range(range.clone()).for_each(|(at, counts)| add(*at, counts));
        let open = self.open();
        if range.contains(&open.minute) && open.counts != Counts::default() {
            add(open.minute, &open.counts);
        }
        sums.into_iter().collect()
    }

    /// The changes since they were taken last. Of the minute that is being counted only when `whole`: a row is written once,
    /// not every second.
    pub(super) fn take_changes(&self, now: Time, whole: bool) -> Batch {
        let mut rows = self.rows();
        let over = if whole { self.open().close() } else { self.open().turn(now.seconds()) };
        over.iter().for_each(|over| rows.add(over));
        let Rows { minutes, hours, anew, .. } = &mut *rows;
        let anew = std::mem::take(anew);
        Batch { anew, minutes: minutes.take_changes(anew), hours: hours.take_changes(anew) }
    }

    /// Has everything written, whatever the disk has.
    pub(super) fn write_anew(&self) {
        self.rows().write_anew();
    }

    /// Takes in what the disk has.
    pub(super) fn load(&self, stored: Stored) {
        let Rows { minutes, hours, .. } = &mut *self.rows();
        minutes.load(stored.minutes);
        hours.load(stored.hours);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The minute of this second is counted from now on; gives the one before. A clock that went back goes on with the
    /// minute that it had then.
    fn turn(&mut self, now: u32) -> Option<Self> {
        let minute = now - now % MINUTE;
        if minute == self.minute {
            return None;
        }
        let over = self.close();
        self.minute = minute;
        over
    }

    /// Gives what was counted; the minute is counted from nothing.
    fn close(&mut self) -> Option<Self> {
        let counts = std::mem::take(&mut self.counts);
        (counts != Counts::default()).then_some(Self { minute: self.minute, counts })
    }
}

impl Rows {
    fn add(&mut self, Open { minute, counts }: &Open) {
        self.minutes.add(*minute, counts);
        self.hours.add(*minute, counts);
        if self.minutes.changed.len() > MOST_CHANGES {
            self.write_anew();
        }
    }

    fn write_anew(&mut self) {
        self.anew = true;
        self.minutes.changed.clear();
        self.hours.changed.clear();
    }
}

impl Series {
    fn new(step: u32, bound: usize) -> Self {
        Self { step, bound, rows: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn add(&mut self, at: u32, counts: &Counts) {
        let at = at - at % self.step;
        self.rows.entry(at).or_default().add(counts);
        self.changed.insert(at);
        self.hold_bound(at);
    }

    /// Drops the row that is furthest from `now`: the oldest, or one of a clock that was ahead.
    fn hold_bound(&mut self, now: u32) {
        while self.rows.len() > self.bound {
            let ends = [self.rows.keys().next(), self.rows.keys().next_back()];
            let Some(furthest) = ends.into_iter().flatten().max_by_key(|at| at.abs_diff(now)).copied() else { return };
            self.rows.remove(&furthest);
            self.changed.insert(furthest);
        }
    }

    fn load(&mut self, rows: Vec<(u32, Counts)>) {
        let newest = rows.last().map_or(0, |(at, _)| *at);
        self.rows.extend(rows.into_iter().filter(|(at, _)| at.is_multiple_of(self.step)));
        self.hold_bound(newest);
    }

    fn take_changes(&mut self, all: bool) -> Vec<(u32, Option<Counts>)> {
        let changed = std::mem::take(&mut self.changed);
        if all {
            return self.rows.iter().map(|(at, counts)| (*at, Some(counts.clone()))).collect();
        }
        changed.into_iter().map(|at| (at, self.rows.get(&at).cloned())).collect()
    }
}

impl Batch {
    /// Whether there is nothing to write.
    pub(in crate::store) fn is_empty(&self) -> bool {
        !self.anew && self.minutes.is_empty() && self.hours.is_empty()
    }
}

impl Counts {
    /// Adds the counts of another time.
    pub fn add(&mut self, other: &Self) {
        // The other may be what a disk has.
        self.connections = self.connections.saturating_add(other.connections);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.absorbed = self.absorbed.saturating_add(other.absorbed);
        self.deferred = self.deferred.saturating_add(other.deferred);
        self.refused = self.refused.saturating_add(other.refused);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.spared = self.spared.saturating_add(other.spared);
        other.reasons.iter().for_each(|(reason, count)| self.reasons.add(reason, count));
    }
}

impl Reasons {
    /// Counts so many more of this reason.
    pub fn add(&mut self, reason: Reason, count: u32) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.0.push((reason, count)),
        }
    }

    /// Each reason that was given, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u32)> {
        self.0.iter().copied()
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfMap)
    }
}

struct OfMap;

impl<'de> Visitor<'de> for OfMap {
    type Value = Reasons;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts by reason")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reasons, A::Error> {
        let mut reasons = Reasons::default();
        while let Some((word, count)) = map.next_entry::<String, u32>()? {
            // A later version may have reasons that this one does not know.
            let known = Reason::deserialize(StrDeserializer::<A::Error>::new(&word));
            known.into_iter().for_each(|reason| reasons.add(reason, count));
        }
        Ok(reasons)
    }
}

/// Seconds.
const MINUTE: u32 = 60;
const HOUR: u32 = 3600;
/// A day.
const MOST_MINUTES: usize = 1440;
/// A year of 366 days.
const MOST_HOURS: usize = 8784;
/// Changes that wait for a disk; past them everything is written anew.
const MOST_CHANGES: usize = 2 * MOST_MINUTES;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The beginning of an hour and of a day.
    const START: u32 = 1_795_392_000;

    #[test]
    fn minutes_for_a_day_and_hours_for_a_year() {
        let history = History::new();
        for minute in 0..370 * 1440 {
            accept(&history, START + minute * MINUTE, 1);
        }
        let now = START + 370 * 86_400 - 1;
        history.take_changes(Time::from_seconds(now), true);
        let minutes = history.sums(0, now, MINUTE);
        assert_eq!((minutes.len(), minutes[0].0), (MOST_MINUTES, now + 1 - 86_400));
        let hours = history.sums(0, now, HOUR);
        assert_eq!((hours.len(), hours[0].1.accepted), (MOST_HOURS, 60));
        let days = history.sums(now - 365 * 86_400, now, 86_400);
        assert_eq!((days.len(), days[0].1.accepted, days[365].0), (366, 1440, now + 1 - 86_400));
        let five = history.sums(now - 3599, now, 300);
        assert_eq!(five.iter().map(|(_, counts)| counts.accepted).collect::<Vec<_>>(), [5; 12]);
    }

    #[test]
    fn a_row_is_written_once_it_is_over_or_asked_for() {
        let history = History::new();
        let taken = |now, whole| {
            let batch = history.take_changes(Time::from_seconds(now), whole);
            let of = |rows: Vec<(u32, Option<Counts>)>| rows.into_iter().map(|(at, row)| (at, row.unwrap().accepted));
            (of(batch.minutes).collect::<Vec<_>>(), of(batch.hours).collect::<Vec<_>>())
        };
        accept(&history, START + 3590, 2);
        assert_eq!(taken(START + 3599, false), (vec![], vec![]), "the minute is not over");
        assert_eq!(taken(START + 3600, false), (vec![(START + 3540, 2)], vec![(START, 2)]));
        assert_eq!(taken(START + 3661, false), (vec![], vec![]), "nothing has changed");
        accept(&history, START + 3662, 1);
        assert_eq!(taken(START + 3662, true), (vec![(START + 3660, 1)], vec![(START + 3600, 1)]), "asked for");
        accept(&history, START + 3663, 1);
        assert_eq!(taken(START + 3720, false), (vec![(START + 3660, 2)], vec![(START + 3600, 2)]));
        history.write_anew();
        let batch = history.take_changes(Time::from_seconds(START + 3720), false);
        assert_eq!((batch.anew, batch.minutes.len(), batch.hours.len()), (true, 2, 2));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let history = History::new();
        history.count(Time::from_seconds(START), |counts| {
            counts.refused += 3;
            counts.spared += 34;
            counts.reasons.add(Reason::BlockedSender, 2);
            counts.reasons.add(Reason::Loop, 1);
        });
        let batch = history.take_changes(Time::from_seconds(START), true);
        let json = serde_json::to_string(&batch.minutes[0].1).unwrap();
        assert_eq!(
            json,
            r#"{"connections":0,"accepted":0,"absorbed":0,"deferred":0,"refused":3,"bytes":0,"spared":34,"#.to_owned()
                + r#""reasons":{"blocked_sender":2,"loop":1}}"#
        );
        let again = History::new();
        let rows = |rows: Vec<(u32, Option<Counts>)>| rows.into_iter().map(|(at, row)| (at, row.unwrap())).collect();
        again.load(Stored { minutes: rows(batch.minutes), hours: rows(batch.hours) });
        assert_eq!(again.sums(START, START, MINUTE), history.sums(START, START, MINUTE));
        assert_eq!(again.take_changes(Time::from_seconds(START), true), Batch::default());
        again.count(Time::from_seconds(START), |counts| counts.refused += 1);
        assert_eq!(again.sums(START, START, HOUR)[0].1.refused, 4, "the row goes on after a restart");
        let later = r#"{"accepted":1,"reasons":{"of a later version":7,"loop":1},"also":2}"#;
        let of_later: Counts = serde_json::from_str(later).unwrap();
        assert_eq!(of_later.reasons, Reasons(vec![(Reason::Loop, 1)]));
    }

    #[test]
    fn a_clock_that_was_wrong_does_no_harm() {
        let history = History::new();
        for minute in 0..1440 {
            accept(&history, START + minute * MINUTE, 1);
        }
        let now = START + 1440 * MINUTE;
        accept(&history, now + 500 * 86_400, 1);
        accept(&history, 60, 1);
        accept(&history, u32::MAX, 1);
        accept(&history, now, 1);
        let seen = history.sums(now - 3600, now, MINUTE);
        assert_eq!((seen.len(), seen[60].0), (61, now), "what is ahead is not shown");
        for minute in 1..5 {
            accept(&history, now + minute * MINUTE, 1);
        }
        history.take_changes(Time::from_seconds(now), true);
        let rows = history.rows().minutes.rows.keys().copied().collect::<Vec<_>>();
        assert_eq!(rows.len(), MOST_MINUTES);
        assert!(rows[0] >= START && *rows.last().unwrap() == now + 4 * MINUTE, "and goes first");
    }

    #[test]
    fn a_disk_that_stands_still_takes_no_memory() {
        let history = History::new();
        for minute in 0..10_000 {
            accept(&history, START + minute * MINUTE, 1);
            let rows = history.rows();
            assert!(rows.minutes.changed.len() <= MOST_CHANGES && rows.hours.changed.len() <= MOST_CHANGES);
        }
        assert!(history.take_changes(Time::from_seconds(START), false).anew);
    }

    fn accept(history: &History, at: u32, messages: u64) {
        history.count(Time::from_seconds(at), |counts| counts.accepted += messages);
    }
}
