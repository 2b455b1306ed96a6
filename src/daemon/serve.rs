//! The daemon's life, in phases: assemble, bind, change user, run, drain, end. It must not answer clients itself.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin;
use crate::admin::daemon::Desk;
use crate::admin::daemon::Reload as Asked;
use crate::alerts;
use crate::config::checked::Config;
use crate::config::checked::alert::Alert;
use crate::config::watch::Look;
use crate::config::watch::Watcher;
use crate::daemon::assemble::Assembly;
use crate::daemon::assemble::Leniency;
use crate::daemon::assemble::Origin;
use crate::daemon::descriptors;
use crate::daemon::desk::Clerk;
use crate::daemon::fault::StartFault;
use crate::daemon::listeners;
use crate::daemon::listeners::Listener;
use crate::daemon::privileges;
use crate::daemon::reload::Reload;
use crate::daemon::reload::ask_backend;
use crate::daemon::reload::in_force;
use crate::daemon::reload::report_unwatched;
use crate::daemon::signals;
use crate::daemon::signals::SignalAction;
use crate::daemon::signals::Signals;
use crate::daemon::supervisor;
use crate::daemon::supervisor::Notification;
use crate::daemon::watchdog;
use crate::front::Server;
use crate::front::Services;
use crate::front::Stop;
use crate::front::accept::Acceptor;
use crate::front::probe;
use crate::front::workers::Workers;
use crate::policy::list::AddressList;
use crate::report;
use crate::status::Handles;
use crate::status::problems::Problems;
use crate::store;
use crate::store::clock::Wall;
use crate::store::state::State;

