//! The summary of a log: per sender how much was accepted, absorbed, deferred and refused, since when and why. Bounded:
//! past `MOST_SENDERS` the less active half become "the others", so that a storm stays visible. It must not keep a
//! line, but for the last complaint.

use std::collections::BTreeMap;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::logs::join;
use crate::logs::join::Meaning;
use crate::logs::join::Outcome;
use crate::logs::line::Line;
use crate::logs::line::Parsed;
use crate::logs::qmail_send::Delivery;
use crate::logs::words::number;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Kind;

/// The summary of a log.
#[derive(Debug, Default)]
pub struct Summary {
    /// Lines that were in time.
    pub lines: u64,
    /// Lines of these that no known program wrote.
    pub unknown: u64,
    /// Lines of programs that are known by name only.
    pub foreign: BTreeMap<&'static str, u64>,
    /// Lines without a time where a time was asked for.
    pub untimed: u64,
    /// The first and the last time.
    pub span: Span,
    /// All transactions.
    pub total: Tally,
    /// Refused recipients.
    pub recipients: Reasons,
    /// Refused commands.
    pub commands: Reasons,
    /// AUTH that failed.
    pub auth_failures: Reasons,
    /// Connections that ended without a transaction.
    pub connections: u64,
    /// Reasons of these ends, where there was one.
    pub connection_reasons: Reasons,
    /// Transactions per sender; the key is folded, the null sender empty.
    pub senders: Senders<Tally>,
    /// All messages of the queue.
    pub queue_total: Queue,
    /// Messages of the queue per sender.
    pub queue: Senders<Queue>,
    /// Complaints of programs.
    pub troubles: u64,
    /// The last complaint.
    pub last_trouble: Option<(Option<Timestamp>, Box<[u8]>)>,
}

/// The time from a first to a last event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Option<Timestamp>,
    /// The last.
    pub last: Option<Timestamp>,
}

/// Transactions of one sender.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Delivered to the backend.
    pub accepted: u64,
    /// 250, because it was delivered before.
    pub absorbed: u64,
    /// 4xx, given up, or cut off.
    pub deferred: u64,
    /// 5xx.
    pub refused: u64,
    /// Octets of what was accepted.
    pub bytes: u64,
    /// The first and the last transaction.
    pub span: Span,
    /// The time of the last one that was accepted.
    pub last_accepted: Option<Timestamp>,
    /// Refusals since one was accepted or absorbed, and from when to when.
    pub run: u64,
    /// The first and the last of these refusals.
    pub run_span: Span,
    /// Reasons of those that were not accepted.
    pub reasons: Reasons,
    /// The rule that decided last.
    pub rule: Option<Box<[u8]>>,
}

/// Messages of one sender in the queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Messages that came.
    pub messages: u64,
    /// Octets of these messages.
    pub bytes: u64,
    /// Deliveries that went well.
    pub delivered: u64,
    /// Deliveries that will be tried again.
    pub deferred: u64,
    /// Deliveries that were given up.
    pub failed: u64,
    /// Notices about these.
    pub bounced: u64,
    /// The first and the last event.
    pub span: Span,
}

/// Counts by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(Reason, u64)>);

/// Counts per sender, and what became of those that there was no room for.
#[derive(Debug)]
pub struct Senders<T> {
    most: usize,
    /// Per sender.
    pub each: HashMap<Box<[u8]>, T>,
    /// The sum of all other senders.
    pub others: T,
    /// Senders that became part of the others.
    pub forgotten: u64,
}

/// Counts that are kept per sender.
pub trait Count: Default {
    /// Events in these counts: the least active senders are forgotten first.
    fn activity(&self) -> u64;
    /// Takes over what another has.
    fn add(&mut self, other: &Self);
}

