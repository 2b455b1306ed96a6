//! What the admin interface asks of the daemon: a check of the files as they are now, and whether a block would hit mail
//! of our own. It must not put anything in force.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::daemon::Checked;
use crate::admin::daemon::Daemon;
use crate::daemon::assemble::Origin;
use crate::daemon::own;
use crate::daemon::own::Ours;
use crate::daemon::preflight;
use crate::front::Services;
use crate::policy::block::BlockKey;
use crate::status::in_force::InForce;

/// The desk of the running daemon.
pub(super) struct Clerk {
    pub(super) origin: Origin,
    pub(super) services: Arc<Services>,
    pub(super) in_force: watch::Receiver<Arc<InForce>>,
}

impl Daemon for Clerk {
    fn check(&self) -> Checked {
        check(&self.origin, true)
    }

    fn doubt(&self, key: &BlockKey) -> Option<String> {
        let (snapshot, in_force) = (self.services.snapshot.borrow().clone(), self.in_force.borrow().clone());
        let ours = Ours { policy: &snapshot.policy, control: in_force.control.as_deref(), unread: None };
        own::doubt(ours, None, key)
    }
}

/// Everything that is wrong with the files and on this host. Without `ports`, another program may have them still.
pub fn check(origin: &Origin, ports: bool) -> Checked {
    let file = origin.file.as_ref().map(|file| file.display().to_string());
    match origin.assemble() {
        Ok(assembly) => {
            let host = preflight::look(&assembly, origin.file.as_deref(), ports);
            let notes = [assembly.notes, host.notes].concat();
            Checked { file, faults: host.faults, warnings: assembly.warnings, notes }
        }
        Err(refused) => Checked { file, faults: refused.faults, warnings: refused.warnings, notes: Vec::new() },
    }
}
