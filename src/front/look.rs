//! A throwaway state, which answers what the real one would answer, and counts what that would count: what a question is
//! about is copied into it before it is answered. It must not change the real state, nor say anything in the log.

use std::collections::HashSet;
use std::sync::Arc;

use tracing::Dispatch;
use tracing::dispatcher;

use crate::front::answers;
use crate::policy::block::Suspect;
use crate::policy::throttle::ThrottleKey;
use crate::policy::throttle::key::Seed;
use crate::session::io::Event;
use crate::session::question::Answer;
use crate::session::question::Ask;
use crate::session::question::Question;
use crate::session::question::Throttles;
use crate::store::blocks::Blocks;
use crate::store::clock::Wall;
use crate::store::ledger::Claim;
use crate::store::state::State;
use crate::store::table::Table;
use crate::store::table::Value;
use crate::store::tables::Tables;

/// The answers to one session's questions, without consequences.
#[derive(Debug)]
pub struct Look {
    /// `None`: nothing is known of the past.
    real: Option<Arc<State>>,
    throwaway: State,
    /// Keys that were copied: what this session would have changed is not overwritten. Keys are hashes of all that they stand
    /// for, so that those of two tables differ.
    copied: HashSet<u128>,
    claim: Option<Claim>,
}

impl Look {
    /// From `state` as it is when each question is asked.
    pub fn at(state: Arc<State>) -> Self {
        let throwaway = State::in_memory(state.tables().seed.clone(), state.tables().clock.clone());
        Self { real: Some(state), throwaway, copied: HashSet::new(), claim: None }
    }

    /// From a state that knows nothing.
    pub fn at_nothing(seed: Seed) -> Self {
        let throwaway = State::in_memory(seed, Arc::new(Wall::new()));
        Self { real: None, throwaway, copied: HashSet::new(), claim: None }
    }

    /// The answer, but for what only a running proxy knows besides: whether there is room and a permit for a handshake.
    pub fn answer(&mut self, question: &Question) -> Answer {
        self.copy(question);
        let answered = || answers::answer(self.throwaway.tables(), question);
        let (answer, claim) = dispatcher::with_default(&Dispatch::none(), answered);
        self.claim = claim;
        answer
    }