/// Runs the proxy until a signal stops it. `notify_fd` is a descriptor that gets a newline when the proxy is ready.
///
/// # Errors
/// The reason why it did not start; nothing was changed then.
pub fn serve(origin: Origin, notify_fd: Option<u32>) -> Result<(), StartFault> {
    let mut assembly =
        origin.assemble_leniently(&Leniency::All).map_err(|refused| StartFault::Files(refused.faults))?;
    let log = report::log::start::start(assembly.config.report);
    log_panics();
    for warning in &assembly.warnings {
        tracing::warn!(warning = %warning, "configuration");
    }
    for note in &assembly.notes {
        tracing::info!(note = %note, "configuration");
    }
    let descriptors = descriptors::raise_limit();
    descriptors::bound_connections(&mut assembly.config, descriptors);
    let notification = supervisor::notification(notify_fd)?;
    let listeners = listeners::open(&assembly.config.front)?;
    let config = &assembly.config;
    privileges::become_user(config.user.as_deref(), config.group.as_deref()).map_err(StartFault::User)?;
    privileges::drop_capabilities().map_err(StartFault::User)?;
    privileges::gain_none(&config.backend.target);
    let cannot_start = |error| StartFault::System("cannot start threads", error);
    let _flush_guard = log.write_by_thread().map_err(cannot_start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    runtime.block_on(async {
        signals::hear_children();
        signals::outlive_file_limit();
    });
    let state = State::open(&config.state, Arc::new(Wall::new())).map_err(StartFault::State)?;
    let admin = admin::bind(&config.admin).map_err(StartFault::Admin)?;
    let number = config.front.workers.unwrap_or_else(Workers::usual);
    let (workers, threads) = Workers::start(number, "worker").map_err(cannot_start)?;
    let bound = Bound { listeners, state: Arc::new(state), admin, notification, descriptors };
    let result = runtime.block_on(run(origin, assembly, workers, log, bound));
    threads.stop(LAST_BREATH);
    runtime.shutdown_timeout(LAST_BREATH);
    result
}

/// The values and resources that exist before the runtime.
struct Bound {
    listeners: Vec<Listener>,
    state: Arc<State>,
    admin: Option<admin::Bound>,
    notification: Option<Notification>,
    /// Open files that the system allows.
    descriptors: u64,
}

async fn run(
    origin: Origin,
    assembly: Assembly,
    workers: Workers,
    log: report::log::start::Handle,
    Bound { listeners, state, admin, notification, descriptors }: Bound,
) -> Result<(), StartFault> {
    // Signals and watches first, so that nothing is missed from here on.
    let system = |what| move |error| StartFault::System(what, error);
    let mut signals = Signals::new().map_err(system("cannot listen to signals"))?;
    let mut watcher = watch_files(&assembly);
    let server = Server::start(workers.clone(), state, assembly.values());
    let services = server.services.clone();
    let started = services.state.tables().clock.now();
    let in_force = watch::Sender::new(Arc::new(in_force(&assembly, origin.file.as_deref(), started)));
    let handles = Handles {
        services: services.clone(),
        acceptor: server.acceptor.clone(),
        log: log.clone(),
        in_force: in_force.subscribe(),
        problems: Arc::new(Problems::default()),
        started,
    };
    let alerts = tell(&handles, &assembly.config).map_err(system("cannot start the alerts"))?;
    let (sender, asked) = mpsc::channel(MOST_RELOADS);
    if let Some(bound) = admin {
        let (origin, in_force) = (origin.clone(), in_force.subscribe());
        let clerk = Clerk { origin, services: services.clone(), in_force };
        let desk = Desk { daemon: Box::new(clerk), reloads: sender };
        admin::start(bound, handles, desk).map_err(system("cannot start the admin interface"))?;
    }
    let accepting = listen(&server.acceptor, listeners)?;
    notification.into_iter().for_each(Notification::ready);
    log_start(&origin, &assembly);
    tokio::spawn(watchdog::feed(workers, accepting));
    tokio::spawn(sweep(services.clone()));
    tokio::spawn(ask_backend(services.clone()));
    tokio::spawn(probe::watch(services));
    // A file was changed, made or removed between reading and watching.
    if Look::at(&assembly.files) != assembly.look {
        watcher.iter_mut().for_each(Watcher::ask);
    }
    let Assembly { config, files, left_out, .. } = assembly;
    let bound = config.clone();
    let mut reload = Reload { origin, bound, files, left_out, descriptors, config, server, log, in_force, alerts };
    attend(&mut reload, &mut watcher, &mut signals, asked).await;
    end(&reload, &mut signals).await;
    Ok(())
}

/// Reloads whenever there is a reason, until a signal stops the proxy.
async fn attend(
    reload: &mut Reload,
    watcher: &mut Option<Watcher>,
    signals: &mut Signals,
    mut asked: mpsc::Receiver<Asked>,
) {
    loop {
        tokio::select! {
            word = signals.next() => match word {
                SignalAction::Reload => match watcher {
                    // The file may still be being written.
                    Some(watcher) => watcher.ask(),
                    None => reload.run(watcher).await,
                },
                SignalAction::Stop => break,
            },
            unwatched = changed(watcher) => {
                report_unwatched(&unwatched);
                reload.run(watcher).await;
            }
            // Who asks may have gone meanwhile.
            Some(asked) = asked.recv() => {
                let _ = asked.0.send(reload.for_operator(watcher).await);
            }
        }
    }
}

fn log_start(origin: &Origin, assembly: &Assembly) {
    let file = origin.file.as_ref().map(|file| file.display().to_string());
    let policy = &assembly.snapshot.policy;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = file.as_deref().unwrap_or("built-in default"),
        backend = %assembly.config.backend.target,
        blocked_senders = policy.senders.iter().map(AddressList::len).sum::<usize>(),
        rules = policy.clients.len(),
        "started"
    );
}

