//! The ledger: what the backend accepted, and whether the client took the acknowledgement (RFC 1047). It answers whether
//! a message is to be delivered, to whom, and remembers what became of it. In doubt it delivers: a duplicate is a
//! nuisance, a loss is a fault. It must not know a message, only keys of it.
//!
//! A row of `unacknowledged` stands from the backend's 2xx until the client has taken ours: whoever is killed in between
//! absorbs the copy that comes. A row of `delivered` counts copies that may be refused as repeats one day. A row of
//! `envelopes` is what is known before a body comes.

use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::Entry;

use crate::policy::repeat::ABSORBED_BEFORE_REFUSAL;
use crate::policy::repeat::CopyKeys;
use crate::policy::repeat::Dot;
use crate::policy::repeat::LONGEST_RENEWAL;
use crate::policy::repeat::Marks;
use crate::policy::repeat::RepeatRules;
use crate::policy::repeat::TRIES_PER_PROOF;
use crate::store::changes::Keyed;
use crate::store::clock::Clock;
use crate::store::clock::seconds;
use crate::store::table::Row;
use crate::store::table::Table;

/// What was accepted.
#[derive(Debug)]
pub struct Ledger {
    clock: Arc<dyn Clock>,
    /// Messages on their way to the backend.
    in_flight: DashMap<u128, (), BuildHasherDefault<Keyed>>,
    /// By strong key. `other` is 1 once an acknowledgement is known not to have been taken.
    pub(super) unacknowledged: Table,
    /// By weak key: copies that were delivered.
    pub(super) delivered: Table,
    /// By envelope: absorbed copies (or enough of them, once one was refused), and in `other` the tries since.
    pub(super) envelopes: Table,
}

/// What is to be done with it.
#[derive(Debug)]
pub enum Decision {
    /// Deliver it, but not to these of its recipients (their indices), who have it already.
    Deliver(Option<Claim>, Vec<usize>),
    /// All of them have it: 250, and nothing else.
    Absorb,
    /// It is on its way to the backend in another session.
    Busy,
    /// It was delivered often enough.
    Refuse,
}

/// A message that is on its way, or was accepted. On its way it is in nobody else's; dropping it ends that, on every
/// path.
#[derive(Debug)]
pub struct Claim {
    ledger: Arc<Ledger>,
    rules: RepeatRules,
    marks: Marks,
    copies: Vec<CopyKeys>,
    in_flight: bool,
}

