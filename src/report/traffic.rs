//! Traffic of the last hour: sums by the second, and the senders and clients that sent, cost and were turned away most. It
//! must not grow with what a stranger can make up: past its bound those with the least are evicted.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::net;
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
    senders: HashMap<Arc<str>, Tally>,
    /// By the address of what is one client.
    clients: HashMap<IpAddr, Tally>,
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

/// One client in the last hour, which begins at a multiple of ten minutes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopClient {
    /// An IPv4 address, or the /64 of an IPv6 one.
    pub client: String,
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

/// Counts of one sender or client, in words that mean what they mean in [`Sums`].
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

/// Counts of one sender or client by parts of the hour.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// The part that was counted last, in parts since the epoch.
    at: u32,
    /// Modulo an hour.
    parts: [Counts; PARTS],
}

impl Traffic {
    /// Counts at most `bound` senders, and as many clients.
    pub fn new(bound: usize) -> Self {
        let seconds = vec![Second::default(); HOUR].into_boxed_slice();
        let counted = Counted { seconds, senders: HashMap::new(), clients: HashMap::new() };
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
        let (part, bound) = (now.seconds() / PART, self.bound);
        let clients = Tallies { map: &mut counted.clients, bound };
        clients.count(&net::client(record.client), |client| *client, part, verdict, record.received);
        if let Some(sender) = &record.sender {
            let senders = Tallies { map: &mut counted.senders, bound };
            senders.count(sender.to_ascii_lowercase().as_str(), |sender| sender.into(), part, verdict, record.received);
        }
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
    pub fn top_senders(&self, most: usize, now: Time) -> TopSenders {
        let all = self.senders(now);
        let named = |(sender, counts): (Arc<str>, Counts)| TopSender { sender: sender.to_string(), counts };
        let top = |rank: fn(&Counts) -> u64| largest(&all, most, rank).into_iter().map(named).collect();
        TopSenders {
            accepted: top(|counts| counts.accepted),
            bytes: top(|counts| counts.bytes),
            not_accepted: top(Counts::not_accepted),
        }
    }

    /// The clients with the most messages and bytes, at most `most`, the largest first.
    pub fn top_clients(&self, most: usize, now: Time) -> Vec<TopClient> {
        let named = |(client, counts): (IpAddr, Counts)| TopClient { client: net::client_label(client), counts };
        largest(&self.clients(now), most, Counts::weight).into_iter().map(named).collect()
    }

    /// The senders of the last hour. Nothing is sorted under the lock.
    pub(super) fn senders(&self, now: Time) -> Vec<(Arc<str>, Counts)> {
        since(&self.lock().senders, now)
    }

    /// The clients of the last hour.
    pub(super) fn clients(&self, now: Time) -> Vec<(IpAddr, Counts)> {
        since(&self.lock().clients, now)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of senders or clients by their names.
struct Tallies<'m, K> {
    map: &'m mut HashMap<K, Tally>,
    bound: usize,
}

impl<K: Eq + Hash> Tallies<'_, K> {
    /// Counts for `key` in this part of the hour.
    fn count<Q>(self, key: &Q, own: fn(&Q) -> K, part: u32, verdict: Verdict, bytes: u64)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(tally) = self.map.get_mut(key) {
            return tally.turn(part).count(verdict, bytes);
        }
        if self.map.len() >= self.bound {
            self.map.retain(|_, tally| tally.at + PARTS as u32 > part);
            evict::lowest(self.map, self.bound, |tally| Some(tally.weight()));
        }
        self.map.entry(own(key)).or_default().turn(part).count(verdict, bytes);
    }
}

/// The counts of the hour that ends now.
fn since<K: Clone>(map: &HashMap<K, Tally>, now: Time) -> Vec<(K, Counts)> {
    let part = now.seconds() / PART;
    map.iter().map(|(key, tally)| (key.clone(), tally.since(part))).collect()
}