    /// Counts what would have happened.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Charge(_, charges) => charges.iter().for_each(|charge| self.copy_throttle(charge.key)),
            Event::Familiar(keys) => keys.iter().for_each(|key| self.copy_row(*key, |tables| &tables.familiars)),
            Event::Fits(keys) | Event::Oversize(keys) => {
                keys.iter().for_each(|key| self.copy_row(*key, |tables| &tables.oversizes));
            }
            Event::Passed(keys) => keys.iter().for_each(|key| self.copy_row(*key, |tables| &tables.escalations)),
        }
        answers::count(self.throwaway.tables(), event);
    }

    fn copy(&mut self, question: &Question) {
        if let Some(throttles) = question.throttles() {
            throttles.asks.iter().for_each(|ask| self.copy_ask(throttles, ask));
        }
        match question {
            Question::Connect { client, .. } => self.copy_block(Suspect { client: *client, sender: None }),
            Question::Mail { client, mail, .. } => {
                self.copy_block(Suspect { client: *client, sender: Some(&mail.sender) });
            }
            Question::Recipient { deferred, oversize, .. } => {
                deferred.iter().for_each(|key| self.copy_row(*key, |tables| &tables.escalations));
                oversize.iter().for_each(|key| self.copy_row(*key, |tables| &tables.oversizes));
            }
            Question::Envelope(key) => self.copy_envelope(*key),
            Question::Copy(candidate) => {
                candidate.envelope.iter().for_each(|envelope| self.copy_envelope(envelope.key));
                for keys in &candidate.copies {
                    if let Some(real) = self.once(keys.strong) {
                        self.throwaway.tables().ledger.adopt(keys, &real.tables().ledger);
                    }
                }
            }
            Question::Rejection { refusal, .. } => {
                refusal.iter().for_each(|key| self.copy_row(*key, |tables| &tables.refusals));
            }
            Question::Handshake | Question::Login(_) | Question::UnknownRecipients(_) => {}
        }
    }

    fn copy_ask(&mut self, throttles: &Throttles, ask: &Ask) {
        self.copy_throttle(ask.charge.key);
        ask.escalation.iter().for_each(|key| self.copy_row(*key, |tables| &tables.escalations));
        ask.familiar.iter().for_each(|key| self.copy_row(*key, |tables| &tables.familiars));
        if let (Some(real), Some(label)) = (&self.real, &ask.label) {
            let key = Blocks::throttled_key(&throttles.of(ask).name, label);
            self.throwaway.tables().blocks.adopt(&key, &real.tables().blocks);
        }
    }

    fn copy_throttle(&mut self, key: ThrottleKey) {
        if let Some(real) = self.once(key.exact) {
            self.throwaway.tables().throttles.adopt(key, &real.tables().throttles);
        }
    }

    fn copy_row<V: Value>(&mut self, key: u128, table: fn(&Tables) -> &Table<V>) {
        if let Some(real) = self.once(key) {
            let (throwaway, real) = (self.throwaway.tables(), real.tables());
            table(throwaway).adopt(key, table(real), real.clock.now());
        }
    }

    fn copy_envelope(&mut self, key: u128) {
        if let Some(real) = self.once(key) {
            self.throwaway.tables().ledger.adopt_envelope(key, &real.tables().ledger);
        }
    }

    /// What is refused by an operator is not changed by any session.
    fn copy_block(&mut self, suspect: Suspect<'_>) {
        if let Some(real) = &self.real
            && let Some(block) = real.tables().blocks.find(suspect)
        {
            self.throwaway.tables().blocks.adopt(&block.key, &real.tables().blocks);
        }
    }

    /// The real state, unless this key was copied before.
    fn once(&mut self, key: u128) -> Option<Arc<State>> {
        let real = self.real.clone()?;
        self.copied.insert(key).then_some(real)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::repeat::Candidate;
    use crate::policy::repeat::CopyKeys;
    use crate::policy::repeat::Envelope;
    use crate::policy::repeat::MessageTraits;
    use crate::policy::repeat::RepeatRules;
    use crate::session::question::Copy;
    use crate::store::clock::Time;
    use crate::store::clock::Virtual;

    const NOW: u32 = 1_795_395_525;

    fn candidate() -> Candidate {
        Candidate {
            rules: RepeatRules { limit: 1, min_size: 1, ..RepeatRules::default() },
            traits: MessageTraits { message_id: true, date: Some(NOW.into()), size: 1000 },
            copies: vec![CopyKeys { strong: 1, weak: 2 }],
            envelope: Some(Envelope { key: 3, is_exact: true }),
            is_excepted: false,
        }
    }

    /// As it is once ten copies of a message were refused.
    fn state() -> Arc<State> {
        let state = State::in_memory(Seed::new([7; 16]), Arc::new(Virtual::new(Time::from_seconds(NOW))));
        let (answer, claim) = answers::answer(state.tables(), &Question::Copy(candidate()));
        assert!(matches!(answer, Answer::Copy(Copy::Deliver { .. })));
        claim.unwrap().accepted().took();
        for _ in 0..10 {
            assert_eq!(answers::answer(state.tables(), &Question::Copy(candidate())).0, Answer::Copy(Copy::Refuse(1)));
        }
        Arc::new(state)
    }

    fn is_expected(answer: &Answer) -> bool {
        matches!(answer, Answer::Envelope { expected: Some(_) })
    }

    /// The fifth try is let through, of those that are none of a look.
    #[test]
    fn a_look_is_no_try() {
        let state = state();
        for number in 1..=12 {
            for _ in 0..3 {
                let mut look = Look::at(state.clone());
                assert_eq!(is_expected(&look.answer(&Question::Envelope(3))), number % 5 != 0, "{number}");
                assert_eq!(look.answer(&Question::Copy(candidate())), Answer::Copy(Copy::Refuse(1)));
            }
            let (answer, _) = answers::answer(state.tables(), &Question::Envelope(3));
            assert_eq!(is_expected(&answer), number % 5 != 0, "{number}");
        }
    }

    #[test]
    fn what_it_has_seen_itself_counts() {
        let mut look = Look::at(state());
        let expected: Vec<bool> = (1..=6).map(|_| is_expected(&look.answer(&Question::Envelope(3)))).collect();
        assert_eq!(expected, [true, true, true, true, false, true]);
        let mut nothing = Look::at_nothing(Seed::new([7; 16]));
        assert!(!is_expected(&nothing.answer(&Question::Envelope(3))));
    }
}
