//! The paths, the users and the supervisor of the service to be: what the files and the steps are written for. It must not
//! look at the host.

use std::path::Path;
use std::path::PathBuf;

use crate::takeover::logger::Logger;
use crate::takeover::services::Supervisor;

/// Where everything will be.
#[derive(Debug)]
pub(super) struct Site {
    /// The new folder.
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) supervisor: Supervisor,
    /// The service that is taken over.
    pub(super) service: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) logger: Logger,
}

impl Site {
    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.join("portcullis.toml")
    }

    /// The name that the service gets where the old one is.
    pub(super) fn link(&self) -> PathBuf {
        let scanned = self.service.as_deref().and_then(Path::parent).filter(|_| self.is_supervised());
        let unlinked = ["/etc/sv", "/var/qmail/supervise", "/var/lib/qmail/supervise", "/var/supervise"];
        let scanned = scanned.filter(|folder| !unlinked.iter().any(|known| folder == &Path::new(known)));
        let usual = if self.supervisor == Supervisor::Daemontools { "/service" } else { "/etc/service" };
        scanned.unwrap_or(Path::new(usual)).join("portcullis")
    }

    pub(super) fn is_supervised(&self) -> bool {
        matches!(self.supervisor, Supervisor::Daemontools | Supervisor::Runit | Supervisor::S6)
    }
}