/// Those of the highest rank, at most `most`, the largest first; none has rank 0.
fn largest<K: Clone + Ord>(all: &[(K, Counts)], most: usize, rank: fn(&Counts) -> u64) -> Vec<(K, Counts)> {
    let order = |(a, x): &&(K, Counts), (b, y): &&(K, Counts)| rank(y).cmp(&rank(x)).then_with(|| a.cmp(b));
    let mut some: Vec<_> = all.iter().filter(|(_, counts)| rank(counts) > 0).collect();
    if some.len() > most {
        some.select_nth_unstable_by(most, order);
        some.truncate(most);
    }
    some.sort_by(order);
    some.into_iter().cloned().collect()
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
    fn count(&mut self, verdict: Verdict, bytes: u64) {
        match verdict {
            Verdict::Accept => self.accepted += 1,
            Verdict::Absorb => self.absorbed += 1,
            Verdict::Defer => self.deferred += 1,
            Verdict::Disconnect | Verdict::Reject => self.refused += 1,
        }
        self.bytes += bytes;
    }

    /// Messages, and a megabyte for one more: an octet that nobody saw costs nothing.
    fn weight(&self) -> u64 {
        self.messages() + self.bytes / 1_000_000
    }

    fn not_accepted(&self) -> u64 {
        self.absorbed + self.deferred + self.refused
    }

    /// All of them, however they ended.
    pub(super) fn messages(&self) -> u64 {
        self.accepted + self.not_accepted()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.absorbed += other.absorbed;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.bytes += other.bytes;
    }
}

impl Tally {
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

    /// The rank of a sender or client: the lowest is forgotten first.
    fn weight(&self) -> (u64, u64) {
        (self.sum().weight(), self.at.into())
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
        let (hour, top) = (traffic.rates(at(1)).hour, traffic.top_senders(1, at(1)).not_accepted[0].counts);
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
        let top = traffic.top_senders(2, after(0));
        let names = |list: &[TopSender]| list.iter().map(|top| top.sender.clone()).collect::<Vec<_>>();
        assert_eq!(names(&top.accepted), ["<many@x>", "<large@x>"]);
        assert_eq!(names(&top.bytes), ["<large@x>", "<many@x>"]);
        assert_eq!(names(&top.not_accepted), ["<refused@x>", "<large@x>"]);
        assert_eq!(names(&traffic.top_senders(2, after(49)).not_accepted).len(), 2, "fifty minutes later still");
        assert_eq!(traffic.top_senders(2, after(60)), TopSenders::default());
        assert_eq!(traffic.top_senders(2, after(6000)), TopSenders::default());
    }

    #[test]
    fn a_client_is_an_address_or_the_network_of_one() {
        let traffic = Traffic::new(10);
        for (client, messages) in
            [("192.0.2.8", 2), ("2001:db8:1:2::1", 2), ("2001:db8:1:2:3::4", 1), ("::ffff:192.0.2.8", 2)]
        {
            let sent = Record { client: client.parse().unwrap(), ..record("<a@b>", Verdict::Accept, None) };
            (0..messages).for_each(|_| traffic.count(&sent, at(0)));
        }
        let top = traffic.top_clients(5, at(1));
        let seen: Vec<_> = top.iter().map(|top| (top.client.as_str(), top.counts.accepted)).collect();
        assert_eq!(seen, [("192.0.2.8", 4), ("2001:db8:1:2::/64", 3)]);
        assert_eq!(traffic.top_clients(1, at(1)).len(), 1);
    }

    #[test]
    fn forged_senders_push_out_themselves() {
        let traffic = Traffic::new(100);
        (0..5).for_each(|_| traffic.count(&record("<a@b>", Verdict::Reject, None), after(0)));
        for sender in 0..10_000 {
            let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + sender).into();
            let forged = Record { client, ..record(&format!("<{sender}@x>"), Verdict::Reject, None) };
            traffic.count(&forged, after(0));
            assert!(traffic.lock().senders.len() <= 100 && traffic.lock().clients.len() <= 100);
        }
        assert_eq!(traffic.top_senders(1, after(0)).not_accepted[0].sender, "<a@b>");
        assert_eq!(traffic.top_clients(1, after(0))[0].client, "192.0.2.7");
    }
}
