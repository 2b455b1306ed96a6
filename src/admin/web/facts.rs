//! The proxy itself in a row of numbers: what it does now, and how much of what it has is used. It must not judge what is a
//! problem.

use crate::admin::web::chart::VERDICTS;
use crate::admin::web::human;
use crate::report::traffic::Sums;
use crate::status::Status;
use crate::status::words;
use crate::store::clock::Time;
use crate::text::number;

/// One number with its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) note: String,
    /// The hundredths of what there is that are used; empty where that means nothing.
    pub(super) part: String,
    /// `bad` where the operator has to look.
    pub(super) tone: &'static str,
}

/// All of them, in their order.
pub(super) fn of(status: &Status) -> Vec<Fact> {
    let mut facts = vec![minute(&status.rates.minute), connections(status), backend(status)];
    facts.extend(latency(status));
    facts.extend([hold(status), state(status), log(status)]);
    facts
}

fn minute(sums: &Sums) -> Fact {
    let counts = [sums.accepted, sums.absorbed, sums.deferred, sums.refused];
    let parts = counts.iter().zip(VERDICTS).filter(|(count, _)| **count > 0);
    let parts: Vec<String> = parts.map(|(count, name)| format!("{} {name}", human::number(*count))).collect();
    let sum: u64 = counts.iter().sum();
    let value = format!("{} {}", human::number(sum), if sum == 1 { "message" } else { "messages" });
    Fact { key: "minute", label: "Last minute", value, note: parts.join(", "), ..Fact::default() }
}

fn connections(status: &Status) -> Fact {
    let stress = if status.stress { ", under stress: time limits are shorter" } else { "" };
    Fact {
        key: "connections",
        label: "Connections",
        value: human::number(status.connections as u64),
        note: format!("of {}{stress}", human::number(status.max_connections as u64)),
        part: part(status.connections as u64, status.max_connections as u64),
        tone: bad(status.stress),
    }
}

fn backend(status: &Status) -> Fact {
    let backend = &status.backend;
    let usage = &backend.usage;
    let mut notes = Vec::new();
    if let Some(since) = backend.down_since {
        let error = backend.error.as_deref().map(|error| format!(": {}", human::seen(error))).unwrap_or_default();
        notes.push(format!("since {}{error}", words::since(since, Time::from_seconds(status.now))));
    }
    let counts = [(usage.waiting, "waiting"), (usage.idle, "idle")];
    notes.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    notes.push(human::seen(&backend.target));
    let (taken, most) = (usage.places_taken as u64, usage.places_max as u64);
    let value = match backend.up {
        true => format!("{} of {} places", human::number(taken), human::number(most)),
        false => "Down".to_owned(),
    };
    let (note, part, tone) = (notes.join(", "), part(taken, most), bad(!backend.up));
    Fact { key: "backend", label: "Backend", value, note, part, tone }
}

/// The backend's time to accept a message, once there were some.
fn latency(status: &Status) -> Option<Fact> {
    let dot = &status.backend.latency.dot_ms;
    let (value, note) = (human::time(dot.p50?), format!("median; 99 % within {}", human::time(dot.p99?)));
    Some(Fact { key: "latency", label: "Backend latency", value, note, ..Fact::default() })
}

fn hold(status: &Status) -> Fact {
    Fact {
        key: "hold",
        label: "Held",
        value: human::bytes(status.held_octets),
        note: format!("of {}", human::bytes(status.hold_total)),
        part: part(status.held_octets, status.hold_total),
        tone: bad(status.hold_pressure > 0),
    }
}

fn state(status: &Status) -> Fact {
    let value = match status.state {
        "ok" => "Written",
        "degraded" => "Not written",
        _ => "In memory only",
    };
    let mut notes: Vec<String> = status.state_error.iter().cloned().collect();
    notes.push(format!("{} in the ledger", number::count(status.ledger_entries as u64, "entry")));
    if status.unacknowledged > 0 {
        notes.push(format!("{} unacknowledged", human::number(status.unacknowledged as u64)));
    }
    notes.push(number::count(status.throttle_keys as u64, "throttle key"));
    let tone = bad(status.state == "degraded");
    Fact { key: "state", label: "State", value: value.to_owned(), note: notes.join(", "), tone, ..Fact::default() }
}

fn log(status: &Status) -> Fact {
    let value = if status.log_stalled { "Not read" } else { "Read" };
    let note = match status.log_lines_lost {
        0 => String::new(),
        lost => format!("{} lost", number::count(lost, "line")),
    };
    let tone = bad(status.log_stalled);
    Fact { key: "log", label: "Log", value: value.to_owned(), note, tone, ..Fact::default() }
}

/// Hundredths, as an SVG length.
fn part(used: u64, whole: u64) -> String {
    match whole {
        0 => String::new(),
        whole => format!("{:.1}", (used as f64 / whole as f64 * 100.0).min(100.0)),
    }
}

fn bad(is_bad: bool) -> &'static str {
    if is_bad { "bad" } else { "" }
}
