//! Reloads configuration and lists while the proxy runs: within a second of a change, and on SIGHUP. It must not
//! replace anything by values with a fault.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::daemon::Reloaded;
use crate::backend::Target;
use crate::config::checked::Config;
use crate::config::checked::alert::Alert;
use crate::config::watch::Look;
use crate::config::watch::Unwatched;
use crate::config::watch::Watcher;
use crate::daemon::assemble::Assembly;
use crate::daemon::assemble::Leniency;
use crate::daemon::assemble::Origin;
use crate::daemon::assemble::Refused;
use crate::daemon::assemble::pairs;
use crate::daemon::descriptors;
use crate::daemon::privileges;
use crate::daemon::supervisor;
use crate::front::Condition;
use crate::front::Server;
use crate::front::Services;
use crate::front::inquiry::inquire;
use crate::policy::list::AddressList;
use crate::report;
use crate::status::in_force::InForce;
use crate::store::clock::Time;
use crate::text::finding::Finding;

/// The target of reloads: where new values are published.
pub(super) struct Reload {
    pub(super) origin: Origin,
    /// The values of the start that cannot change while running.
    pub(super) bound: Config,
    /// The files read last.
    pub(super) files: Vec<PathBuf>,
    /// Lines of lists that are left out.
    pub(super) left_out: Vec<Finding>,
    /// Open files that the system allows.
    pub(super) descriptors: u64,
    pub(super) config: Config,
    pub(super) server: Server,
    pub(super) log: report::log::start::Handle,
    /// What is said of the configuration in force, and of the last reload.
    pub(super) in_force: watch::Sender<Arc<InForce>>,
    /// Who is told of problems.
    pub(super) alerts: watch::Sender<Vec<Alert>>,
}

impl Reload {
    /// Reads everything again, and puts it in force unless it has faults.
    pub(super) async fn run(&mut self, watcher: &mut Option<Watcher>) {
        supervisor::reloading();
        self.read(watcher).await;
        supervisor::ready();
    }

    /// As [`Self::run`], and what came of it.
    pub(super) async fn for_operator(&mut self, watcher: &mut Option<Watcher>) -> Reloaded {
        let done = self.in_force.borrow().reload.done;
        self.run(watcher).await;
        let now = self.in_force.borrow().reload.clone();
        let reloaded = now.done > done;
        let faults = if reloaded { Vec::new() } else { now.faults };
        Reloaded { reloaded, faults, warnings: now.warnings }
    }

    async fn read(&mut self, watcher: &mut Option<Watcher>) {
        let (origin, leniency) = (self.origin.clone(), Leniency::Known(self.left_out.clone()));
        // A task that panicked has read nothing.
        let Ok(result) = tokio::task::spawn_blocking(move || origin.assemble_leniently(&leniency)).await else {
            return;
        };
        match result.and_then(|assembly| self.runnable(assembly)) {
            Ok(mut assembly) => {
                descriptors::bound_connections(&mut assembly.config, self.descriptors);
                self.files.clone_from(&assembly.files);
                self.watch(watcher, Vec::new());
                if Look::at(&assembly.files) != assembly.look {
                    watcher.iter_mut().for_each(Watcher::ask);
                }
                self.publish(assembly);
            }
            Err(Refused { faults, files, .. }) => {
                // A list may be named before it exists: its arrival is then a reason to reload.
                self.watch(watcher, files);
                for fault in &faults {
                    tracing::error!(fault = %fault, "reload");
                }
                tracing::error!(faults = faults.len(), "not reloaded; the last good configuration stays in force");
                let (faults, now) = (faults.iter().map(ToString::to_string).collect(), self.now());
                self.in_force.send_modify(|in_force| *in_force = Arc::new(in_force.refused(faults, now)));
            }
        }
    }

    /// Refuses values that need rights given up at the start: mail would reach the backend and fail there.
    fn runnable(&self, assembly: Assembly) -> Result<Assembly, Refused> {
        let needs = |config: &Config| privileges::may_need_setuid(&config.backend.target);
        if needs(&self.bound) || !needs(&assembly.config) {
            return Ok(assembly);
        }
        let file = self.origin.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        let key = if matches!(assembly.config.backend.target, Target::Queue(_)) { "queue" } else { "spawn" };
        let what = format!(
            "backend.{key} needs a restart: this process was started with a backend that starts nothing, and has given up \
             running setuid programs such as qmail-queue"
        );
        let fault = Finding { file, line: 0, column: 0, what };
        Err(Refused { faults: vec![fault], warnings: assembly.warnings, files: assembly.files })
    }

