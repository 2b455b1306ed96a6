//! What the interface wants of the daemon, whose modules it must not name.

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::policy::block::BlockKey;
use crate::text::finding::Finding;

/// What the daemon does for the interface. All of it may read files, and take its time.
pub(crate) trait Daemon: Send + Sync {
    /// What `check` reports.
    fn check(&self) -> Checked;

    /// Why a block of this key needs a second thought: one sentence with what it would hit.
    fn doubt(&self, key: &BlockKey) -> Option<String>;
}

/// A request for a reload, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Reload(pub(crate) oneshot::Sender<Reloaded>);

/// The daemon, and the way to its reloads.
pub(crate) struct Desk {
    pub(crate) daemon: Box<dyn Daemon>,
    pub(crate) reloads: mpsc::Sender<Reload>,
}

/// What a check of the configuration found.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Checked {
    /// The configuration; `null` for the built-in default.
    pub file: Option<String>,
    /// Errors of the files and of this host.
    pub faults: Vec<Finding>,
    /// Settings that are probably not as they were meant.
    pub warnings: Vec<Finding>,
    /// Remarks that are no errors.
    pub notes: Vec<Finding>,
}

/// The outcome of a reload.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Reloaded {
    /// Whether the files are in force now; if not, what was in force still is.
    pub reloaded: bool,
    /// The errors that kept it.
    pub faults: Vec<String>,
    /// Settings that are probably not as they were meant.
    pub warnings: Vec<String>,
}
