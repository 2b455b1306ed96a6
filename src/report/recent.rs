//! The last records, to be looked through: at most a thousand, and at most two mebibytes. A client network that has a
//! quarter of the room makes room for what comes, so that a flood pushes out itself and not everybody else. It must not
//! slow a session: keeping a record copies nothing, and looking through them is done outside the lock.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::net::client_net;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::store::clock::Time;

/// The last records.
#[derive(Debug)]
pub struct Recent {
    /// So that nobody chooses whom he shares a share with.
    seed: u64,
    kept: Mutex<Kept>,
}

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Record)]
pub struct Entry {
    /// Grows with every record, also over a restart.
    pub number: u64,
    /// The time of its end in seconds since the epoch.
    pub at: u32,
    /// The word of its kind.
    pub kind: &'static str,
    /// The session's id.
    pub session: String,
    /// The client's address.
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// The client's name for itself.
    pub helo: Option<String>,
    /// The protocol version of TLS.
    pub tls: Option<&'static str>,
    /// The reverse-path with its angle brackets.
    pub sender: Option<String>,
    /// The accepted recipients; of a `rcpt` record the refused one.
    pub recipients: Vec<String>,
    /// Octets of the message; before it, the declared ones.
    pub size: Option<u64>,
    /// The Message-ID.
    pub id: Option<String>,
    /// The verdict.
    #[schema(value_type = Option<String>)]
    pub verdict: Option<Verdict>,
    /// The code that the client heard, or would have heard.
    pub code: Option<u16>,
    /// The reason, unless the mail simply passed.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// The name in AUTH.
    pub user: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The backend's reply.
    pub backend: Option<String>,
    /// Milliseconds from MAIL, or from the connection, to the end.
    pub ms: u64,
}

/// A record with its number and its time.
pub(super) type Numbered = (u64, u32, Arc<Record>);

#[derive(Debug)]
struct Kept {
    /// By their number. One that is gone leaves its place until all before it are gone too.
    places: VecDeque<Place>,
    /// The numbers of each share that are not gone, the oldest first.
    shares: Vec<VecDeque<u64>>,
    /// What each share takes of the room.
    taken: [u32; SHARES],
    all_taken: u32,
    next: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    at: u32,
    share: u8,
    takes: u32,
    record: Option<Arc<Record>>,
}

impl Recent {
    /// Keeps a record, unless there is no line of its own about it, or it is about a connection that brought nothing.
    pub(super) fn keep(&self, record: Arc<Record>, now: Time) {
        let is_idle = record.kind == Kind::Session && record.verdict.is_none();
        if record.counted_only || is_idle || record.kind == Kind::Folded {
            return;
        }
        let (share, takes) = (self.share(record.client), octets(&record).max(LEAST));
        self.lock().push(Place { number: 0, at: now.seconds(), share, takes, record: Some(record) });
    }

    /// The newest records before number `before` in which all words of `text` stand, in any letter case; at most `limit`, the
    /// newest first.
    pub fn search(&self, text: &str, before: Option<u64>, limit: usize) -> Vec<Entry> {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let records = self.all();
        let older = records.iter().rev().filter(|(number, ..)| before.is_none_or(|before| *number < before));
        older.map(Entry::of).filter(|entry| entry.has(&words)).take(limit).collect()
    }

    /// The records after this number, at most the newest `limit`, the newest first.
    pub fn since(&self, number: u64, limit: usize) -> Vec<Entry> {
        let newer: Vec<Numbered> = {
            let kept = self.lock();
            kept.records().rev().take_while(|(it, ..)| *it > number).take(limit).collect()
        };
        newer.iter().map(Entry::of).collect()
    }

    /// The number of the last record; 0 when there was none.
    pub fn last(&self) -> u64 {
        self.lock().next.saturating_sub(1)
    }

    /// All records, the oldest first.
    pub(super) fn all(&self) -> Vec<Numbered> {
        self.lock().records().collect()
    }

