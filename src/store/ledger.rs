//! The ledger of the messages that the backend accepted, and of their acknowledgements (RFC 1047). It answers whether and to
//! whom a message is to be delivered, and remembers the outcome. In doubt it delivers: a duplicate is a nuisance, a loss is an
//! error. It must not know a message, only keys of it.
//!
//! A row of `unacknowledged` stands from the backend's 2xx until the client has taken ours: after a kill in between, the
//! client's next copy is absorbed. A row of `delivered` counts copies, which may be refused as repeats one day. A row of
//! `envelopes` counts copies that were refused at the final dot, so that the next one can be deferred before its body.

use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::Entry;

use crate::policy::repeat::Before;
use crate::policy::repeat::Candidate;
use crate::policy::repeat::CopyKeys;
use crate::policy::repeat::Envelope;
use crate::policy::repeat::LONGEST_RENEWAL;
use crate::policy::repeat::REFUSED_BEFORE_DATA;
use crate::policy::repeat::RepeatRules;
use crate::policy::repeat::TRIES_PER_PROOF;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::disk::changes::Keyed;
use crate::store::rows::Acknowledgement;
use crate::store::rows::Refusals;
use crate::store::rows::Times;
use crate::store::table::Row;
use crate::store::table::Table;

/// Messages that the backend accepted, by keys.
#[derive(Debug)]
pub struct Ledger {
    clock: Arc<dyn Clock>,
    /// Messages on their way to the backend, and those whose acknowledgement is on its way to the client.
    in_flight: DashMap<u128, (), BuildHasherDefault<Keyed>>,
    /// Messages whose acknowledgement is not known to have been taken, by strong key.
    pub(super) unacknowledged: Table<Acknowledgement>,
    /// Copies that were delivered, by strong key.
    pub(super) delivered: Table<Times>,
    /// Delivered messages that are alike but for what is made anew each time, by weak key. In memory only.
    pub(super) similar: Table<Times>,
    /// Copies that were refused at the final dot, by envelope.
    pub(super) envelopes: Table<Refusals>,
}

/// The ruling on a message at its final dot.
#[derive(Debug)]
pub enum Decision {
    /// Deliver the message.
    Deliver(Delivery),
    /// All recipients have it: the reply is 250, and it is delivered to nobody.
    Absorb,
    /// A copy, or the acknowledgement of one, is on its way in another session.
    Busy,
    /// Refuse it: a repeat of a message that was delivered so often.
    Refuse(u32),
}

/// The terms of a delivery.
#[derive(Debug, Default)]
pub struct Delivery {
    /// The claim to be told the outcome; none where no copy would be asked about.
    pub claim: Option<Claim>,
    /// The indices of recipients that have it already.
    pub served: Vec<usize>,
    /// Earlier deliveries of it, and of messages that are alike.
    pub before: Before,
}

/// A message that is on its way to the backend, or was accepted. Until the outcome is told or the claim is dropped, no copy of it
/// is delivered or absorbed elsewhere.
#[derive(Debug)]
pub struct Claim {
    ledger: Arc<Ledger>,
    rules: RepeatRules,
    may_absorb: bool,
    may_refuse: bool,
    copies: Vec<CopyKeys>,
    in_flight: bool,
}

