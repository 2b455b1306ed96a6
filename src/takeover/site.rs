//! The paths, the users and the supervisor of the service to be: what the files and the steps are written for. It must not
//! look at the host.

use std::path::PathBuf;

use crate::takeover::logger::Logger;
use crate::takeover::services::Supervisor;

/// Where everything will be.
#[derive(Debug)]
pub(super) struct Site {
    /// The new folder.
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    /// The supervisor of the new service.
    pub(super) supervisor: Supervisor,
    /// The new service's name in the folder that the supervisor scans; none where nothing scans, or for systemd.
    pub(super) link: Option<PathBuf>,
    /// The service that is taken over, and what starts it.
    pub(super) service: Option<(PathBuf, Supervisor)>,
    pub(super) user: Option<String>,
    pub(super) logger: Logger,
}

impl Site {
    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.join("portcullis.toml")
    }

    /// A supervisor with run scripts, or none at all.
    pub(super) fn has_run_script(&self) -> bool {
        self.supervisor.scans()
    }
}
