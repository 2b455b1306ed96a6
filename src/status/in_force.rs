//! The configuration in force: where it came from, when, and what its last reload said. The daemon publishes it. It must
//! not hold a secret of the configuration.

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::checked::Config;
use crate::front::settings::Pair;
use crate::front::tls;
use crate::front::tls::Certificate;
use crate::store::clock::Time;

/// The configuration in force, and the outcome of the last reload.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// The configuration file; `None` for the embedded default.
    pub(crate) file: Option<PathBuf>,
    /// The name by which the proxy calls itself.
    pub(crate) host: String,
    /// Connections in all, at most.
    pub(crate) max_connections: usize,
    /// Octets of all held messages, at most.
    pub(crate) hold_total: u64,
    /// qmail's control folder.
    pub(crate) control: Option<PathBuf>,
    /// The qmail queue, if it is known.
    pub(crate) queue: Option<PathBuf>,
    /// The certificates that clients are shown.
    pub(crate) certificates: Vec<Certificate>,
    /// The last reload.
    pub(crate) reload: Reload,
}

/// The last reload, or the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reload {
    /// When what is in force was read, in seconds since the epoch.
    pub(crate) at: u32,
    /// When a reload failed after that; what is in force stayed.
    pub(crate) failed_at: Option<u32>,
    /// The errors of that reload.
    pub(crate) faults: Vec<String>,
    /// The warnings about what is in force.
    pub(crate) warnings: Vec<String>,
    /// Reloads since the start that were put in force.
    pub(crate) done: u64,
    /// Reloads since the start that had errors.
    pub(crate) failed: u64,
}

impl InForce {
    /// What was read at `now`. `done` and `failed` are counted by [`Self::replaced`] and [`Self::refused`].
    pub(crate) fn new(file: Option<&Path>, config: &Config, pairs: &[Pair], warnings: Vec<String>, now: Time) -> Self {
        Self {
            file: file.map(Path::to_owned),
            host: config.session.hostname.clone(),
            max_connections: config.front.max_connections,
            hold_total: config.hold.total,
            control: config.qmail.control.clone(),
            queue: config.hold.queue.clone(),
            certificates: tls::certificates(pairs),
            reload: Reload { at: now.seconds(), warnings, ..Reload::default() },
        }
    }

    /// `next` is in force instead.
    #[must_use]
    pub(crate) fn replaced(&self, next: Self) -> Self {
        let Reload { done, failed, .. } = self.reload;
        Self { reload: Reload { done: done + 1, failed, ..next.reload }, ..next }
    }

    /// A reload at `now` had these errors.
    #[must_use]
    pub(crate) fn refused(&self, faults: Vec<String>, now: Time) -> Self {
        let failed = self.reload.failed + 1;
        let reload = Reload { failed_at: Some(now.seconds()), faults, failed, ..self.reload.clone() };
        Self { reload, ..self.clone() }
    }
}