impl Ledger {
    /// An empty ledger, with room for at most `bound` rows of each kind.
    pub fn new(bound: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            in_flight: DashMap::default(),
            unacknowledged: Table::new(bound, LONGEST_LIFE),
            delivered: Table::new(bound, LONGEST_LIFE),
            similar: Table::new(bound / 4, LONGEST_LIFE),
            envelopes: Table::new(bound / 4, LONGEST_LIFE),
        }
    }

    /// Rules on a message.
    pub fn decide(self: &Arc<Self>, candidate: &Candidate) -> Decision {
        let now = self.clock.now();
        let (may_absorb, may_refuse) = (
            candidate.rules.may_absorb(candidate.traits, now.seconds()),
            candidate.rules.may_refuse(candidate.traits, now.seconds()),
        );
        if !may_absorb && !may_refuse {
            self.is_another(candidate);
            return Decision::Deliver(Delivery::default());
        }
        let Some(mut claim) = self.claim(candidate, may_absorb, may_refuse) else { return Decision::Busy };
        let has_it = |keys: &CopyKeys| may_absorb && self.unacknowledged.get(keys.strong, now).is_some();
        let served: Vec<usize> =
            (0..candidate.copies.len()).filter(|index| has_it(&candidate.copies[*index])).collect();
        if served.len() == candidate.copies.len() {
            candidate.copies.iter().for_each(|keys| self.renew(keys.strong, candidate.rules.window, now));
            self.is_another(candidate);
            return Decision::Absorb;
        }
        claim.forget(served.iter().map(|index| candidate.copies[*index]));
        let before = if may_refuse { self.before(&claim, now) } else { Before::default() };
        if may_refuse && !candidate.is_excepted && before.same >= candidate.rules.limit {
            self.refused(candidate, now);
            return Decision::Refuse(before.same);
        }
        self.is_another(candidate);
        // As long as some have not got it, the others must not get it again.
        served.iter().for_each(|index| self.renew(candidate.copies[*index].strong, candidate.rules.window, now));
        Decision::Deliver(Delivery { claim: Some(claim), served, before })
    }

    /// The time for which DATA of this envelope is still deferred before the body, because copies of one message were refused
    /// again and again. One try of [`TRIES_PER_PROOF`] is let through, and ends the rule when it is another message.
    pub fn is_expected(&self, envelope: u128) -> Option<Duration> {
        let now = self.clock.now();
        self.envelopes.get(envelope, now).filter(Row::is_expected)?;
        let row = self.envelopes.update(envelope, now, |row| row.filter(Row::is_expected).map(Row::tried))?;
        row.deferral(TRIES_PER_PROOF, now)
    }

    /// Takes in what `other` knows of this copy, of which nothing is known here: its deliveries, and that it is on its way.
    pub fn adopt(&self, keys: &CopyKeys, other: &Self) {
        let now = self.clock.now();
        self.unacknowledged.adopt(keys.strong, &other.unacknowledged, now);
        self.delivered.adopt(keys.strong, &other.delivered, now);
        self.similar.adopt(keys.weak, &other.similar, now);
        if other.in_flight.contains_key(&keys.strong) {
            self.in_flight.insert(keys.strong, ());
        }
    }

    /// Takes in what `other` knows of this envelope, of which nothing is known here.
    pub fn adopt_envelope(&self, key: u128, other: &Self) {
        self.envelopes.adopt(key, &other.envelopes, self.clock.now());
    }

    /// The number of rows of all kinds.
    pub fn len(&self) -> usize {
        self.unacknowledged.len() + self.delivered.len() + self.envelopes.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of messages whose acknowledgement is not known to have been taken.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// A claim to all copies; `None` when one of them is on its way already.
    fn claim(self: &Arc<Self>, candidate: &Candidate, may_absorb: bool, may_refuse: bool) -> Option<Claim> {
        let mut claim = Claim {
            ledger: self.clone(),
            rules: candidate.rules,
            may_absorb,
            may_refuse,
            copies: Vec::with_capacity(candidate.copies.len()),
            in_flight: may_absorb,
        };
        for keys in &candidate.copies {
            // A recipient that is named twice is one mailbox.
            let twice = claim.copies.contains(keys);
            if claim.in_flight && !twice {
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

    /// Earlier deliveries to the recipient that has it least often: as long as one has not got it, the message is not refused.
    fn before(&self, claim: &Claim, now: Time) -> Before {
        let count = |table: &Table<Times>, key| table.get(key, now).map_or(0, |row| row.value.0);
        let least = |table: &Table<Times>, key: fn(&CopyKeys) -> u128| {
            claim.copies.iter().map(|keys| count(table, key(keys))).min().unwrap_or(0)
        };
        Before { same: least(&self.delivered, |keys| keys.strong), similar: least(&self.similar, |keys| keys.weak) }
    }

    /// Renews the row that absorbed a copy.
    fn renew(&self, key: u128, window: Duration, now: Time) {
        self.unacknowledged
            .update(key, now, |row| row.map(|row| Row { value: LOST, until: renewed(&row, window, now), ..row }));
    }

    /// Counts a refused copy. Only one of exactly its declared size tells what the next one of that size will be.
    fn refused(&self, candidate: &Candidate, now: Time) {
        let Some(Envelope { key, is_exact: true }) = candidate.envelope else { return self.is_another(candidate) };
        self.envelopes.update(key, now, |row| {
            let row = row.unwrap_or(Row::new(now, candidate.rules.window));
            Some(Row { value: row.value.refused(), until: renewed(&row, candidate.rules.window, now), ..row })
        });
    }

    /// Forgets the envelope's refusals, because another message came under it: nothing is deferred unseen any more.
    fn is_another(&self, candidate: &Candidate) {
        if let Some(envelope) = candidate.envelope {
            self.envelopes.remove(envelope.key);
        }
    }
}

impl Claim {
    /// The claim once the backend has said 2xx. A copy has to come again while it is not known whether the client took our 250.
    #[must_use]
    pub fn accepted(self) -> Self {
        let ledger = &self.ledger;
        let now = ledger.clock.now();
        let (first, until) = (now.seconds(), now.plus(self.rules.window).seconds());
        let count_one = |row: Option<Row<Times>>| {
            let row = row.unwrap_or(Row { value: Times(0), first, until });
            Some(Row { value: row.value.once_more(), ..row })
        };
        let new = Row { value: Acknowledgement { lost: false }, first, until };
        for keys in &self.copies {
            if self.may_absorb {
                // One that was once unacknowledged goes on absorbing.
                ledger.unacknowledged.update(keys.strong, now, |row| row.filter(Row::is_lost).or(Some(new)));
            }
            if self.may_refuse {
                ledger.delivered.update(keys.strong, now, count_one);
                ledger.similar.update(keys.weak, now, count_one);
            }
        }
        self
    }

    /// Remembers that the backend accepted these copies and no other, and that the client was told to send the message
    /// again.
    pub fn accepted_for(mut self, served: &[CopyKeys]) {
        let others: Vec<CopyKeys> = self.copies.iter().copied().filter(|copy| !served.contains(copy)).collect();
        self.forget(others.into_iter());
        self.accepted().unacknowledged();
    }

    /// Notes that the client took the 250: the next copy is meant, or at least acknowledged.
    pub fn took(self) {
        let now = self.ledger.clock.now();
        for keys in self.copies.iter().filter(|_| self.may_absorb) {
            self.ledger.unacknowledged.update(keys.strong, now, |row| row.filter(Row::is_lost));
        }
    }

    /// Notes that the client did not take the 250.
    pub fn unacknowledged(self) {
        let now = self.ledger.clock.now();
        for keys in self.copies.iter().filter(|_| self.may_absorb) {
            self.ledger.unacknowledged.update(keys.strong, now, |row| row.map(|row| Row { value: LOST, ..row }));
        }
    }

    /// Gives up copies, of recipients that have it already or do not get it: nothing is counted for them.
    fn forget(&mut self, given_up: impl Iterator<Item = CopyKeys>) {
        for keys in given_up {
            self.copies.retain(|copy| *copy != keys);
            if self.in_flight {
                self.ledger.in_flight.remove(&keys.strong);
            }
        }
    }

    /// Ends being on its way.
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

impl Row<Acknowledgement> {
    fn is_lost(&self) -> bool {
        self.value.lost
    }
}

impl Row<Refusals> {
    fn is_expected(&self) -> bool {
        self.value.count >= REFUSED_BEFORE_DATA
    }
}

/// The end of a row that is renewed for a window from now, but for no longer than [`LONGEST_RENEWAL`] in all.
fn renewed<V>(row: &Row<V>, window: Duration, now: Time) -> u32 {
    let latest = Time::from_seconds(row.first).plus(LONGEST_RENEWAL.max(window));
    now.plus(window).min(latest).seconds().max(row.until)
}

const LOST: Acknowledgement = Acknowledgement { lost: true };
/// `repeat.window` may be as long as that.
const LONGEST_LIFE: Duration = Duration::from_hours(3650 * 24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::clock::Virtual;

    use crate::policy::repeat::MessageTraits;

    const LARGE: u64 = 34_000_000;
    const START: u64 = 1_795_395_525;

    struct Site {
        ledger: Arc<Ledger>,
        clock: Arc<Virtual>,
    }

    impl Site {
        fn new() -> Self {
            let clock = Arc::new(Virtual::new(Time::from_seconds(START as u32)));
            Self { ledger: Arc::new(Ledger::new(1000, clock.clone())), clock }
        }

        /// One try, as a client that hears the 250 or not.
        fn send(&self, candidate: &Candidate, takes: bool) -> &'static str {
            match self.ledger.decide(candidate) {
                Decision::Absorb => "absorb",
                Decision::Busy => "busy",
                Decision::Refuse(_) => "refuse",
                Decision::Deliver(Delivery { claim, served, .. }) => {
                    if let Some(claim) = claim {
                        let claim = claim.accepted();
                        if takes { claim.took() } else { claim.unacknowledged() }
                    }
                    if served.is_empty() { "deliver" } else { "to the others" }
                }
            }
        }

        fn begin(&self, candidate: &Candidate) -> Claim {
            let Decision::Deliver(Delivery { claim: Some(claim), .. }) = self.ledger.decide(candidate) else {
                panic!("it is new")
            };
            claim
        }

        fn before(&self, candidate: &Candidate) -> (u32, u32) {
            match self.ledger.decide(candidate) {
                Decision::Deliver(Delivery { before: Before { same, similar }, .. }) => (same, similar),
                other => panic!("{other:?}"),
            }
        }

        fn minutes(&self, minutes: u64) {
            self.clock.advance(Duration::from_secs(60 * minutes));
        }
    }

    fn dot(copies: &[(u128, u128)], size: u64) -> Candidate {
        Candidate {
            rules: RepeatRules::default(),
            traits: traits(true, true, size),
            copies: copies.iter().map(|(strong, weak)| CopyKeys { strong: *strong, weak: *weak }).collect(),
            envelope: Some(Envelope { key: 99, is_exact: true }),
            is_excepted: false,
        }
    }

    fn traits(message_id: bool, date: bool, size: u64) -> MessageTraits {
        MessageTraits { message_id, date: date.then_some(START as i64), size }
    }

    #[test]
    fn seventy_two_copies() {
        // Ending; the client takes the 250; it obeys a 5xx; deliveries, bodies at most.
        let table = [
            ("acknowledgements lost", false, false, 1, 72),
            ("acknowledged, 5xx ignored", true, false, 3, 26),
            ("acknowledged, 5xx heeded", true, true, 3, 4),
        ];
        for (what, takes, heeds, deliveries, most) in table {
            let site = Site::new();
            let (mut delivered, mut bodies, mut heard) = (0, 0, false);
            for _ in 0..72 {
                if heeds && heard {
                    break;
                }
                if site.ledger.is_expected(99).is_none() {
                    bodies += 1;
                    match site.send(&dot(&[(1, 1)], LARGE), takes) {
                        "deliver" => delivered += 1,
                        "refuse" => heard = true,
                        _ => {}
                    }
                }
                site.minutes(20);
            }
            assert_eq!(delivered, deliveries, "{what}");
            assert!(bodies <= most, "{what}: {bodies} bodies");
        }
    }

    #[test]
    fn what_is_known_again_and_what_is_not() {
        let first = dot(&[(1, 1)], LARGE);
        let small = dot(&[(1, 1)], 1000);
        let panel = Candidate { traits: traits(false, true, 1000), ..small.clone() };
        let sketch = Candidate { traits: traits(true, false, LARGE), ..small.clone() };
        let none = |candidate: &Candidate| RepeatRules { absorb: false, limit: 0, ..candidate.rules };
        // Case; first, taken; second; result of the second.
        let table = [
            ("the same, lost", &first, false, first.clone(), "absorb"),
            ("the same, taken", &first, true, first.clone(), "deliver"),
            ("a small one, lost", &small, false, small.clone(), "absorb"),
            ("an alarm without Message-ID, lost", &panel, false, panel.clone(), "deliver"),
            ("an alarm without Date, lost", &sketch, false, sketch.clone(), "deliver"),
            ("another strong one", &first, false, dot(&[(2, 1)], LARGE), "deliver"),
            ("one recipient more", &first, false, dot(&[(1, 1), (2, 2)], LARGE), "to the others"),
            ("switched off", &first, false, Candidate { rules: none(&first), ..first.clone() }, "deliver"),
        ];
        for (what, one, takes, two, expected) in table {
            let site = Site::new();
            assert_eq!(site.send(one, takes), "deliver", "{what}");
            assert_eq!(site.send(&two, true), expected, "{what}");
        }
    }

    #[test]
    fn on_its_way() {
        let site = Site::new();
        let both = dot(&[(1, 1), (2, 2)], LARGE);
        let claim = site.begin(&both);
        assert_eq!(site.send(&dot(&[(2, 2)], LARGE), true), "busy");
        assert_eq!(site.send(&dot(&[(3, 3)], LARGE), true), "deliver", "one of another");
        drop(claim);
        assert_eq!(site.send(&dot(&[(2, 2)], LARGE), true), "deliver", "a backend that failed leaves it free");
        assert!(site.ledger.in_flight.is_empty());
        let twice = dot(&[(7, 7), (7, 7)], LARGE);
        assert_eq!(site.send(&twice, false), "deliver", "a recipient that is named twice is not its own twin");
        assert_eq!(site.send(&twice, false), "absorb");
        assert!(site.ledger.in_flight.is_empty());
    }

    #[test]
    fn a_copy_that_comes_before_the_acknowledgement_is_known_to_be_taken_or_lost_comes_again() {
        let copy = dot(&[(1, 1)], LARGE);
        for (takes, expected) in [(true, "deliver"), (false, "absorb")] {
            let site = Site::new();
            let claim = site.begin(&copy).accepted();
            assert_eq!(site.send(&copy, true), "busy");
            if takes {
                claim.took()
            } else {
                claim.unacknowledged()
            }
            assert_eq!(site.send(&copy, true), expected);
        }
        let site = Site::new();
        drop(site.begin(&copy).accepted());
        assert_eq!(site.send(&copy, true), "absorb", "nobody can say any more");
        assert_eq!(site.send(&copy, true), "absorb", "once unacknowledged, always absorbing");
    }

    /// The others are served at one of its next tries, within a week; until then nobody gets it twice.
    #[test]
    fn those_who_have_it_are_left_out_until_the_others_have_it() {
        let site = Site::new();
        let message = dot(&[(1, 1), (2, 2), (2, 2), (3, 3)], LARGE);
        site.begin(&message).accepted_for(&dot(&[(2, 2)], LARGE).copies);
        for _ in 0..6 {
            site.minutes(23 * 60);
            let Decision::Deliver(Delivery { claim: Some(claim), served, .. }) = site.ledger.decide(&message) else {
                panic!("it is for two more")
            };
            assert_eq!(served, [1, 2]);
            claim.accepted_for(&[]);
        }
        assert_eq!(site.send(&dot(&[(2, 2)], LARGE), true), "absorb");
        site.begin(&message).accepted_for(&dot(&[(3, 3), (1, 1)], LARGE).copies);
        assert_eq!(site.send(&message, true), "absorb");
    }

    #[test]
    fn what_is_excepted_or_alike_is_counted_and_delivered() {
        let site = Site::new();
        let excepted = Candidate { is_excepted: true, ..dot(&[(1, 1)], LARGE) };
        for same in 0..6 {
            assert_eq!(site.before(&excepted), (same, same));
            assert_eq!(site.send(&excepted, true), "deliver");
        }
        for number in 0..6 {
            let alike = dot(&[(10 + number, 2)], LARGE);
            assert_eq!(site.before(&alike), (0, number as u32));
            assert_eq!(site.send(&alike, true), "deliver");
        }
    }

    #[test]
    fn tries_of_another_size_than_declared_prove_nothing() {
        let site = Site::new();
        let inexact = Candidate { envelope: Some(Envelope { key: 99, is_exact: false }), ..dot(&[(1, 1)], LARGE) };
        (0..3 + 20).for_each(|_| _ = site.send(&inexact, true));
        assert_eq!(site.ledger.is_expected(99), None);
    }

    #[test]
    fn the_window_ends_and_copies_renew_it_for_a_week() {
        let site = Site::new();
        assert_eq!(site.send(&dot(&[(1, 1)], LARGE), false), "deliver");
        for hours in 0..7 * 24 / 23 {
            site.minutes(23 * 60);
            assert_eq!(site.send(&dot(&[(1, 1)], LARGE), true), "absorb", "after {} hours", 23 * (hours + 1));
        }
        site.minutes(24 * 60);
        assert_eq!(site.send(&dot(&[(1, 1)], LARGE), true), "deliver");
        site.minutes(25 * 60);
        let nine_days_later = MessageTraits { date: Some(START as i64 + 9 * 86_400), ..traits(true, true, LARGE) };
        let later = Candidate { traits: nine_days_later, ..dot(&[(1, 1)], LARGE) };
        for _ in 0..3 {
            assert_eq!(site.send(&later, true), "deliver", "the count is a window's");
        }
        assert_eq!(site.send(&later, true), "refuse");
    }

    #[test]
    fn a_daily_report_is_never_refused() {
        let site = Site::new();
        for day in 0..30 {
            assert_eq!(site.send(&dot(&[(day, 1)], LARGE), true), "deliver", "day {day}");
            site.minutes(24 * 60 - 5);
        }
    }

    #[test]
    fn another_message_under_a_known_envelope_ends_the_rule() {
        let site = Site::new();
        (0..3 + 9).for_each(|_| _ = site.send(&dot(&[(1, 1)], LARGE), true));
        assert_eq!(site.ledger.is_expected(99), None, "nine were refused");
        assert_eq!(site.send(&dot(&[(1, 1)], LARGE), true), "refuse");
        let waits = (0..4).filter_map(|_| site.ledger.is_expected(99)).collect::<Vec<_>>();
        assert_eq!(waits, [Duration::from_hours(24); 4]);
        assert_eq!(site.ledger.is_expected(99), None, "the fifth is let through");
        assert_eq!(site.send(&dot(&[(2, 2)], LARGE), true), "deliver");
        assert_eq!(site.ledger.is_expected(99), None);
    }
}
