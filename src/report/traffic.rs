//! Traffic of the last hour: sums by the second, and the senders that sent, cost and were turned away most. It must not
//! grow with the number of senders that a stranger can make up: past its bound those with the least are evicted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;
use utoipa::ToSchema;

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
    /// Sums by the second, modulo an hour.
    seconds: Box<[Second]>,
    senders: HashMap<String, Sender>,
}

/// The sums of one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Seconds since the epoch.
    at: u32,
    sums: Sums,
}

/// Sums over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
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

/// The last minute and the last hour, up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rates {
    /// The 60 seconds up to now.
    pub minute: Sums,
    /// The 3600 seconds up to now.
    pub hour: Sums,
}

/// One sender in the last hour, which begins at a multiple of ten minutes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopSender {
    /// The sender with its angle brackets, in lower case.
    pub sender: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The senders with the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopSenders {
    /// Senders by messages accepted.
    pub accepted: Vec<TopSender>,
    /// Senders by bytes.
    pub bytes: Vec<TopSender>,
    /// Senders by messages absorbed, deferred and refused.
    pub not_accepted: Vec<TopSender>,
}

/// Counts of one sender, in words that mean what they mean in [`Sums`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
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

/// Counts of one sender by parts of the hour.
#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    /// The part that was counted last, in parts since the epoch.
    at: u32,
    /// Modulo an hour.
    parts: [Counts; PARTS],
}

impl Traffic {
    /// Counts at most `bound` senders.
    pub fn new(bound: usize) -> Self {
        let seconds = vec![Second::default(); HOUR].into_boxed_slice();
        let counted = Counted { seconds, senders: HashMap::new() };
        Self { bound, counted: Mutex::new(counted) }
    }

    /// A connection came in.
    pub fn connected(&self, now: Time) {
        self.lock().second(now.seconds()).connections += 1;
    }

    /// Counts a record.
    pub fn count(&self, record: &Record, now: Time) {
        let Some(verdict) = record.verdict.filter(|_| record.kind == Kind::Mail) else { return };
        let mut counted = self.lock();
        let sums = counted.second(now.seconds());
        match verdict {
            Verdict::Accept => sums.accepted += 1,
            Verdict::Absorb => sums.absorbed += 1,
            Verdict::Defer => sums.deferred += 1,
            Verdict::Disconnect | Verdict::Reject => sums.refused += 1,
        }
        sums.bytes += record.received;
        let Some(sender) = &record.sender else { return };
        let sender = sender.to_ascii_lowercase();
        let part = now.seconds() / PART;
        if !counted.senders.contains_key(&sender) && counted.senders.len() >= self.bound {
            counted.senders.retain(|_, sender| sender.at + PARTS as u32 > part);
            evict::lowest(&mut counted.senders, self.bound, |sender| Some(sender.weight()));
        }
        let counts = counted.senders.entry(sender).or_default().turn(part);
        match verdict {
            Verdict::Accept => counts.accepted += 1,
            Verdict::Absorb => counts.absorbed += 1,
            Verdict::Defer => counts.deferred += 1,
            Verdict::Disconnect | Verdict::Reject => counts.refused += 1,
        }
        counts.bytes += record.received;
    }

    /// The sums of the last minute and the last hour, both up to now.
    pub fn rates(&self, now: Time) -> Rates {
        let now = now.seconds();
        let mut rates = Rates::default();
        let counted = self.lock();
        let of_hour = |second: &&Second| second.at <= now && now - second.at < HOUR as u32;
        for second in counted.seconds.iter().filter(of_hour) {
            rates.hour.add(&second.sums);
            if now - second.at < MINUTE {
                rates.minute.add(&second.sums);
            }
        }
        rates
    }

