//! The rulings of throttles that are over their limits. Those that escalate count defers for each recipient and SIZE,
//! so their defer of a MAIL waits for the recipients; until then no backend must hear of the transaction.

use crate::policy::replies;
use crate::policy::throttle::Action;
use crate::policy::throttle::Stage;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::ThrottleKey;
use crate::policy::throttle::escalation::escalation_key;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Event;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::question::OverLimit;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::session::state::Postponed;
use crate::session::state::Transaction;
use crate::smtp::address::Address;

impl Session {
    /// Leaves an escalating throttle's ruling on MAIL to the recipients; false: MAIL hears the ruling itself.
    pub(super) fn postpone(&mut self, throttled: &Throttled, ruling: &Ruling) -> bool {
        let (Some(OverLimit { throttle, wait, .. }), Some(transaction)) = (throttled.over, &self.transaction) else {
            return false;
        };
        let asked = &transaction.snapshot.policy.throttles[throttle];
        let key = asked.key(&self.seed, &self.client.subject(Some(&transaction.mail.sender), None));
        let (Some(key), Some(transaction)) = (key.filter(|_| asked.escalate > 0), &mut self.transaction) else {
            return false;
        };
        transaction.postponed = Some(Postponed { throttle, key, wait });
        // A client that gives up before its first RCPT was refused by this.
        transaction.last_refusal = Some(Outcome::ruled(ruling, &self.id));
        true
    }

    /// The question about a recipient: to the throttles, unless one has refused already, and about remembered
    /// oversizes, whose 552 outranks them.
    pub(super) fn question_of(&self, transaction: &Transaction, recipient: &Address) -> Question {
        let (mail, snapshot) = (&transaction.mail, transaction.snapshot.clone());
        let oversize = self.remembered(mail, recipient);
        if let Some(Postponed { throttle, key, .. }) = transaction.postponed {
            let throttle = &snapshot.policy.throttles[throttle];
            let deferred = self.escalation(throttle, key, recipient, mail.size);
            let throttles = Throttles { snapshot: snapshot.clone(), asks: Vec::new() };
            return Question::Recipient { throttles, deferred, oversize };
        }
        let throttles = self.asks(&snapshot, Stage::Recipient, Some(&mail.sender), Some(recipient), mail.size);
        Question::Recipient { throttles, deferred: None, oversize }
    }

    /// The key under which the message's defers are counted.
    pub(super) fn escalation(
        &self,
        throttle: &Throttle,
        key: ThrottleKey,
        recipient: &Address,
        size: Option<u64>,
    ) -> Option<u128> {
        (throttle.escalate > 0).then(|| escalation_key(&self.seed, key, recipient, size))
    }

    /// Forgets the defers for a recipient that no throttle refuses any more: the next one is the first again.
    pub(super) fn passed(&mut self, recipient: &Address) {
        let keys = |transaction: &Transaction| {
            let subject = self.client.subject(Some(&transaction.mail.sender), Some(recipient));
            let throttles = transaction.snapshot.policy.throttles.iter().filter(|throttle| throttle.escalate > 0);
            let key = |throttle: &Throttle| {
                self.escalation(throttle, throttle.key(&self.seed, &subject)?, recipient, transaction.mail.size)
            };
            throttles.filter_map(key).collect::<Vec<u128>>()
        };
        let keys = self.transaction.as_deref().map(keys).unwrap_or_default();
        if !keys.is_empty() {
            self.output.push_back(Output::Count(Event::Passed(keys)));
        }
    }
}

/// The ruling of a throttle that is over its limit: one that was postponed at MAIL, or one that was asked now.
pub(super) fn ruling_of(transaction: &Transaction, throttled: &Throttled) -> Option<Ruling> {
    let (throttle, over) = refusal(transaction, throttled)?;
    let tries = throttled.tries;
    Some(match throttle.escalate > 0 && tries >= throttle.escalate && !over.blocked {
        true => Ruling::new(replies::escalated(throttle.count, tries), Reason::Throttled).by(&throttle.name),
        false => over.ruling(throttle),
    })
}

/// Whether that ruling ends the connection.
pub(super) fn disconnects(transaction: &Transaction, throttled: &Throttled) -> bool {
    refusal(transaction, throttled).is_some_and(|(throttle, _)| throttle.action == Action::Disconnect)
}

fn refusal<'a>(transaction: &'a Transaction, throttled: &Throttled) -> Option<(&'a Throttle, OverLimit)> {
    let postponed = |it: Postponed| OverLimit { throttle: it.throttle, wait: it.wait, blocked: false };
    let over = transaction.postponed.map(postponed).or(throttled.over)?;
    Some((&transaction.snapshot.policy.throttles[over.throttle], over))
}