impl Summary {
    /// Takes a line that was asked for by its time; `meaning` is what it means, if that was asked for too.
    pub fn push(&mut self, line: &Line<'_>, meaning: Option<Meaning<'_>>) {
        self.lines += 1;
        self.span.push(line.time);
        match line.parsed {
            Parsed::Text => self.unknown += 1,
            Parsed::Foreign(program, _) => *self.foreign.entry(program).or_default() += 1,
            _ => {}
        }
        if line.parsed.is_trouble() {
            self.troubles += 1;
            self.last_trouble = Some((line.time, line.text[..line.text.len().min(MOST_TEXT)].into()));
        }
        match meaning {
            Some(Meaning::Outcome(outcome)) => self.outcome(&outcome, line.time),
            Some(Meaning::Queued { sender, bytes }) => self.queued(Some(sender), line.time, |queue| {
                queue.messages += 1;
                queue.bytes = queue.bytes.saturating_add(bytes);
            }),
            Some(Meaning::Delivered { sender, end }) => self.queued(sender, line.time, |queue| match end {
                Delivery::Success => queue.delivered += 1,
                Delivery::Deferral => queue.deferred += 1,
                Delivery::Failure => queue.failed += 1,
            }),
            Some(Meaning::Bounced { sender }) => self.queued(sender, line.time, |queue| queue.bounced += 1),
            Some(Meaning::Starting { .. }) | None => {}
        }
    }

    fn outcome(&mut self, outcome: &Outcome<'_>, time: Option<Timestamp>) {
        match outcome.kind {
            Kind::Mail => {
                self.total.push(outcome, time);
                self.senders.of(outcome.sender.unwrap_or_default()).push(outcome, time);
            }
            Kind::Rcpt => self.recipients.push(outcome.reason, 1),
            Kind::Command => self.commands.push(outcome.reason, 1),
            Kind::Auth => self.auth_failures.push(outcome.reason, 1),
            Kind::Folded => self.folded(outcome.folded),
            Kind::Session => {
                self.connections += 1;
                self.connection_reasons.push(outcome.reason, 1);
            }
        }
    }

    /// Counts what `folded` says: a number, a kind and a reason each; what is none of these is not counted.
    fn folded(&mut self, text: &[u8]) {
        for part in text.split(|octet| *octet == b',') {
            let mut words = part.trim_ascii().splitn(3, |octet| *octet == b' ');
            let count = words.next().and_then(number::<u32>).map_or(0, u64::from);
            let kind = words.next().and_then(Kind::of);
            let reason = words.next().and_then(join::reason);
            match kind {
                Some(Kind::Rcpt) => self.recipients.push(reason, count),
                Some(Kind::Command) => self.commands.push(reason, count),
                Some(Kind::Auth) => self.auth_failures.push(reason, count),
                _ => {}
            }
        }
    }

    fn queued(&mut self, sender: Option<&[u8]>, time: Option<Timestamp>, change: impl Fn(&mut Queue)) {
        let of_sender = sender.map(|sender| self.queue.of(sender));
        for queue in of_sender.into_iter().chain([&mut self.queue_total]) {
            change(queue);
            queue.span.push(time);
        }
    }
}

impl Tally {
    fn push(&mut self, outcome: &Outcome<'_>, time: Option<Timestamp>) {
        self.span.push(time);
        let Some(verdict) = outcome.verdict else { return };
        match verdict {
            Verdict::Accept => {
                self.accepted += 1;
                self.bytes = self.bytes.saturating_add(outcome.bytes);
                self.last_accepted = time.or(self.last_accepted);
            }
            Verdict::Absorb => self.absorbed += 1,
            Verdict::Defer | Verdict::Disconnect => self.deferred += 1,
            Verdict::Reject => {
                self.refused += 1;
                self.run += 1;
                self.run_span.push(time);
            }
        }
        match verdict {
            // A sender that hears 250 is not being refused.
            Verdict::Accept | Verdict::Absorb => (self.run, self.run_span) = (0, Span::default()),
            Verdict::Defer | Verdict::Disconnect | Verdict::Reject => {
                self.reasons.push(outcome.reason, 1);
                if outcome.rule != self.rule.as_deref() {
                    self.rule = outcome.rule.map(|rule| rule[..rule.len().min(MOST_TEXT)].into());
                }
            }
        }
    }
}

impl Count for Tally {
    fn activity(&self) -> u64 {
        self.accepted + self.absorbed + self.deferred + self.refused
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.absorbed += other.absorbed;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.span.add(other.span);
        self.last_accepted = self.last_accepted.max(other.last_accepted);
        self.reasons.add(&other.reasons);
    }
}

impl Count for Queue {
    fn activity(&self) -> u64 {
        self.messages + self.delivered + self.deferred + self.failed
    }

    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.failed += other.failed;
        self.bounced += other.bounced;
        self.span.add(other.span);
    }
}

impl Span {
    fn push(&mut self, time: Option<Timestamp>) {
        self.add(Self { first: time, last: time });
    }