    /// The senders with the most of each kind, at most `most`, the largest first.
    pub fn top(&self, most: usize, now: Time) -> TopSenders {
        let part = now.seconds() / PART;
        let counted = self.lock();
        let all: Vec<(&str, Counts)> =
            counted.senders.iter().map(|(sender, counts)| (sender.as_str(), counts.since(part))).collect();
        let top = |rank: fn(&Counts) -> u64| {
            let mut some: Vec<_> = all.iter().filter(|(_, counts)| rank(counts) > 0).collect();
            some.sort_by(|(a, x), (b, y)| rank(y).cmp(&rank(x)).then(a.cmp(b)));
            let named = |(sender, counts): &(&str, Counts)| TopSender { sender: (*sender).to_owned(), counts: *counts };
            some.into_iter().take(most).map(named).collect()
        };
        TopSenders {
            accepted: top(|counts| counts.accepted),
            bytes: top(|counts| counts.bytes),
            not_accepted: top(Counts::not_accepted),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn second(&mut self, at: u32) -> &mut Sums {
        let second = &mut self.seconds[at as usize % HOUR];
        if second.at != at {
            *second = Second { at, sums: Sums::default() };
        }
        &mut second.sums
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

impl Counts {
    fn not_accepted(&self) -> u64 {
        self.absorbed + self.deferred + self.refused
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.absorbed += other.absorbed;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.bytes += other.bytes;
    }
}

impl Sender {
    /// The counts of this part of the hour.
    fn turn(&mut self, part: u32) -> &mut Counts {
        // A clock that went back counts on where it was.
        while self.at < part {
            self.at = part.min(self.at + 1).max(part.saturating_sub(PARTS as u32));
            self.parts[self.at as usize % PARTS] = Counts::default();
        }
        &mut self.parts[self.at as usize % PARTS]
    }

    /// The counts of the hour that ends with this part.
    fn since(mut self, part: u32) -> Counts {
        self.turn(part);
        self.sum()
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.parts.iter().for_each(|part| sum.add(part));
        sum
    }

    /// The rank of a sender: the lowest is forgotten first. An octet that nobody saw costs nothing, so a megabyte weighs as
    /// much as a message.
    fn weight(&self) -> (u64, u64) {
        let sum = self.sum();
        (sum.accepted + sum.not_accepted() + sum.bytes / 1_000_000, self.at.into())
    }
}

/// Seconds.
const MINUTE: u32 = 60;
const HOUR: usize = 3600;
/// Parts of an hour in which senders are counted, and seconds of each.
const PARTS: usize = 6;
const PART: u32 = HOUR as u32 / PARTS as u32;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::tests::record;

    const START: u32 = 1_795_395_540;

    fn after(minutes: u32) -> Time {
        Time::from_seconds(START + minutes * MINUTE)
    }

    fn at(seconds: u32) -> Time {
        Time::from_seconds(START + seconds)
    }

    #[test]
    fn the_last_minute_and_the_last_hour_end_now() {
        let traffic = Traffic::new(10);
        traffic.connected(at(0));
        traffic.count(&record("<a@b>", Verdict::Accept, None), at(0));
        traffic.count(&record("<a@b>", Verdict::Reject, None), at(59));
        let one = Sums { connections: 1, accepted: 1, bytes: 34, ..Sums::default() };
        assert_eq!(
            traffic.rates(at(0)),
            Rates { minute: one, hour: one },
            "what has just been is not late by a minute"
        );
        let both = traffic.rates(at(59));
        assert_eq!((both.minute.accepted, both.minute.refused, both.minute), (1, 1, both.hour));
        let rates = traffic.rates(at(60));
        assert_eq!((rates.minute.accepted, rates.minute.refused, rates.hour.accepted), (0, 1, 1));
        assert_eq!(traffic.rates(at(119)).minute, Sums::default());
        assert_eq!(traffic.rates(at(3599)).hour.accepted, 1);
        assert_eq!((traffic.rates(at(3600)).hour.accepted, traffic.rates(at(3600)).hour.refused), (0, 1));
        assert_eq!(traffic.rates(at(7200)).hour, Sums::default());
    }

    #[test]
    fn one_word_means_one_thing() {
        let traffic = Traffic::new(10);
        let verdicts = [
            (Verdict::Reject, 8),
            (Verdict::Absorb, 10),
            (Verdict::Defer, 3),
            (Verdict::Disconnect, 2),
            (Verdict::Accept, 5),
        ];
        for (verdict, times) in verdicts {
            (0..times).for_each(|_| traffic.count(&record("<a@b>", verdict, None), at(0)));
        }
        let (hour, top) = (traffic.rates(at(1)).hour, traffic.top(1, at(1)).not_accepted[0].counts);
        assert_eq!((hour.refused, hour.absorbed, hour.deferred, hour.accepted), (10, 10, 3, 5));
        assert_eq!((top.refused, top.absorbed, top.deferred, top.accepted), (10, 10, 3, 5));
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
        assert_eq!(names(&top.accepted), ["<many@x>", "<large@x>"]);
        assert_eq!(names(&top.bytes), ["<large@x>", "<many@x>"]);
        assert_eq!(names(&top.not_accepted), ["<refused@x>", "<large@x>"]);
        assert_eq!(names(&traffic.top(2, after(49)).not_accepted).len(), 2, "fifty minutes later still");
        assert_eq!(traffic.top(2, after(60)), TopSenders::default());
        assert_eq!(traffic.top(2, after(6000)), TopSenders::default());
    }

    #[test]
    fn forged_senders_push_out_themselves() {
        let traffic = Traffic::new(100);
        (0..5).for_each(|_| traffic.count(&record("<a@b>", Verdict::Reject, None), after(0)));
        for sender in 0..10_000 {
            traffic.count(&record(&format!("<{sender}@x>"), Verdict::Reject, None), after(0));
            assert!(traffic.lock().senders.len() <= 100);
        }
        assert_eq!(traffic.top(1, after(0)).not_accepted[0].sender, "<a@b>");
    }
}
