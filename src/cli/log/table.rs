//! The summary for people. The first lines answer the urgent questions: is the storm still coming, does it get through,
//! since when not, and why not. It must not count.

use std::cmp::Reverse;
use std::fmt::Write;

use indicatif::DecimalBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::logs::summary::Count;
use crate::logs::summary::Queue;
use crate::logs::summary::Reasons;
use crate::logs::summary::Senders;
use crate::logs::summary::Span;
use crate::logs::summary::Summary;
use crate::logs::summary::Tally;
use crate::text::number::count;
use crate::text::readable;

/// The whole summary with `top` senders. With `asked`, senders are listed even if nothing about them is remarkable.
pub(super) fn table(summary: &Summary, zone: &TimeZone, top: usize, asked: bool) -> String {
    let table = Table { summary, clock: Clock::new(summary.span, zone), top, asked };
    let mut text = String::new();
    table.write_head(&mut text);
    table.write_findings(&mut text);
    table.write_senders(&mut text);
    table.write_queue(&mut text);
    text.truncate(text.trim_end().len());
    text
}

struct Table<'a> {
    summary: &'a Summary,
    clock: Clock,
    top: usize,
    asked: bool,
}

impl Table<'_> {
    fn write_head(&self, text: &mut String) {
        let Summary { span, lines, unknown, total, recipients, commands, auth_failures, connections, .. } =
            self.summary;
        let unknown = if *unknown > 0 { format!(", {unknown} in no known format") } else { String::new() };
        let span = match (span.first, span.last) {
            (Some(first), Some(last)) => format!("{} to {}; ", self.clock.whole(first), self.clock.whole(last)),
            _ => String::new(),
        };
        let _ = writeln!(text, "{span}{}{}{unknown}", count(*lines, "line"), self.others());
        let Tally { accepted, absorbed, deferred, refused, bytes, .. } = total;
        let _ = writeln!(
            text,
            "{}: {accepted} accepted ({}), {absorbed} absorbed, {deferred} deferred, {refused} refused{}",
            count(total.activity(), "message"),
            DecimalBytes(*bytes),
            why(&total.reasons)
        );
        if recipients.sum() > 0 {
            let _ = writeln!(text, "{} refused{}", count(recipients.sum(), "recipient"), why(recipients));
        }
        if commands.sum() > 0 {
            let _ = writeln!(text, "{} refused{}", count(commands.sum(), "command"), why(commands));
        }
        if auth_failures.sum() > 0 {
            let _ = writeln!(text, "{} failed{}", count(auth_failures.sum(), "login"), why(auth_failures));
        }
        if *connections > 0 {
            let why = why(&self.summary.connection_reasons);
            let _ = writeln!(text, "{} without a message{why}", count(*connections, "connection"));
        }
        self.write_queue_head(text);
        if let Some((time, trouble)) = &self.summary.last_trouble {
            let (warnings, time) = (count(self.summary.troubles, "warning"), self.clock.short(*time));
            let _ = writeln!(text, "{warnings}, the last at {time}: {}", readable::text(trouble));
        }
    }

    /// The programs that are known by name only, with their lines.
    fn others(&self) -> String {
        let mut programs: Vec<(&&str, &u64)> = self.summary.foreign.iter().collect();
        programs.sort_by_key(|(program, lines)| (Reverse(**lines), **program));
        let list: Vec<String> = programs.iter().map(|(program, lines)| format!("{program} {lines}")).collect();
        if list.is_empty() { String::new() } else { format!(", of other programs: {}", list.join(", ")) }
    }

    fn write_queue_head(&self, text: &mut String) {
        let Queue { messages, bytes, delivered, deferred, failed, bounced, .. } = &self.summary.queue_total;
        if self.summary.queue_total.activity() > 0 {
            let _ = writeln!(
                text,
                "queue: {} ({}); deliveries: {delivered} done, {deferred} deferred, {failed} failed; {}",
                count(*messages, "message"),
                DecimalBytes(*bytes),
                count(*bounced, "bounce")
            );
        }
    }

    /// Writes the senders that are refused now, the most active first, and those that get through all the time.
    fn write_findings(&self, text: &mut String) {
        let all = self.summary.total.activity();
        let is_busy = |tally: &Tally| tally.activity() >= BUSY && tally.activity() * 5 >= all;
        let mut found = self.summary.senders.sorted();
        found.retain(|(_, tally)| self.asked || tally.run > 0 || is_busy(tally));
        found.sort_by_key(|(_, tally)| Reverse(tally.activity()));
        if !found.is_empty() {
            text.push('\n');
        }
        for (sender, tally) in found.iter().take(MOST_FINDINGS) {
            let _ = writeln!(text, "{}: {}", name(sender), self.finding(tally));
        }
    }

    fn finding(&self, tally: &Tally) -> String {
        let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let mut parts = Vec::new();
        if tally.run > 0 {
            let reason = tally.reasons.sorted().first().map(|(reason, _)| reason.as_str().to_owned());
            let rule = tally.rule.as_deref().map(readable::text);
            let by: Vec<String> = reason.into_iter().chain(rule).collect();
            let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
            let Span { first, last } = tally.run_span;
            let until = if tally.run > 1 { format!(", last {}", self.clock.short(last)) } else { String::new() };
            parts.push(format!("refused {} since {}{until}{by}", times(tally.run), self.clock.short(first)));
        }
        match (tally.accepted, tally.run) {
            (0, _) => parts.push("never accepted".to_owned()),
            (_, 0) => {
                let last = self.clock.short(tally.last_accepted);
                parts.push(format!("gets through: accepted {}, last {last}", times(tally.accepted)));
            }
            (_, _) => parts.push(format!("last accepted {}", self.clock.short(tally.last_accepted))),
        }
        for (count, what) in [(tally.absorbed, "absorbed"), (tally.deferred, "deferred")] {
            if count > 0 {
                parts.push(format!("{what} {}", times(count)));
            }
        }
        parts.join("; ")
    }

    fn write_senders(&self, text: &mut String) {
        let senders = &self.summary.senders;
        if senders.each.is_empty() {
            return;
        }
        let heads = ["accepted", "absorbed", "deferred", "refused", "bytes"];
        self.write_heads(text, "sender", &heads, "main reason", shown(senders, self.top));
        write_rows(text, senders, self.top, &|tally| {
            let counts = [tally.accepted, tally.absorbed, tally.deferred, tally.refused].map(|count| count.to_string());
            let reason = tally.reasons.sorted().first().map_or("", |(reason, _)| reason.as_str());
            self.row(&counts, tally.bytes, tally.span, reason)
        });
    }

    fn write_queue(&self, text: &mut String) {
        let queue = &self.summary.queue;
        if queue.each.is_empty() {
            return;
        }
        let heads = ["messages", "done", "deferred", "failed", "bytes"];
        self.write_heads(text, "in the queue from", &heads, "", shown(queue, self.top));
        write_rows(text, queue, self.top, &|queue| {
            let counts = [queue.messages, queue.delivered, queue.deferred, queue.failed].map(|count| count.to_string());
            self.row(&counts, queue.bytes, queue.span, "")
        });
    }

    fn write_heads(&self, text: &mut String, title: &str, heads: &[&str], last: &str, width: usize) {
        let _ = write!(text, "\n{title:<width$}");
        heads.iter().for_each(|head| _ = write!(text, " {head:>10}"));
        let time = self.clock.width();
        let line = format!("  {:<time$}  {:<time$}  {last}", "first", "last");
        let _ = writeln!(text, "{}", line.trim_end());
    }

    fn row(&self, counts: &[String], bytes: u64, span: Span, last: &str) -> String {
        let mut row = String::new();
        counts.iter().for_each(|count| _ = write!(row, " {count:>10}"));
        let _ = write!(row, " {:>10}", DecimalBytes(bytes).to_string());
        let time = self.clock.width();
        let (first, end) = (self.clock.short(span.first), self.clock.short(span.last));
        let _ = write!(row, "  {first:<time$}  {end:<time$}  {last}");
        row
    }
}