    /// Watches the files in force, and `more`.
    fn watch(&self, watcher: &mut Option<Watcher>, more: Vec<PathBuf>) {
        let Some(watcher) = watcher else { return };
        let files = self.files.iter().cloned().chain(more).collect();
        match watcher.replace(files) {
            Ok(unwatched) => report_unwatched(&unwatched),
            Err(error) => tracing::warn!(%error, "watch"),
        }
    }

    fn now(&self) -> Time {
        self.server.services.state.tables().clock.now()
    }

    fn publish(&mut self, assembly: Assembly) {
        let values = assembly.values();
        let next = in_force(&assembly, self.origin.file.as_deref(), self.now());
        self.in_force.send_modify(|in_force| *in_force = Arc::new(in_force.replaced(next)));
        let Assembly { config, snapshot, warnings, left_out, .. } = assembly;
        for warning in &warnings {
            tracing::warn!(warning = %warning, "reload");
        }
        for key in fixed_at_start(&self.bound, &config) {
            tracing::warn!(key, needs = "a restart", "reload");
        }
        self.log.update(config.report);
        self.alerts.send_if_modified(|alerts| std::mem::replace(alerts, config.alerts.clone()) != config.alerts);
        let policy = &snapshot.policy;
        let senders: usize = policy.senders.iter().map(AddressList::len).sum();
        let recipients: usize = policy.recipients.iter().map(AddressList::len).sum();
        let rules = policy.clients.len();
        let known = Some(policy.known.len()).filter(|_| !policy.known.is_empty());
        let before = self.server.services.snapshot.borrow().policy.senders.iter().map(AddressList::len).sum::<usize>();
        if before > 0 && senders == 0 {
            tracing::warn!(lifted = before, "no blocked senders left");
        }
        self.server.update(values);
        // The backend, or its environment, has changed.
        tokio::spawn(ask_backend(self.server.services.clone()));
        // Logged last: the values are in force by now.
        tracing::info!(
            blocked_senders = senders,
            blocked_recipients = recipients,
            rules,
            known_recipients = known,
            "reloaded"
        );
        (self.config, self.left_out) = (config, left_out);
    }
}

/// What is said of these values once they are in force, from `now` on.
pub(super) fn in_force(assembly: &Assembly, file: Option<&Path>, now: Time) -> InForce {
    let warnings = assembly.warnings.iter().map(ToString::to_string).collect();
    InForce::new(file, &assembly.config, &pairs(&assembly.config), warnings, now)
}

/// Asks the backend for its EHLO extensions, for the first client's EHLO.
pub(super) async fn ask_backend(services: Arc<Services>) {
    let asked = tokio::select! {
        asked = inquire(services.clone()) => asked,
        () = services.conditions.reached(Condition::is_stopping) => return,
    };
    let (backend, now) = (services.backends.target(), services.state.tables().clock.now());
    match asked {
        Ok(true) => {
            services.health.heard(now);
            tracing::info!(%backend, "backend answers");
        }
        Ok(false) => {}
        // Each EHLO asks again, until the backend answers once.
        Err(why) => {
            tracing::warn!(%backend, error = %why, "backend does not answer");
            services.health.suspect(&why, now);
        }
    }
}

/// The changed keys that are only read at the start.
fn fixed_at_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("server.listen", old.front.listen != new.front.listen),
        ("server.listen_tls", old.front.listen_tls != new.front.listen_tls),
        ("server.workers", old.front.workers != new.front.workers),
        ("admin.listen", old.admin != new.admin),
        ("state.url", old.state != new.state),
        ("server.user", old.user != new.user),
        ("server.group", old.group != new.group),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

pub(super) fn report_unwatched(unwatched: &[Unwatched]) {
    for Unwatched { folder, error } in unwatched {
        let folder = folder.display();
        tracing::warn!(%folder, %error, remedy = "send HUP after a change", "watch");
    }
}