/// Starts accepting, and reports readiness: signal handlers and listeners exist.
fn listen(acceptor: &Arc<Acceptor>, listeners: Vec<Listener>) -> Result<Vec<JoinHandle<()>>, StartFault> {
    let mut accepting = Vec::new();
    for Listener { socket, implicit_tls, is_inherited } in listeners {
        let address = socket.local_addr().ok();
        let task = acceptor.listen(socket, implicit_tls, is_inherited);
        accepting.push(task.map_err(|error| StartFault::System("cannot use a listener", error))?);
        if let Some(address) = address {
            let (tls, from) = (implicit_tls.then_some("implicit"), is_inherited.then_some("supervisor"));
            tracing::info!(%address, tls, from, "listening");
        }
    }
    supervisor::ready();
    Ok(accepting)
}

/// Lets transactions end within `drain`; a second stop signal ends them at once.
async fn end(reload: &Reload, signals: &mut Signals) {
    let Server { services, acceptor, .. } = &reload.server;
    let (drain, conditions) = (reload.config.front.drain, &services.conditions);
    tracing::info!(connections = acceptor.connections(), drain_seconds = drain.as_secs(), "stopping");
    supervisor::stopping();
    conditions.change(|condition| condition.stop = Stop::Drain);
    let mut drained = pin!(tokio::time::sleep(drain));
    let is_hurried = tokio::select! {
        () = acceptor.none_granted() => false,
        () = &mut drained => false,
        () = second_stop(signals) => true,
    };
    conditions.change(|condition| condition.stop = Stop::Kill);
    // Time for records, and for child processes to end.
    let _ = timeout(LAST_BREATH, async { tokio::join!(acceptor.none_granted(), services.backends.drained()) }).await;
    services.backends.end_idle();
    // A client that connected at the last moment hears 421.
    let _ = timeout(LAST_WORD, acceptor.none_left()).await;
    // Changes since the last second.
    services.state.flush().await;
    tracing::info!(connections = acceptor.connections(), "stopped");
    tokio::select! {
        () = written_out(reload.log.clone(), drain) => {}
        // A logger that has not read by then will not.
        () = async {
            if !is_hurried {
                drained.await;
            }
            tokio::time::sleep(LAST_LINES).await;
        } => reload.log.abandon(),
        () = second_stop(signals) => reload.log.abandon(),
    }
}

/// Waits until all log lines are written, which depends on their reader, at most `limit`.
async fn written_out(log: report::log::start::Handle, limit: Duration) {
    let _ = tokio::task::spawn_blocking(move || log.flush(limit + LAST_LINES)).await;
}

async fn second_stop(signals: &mut Signals) {
    while signals.next().await != SignalAction::Stop {}
}

/// Starts the alerts, which keep what they told beside the state, if that outlives the process.
fn tell(handles: &Handles, config: &Config) -> io::Result<watch::Sender<Vec<Alert>>> {
    let memory = match &config.state {
        store::state::Settings::File(path) => Some(path.with_extension("alerts")),
        store::state::Settings::Memory => None,
    };
    let told = watch::Sender::new(config.alerts.clone());
    alerts::start(handles.clone(), told.subscribe(), memory)?;
    Ok(told)
}

fn watch_files(assembly: &Assembly) -> Option<Watcher> {
    match Watcher::new(assembly.files.clone()) {
        Ok((watcher, unwatched)) => {
            report_unwatched(&unwatched);
            Some(watcher)
        }
        Err(error) => {
            tracing::warn!(%error, remedy = "send HUP after a change", "watch");
            None
        }
    }
}

async fn changed(watcher: &mut Option<Watcher>) -> Vec<crate::config::watch::Unwatched> {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// Forgets idle keys, over and over.
async fn sweep(services: Arc<Services>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        let tables = services.state.tables();
        tables.sweep();
        services.holds.sweep();
        services.reports.sweep(tables.clock.now());
    }
}

/// Logs panics: a session that panics ends alone, and the operator should hear of it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "panic")));
}

/// Time after the drain for cleaning up.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// Time for the 421 of newcomers; a client that has heard it need not have closed.
const LAST_WORD: Duration = Duration::from_millis(250);
/// Time for the log where the drain used up its own.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Reloads that are asked for at one time.
const MOST_RELOADS: usize = 4;
const SWEEP: Duration = Duration::from_secs(60);
