//! The throttles that are asked at each stage, their keys, and the charges for events. It must not count: the store
//! does.

use std::sync::Arc;

use crate::policy::familiar::familiar_key;
use crate::policy::throttle::Action;
use crate::policy::throttle::Charge;
use crate::policy::throttle::Count;
use crate::policy::throttle::Stage;
use crate::policy::throttle::Throttle;
use crate::session::Session;
use crate::session::io::Event;
use crate::session::io::Output;
use crate::session::question::Ask;
use crate::session::question::Throttles;
use crate::session::snapshot::Snapshot;
use crate::session::state::Transaction;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

impl Session {
    /// The throttles to be asked at this stage: those that count here are charged, those that count later only tested
    /// (keys without a recipient at MAIL, keys with one at RCPT).
    pub(super) fn asks(
        &self,
        snapshot: &Arc<Snapshot>,
        stage: Stage,
        sender: Option<&ReversePath>,
        recipient: Option<&Address>,
        size: Option<u64>,
    ) -> Throttles {
        let subject = self.client.subject(sender, recipient);
        let ask = |(index, throttle): (usize, &Throttle)| {
            let probe = throttle.probed_at(stage)?;
            let cells = throttle.cost(size);
            let key = throttle.key(&self.seed, &subject)?;
            let label = || throttle.label(&subject).unwrap_or_default();
            let label = (throttle.action == Action::Block).then(label);
            let escalation = recipient.and_then(|recipient| self.escalation(throttle, key, recipient, size));
            let familiar = recipient.filter(|_| throttle.is_shared());
            let familiar = familiar.map(|recipient| familiar_key(&self.seed, self.client.peer.client.ip(), recipient));
            Some(Ask { charge: Charge { throttle: index, key, cells }, probe, label, escalation, familiar })
        };
        let asks = snapshot.policy.throttles.iter().enumerate().filter_map(ask).collect();
        Throttles { snapshot: snapshot.clone(), asks }
    }

    /// The charges for one event of this kind, for each recipient that a key names. Outside of a transaction there is
    /// no sender.
    pub(super) fn charges(
        &self,
        snapshot: &Snapshot,
        count: Count,
        cells: u64,
        sender: Option<&ReversePath>,
        recipients: &[&Address],
    ) -> Vec<Charge> {
        let mut charges = Vec::new();
        let counted = |throttle: &Throttle| throttle.count == count;
        for (index, throttle) in snapshot.policy.throttles.iter().enumerate().filter(|(_, it)| counted(it)) {
            let mut charge = |recipient: Option<&Address>| {
                let key = throttle.key(&self.seed, &self.client.subject(sender, recipient));
                charges.extend(key.map(|key| Charge { throttle: index, key, cells }));
            };
            if throttle.has_recipient() {
                recipients.iter().for_each(|recipient| charge(Some(recipient)));
            } else {
                charge(None);
            }
        }
        charges
    }

    /// Notes that the client's network has delivered to these recipients: where strangers share a budget it comes first
    /// from now on.
    pub(super) fn delivered(&mut self, snapshot: &Snapshot, recipients: &[&Address]) {
        if snapshot.policy.throttles.iter().any(Throttle::is_shared) {
            let key = |recipient: &&Address| familiar_key(&self.seed, self.client.peer.client.ip(), recipient);
            self.output.push_back(Output::Count(Event::Familiar(recipients.iter().map(key).collect())));
        }
    }

    /// The charges for a message's octets. A message that is larger than the whole burst and says so passes on a full
    /// budget alone, and costs that; undeclared octets are owed.
    pub(super) fn charges_of_octets(
        &self,
        transaction: &Transaction,
        octets: u64,
        recipients: &[&Address],
    ) -> Vec<Charge> {
        let Transaction { snapshot, mail, .. } = transaction;
        let mut charges = self.charges(snapshot, Count::Bytes, octets, Some(&mail.sender), recipients);
        if mail.size.is_some_and(|declared| declared >= octets) {
            for charge in &mut charges {
                charge.cells = charge.cells.min(snapshot.policy.throttles[charge.throttle].burst);
            }
        }
        charges
    }

    /// Tells the counters of charges.
    pub(super) fn charge(&mut self, snapshot: &Arc<Snapshot>, charges: Vec<Charge>) {
        if !charges.is_empty() {
            self.output.push_back(Output::Count(Event::Charge(snapshot.clone(), charges)));
        }
    }
}