    fn share(&self, client: IpAddr) -> u8 {
        let bits = match client_net(client).addr() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        // The highest octet of a product with an odd number depends on all bits.
        (bits.wrapping_mul(self.seed) >> 56) as u8
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recent {
    fn default() -> Self {
        let kept = Kept {
            places: VecDeque::new(),
            shares: vec![VecDeque::new(); SHARES],
            taken: [0; SHARES],
            all_taken: 0,
            next: 0,
        };
        Self { seed: RandomState::new().build_hasher().finish() | 1, kept: Mutex::new(kept) }
    }
}

impl Kept {
    fn push(&mut self, place: Place) {
        while self.all_taken + place.takes > ROOM && self.make_room() {}
        // Larger than any number of before a restart.
        let number = self.next.max(u64::from(place.at) * MOST_A_SECOND);
        self.next = number + 1;
        let share = usize::from(place.share);
        self.all_taken += place.takes;
        self.taken[share] += place.takes;
        self.shares[share].push_back(number);
        self.places.push_back(Place { number, ..place });
    }

    /// Lets the oldest record of the largest share go where that is a quarter, else the oldest of all. False when
    /// there is none.
    fn make_room(&mut self) -> bool {
        let most = self.taken.iter().fold(0, |most, taken| most.max(*taken));
        let largest = (most >= ROOM / 4).then(|| self.taken.iter().position(|taken| *taken == most)).flatten();
        let oldest = self.places.front().map(|place| usize::from(place.share));
        let Some(share) = largest.or(oldest) else { return false };
        let Some(number) = self.shares[share].pop_front() else { return false };
        let Ok(at) = self.places.binary_search_by_key(&number, |place| place.number) else { return false };
        let place = &mut self.places[at];
        place.record = None;
        self.all_taken -= place.takes;
        self.taken[share] -= place.takes;
        while self.places.front().is_some_and(|place| place.record.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > 2 * MOST {
            self.places.retain(|place| place.record.is_some());
        }
        true
    }

    fn records(&self) -> impl DoubleEndedIterator<Item = Numbered> {
        self.places.iter().filter_map(|place| Some((place.number, place.at, place.record.clone()?)))
    }
}

impl Entry {
    fn of((number, at, record): &Numbered) -> Self {
        let record = Record::clone(record);
        Self {
            number: *number,
            at: *at,
            kind: record.kind.as_str(),
            session: record.session.to_string(),
            client: record.client,
            helo: record.helo,
            tls: record.tls,
            sender: record.sender,
            recipients: record.recipients,
            size: record.size,
            id: record.id,
            verdict: record.verdict,
            code: record.code,
            reason: record.reason,
            user: record.user,
            rule: record.rule.map(|rule| rule.to_string()),
            backend: record.backend,
            ms: u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether each of the words, which are in lower case, stands somewhere.
    fn has(&self, words: &[&str]) -> bool {
        if words.is_empty() {
            return true;
        }
        let (client, code) = (self.client.to_string(), self.code.map(|code| code.to_string()));
        let optional = [&self.helo, &self.sender, &self.id, &self.user, &self.backend, &code];
        let fields = [self.kind, &self.session, &client].into_iter();
        let fields = fields
            .chain(optional.into_iter().flatten().map(String::as_str))
            .chain(self.recipients.iter().map(String::as_str))
            .chain(self.tls)
            .chain(self.rule.as_deref())
            .chain(self.verdict.map(Verdict::as_str))
            .chain(self.reason.map(Reason::as_str));
        let fields: Vec<String> = fields.map(str::to_lowercase).collect();
        words.iter().all(|word| fields.iter().any(|field| field.contains(word)))
    }
}

/// What a record takes of the room, in octets.
fn octets(record: &Record) -> u32 {
    let Record { helo, sender, id, user, backend, words, .. } = record;
    let texts = [helo, sender, id, user, backend, words].into_iter().flatten().chain(&record.recipients);
    let texts: usize = texts.map(|text| text.capacity() + size_of::<String>()).sum();
    u32::try_from(size_of::<Record>() + texts + 16 * record.shadow.len()).unwrap_or(ROOM).min(ROOM)
}

/// Records, and the octets that they may have together.
const MOST: usize = 1000;
const ROOM: u32 = MOST as u32 * LEAST;
/// The octets that a small record counts as.
const LEAST: u32 = 2048;
/// Networks are put into so many shares. Two that meet in one have a quarter together.
const SHARES: usize = 256;
/// Numbers for the records of a second.
const MOST_A_SECOND: u64 = 1_000_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::tests::record;

    const NOW: Time = Time::from_seconds(1_795_395_540);

    fn of(network: u8, sender: &str) -> Arc<Record> {
        Arc::new(Record { client: [10, 0, network, 1].into(), ..record(sender, Verdict::Accept, None) })
    }

    fn senders(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.sender.as_deref().unwrap()).collect()
    }

    #[test]
    fn words_are_found_in_any_field() {
        let recent = Recent::default();
        let first = Record {
            session: "Ab12".into(),
            recipients: vec!["<joe@example.org>".to_owned()],
            id: Some("<1@mail>".to_owned()),
            rule: Some("badmailfrom:3".into()),
            code: Some(554),
            ..record("<News@Sillyplace.com>", Verdict::Reject, Some(Reason::BlockedSender))
        };
        recent.keep(Arc::new(first), NOW);
        recent.keep(of(7, "<other@x>"), NOW);
        for text in [
            "news@sillyplace",
            "NEWS",
            "192.0.2.7",
            "joe@",
            "<1@MAIL>",
            "reject",
            "blocked_sender",
            "Badmailfrom:3",
            "ab12",
            "554",
            "mail blocked_sender 192.0.2",
        ] {
            assert_eq!(senders(&recent.search(text, None, 10)), ["<News@Sillyplace.com>"], "{text}");
        }
        assert_eq!(recent.search("", None, 10).len(), 2);
        assert!(recent.search("reject other", None, 10).is_empty());
    }

    #[test]
    fn records_are_numbered_and_read_page_by_page() {
        let recent = Recent::default();
        assert_eq!((recent.last(), recent.since(0, 10)), (0, vec![]));
        (0..30).for_each(|number| recent.keep(of(0, &format!("<{number}@x>")), NOW));
        let first = recent.search("", None, 20);
        assert_eq!((first.len(), first[0].sender.as_deref(), first[0].at), (20, Some("<29@x>"), NOW.seconds()));
        let second = recent.search("", Some(first[19].number), 20);
        assert_eq!((second.len(), second[0].sender.as_deref()), (10, Some("<9@x>")));
        assert_eq!(recent.last(), first[0].number);
        assert!(recent.since(recent.last(), 10).is_empty());
        assert_eq!(senders(&recent.since(first[2].number, 10)), ["<29@x>", "<28@x>"]);
        let after_restart = Recent::default();
        after_restart.keep(of(0, "<a@x>"), Time::from_seconds(NOW.seconds() + 1));
        assert!(after_restart.last() > recent.last());
    }

    #[test]
    fn a_flood_pushes_out_itself() {
        // With this one no two of the networks share a share.
        let recent = Recent { seed: 0x9e37_79b9_7f4a_7c15, ..Recent::default() };
        assert!((2..18).all(|network| recent.share(of(network, "").client) != recent.share(of(1, "").client)));
        (0..5000).for_each(|_| recent.keep(of(1, "<flood@x>"), NOW));
        let count = |sender: &str| recent.search(sender, None, usize::MAX).len();
        assert_eq!(count("flood"), MOST, "alone it has all");
        for number in 0..600 {
            recent.keep(of(2 + (number % 3) as u8, &format!("<{number}@honest>")), NOW);
            (0..20).for_each(|_| recent.keep(of(1, "<flood@x>"), NOW));
            assert_eq!(count("honest"), number + 1, "none of them is lost");
        }
        (0..2000).for_each(|_| recent.keep(of(1, "<flood@x>"), NOW));
        assert_eq!((count("honest"), count("flood")), (600, MOST - 600));
        for number in 600..2000 {
            recent.keep(of(2 + (number % 16) as u8, &format!("<{number}@honest>")), NOW);
            (0..3).for_each(|_| recent.keep(of(1, "<flood@x>"), NOW));
        }
        assert!((MOST / 4 - 5..=MOST / 4).contains(&count("flood")), "{}", count("flood"));
        assert!(recent.lock().places.len() <= 2 * MOST);
    }

    #[test]
    fn the_room_is_bounded_in_octets() {
        let recent = Recent::default();
        for number in 0..3000_u32 {
            let recipients = vec!["<someone@example.org>".to_owned(); (number % 100) as usize * 50];
            let record = Record { recipients, ..Record::clone(&of((number % 200) as u8, "<a@x>")) };
            recent.keep(Arc::new(record), NOW);
            let kept = recent.lock();
            let sum = |of: fn(&Place) -> u32| kept.places.iter().map(of).sum::<u32>();
            assert!(kept.all_taken <= ROOM && kept.all_taken == kept.taken.iter().sum::<u32>());
            assert_eq!(kept.all_taken, sum(|place| if place.record.is_some() { place.takes } else { 0 }));
        }
    }

    #[test]
    fn what_has_no_line_is_not_kept() {
        let recent = Recent::default();
        let refused = record("<a@b>", Verdict::Reject, Some(Reason::Protocol));
        recent.keep(Arc::new(Record { counted_only: true, ..refused.clone() }), NOW);
        recent.keep(Arc::new(Record { kind: Kind::Session, verdict: None, ..refused.clone() }), NOW);
        recent.keep(Arc::new(Record { kind: Kind::Folded, ..refused.clone() }), NOW);
        assert!(recent.search("", None, 9).is_empty());
        recent.keep(Arc::new(Record { kind: Kind::Command, ..refused }), NOW);
        assert_eq!(recent.search("", None, 9)[0].kind, "command");
    }
}
