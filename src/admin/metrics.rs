//! `/metrics`: the counters of the reports, and the status as gauges. It must not change anything.

use std::fmt;
use std::sync::Arc;

use crate::report::metrics::families;
use crate::report::metrics::families::Families;
use crate::report::metrics::families::Format;
use crate::status::Handles;
use crate::status::Status;
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
    let status = Status::of(handles);
    let services = &handles.services;
    let snapshot = services.snapshot.borrow().clone();
    let throttles: Vec<(Arc<str>, bool)> =
        snapshot.policy.throttles.iter().map(|throttle| (throttle.name.clone(), throttle.shadow)).collect();
    services.reports.metrics.write(&throttles, to)?;
    to.counter("storms_begun", "Storms that have begun.", services.reports.storms.begun())?;
    to.counter("log_lines_lost", "Log lines thrown away because the log was not read.", status.log_lines_lost)?;
    write_gauges(&status, to)?;
    to.info("build", "The version that runs.", &[("version", status.version), ("commit", version::COMMIT)])
}

fn write_gauges(status: &Status, to: &mut Families<'_>) -> fmt::Result {
    let gauges = [
        ("connections", "Open connections.", status.connections as u64),
        ("held_bytes", "Bytes of messages that are held.", status.held_octets),
        ("blocks", "Blocks, including expired ones that are not forgotten yet.", status.blocks as u64),
        ("throttle_keys", "Keys that throttles remember.", status.throttle_keys as u64),
        ("ledger_entries", "Entries in the ledger of delivered messages.", status.ledger_entries as u64),
        ("ledger_unacknowledged", "Delivered messages whose 250 the client never took.", status.unacknowledged as u64),
        ("storms", "Storms in progress.", status.storms.len() as u64),
        ("stress", "1 while connections are nearly used up and time limits are shorter.", u64::from(status.stress)),
        ("hold_pressure", "0, or 1 to 4 while message.hold_total is nearly used up.", u64::from(status.hold_pressure)),
        ("state_degraded", "1 while the state cannot be written.", u64::from(status.state == "degraded")),
        (
            "state_set_aside",
            "1 after a damaged state was set aside, until a restart.",
            u64::from(status.state_set_aside.is_some()),
        ),
        (
            "log_stalled",
            "1 while the log is not being read and its lines are thrown away.",
            u64::from(status.log_stalled),
        ),
    ];
    gauges.into_iter().try_for_each(|(name, help, value)| to.gauge(name, help, value))
}
