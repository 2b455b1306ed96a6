//! A reload: a new configuration takes the place of the old one between transactions, never within one.
//! It must not change what a running transaction is ruled by.

use crate::session::Session;

impl Session {
    /// Adopts a reloaded configuration: its settings hold from here on.
    pub(super) fn adopt_snapshot(&mut self) {
        if self.transaction.is_none()
            && let Some(next) = self.next.take()
        {
            self.snapshot = next;
            self.id.contact = self.snapshot.settings.contact.clone();
            self.adopt_environment();
        }
    }

    /// Adopts the client's rule, which may be another now: RELAYCLIENT or DATABYTES come and go with it. A backend
    /// session that was begun under the old one is given back, unless AUTH was part of it: that one goes on as it
    /// began.
    fn adopt_environment(&mut self) {
        if self.client.authenticated {
            return;
        }
        let environment = self.snapshot.policy.client(self.client.peer.client.ip(), self.client.peer.host.as_deref());
        let before = std::mem::replace(&mut self.client.environment, environment);
        if self.client.environment.key() == before.key() {
            return;
        }
        self.offer.is_fresh = false;
        self.close_backend();
    }
}
