//! The chart of the page as it is first painted: mail by the time, stacked by its verdict. It must not read the
//! clock.

use crate::admin::web::human;
use crate::admin::web::table::Cell;
use crate::admin::web::table::Row;
use crate::admin::web::table::Table;
use crate::report::history::Point;
use crate::report::history::Range;

/// Mail of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bin {
    /// Its beginning, in seconds since the epoch.
    at: u32,
    /// Messages by their verdict, in the order of [`VERDICTS`].
    counts: [u64; 4],
    bytes: u64,
    /// Why messages were deferred or refused.
    reasons: Vec<(&'static str, u64)>,
}

/// What the template needs of the chart.
pub(super) struct Chart {
    pub(super) range: Range,
    pub(super) ranges: Vec<Choice>,
    pub(super) readout: String,
    /// What each column shows, in words, with a bar between them.
    pub(super) told: String,
    pub(super) columns: u32,
    pub(super) last: u32,
    pub(super) paths: Vec<Layer>,
    pub(super) top: String,
    pub(super) half: String,
    pub(super) ticks: Vec<String>,
    pub(super) totals: Vec<Total>,
    pub(super) table: Table,
}

/// A range to choose.
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) link: String,
    pub(super) current: bool,
}

/// The bars of one verdict, 200 high at most, as the `d` of an SVG path of strokes.
pub(super) struct Layer {
    pub(super) name: &'static str,
    pub(super) d: String,
}

/// The number of messages with one verdict, beside their layer.
pub(super) struct Total {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) count: String,
}

impl Chart {
    /// The chart of `points` up to `now`.
    pub(super) fn of(points: &[Point], range: Range, now: u32) -> Self {
        let (columns, step) = columns(range);
        let bins = bins(points, columns, step, now);
        let top = nice(bins.iter().map(sum).max().unwrap_or_default());
        let told: Vec<String> = bins.iter().map(|bin| told(bin, range, step)).collect();
        let at = |quarter: u32| bins.get((columns * quarter / 4) as usize).map_or(now, |bin| bin.at);
        let mut ticks: Vec<String> = (0..4).map(|quarter| tick(range, at(quarter))).collect();
        ticks.push("now".to_owned());
        Self {
            range,
            ranges: RANGES.map(|it| Choice::of(it, range)).into(),
            readout: told.last().cloned().unwrap_or_default(),
            told: told.join("|"),
            columns,
            last: columns - 1,
            paths: layers(&bins, top),
            top: human::number(top),
            half: human::number(top / 2),
            ticks,
            totals: totals(&bins),
            table: table(&bins, range, step),
        }
    }
}

impl Choice {
    fn of((range, name, label): (Range, &'static str, &'static str), current: Range) -> Self {
        Self { name, label, link: format!("/?range={name}"), current: range == current }
    }
}

/// Columns of the chart, and seconds of each.
fn columns(range: Range) -> (u32, u32) {
    match range {
        Range::Hour => (60, 60),
        Range::Day => (96, 900),
        Range::Week => (84, 7200),
        Range::Year => (73, 5 * 86_400),
    }
}

/// A time as this range needs it under its axis.
fn tick(range: Range, at: u32) -> String {
    match range {
        Range::Hour | Range::Day => human::shown(at, "%H:%M"),
        Range::Week | Range::Year => human::shown(at, "%a %-d %b"),
    }
}

/// The points by column.
fn bins(points: &[Point], columns: u32, step: u32, now: u32) -> Vec<Bin> {
    let start = (now / step + 1).saturating_sub(columns) * step;
    let empty = |column: u32| Bin { at: start + column * step, ..Bin::default() };
    let mut bins: Vec<Bin> = (0..columns).map(empty).collect();
    for point in points {
        let column = point.at.checked_sub(start).map(|after| (after / step) as usize);
        if let Some(bin) = column.and_then(|column| bins.get_mut(column)) {
            bin.add(point);
        }
    }
    bins
}

impl Bin {
    fn add(&mut self, point: &Point) {
        let counts = &point.counts;
        let more = [counts.accepted, counts.absorbed, counts.deferred, counts.refused];
        self.counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        self.bytes += counts.bytes;
        for (reason, more) in counts.reasons.iter() {
            match self.reasons.iter_mut().find(|(known, _)| *known == reason.as_str()) {
                Some((_, count)) => *count += u64::from(more),
                None => self.reasons.push((reason.as_str(), u64::from(more))),
            }
        }
    }
}

fn layers(bins: &[Bin], top: u64) -> Vec<Layer> {
    let mut under = vec![0.0; bins.len()];
    let mut layer = |(which, name): (usize, &'static str)| {
        let mut d = String::from("M0 0");
        for ((column, bin), under) in bins.iter().enumerate().zip(&mut under) {
            if bin.counts[which] > 0 {
                // A single message among many is still seen.
                let height = (bin.counts[which] as f64 / top as f64 * 200.0).max(2.0);
                // A gap tells it from the next one.
                d += &format!("M{column} {:.0}v-{:.0}", 200.0 - *under, height - 1.0);
                *under += height.round();
            }
        }
        Layer { name, d }
    };
    VERDICTS.into_iter().enumerate().map(&mut layer).collect()
}