    fn add(&mut self, other: Self) {
        self.first = match (self.first, other.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.last = self.last.max(other.last);
    }
}

impl Reasons {
    /// Reasons with their counts, the most frequent first.
    pub fn sorted(&self) -> Vec<(Reason, u64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        sorted
    }

    /// The sum of all counts.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn push(&mut self, reason: Option<Reason>, times: u64) {
        if let Some(reason) = reason {
            let count = self.count(reason);
            *count = count.saturating_add(times);
        }
    }

    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(reason, count)| *self.count(*reason) += count);
    }

    fn count(&mut self, reason: Reason) -> &mut u64 {
        let at = self.0.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
            self.0.push((reason, 0));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl<T: Count> Default for Senders<T> {
    fn default() -> Self {
        Self { most: MOST_SENDERS, each: HashMap::new(), others: T::default(), forgotten: 0 }
    }
}

impl<T: Count> Senders<T> {
    /// The most active first; equally active ones by name.
    pub fn sorted(&self) -> Vec<(&[u8], &T)> {
        let mut sorted: Vec<(&[u8], &T)> = self.each.iter().map(|(sender, count)| (&**sender, count)).collect();
        sorted.sort_by_key(|(sender, count)| (std::cmp::Reverse(count.activity()), *sender));
        sorted
    }

    fn of(&mut self, sender: &[u8]) -> &mut T {
        let sender = &sender[..sender.len().min(MOST_TEXT)];
        if !self.each.contains_key(sender) {
            if self.each.len() >= self.most {
                self.forget();
            }
            self.each.insert(sender.into(), T::default());
        }
        self.each.get_mut(sender).expect("it was there or was inserted")
    }

    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.each.values().map(Count::activity).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        let (others, forgotten) = (&mut self.others, &mut self.forgotten);
        self.each.retain(|_, count| {
            let stays = count.activity() > median;
            if !stays {
                others.add(count);
                *forgotten += 1;
            }
            stays
        });
    }
}

const MOST_SENDERS: usize = 100_000;
/// Octets of a sender, a rule or a complaint.
const MOST_TEXT: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome<'static> {
        let reason = (verdict == Verdict::Reject).then_some(Reason::BlockedSender);
        Outcome {
            kind: Kind::Mail,
            sender: Some(b"a@b"),
            recipients: b"",
            verdict: Some(verdict),
            reason,
            rule: Some(b"bad:3"),
            bytes: 5,
            folded: b"",
        }
    }

    #[test]
    fn refusals_in_a_row() {
        let mut tally = Tally::default();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let run = |tally: &Tally| (tally.run, tally.run_span.first, tally.last_accepted);
        tally.push(&outcome(Verdict::Accept), at(1));
        tally.push(&outcome(Verdict::Reject), at(2));
        tally.push(&outcome(Verdict::Defer), at(3));
        tally.push(&outcome(Verdict::Reject), at(4));
        assert_eq!(run(&tally), (2, at(2), at(1)));
        assert_eq!(tally.reasons.sorted(), [(Reason::BlockedSender, 2)]);
        assert_eq!(tally.rule.as_deref(), Some(&b"bad:3"[..]));
        tally.push(&outcome(Verdict::Absorb), at(5));
        assert_eq!(run(&tally), (0, None, at(1)));
        tally.push(&outcome(Verdict::Reject), None);
        assert_eq!(run(&tally), (1, None, at(1)));
        assert_eq!((tally.span.first, tally.span.last, tally.bytes), (at(1), at(5), 5));
    }

    #[test]
    fn a_storm_stays_visible_among_too_many_senders() {
        let mut senders: Senders<Tally> = Senders { most: 100, ..Senders::default() };
        for number in 0..1000 {
            senders.of(format!("{number}@spam.example").as_bytes()).push(&outcome(Verdict::Reject), None);
            if number > 500 {
                senders.of(b"storm@x.example").push(&outcome(Verdict::Accept), None);
            }
            assert!(senders.each.len() <= 100);
        }
        let (first, tally) = senders.sorted()[0];
        assert_eq!((first, tally.accepted), (&b"storm@x.example"[..], 499));
        assert_eq!(senders.others.refused + senders.each.values().map(|it| it.refused).sum::<u64>(), 1000);
        assert_eq!(senders.others.refused, senders.forgotten);
    }
}