impl Ledger {
    /// Remembers at most `bound` of each kind.
    pub fn new(bound: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            in_flight: DashMap::default(),
            unacknowledged: Table::new(bound),
            delivered: Table::new(bound),
            envelopes: Table::new(bound / 4),
        }
    }

    /// Rules on a message.
    pub fn decide(self: &Arc<Self>, dot: &Dot) -> Decision {
        let may = (dot.rules.may_absorb(dot.marks), dot.rules.may_refuse(dot.marks));
        if may == (false, false) {
            self.is_another(dot);
            return Decision::Deliver(None, Vec::new());
        }
        let Some(mut claim) = self.claim(dot, may.0) else { return Decision::Busy };
        let now = seconds(self.clock.now());
        let has_it = |keys: &CopyKeys| may.0 && self.unacknowledged.get(keys.strong, now).is_some();
        let served: Vec<usize> = (0..dot.copies.len()).filter(|index| has_it(&dot.copies[*index])).collect();
        if served.len() == dot.copies.len() {
            dot.copies.iter().for_each(|keys| self.renew(keys.strong, dot.rules.window, now));
            self.absorbed(dot, now);
            return Decision::Absorb;
        }
        let often_enough = |keys: &CopyKeys| {
            let count = self.delivered.get(keys.weak, now).map_or(0, |row| row.count);
            may.1 && count >= dot.rules.limit
        };
        let mut rest = (0..dot.copies.len()).filter(|index| !served.contains(index));
        if rest.all(|index| often_enough(&dot.copies[index])) {
            self.refused(dot, now);
            return Decision::Refuse;
        }
        self.is_another(dot);
        claim.forget(served.iter().map(|index| dot.copies[*index]));
        Decision::Deliver(Some(claim), served)
    }

    /// Whether DATA of this envelope is refused before the body: it was proven to be the same message again and again.
    /// Every so-manieth try is let through, to prove it once more.
    pub fn is_proven(&self, envelope: u128) -> bool {
        let now = seconds(self.clock.now());
        let proven = |row: &Row| row.count >= ABSORBED_BEFORE_REFUSAL;
        if !self.envelopes.get(envelope, now).is_some_and(|row| proven(&row)) {
            return false;
        }
        let count = |row: Row| Row { other: row.other.wrapping_add(1), ..row };
        let row = self.envelopes.update(envelope, now, |row| row.filter(proven).map(count));
        row.is_some_and(|row| row.other % TRIES_PER_PROOF != 0)
    }

    /// Entries of all kinds.
    pub fn len(&self) -> usize {
        self.unacknowledged.len() + self.delivered.len() + self.envelopes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages whose acknowledgement is not known to have been taken.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Drops what has expired.
    pub fn sweep(&self) {
        let now = seconds(self.clock.now());
        [&self.unacknowledged, &self.delivered, &self.envelopes].iter().for_each(|table| table.sweep(now));
    }

    /// `None` when one of the copies is on its way already.
    fn claim(self: &Arc<Self>, dot: &Dot, in_flight: bool) -> Option<Claim> {
        let mut claim = Claim {
            ledger: self.clone(),
            rules: dot.rules,
            marks: dot.marks,
            copies: Vec::with_capacity(dot.copies.len()),
            in_flight,
        };
        for keys in &dot.copies {
            // A recipient that is named twice is one mailbox.
            let twice = claim.copies.contains(keys);
            if in_flight && !twice {
                match self.in_flight.entry(keys.strong) {
                    Entry::Occupied(_) => return None,
                    Entry::Vacant(place) => _ = place.insert(()),
                }
            }
            if !twice {
                claim.copies.push(*keys);
            }
        }
        Some(claim)
    }

    /// A copy renews the entry that absorbed it.
    fn renew(&self, key: u128, window: Duration, now: u32) {
        self.unacknowledged.update(key, now, |row| {
            row.map(|row| Row { count: row.count.saturating_add(1), other: 1, until: renewed(row, window, now), ..row })
        });
    }

    fn absorbed(&self, dot: &Dot, now: u32) {
        self.proved(dot, now, |count| count.saturating_add(1));
    }

    fn refused(&self, dot: &Dot, now: u32) {
        self.proved(dot, now, |count| count.max(ABSORBED_BEFORE_REFUSAL));
    }

    fn proved(&self, dot: &Dot, now: u32, count: impl Fn(u32) -> u32) {
        let Some(envelope) = dot.envelope else { return };
        self.envelopes.update(envelope, now, |row| {
            let row = row.unwrap_or(Row { first: now, ..Row::default() });
            Some(Row { count: count(row.count), until: renewed(row, dot.rules.window, now), ..row })
        });
    }

    /// Under a known envelope came another message: nothing is refused unseen any more.
    fn is_another(&self, dot: &Dot) {
        if let Some(envelope) = dot.envelope {
            self.envelopes.remove(envelope, seconds(self.clock.now()));
        }
    }
}

impl Claim {
    /// The backend said 2xx. From here on a copy is absorbed, until it is known that the client took our 250.
    #[must_use]
    pub fn accepted(mut self) -> Self {
        let ledger = self.ledger.clone();
        let now = seconds(ledger.clock.now());
        let until = now.saturating_add(whole(self.rules.window));
        for keys in &self.copies {
            if self.rules.may_absorb(self.marks) {
                let new = Row { count: 1, other: 0, first: now, until };
                // One that was once unacknowledged goes on absorbing.
                ledger.unacknowledged.update(keys.strong, now, |row| row.filter(|row| row.other == 1).or(Some(new)));
            }
            if self.rules.may_refuse(self.marks) {
                let new = Row { count: 0, other: 0, first: now, until };
                ledger.delivered.update(keys.weak, now, |row| {
                    let row = row.unwrap_or(new);
                    Some(Row { count: row.count.saturating_add(1), ..row })
                });
            }
        }
        self.land();
        self
    }

