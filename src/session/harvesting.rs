//! Recipients that do not exist. A list with stale addresses has some; a client that tries out names hears little else.
//! Each stays refused by its own 5xx, which must not change: the 421 behind it ends the connection, and the rest comes
//! in the next session.

use crate::policy::replies;
use crate::policy::throttle::Charge;
use crate::policy::throttle::Count;
use crate::policy::throttle::Probe;
use crate::policy::throttle::Throttle;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::question::Ask;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::session::state::Pending;
use crate::session::state::State;

/// The unknown recipients of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unknown {
    heard: u32,
    /// Unknown recipients since the throttles were asked last.
    fresh: u64,
}

impl Session {
    /// Counts a recipient that is not there: the client was told so, or will be before anything else.
    pub(super) fn note_unknown(&mut self) {
        self.unknown.heard += 1;
        self.unknown.fresh += 1;
    }

    /// Judges the count once the replies are given. A message that has gone on to DATA meanwhile is not cut.
    pub(super) fn judge_unknown(&mut self, now: Now) {
        let cells = std::mem::take(&mut self.unknown.fresh);
        let has_floor = matches!(self.state, State::Command) && self.transaction.is_some();
        if cells == 0 || self.is_over() {
            return;
        }
        let snapshot = self.transaction.as_ref().map_or(&self.snapshot, |transaction| &transaction.snapshot).clone();
        let sender = self.transaction.as_ref().map(|transaction| &transaction.mail.sender);
        let subject = self.client.subject(sender, None);
        let ask = |(index, throttle): (usize, &Throttle)| {
            let key = (throttle.count == Count::UnknownRecipients).then(|| throttle.key(&self.seed, &subject))??;
            let charge = Charge { throttle: index, key, cells: 1 };
            Some(Ask { charge, probe: Probe::Test, label: throttle.label(&subject), escalation: None, familiar: None })
        };
        let asks: Vec<Ask> = snapshot.policy.throttles.iter().enumerate().filter_map(ask).collect();
        let charges = asks.iter().map(|ask| Charge { cells, ..ask.charge }).collect();
        // A client that may relay is one of ours: it has nothing to find out.
        if has_floor && self.unknown.heard >= MOST_UNKNOWN && !self.client.may_relay() {
            self.charge(&snapshot, charges);
            let ruling = Ruling::new(replies::too_many_unknown_recipients(), Reason::UnknownRecipients);
            return self.end_harvest(&ruling, now);
        }
        if has_floor && !asks.is_empty() {
            let throttles = Throttles { snapshot: snapshot.clone(), asks };
            self.ask(Question::UnknownRecipients(throttles), Pending::Unknown, now);
        }
        self.charge(&snapshot, charges);
    }

    /// Goes on, or ends the session, by the throttles' answer.
    pub(super) fn unknown_answered(&mut self, throttled: &Throttled, now: Now) {
        if let Some(transaction) = &mut self.transaction {
            transaction.note_shadows(&throttled.shadows);
        }
        let snapshot = self.snapshot_of_transaction();
        if let Some(over) = throttled.over {
            self.end_harvest(&Ruling::throttled(&snapshot.policy.throttles[over.throttle], over.wait), now);
        }
    }

    /// Ends the session. Outstanding commands get no replies of their own: the 421 is for all of them.
    fn end_harvest(&mut self, ruling: &Ruling, now: Now) {
        self.replies.forget();
        self.rule_and_close(ruling, now);
    }
}

/// Unknown recipients of one session, at most.
const MOST_UNKNOWN: u32 = 50;
