//! Traffic of the last hour: sums by the minute, and the senders that sent, cost and were refused most. It must not
//! grow with the number of senders that a stranger can make up: past its bound those with the least are evicted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;

use crate::policy::verdict::Verdict;
use crate::report::evict;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::store::clock::Time;

/// Counts of an hour.
#[derive(Debug)]
pub struct Traffic {
    bound: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    /// Sums by the minute, modulo an hour.
    minutes: Box<[Minute; MINUTES]>,
    senders: HashMap<String, Sender>,
}

/// The sums of one minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Minutes since the epoch.
    at: u32,
    sums: Sums,
}

/// Sums over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
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
}

/// The last minute that is over, and the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// The minute before this one.
    pub minute: Sums,
    /// The 60 minutes up to now.
    pub hour: Sums,
}

/// One sender, in the last hour or the half of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopSender {
    /// The sender with its angle brackets, in lower case.
    pub sender: String,
    /// Messages that were accepted.
    pub messages: u64,
    /// Octets that crossed the wire.
    pub bytes: u64,
    /// Transactions that were refused, deferred or absorbed.
    pub refusals: u64,
}

/// The senders with the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopSenders {
    /// Senders by messages.
    pub messages: Vec<TopSender>,
    /// Senders by bytes.
    pub bytes: Vec<TopSender>,
    /// Senders by refusals.
    pub refusals: Vec<TopSender>,
}

/// Counts of one sender in this half hour and in the one before it.
#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    half: u32,
    now: Counts,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    messages: u64,
    bytes: u64,
    refusals: u64,
}

impl Traffic {
    /// Counts at most `bound` senders.
    pub fn new(bound: usize) -> Self {
        let counted = Counted { minutes: Box::new([Minute::default(); MINUTES]), senders: HashMap::new() };
        Self { bound, counted: Mutex::new(counted) }
    }

    /// A connection came in.
    pub fn connected(&self, now: Time) {
        self.lock().minute(now.seconds() / MINUTE).connections += 1;
    }

    /// Counts a record.
    pub fn count(&self, record: &Record, now: Time) {
        let Some(verdict) = record.verdict.filter(|_| record.kind == Kind::Mail) else { return };
        let accepted = verdict == Verdict::Accept;
        let mut counted = self.lock();
        let sums = counted.minute(now.seconds() / MINUTE);
        match verdict {
            Verdict::Accept => sums.accepted += 1,
            Verdict::Absorb => sums.absorbed += 1,
            Verdict::Defer => sums.deferred += 1,
            Verdict::Disconnect | Verdict::Reject => sums.refused += 1,
        }
        sums.bytes += record.received;
        let Some(sender) = &record.sender else { return };
        let sender = sender.to_ascii_lowercase();
        let half = now.seconds() / HALF;
        if !counted.senders.contains_key(&sender) && counted.senders.len() >= self.bound {
            counted.senders.retain(|_, sender| sender.half + 1 >= half);
            evict::lowest(&mut counted.senders, self.bound, |sender| Some(sender.weight()));
        }
        let counts = counted.senders.entry(sender).or_default().turn(half);
        counts.messages += u64::from(accepted);
        counts.refusals += u64::from(!accepted);
        counts.bytes += record.received;
    }

    /// The sums of the last minute and the last hour.
    pub fn rates(&self, now: Time) -> Rates {
        let this = now.seconds() / MINUTE;
        let mut rates = Rates::default();
        for minute in self
            .lock()
            .minutes
            .iter()
            .filter(|minute| (this.saturating_sub(MINUTES as u32 - 1)..=this).contains(&minute.at))
        {
            rates.hour.add(&minute.sums);
            if minute.at + 1 == this {
                rates.minute = minute.sums;
            }
        }
        rates
    }