/// A small chart, 20 high, of one bar for each value.
pub(super) fn spark(values: &[u32]) -> String {
    let most = f64::from(values.iter().copied().max().unwrap_or_default().max(1));
    let bar = |(at, value): (usize, &u32)| match value {
        0 => String::new(),
        value => format!("M{at}.1 20v-{:.1}h.8V20z", (f64::from(*value) / most * 20.0).max(1.0)),
    };
    values.iter().enumerate().map(bar).collect()
}

/// From the top of the stack to its foot.
fn totals(bins: &[Bin]) -> Vec<Total> {
    let total = |which: usize| bins.iter().map(|bin| bin.counts[which]).sum();
    let labels = ["Accepted", "Absorbed", "Deferred", "Refused"];
    (0..4)
        .rev()
        .map(|which| Total { name: VERDICTS[which], label: labels[which], count: human::number(total(which)) })
        .collect()
}

fn table(bins: &[Bin], range: Range, step: u32) -> Table {
    let row = |bin: &Bin| {
        let mut cells = vec![Cell::text(when(bin, range, step))];
        cells.extend(bin.counts.map(Cell::amount));
        cells.push(Cell::text(reasons(bin).join(", ")));
        Row { key: bin.at.to_string(), cells }
    };
    let rows = bins.iter().rev().filter(|bin| sum(bin) > 0).take(ROWS).map(row).collect();
    Table::of("minutes", rows)
}

/// What a column shows, in words.
fn told(bin: &Bin, range: Range, step: u32) -> String {
    let parts = bin.counts.iter().zip(VERDICTS).filter(|(count, _)| **count > 0);
    let parts: Vec<String> = parts.map(|(count, name)| format!("{} {name}", human::number(*count))).collect();
    let what = if parts.is_empty() { "no mail".to_owned() } else { parts.join(", ") };
    let reasons = reasons(bin);
    let why = match reasons.len() {
        0 => String::new(),
        some => format!(" ({})", reasons[..some.min(3)].join(", ")),
    };
    let bytes = if bin.bytes > 0 { format!(", {}", human::bytes(bin.bytes)) } else { String::new() };
    format!("{}: {what}{why}{bytes}", when(bin, range, step))
}

fn when(bin: &Bin, range: Range, step: u32) -> String {
    let end = bin.at + step;
    match range {
        Range::Hour | Range::Day => format!("{}–{}", human::shown(bin.at, "%H:%M"), human::shown(end, "%H:%M")),
        Range::Week => format!("{}–{}", human::shown(bin.at, "%a %-d %b %H:%M"), human::shown(end, "%H:%M")),
        Range::Year => format!("{} – {}", human::shown(bin.at, "%a %-d %b"), human::shown(end - 1, "%a %-d %b")),
    }
}

fn reasons(bin: &Bin) -> Vec<String> {
    let mut sorted: Vec<&(&str, u64)> = bin.reasons.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    sorted.into_iter().map(|(reason, count)| format!("{} {reason}", human::number(*count))).collect()
}

fn sum(bin: &Bin) -> u64 {
    bin.counts.iter().sum()
}

/// The next even number with one significant digit: the end of the scale.
fn nice(most: u64) -> u64 {
    let power = 10_u64.pow(most.max(1).ilog10());
    [1, 2, 4, 6, 10].into_iter().map(|digit| digit * power).find(|it| *it >= most && it.is_multiple_of(2)).unwrap_or(2)
}

/// The ranges with their names in a link, and for people.
const RANGES: [(Range, &str, &str); 4] = [
    (Range::Hour, "hour", "Hour"),
    (Range::Day, "day", "Day"),
    (Range::Week, "week", "Week"),
    (Range::Year, "year", "Year"),
];
/// Rows of the table.
const ROWS: usize = 10;
/// The layers, from the foot of the stack.
pub(super) const VERDICTS: [&str; 4] = ["accepted", "absorbed", "deferred", "refused"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::Reason;
    use crate::store::history::Counts;

    #[test]
    fn the_scale_ends_at_an_even_number() {
        for (most, top) in [(0, 2), (1, 2), (2, 2), (3, 4), (7, 10), (11, 20), (48, 60), (601, 1000)] {
            assert_eq!(nice(most), top, "{most}");
        }
    }

    #[test]
    fn points_are_stacked_in_their_columns() {
        let now = 1_795_395_590;
        let point = |ago, accepted, refused| {
            let mut counts = Counts { accepted, refused, bytes: 10, ..Counts::default() };
            counts.reasons.add(Reason::Throttled, 1);
            Point { at: now - ago, counts }
        };
        let points = [point(0, 3, 1), point(10, 1, 0), point(7200, 9, 9)];
        let chart = Chart::of(&points, Range::Hour, now);
        assert_eq!(chart.paths[0].d, "M0 0M59 200v-132");
        assert_eq!(chart.paths[3].d, "M0 0M59 67v-32");
        assert_eq!(chart.totals.iter().map(|total| &*total.count).collect::<Vec<_>>(), ["1", "0", "0", "4"]);
        assert!(chart.readout.ends_with(": 4 accepted, 1 refused (2 throttled), 20 B"), "{}", chart.readout);
        assert_eq!(Chart::of(&[], Range::Year, now).columns, 73);
    }
}