fn write_rows<T: Count>(text: &mut String, senders: &Senders<T>, top: usize, row: &dyn Fn(&T) -> String) {
    let width = shown(senders, top);
    let sorted = senders.sorted();
    let (shown, rest) = sorted.split_at(if top == 0 { sorted.len() } else { top.min(sorted.len()) });
    for (sender, count) in shown {
        let _ = writeln!(text, "{}", format!("{:<width$}{}", name(sender), row(count)).trim_end());
    }
    let more = rest.len() as u64 + senders.forgotten;
    if more > 0 {
        let mut others = T::default();
        others.add(&senders.others);
        rest.iter().for_each(|(_, count)| others.add(count));
        let title = format!("{more} others");
        let _ = writeln!(text, "{}", format!("{title:<width$}{}", row(&others)).trim_end());
    }
}

/// The width of the longest sender listed.
fn shown<T: Count>(senders: &Senders<T>, top: usize) -> usize {
    let top = if top == 0 { usize::MAX } else { top };
    let widths = senders.sorted().into_iter().take(top).map(|(sender, _)| name(sender).chars().count());
    widths.max().unwrap_or(0).max(NARROWEST)
}

fn name(sender: &[u8]) -> String {
    if sender.is_empty() { "<>".to_owned() } else { readable::text(sender) }
}

fn why(reasons: &Reasons) -> String {
    let list: Vec<String> = reasons.sorted().iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) }
}

/// A format of local times, without the date where all are of one day.
struct Clock {
    zone: TimeZone,
    one_day: bool,
}

impl Clock {
    fn new(span: Span, zone: &TimeZone) -> Self {
        let day = |time: Option<Timestamp>| time.map(|time| time.to_zoned_datetime(zone.clone()).date());
        Self { zone: zone.clone(), one_day: day(span.first) == day(span.last) }
    }

    fn whole(&self, time: Timestamp) -> String {
        time.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    fn short(&self, time: Option<Timestamp>) -> String {
        let form = if self.one_day { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
        time.map_or_else(|| "?".to_owned(), |time| time.to_zoned_datetime(self.zone.clone()).strftime(form).to_string())
    }

    fn width(&self) -> usize {
        if self.one_day { 8 } else { 14 }
    }
}

/// Messages that make a sender remarkable, if they are a fifth of all.
const BUSY: u64 = 10;
const MOST_FINDINGS: usize = 5;
/// Least width of the senders' column, in characters.
const NARROWEST: usize = 24;
