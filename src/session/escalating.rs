//! What a throttle that is over its limit says, and throttles that escalate: their defers are counted for each recipient
//! and SIZE, so one that is due at MAIL waits for the recipients. Until then no backend hears of the transaction.

use std::time::Duration;

use crate::policy::replies;
use crate::policy::throttle::Action;
use crate::policy::throttle::Stage;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::ThrottleKey;
use crate::policy::throttle::escalation::escalation_key;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Answer;
use crate::session::io::Fact;
use crate::session::io::Output;
use crate::session::io::Question;
use crate::session::state::Final;
use crate::session::state::Postponed;
use crate::session::state::Transaction;
use crate::smtp::address::Address;

impl Session {
    /// Whether the recipients shall hear what a throttle said of MAIL.
    pub(super) fn postpone(&self, transaction: &mut Transaction, answer: &Answer, ruling: &Ruling) -> bool {
        let Some((throttle, wait)) = answer.refused else { return false };
        let snapshot = transaction.snapshot.clone();
        let escalates = |it: &&Throttle| it.escalate > 0;
        let Some(asked) = snapshot.policy.throttles.get(throttle).filter(escalates) else { return false };
        let Some(key) = asked.key(&self.seed, &self.subject(Some(&transaction.mail.sender), None)) else {
            return false;
        };
        transaction.postponed = Some(Postponed { throttle, key, wait });
        // A client that gives up before its first RCPT was refused by this.
        transaction.last_refusal = Some(Final::ruled(ruling, &self.id));
        true
    }

    /// What is asked about a recipient: the throttles, unless one has refused already, and the memory of oversizes, whose
    /// 552 outranks them.
    pub(super) fn question_of(&self, transaction: &Transaction, recipient: &Address) -> Question {
        let (mail, snapshot) = (&transaction.mail, transaction.snapshot.clone());
        let known = self.remembered(mail, recipient);
        if let Some(Postponed { throttle, key, .. }) = transaction.postponed {
            let throttle = &snapshot.policy.throttles[throttle];
            let deferred = self.escalation(throttle, key, recipient, mail.size);
            return Question { known, deferred, ..Question::new(snapshot, Vec::new()) };
        }
        let asks = self.asks(&snapshot, Stage::Recipient, Some(&mail.sender), Some(recipient), mail.size);
        Question { known, ..Question::new(snapshot, asks) }
    }

    /// What the message is known by, where its defers are counted.
    pub(super) fn escalation(
        &self,
        throttle: &Throttle,
        key: ThrottleKey,
        recipient: &Address,
        size: Option<u64>,
    ) -> Option<u128> {
        (throttle.escalate > 0).then(|| escalation_key(&self.seed, key, recipient, size))
    }

    /// No throttle refuses this recipient any more: its next defer is the first again.
    pub(super) fn passed(&mut self, recipient: &Address) {
        let Some(transaction) = &self.transaction else { return };
        let subject = self.subject(Some(&transaction.mail.sender), Some(recipient));
        let throttles = transaction.snapshot.policy.throttles.iter().filter(|throttle| throttle.escalate > 0);
        let key = |throttle: &Throttle| {
            self.escalation(throttle, throttle.key(&self.seed, &subject)?, recipient, transaction.mail.size)
        };
        let keys: Vec<u128> = throttles.filter_map(key).collect();
        if !keys.is_empty() {
            self.output.push_back(Output::Tell(Fact::Passed(keys)));
        }
    }
}

/// What a throttle that is over its limit says: the one that was postponed at MAIL, or one that was asked now.
pub(super) fn throttled(transaction: &Transaction, answer: &Answer) -> Option<Ruling> {
    let (throttle, wait) = refusal(transaction, answer)?;
    Some(match answer.blocked {
        true => Ruling::blocked_for(throttle, wait),
        false if throttle.escalate > 0 && answer.tries >= throttle.escalate => {
            Ruling::new(replies::escalated(throttle.count, answer.tries), Reason::Throttled).by(&throttle.name)
        }
        false => Ruling::throttled(throttle, wait),
    })
}

/// Whether the connection ends with it.
pub(super) fn disconnects(transaction: &Transaction, answer: &Answer) -> bool {
    refusal(transaction, answer).is_some_and(|(throttle, _)| throttle.action == Action::Disconnect)
}

fn refusal<'a>(transaction: &'a Transaction, answer: &Answer) -> Option<(&'a Throttle, Duration)> {
    let postponed = transaction.postponed.map(|postponed| (postponed.throttle, postponed.wait));
    let (index, wait) = postponed.or(answer.refused)?;
    Some((&transaction.snapshot.policy.throttles[index], wait))
}
