//! The events that one alert has not sent yet, in their order. What cannot be sent is tried again, later and later, and
//! given up in the end; what is too many goes, the oldest first. Pure. It must not send anything.

use std::collections::VecDeque;

use crate::alerts::Outcome;
use crate::alerts::event::Event;

/// Events that wait; the first may be on its way.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Event>,
    is_busy: bool,
    /// Tries of the first.
    tries: u32,
    /// The time of the next try, in seconds since the epoch.
    next: u32,
}

/// What becomes of an event that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was sent.
    Sent,
    /// It is tried again after so many seconds, for this number of times so far.
    Later { seconds: u32, tries: u32 },
    /// The receiver does not want it, or it is too old.
    GivenUp,
}

impl Outbox {
    /// Adds an event; gives the one that had to go for it.
    pub(crate) fn push(&mut self, event: Event) -> Option<Event> {
        self.waiting.push_back(event);
        // The one on its way is not called back.
        (self.waiting.len() > MOST).then(|| self.waiting.remove(usize::from(self.is_busy))).flatten()
    }

    /// The event to be sent now, if there is one and none is on its way.
    pub(crate) fn take(&mut self, now: u32) -> Option<Event> {
        // A time further off than any wait is from before the clock went back.
        if self.is_busy || (now < self.next && self.next - now <= LONGEST) {
            return None;
        }
        let event = self.waiting.front()?.clone();
        self.is_busy = true;
        Some(event)
    }

    /// Whether it is this event that was taken.
    pub(crate) fn is_sending(&self, event: &Event) -> bool {
        self.is_busy && self.waiting.front() == Some(event)
    }

    /// The event that was taken has come so far.
    pub(crate) fn done(&mut self, outcome: &Outcome, now: u32) -> Fate {
        self.is_busy = false;
        let age = self.waiting.front().map_or(0, |event| now.saturating_sub(event.at));
        let fate = match outcome {
            Outcome::Sent(_) => Fate::Sent,
            Outcome::Never(_) => Fate::GivenUp,
            Outcome::Later(..) if age >= OLDEST => Fate::GivenUp,
            Outcome::Later(_, wish) => {
                let usual = (FIRST << self.tries.min(7)).min(LONGEST);
                let seconds = wish.unwrap_or(0).clamp(usual, LONGEST);
                self.tries = self.tries.saturating_add(1);
                self.next = now.saturating_add(seconds);
                return Fate::Later { seconds, tries: self.tries };
            }
        };
        self.waiting.pop_front();
        (self.tries, self.next) = (0, 0);
        fate
    }

    /// The events that are not sent yet.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Event> {
        self.waiting.iter()
    }
}

/// Events at most.
const MOST: usize = 64;
/// Seconds before the second try, and between two at most.
const FIRST: u32 = 5;
const LONGEST: u32 = 600;
/// Seconds after which an event is not worth sending any more.
const OLDEST: u32 = 86_400;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn event(number: u32) -> Event {
        Event { subject: number.to_string(), ..Event::test("mx", 0) }
    }

    #[test]
    fn what_cannot_be_sent_is_tried_later_and_later_and_given_up() {
        let mut outbox = Outbox::default();
        assert_eq!((outbox.push(event(1)), outbox.push(event(2))), (None, None));
        let later = Outcome::Later("down".to_owned(), None);
        let (mut now, mut waits) = (0, Vec::new());
        loop {
            assert_eq!(outbox.take(now), Some(event(1)));
            assert_eq!(outbox.take(now), None, "one at a time");
            match outbox.done(&later, now) {
                Fate::Later { seconds, .. } => {
                    assert_eq!(outbox.take(now + seconds - 1), None);
                    waits.push(seconds);
                    now += seconds;
                }
                Fate::Sent => unreachable!(),
                Fate::GivenUp => break,
            }
        }
        assert_eq!(waits[..9], [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert!((OLDEST..OLDEST + LONGEST).contains(&now), "{now}");
        assert_eq!(outbox.take(now), Some(event(2)));
        assert_eq!(outbox.done(&Outcome::Sent(String::new()), now), Fate::Sent);
        assert_eq!(outbox.waiting().count(), 0);
    }

    #[test]
    fn a_receiver_says_when_it_wants_it_but_not_never() {
        for (wish, expected) in [(Some(60), 60), (Some(0), 5), (Some(86_400), 600), (None, 5)] {
            let mut outbox = Outbox::default();
            outbox.push(event(1));
            outbox.take(0).unwrap();
            let fate = outbox.done(&Outcome::Later("busy".to_owned(), wish), 0);
            assert_eq!(fate, Fate::Later { seconds: expected, tries: 1 });
        }
    }

    #[test]
    fn the_oldest_that_is_not_on_its_way_goes() {
        let mut outbox = Outbox::default();
        for number in 0..64 {
            assert_eq!(outbox.push(event(number)), None);
        }
        assert_eq!(outbox.push(event(64)), Some(event(0)));
        assert_eq!(outbox.take(0), Some(event(1)));
        assert_eq!(outbox.push(event(65)), Some(event(2)));
        assert_eq!(outbox.done(&Outcome::Never("no".to_owned()), 0), Fate::GivenUp);
        assert_eq!((outbox.waiting().count(), outbox.take(0)), (63, Some(event(3))));
    }
}
