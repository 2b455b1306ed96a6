//! Refusals of ours: of a sender, a recipient or a message, with their cost for the client. It must not decide what is
//! refused: the ruling is handed in.

use std::sync::Arc;

use crate::policy::repeat::refusal_key;
use crate::policy::throttle::Action;
use crate::policy::throttle::Charge;
use crate::policy::throttle::Count;
use crate::policy::throttle::Probe;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Ruling;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::outcome::Outcome;
use crate::session::question::Ask;
use crate::session::question::Question;
use crate::session::question::Throttled;
use crate::session::question::Throttles;
use crate::session::state::Pending;
use crate::session::state::Refused;
use crate::session::state::RefusedWhat;
use crate::session::state::State;
use crate::smtp::command::Rcpt;

impl Session {
    /// Refuses by a ruling of ours about sender, size, repeat or loop: it counts as a rejection, and as a retry where
    /// the same was refused before. A client with too many of them hears it and is disconnected. The 5xx stays a 5xx: a
    /// 4xx is what feeds a storm.
    pub(super) fn reject(&mut self, ruling: Ruling, what: RefusedWhat, now: Now) {
        let Some(transaction) = &self.transaction else { return self.contradiction(now) };
        let (mail, snapshot) = (transaction.mail.clone(), transaction.snapshot.clone());
        let recipients = match &what {
            RefusedWhat::Mail => Vec::new(),
            RefusedWhat::Rcpt(rcpt) => vec![rcpt.clone()],
            RefusedWhat::Message(_) => transaction.accepted.iter().map(|accepted| accepted.rcpt.clone()).collect(),
        };
        let recipients: Vec<_> = recipients.iter().map(|rcpt| &rcpt.recipient).collect();
        let mut charges = self.charges(&snapshot, Count::Rejections, 1, Some(&mail.sender), &recipients);
        let retries = self.charges(&snapshot, Count::Retries, 1, Some(&mail.sender), &recipients);
        let size = match &what {
            RefusedWhat::Mail | RefusedWhat::Rcpt(_) => mail.size,
            RefusedWhat::Message(received) => Some(received.size),
        };
        let refusal = (!retries.is_empty()).then(|| {
            refusal_key(&self.seed, self.client.peer.client.ip(), &mail.sender, &recipients, ruling.reason, size)
        });
        charges.extend(retries);
        let label = |charge: &Charge| {
            let throttle = &snapshot.policy.throttles[charge.throttle];
            let subject = self.client.subject(Some(&mail.sender), recipients.first().copied());
            (throttle.action == Action::Block).then(|| throttle.label(&subject).unwrap_or_default())
        };
        let ask = |charge: &Charge| Ask {
            charge: *charge,
            probe: Probe::Test,
            label: label(charge),
            escalation: None,
            familiar: None,
        };
        let asks = charges.iter().map(ask).collect();
        let refused = Refused { ruling, what, charges };
        if refused.charges.is_empty() {
            self.rejected(refused, &Throttled::default(), false, now);
        } else {
            let question = Question::Rejection { throttles: Throttles { snapshot, asks }, refusal };
            self.ask(question, Pending::Rejected(Box::new(refused)), now);
        }
    }

    /// Ends the refusal once the throttles know of the rejection.
    pub(super) fn rejected(&mut self, refused: Refused, throttled: &Throttled, is_retry: bool, now: Now) {
        let Refused { ruling, what, mut charges } = refused;
        let snapshot = self.snapshot_of_transaction();
        let counts = |charge: &Charge| is_retry || snapshot.policy.throttles[charge.throttle].count != Count::Retries;
        charges.retain(counts);
        let over = throttled.over.map(|over| &snapshot.policy.throttles[over.throttle]);
        let over = over.filter(|throttle| throttle.action != Action::Defer);
        let ruling = over.map_or(ruling.clone(), |throttle| ruling.and_by(&throttle.name));
        let disconnects = over.is_some();
        self.charge(&snapshot, charges);
        if let Some(transaction) = &mut self.transaction {
            transaction.note_shadows(&throttled.shadows);
        }
        match what {
            RefusedWhat::Mail => self.refuse_mail(&ruling, now),
            RefusedWhat::Rcpt(rcpt) => {
                self.state = State::Command;
                self.refuse_rcpt(&rcpt, &ruling, now);
            }
            RefusedWhat::Message(received) => self.refuse_message(&received, &ruling, now),
        }
        if disconnects {
            self.end_transaction(Reason::Throttled, now);
            self.close(now);
        }
    }

    pub(super) fn refuse_mail(&mut self, ruling: &Ruling, now: Now) {
        self.end_recorded(&Outcome::ruled(ruling, &self.id), None, now);
        self.state = State::Command;
        self.reply(&ruling.reply);
        self.stop_if_idle(now);
    }

    pub(super) fn refuse_rcpt(&mut self, rcpt: &Arc<Rcpt>, ruling: &Ruling, now: Now) {
        self.record_rcpt(rcpt, &Outcome::ruled(ruling, &self.id), now);
        self.reply(&ruling.reply);
    }

    /// Ends the connection in the middle of a transaction, by a throttle.
    pub(super) fn disconnect_transaction(&mut self, ruling: &Ruling, now: Now) {
        self.end_recorded(&Outcome::ruled(ruling, &self.id), None, now);
        self.close(now);
    }
}
