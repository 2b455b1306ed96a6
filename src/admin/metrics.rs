//! `/metrics`: the counters of the reports, and what is as it is now. A scrape looks at no connection, sender or storm one
//! by one, so that it costs the same whatever goes on. It must not change anything.

use std::fmt;
use std::sync::Arc;

use crate::admin::process;
use crate::report::metrics::families;
use crate::report::metrics::families::Families;
use crate::report::metrics::families::Format;
use crate::status::Handles;
use crate::status::in_force::InForce;
use crate::store::disk::Health;
use crate::text::version;

/// All metrics, in the format that the scraper reads.
///
/// # Errors
/// What the encoder cannot write.
pub(super) fn metrics(handles: &Handles, format: Format) -> Result<String, fmt::Error> {
    let handles = handles.clone();
    families::text(format, move |to| write(&handles, to))
}

fn write(handles: &Handles, to: &mut Families<'_>) -> fmt::Result {
    let services = &handles.services;
    let snapshot = services.snapshot.borrow().clone();
    let throttles: Vec<(Arc<str>, bool)> =
        snapshot.policy.throttles.iter().map(|throttle| (throttle.name.clone(), throttle.shadow)).collect();
    services.reports.metrics.write(&throttles, to)?;
    to.counter("storms_begun", "Storms that have begun.", services.reports.storms.begun())?;
    to.counter("log_lines_lost", "Log lines thrown away because the log was not read.", handles.log.lost())?;
    write_load(handles, to)?;
    write_state(handles, to)?;
    write_configuration(&handles.in_force.borrow().clone(), to)?;
    to.info("build", "The version that runs.", &[("version", version::SHORT), ("commit", version::COMMIT)])?;
    process::write(handles.started, to)
}

/// What is used up, and its limits.
fn write_load(Handles { services, acceptor, log, in_force, .. }: &Handles, to: &mut Families<'_>) -> fmt::Result {
    let in_force = in_force.borrow().clone();
    let condition = services.conditions.current();
    let backend = services.backends.usage();
    let gauges = [
        (
            "backend_up",
            "0 while the backend does not answer, 1 otherwise.",
            u64::from(services.health.down().is_none()),
        ),
        ("backend_places_taken", "Sessions with the backend that are in use.", backend.places_taken as u64),
        ("backend_places_max", "Sessions with the backend that there may be: backend.max.", backend.places_max as u64),
        ("backend_waiting", "Sessions of clients that wait for one with the backend.", backend.waiting as u64),
        ("backend_idle", "Sessions with the backend that are kept for the next client.", backend.idle as u64),
        ("connections", "Open connections.", acceptor.connections() as u64),
        ("connections_max", "Connections that may be open: server.max_connections.", in_force.max_connections as u64),
        ("stress", "1 while connections are nearly used up and time limits are shorter.", u64::from(condition.stress)),
        ("stopping", "1 while the proxy is stopping.", u64::from(condition.is_stopping())),
        ("held_bytes", "Bytes of messages that are held.", services.holds.used()),
        ("held_bytes_max", "Bytes of messages that may be held: message.hold_total.", in_force.hold_total),
        (
            "hold_pressure",
            "0, or 1 to 4 while message.hold_total is nearly used up.",
            u64::from(services.holds.pressure()),
        ),
        ("storms", "Storms in progress.", services.reports.storms.count_running() as u64),
        (
            "log_stalled",
            "1 while the log is not being read and its lines are thrown away.",
            u64::from(log.is_stalled()),
        ),
    ];
    gauges.into_iter().try_for_each(|(name, help, value)| to.gauge(name, help, value))
}

/// What is remembered, and the disk that it is written to.
fn write_state(Handles { services, .. }: &Handles, to: &mut Families<'_>) -> fmt::Result {
    let (tables, health) = (services.state.tables(), services.state.health());
    let is_degraded = health.and_then(Health::failing).is_some();
    let is_set_aside = health.and_then(Health::kept).is_some();
    let gauges = [
        ("blocks", "Blocks, including expired ones that are not forgotten yet.", tables.blocks.len() as u64),
        ("throttle_keys", "Keys that throttles remember.", tables.throttles.len() as u64),
        ("ledger_entries", "Entries in the ledger of delivered messages.", tables.ledger.len() as u64),
        (
            "ledger_unacknowledged",
            "Delivered messages whose 250 the client never took.",
            tables.ledger.unacknowledged() as u64,
        ),
        ("state_degraded", "1 while the state cannot be written.", u64::from(is_degraded)),
        ("state_set_aside", "1 after a damaged state was set aside, until a restart.", u64::from(is_set_aside)),
    ];
    gauges.into_iter().try_for_each(|(name, help, value)| to.gauge(name, help, value))?;
    let Some(health) = health else { return Ok(()) };
    to.counter("state_write_failures", "Failed writes of the state, and failed tries to open it.", health.failures())?;
    let written = health.written().nanoseconds() as f64 / 1e9;
    let help = "Time up to which all changes of the state are on the disk, in seconds since the epoch.";
    to.gauge("state_last_write_timestamp_seconds", help, written)
}

/// The configuration in force, and what reloads have said. A file that two pairs share counts once.
fn write_configuration(in_force: &InForce, to: &mut Families<'_>) -> fmt::Result {
    let reload = &in_force.reload;
    let reloads = [([("outcome", "done")], reload.done), ([("outcome", "failed")], reload.failed)];
    to.counters("reloads", "Reloads of the configuration and its lists by outcome.", reloads)?;
    let help = "1 unless the last reload had errors and what was in force stayed.";
    to.gauge("config_last_reload_successful", help, u64::from(reload.faults.is_empty()))?;
    let help = "Time at which what is in force was read, in seconds since the epoch.";
    to.gauge("config_last_reload_timestamp_seconds", help, u64::from(reload.at))?;
    let mut ends: Vec<(&str, u32)> =
        in_force.certificates.iter().map(|certificate| (certificate.file.as_str(), certificate.until)).collect();
    ends.sort_unstable();
    ends.dedup_by_key(|(file, _)| *file);
    let series = ends.into_iter().map(|(file, until)| ([("file", file)], until));
    to.gauges("certificate_expiry_timestamp_seconds", "Last second of a certificate, since the epoch.", series)
}