    /// The client took the 250: the next copy is meant, or at least acknowledged.
    pub fn took(self) {
        let now = seconds(self.ledger.clock.now());
        for keys in &self.copies {
            self.ledger.unacknowledged.update(keys.strong, now, |row| row.filter(|row| row.other == 1));
        }
    }

    /// It did not.
    pub fn unacknowledged(self) {
        let now = seconds(self.ledger.clock.now());
        for keys in &self.copies {
            self.ledger.unacknowledged.update(keys.strong, now, |row| row.map(|row| Row { other: 1, ..row }));
        }
    }

    /// Those who have it already are not delivered to, and nothing is counted for them.
    fn forget(&mut self, served: impl Iterator<Item = CopyKeys>) {
        for keys in served {
            self.copies.retain(|copy| *copy != keys);
            if self.in_flight {
                self.ledger.in_flight.remove(&keys.strong);
            }
        }
    }

    /// Not on its way any more.
    fn land(&mut self) {
        if std::mem::take(&mut self.in_flight) {
            for keys in &self.copies {
                self.ledger.in_flight.remove(&keys.strong);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.land();
    }
}

/// A window from now, but not for longer than [`LONGEST_RENEWAL`] in all.
fn renewed(row: Row, window: Duration, now: u32) -> u32 {
    let longest = row.first.saturating_add(whole(LONGEST_RENEWAL.max(window)));
    now.saturating_add(whole(window)).min(longest).max(row.until)
}

fn whole(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::clock::Virtual;

    const LARGE: u64 = 34_000_000;

    struct House {
        ledger: Arc<Ledger>,
        clock: Arc<Virtual>,
    }

    impl House {
        fn new() -> Self {
            let clock = Arc::new(Virtual::new(1_795_395_525_000_000_000));
            Self { ledger: Arc::new(Ledger::new(1000, clock.clone())), clock }
        }

        /// One try, as a client that hears the 250 or not.
        fn send(&self, dot: &Dot, takes: bool) -> &'static str {
            match self.ledger.decide(dot) {
                Decision::Absorb => "absorb",
                Decision::Busy => "busy",
                Decision::Refuse => "refuse",
                Decision::Deliver(claim, served) => {
                    if let Some(claim) = claim {
                        let claim = claim.accepted();
                        if takes { claim.took() } else { claim.unacknowledged() }
                    }
                    if served.is_empty() { "deliver" } else { "to the others" }
                }
            }
        }

        fn minutes(&self, minutes: u64) {
            self.clock.advance(Duration::from_secs(60 * minutes));
        }
    }

    fn dot(copies: &[(u128, u128)], size: u64) -> Dot {
        Dot {
            rules: RepeatRules::default(),
            marks: Marks { message_id: true, date: true, size },
            copies: copies.iter().map(|(strong, weak)| CopyKeys { strong: *strong, weak: *weak }).collect(),
            envelope: Some(99),
        }
    }

    fn marks(message_id: bool, date: bool, size: u64) -> Marks {
        Marks { message_id, date, size }
    }

    #[test]
    fn seventy_two_copies() {
        // What; the client takes the 250; it obeys a 5xx; deliveries, bodies at most.
        let table = [
            ("acknowledgements lost, 5xx ignored", false, false, 1, 20),
            ("acknowledgements lost, 5xx heeded", false, true, 1, 7),
            ("acknowledged, 5xx ignored", true, false, 3, 20),
            ("acknowledged, 5xx heeded", true, true, 3, 7),
        ];
        for (what, takes, heeds, deliveries, most) in table {
            let house = House::new();
            let (mut delivered, mut bodies, mut heard) = (0, 0, false);
            for _ in 0..72 {
                if heeds && heard {
                    break;
                }
                if house.ledger.is_proven(99) {
                    heard = true;
                } else {
                    bodies += 1;
                    match house.send(&dot(&[(1, 1)], LARGE), takes) {
                        "deliver" => delivered += 1,
                        "refuse" => heard = true,
                        _ => {}
                    }
                }
                house.minutes(20);
            }
            assert_eq!(delivered, deliveries, "{what}");
            assert!(bodies <= most, "{what}: {bodies} bodies");
        }
    }

    #[test]
    fn what_is_known_again_and_what_is_not() {
        let first = dot(&[(1, 1)], LARGE);
        let small = dot(&[(1, 1)], 1000);
        let panel = Dot { marks: marks(false, true, 1000), ..small.clone() };
        let none = |dot: &Dot| RepeatRules { absorb: false, limit: 0, ..dot.rules };
        // What; first, taken; second; what happens to the second.
        let table = [
            ("the same, lost", &first, false, first.clone(), "absorb"),
            ("the same, taken", &first, true, first.clone(), "deliver"),
            ("a small one, lost", &small, false, small.clone(), "absorb"),
            ("an alarm without Message-ID, lost", &panel, false, panel.clone(), "deliver"),
            ("another strong one", &first, false, dot(&[(2, 1)], LARGE), "deliver"),
            ("one recipient more", &first, false, dot(&[(1, 1), (2, 2)], LARGE), "to the others"),
            ("switched off", &first, false, Dot { rules: none(&first), ..first.clone() }, "deliver"),
        ];
        for (what, one, takes, two, expected) in table {
            let house = House::new();
            assert_eq!(house.send(one, takes), "deliver", "{what}");
            assert_eq!(house.send(&two, true), expected, "{what}");
        }
    }

    #[test]
    fn on_its_way() {
        let house = House::new();
        let both = dot(&[(1, 1), (2, 2)], LARGE);
        let Decision::Deliver(Some(claim), _) = house.ledger.decide(&both) else { panic!("it is new") };
        assert_eq!(house.send(&dot(&[(2, 2)], LARGE), true), "busy");
        assert_eq!(house.send(&dot(&[(3, 3)], LARGE), true), "deliver", "one of another");
        drop(claim);
        assert_eq!(house.send(&dot(&[(2, 2)], LARGE), true), "deliver", "a backend that failed leaves it free");
        assert!(house.ledger.in_flight.is_empty());
        let twice = dot(&[(7, 7), (7, 7)], LARGE);
        assert_eq!(house.send(&twice, false), "deliver", "a recipient that is named twice is not its own twin");
        assert_eq!(house.send(&twice, false), "absorb");
        assert!(house.ledger.in_flight.is_empty());
    }

    #[test]
    fn a_copy_that_comes_before_the_first_is_known_to_be_lost_is_absorbed_and_so_are_all_later_ones() {
        let house = House::new();
        let Decision::Deliver(Some(claim), _) = house.ledger.decide(&dot(&[(1, 1)], LARGE)) else { panic!("new") };
        let claim = claim.accepted();
        assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "absorb");
        claim.took();
        assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "absorb", "once unacknowledged, always absorbing");
    }

    #[test]
    fn the_window_ends_and_copies_renew_it_for_a_week() {
        let house = House::new();
        assert_eq!(house.send(&dot(&[(1, 1)], LARGE), false), "deliver");
        for hours in 0..7 * 24 / 23 {
            house.minutes(23 * 60);
            assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "absorb", "after {} hours", 23 * (hours + 1));
        }
        house.minutes(24 * 60);
        assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "deliver");
        house.minutes(25 * 60);
        for _ in 0..3 {
            assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "deliver", "the count is a window's");
        }
        assert_eq!(house.send(&dot(&[(1, 1)], LARGE), true), "refuse");
    }

    #[test]
    fn a_daily_report_is_never_refused() {
        let house = House::new();
        for day in 0..30 {
            assert_eq!(house.send(&dot(&[(day, 1)], LARGE), true), "deliver", "day {day}");
            house.minutes(24 * 60 - 5);
        }
    }

    #[test]
    fn another_message_under_a_proven_envelope_ends_the_rule() {
        let house = House::new();
        (0..6).for_each(|_| _ = house.send(&dot(&[(1, 1)], LARGE), false));
        let refused = (0..4).filter(|_| house.ledger.is_proven(99)).count();
        assert_eq!(refused, 4);
        assert!(!house.ledger.is_proven(99), "the fifth is let through");
        assert_eq!(house.send(&dot(&[(2, 2)], LARGE), true), "deliver");
        assert!(!house.ledger.is_proven(99));
    }
}
