//! What the admin interface asks of the daemon: a check of the files as they are now, and whether a block would hit mail
//! of our own. It must not put anything in force.

use crate::admin::daemon::Checked;
use crate::admin::daemon::Daemon;
use crate::daemon::assemble::Origin;
use crate::daemon::assemble::Salvage;
use crate::daemon::own;
use crate::daemon::preflight;
use crate::policy::block::BlockKey;

/// The desk of a daemon that was started with this origin.
pub(super) struct Clerk(pub(super) Origin);

impl Daemon for Clerk {
    fn check(&self) -> Checked {
        check(&self.0, true)
    }

    fn doubt(&self, key: &BlockKey) -> Option<String> {
        let read = match self.0.assemble() {
            Ok(assembly) => {
                Some(Salvage { config: assembly.config, snapshot: assembly.snapshot, lists_are_whole: true })
            }
            Err(_) => self.0.salvage(),
        };
        match read {
            Some(read) => own::doubt(&read, None, key),
            None => Some("the configuration cannot be read now, so nobody knows what this would hit".to_owned()),
        }
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