    /// The senders with the most of each kind, at most `most`, the largest first.
    pub fn top(&self, most: usize, now: Time) -> TopSenders {
        let half = now.seconds() / HALF;
        let counted = self.lock();
        let all: Vec<(&str, Counts)> =
            counted.senders.iter().map(|(sender, counts)| (sender.as_str(), counts.at(half))).collect();
        let top = |rank: fn(&Counts) -> u64| {
            let mut some: Vec<_> = all.iter().filter(|(_, counts)| rank(counts) > 0).collect();
            some.sort_by(|(a, x), (b, y)| rank(y).cmp(&rank(x)).then(a.cmp(b)));
            some.into_iter().take(most).map(|(sender, counts)| counts.named(sender)).collect()
        };
        TopSenders {
            messages: top(|counts| counts.messages),
            bytes: top(|counts| counts.bytes),
            refusals: top(|counts| counts.refusals),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn minute(&mut self, at: u32) -> &mut Sums {
        let minute = &mut self.minutes[at as usize % MINUTES];
        if minute.at != at {
            *minute = Minute { at, sums: Sums::default() };
        }
        &mut minute.sums
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.accepted += other.accepted;
        self.absorbed += other.absorbed;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.bytes += other.bytes;
    }
}

impl Sender {
    /// The counts of this half hour.
    fn turn(&mut self, half: u32) -> &mut Counts {
        if self.half != half {
            let before = if self.half + 1 == half { self.now } else { Counts::default() };
            *self = Self { half, now: Counts::default(), before };
        }
        &mut self.now
    }

    fn at(mut self, half: u32) -> Counts {
        self.turn(half);
        Counts {
            messages: self.now.messages + self.before.messages,
            bytes: self.now.bytes + self.before.bytes,
            refusals: self.now.refusals + self.before.refusals,
        }
    }

    /// The rank of a sender: the lowest is forgotten first. An octet that nobody saw costs nothing, so a megabyte weighs as
    /// much as a message.
    fn weight(&self) -> (u64, u64) {
        let of = |counts: Counts| counts.messages + counts.refusals + counts.bytes / 1_000_000;
        (of(self.now) + of(self.before), self.half.into())
    }
}

impl Counts {
    fn named(self, sender: &str) -> TopSender {
        TopSender { sender: sender.to_owned(), messages: self.messages, bytes: self.bytes, refusals: self.refusals }
    }
}

const MINUTES: usize = 60;
/// Seconds.
const MINUTE: u32 = 60;
const HALF: u32 = 30 * MINUTE;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::tests::record;

    const START: u32 = 1_795_395_540;

    fn after(minutes: u32) -> Time {
        Time::from_seconds(START + minutes * MINUTE)
    }

    #[test]
    fn the_last_minute_and_the_last_hour() {
        let traffic = Traffic::new(10);
        traffic.connected(after(0));
        traffic.count(&record("<a@b>", Verdict::Accept, None), after(0));
        traffic.count(&record("<a@b>", Verdict::Reject, None), after(30));
        assert_eq!(traffic.rates(after(0)).minute, Sums::default(), "this minute is not over");
        let one = Sums { connections: 1, accepted: 1, bytes: 34, ..Sums::default() };
        assert_eq!(traffic.rates(after(1)), Rates { minute: one, hour: one });
        let rates = traffic.rates(after(59));
        assert_eq!((rates.minute, rates.hour.accepted, rates.hour.refused), (Sums::default(), 1, 1));
        assert_eq!(traffic.rates(after(60)).hour.accepted, 0, "an hour ago");
        assert_eq!(traffic.rates(after(90)).hour, Sums::default());
    }

    #[test]
    fn who_sends_costs_and_is_refused_most() {
        let traffic = Traffic::new(10);
        let send = |sender: &str, verdict, times| {
            (0..times).for_each(|_| traffic.count(&record(sender, verdict, None), after(0)));
        };
        send("<Many@x>", Verdict::Accept, 5);
        send("<large@x>", Verdict::Accept, 3);
        send("<large@x>", Verdict::Absorb, 4);
        send("<refused@x>", Verdict::Reject, 9);
        let top = traffic.top(2, after(0));
        let names = |list: &[TopSender]| list.iter().map(|top| top.sender.clone()).collect::<Vec<_>>();
        assert_eq!(names(&top.messages), ["<many@x>", "<large@x>"]);
        assert_eq!(names(&top.bytes), ["<large@x>", "<many@x>"]);
        assert_eq!(names(&top.refusals), ["<refused@x>", "<large@x>"]);
        assert_eq!(names(&traffic.top(2, after(30)).refusals).len(), 2, "half an hour later still");
        assert_eq!(traffic.top(2, after(60)), TopSenders::default());
    }

    #[test]
    fn forged_senders_push_out_themselves() {
        let traffic = Traffic::new(100);
        (0..5).for_each(|_| traffic.count(&record("<a@b>", Verdict::Reject, None), after(0)));
        for sender in 0..10_000 {
            traffic.count(&record(&format!("<{sender}@x>"), Verdict::Reject, None), after(0));
            assert!(traffic.lock().senders.len() <= 100);
        }
        assert_eq!(traffic.top(1, after(0)).refusals[0].sender, "<a@b>");
    }
}
