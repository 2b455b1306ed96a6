//! Tables in Markdown.

use std::fmt::Write;

use crate::report::Report;
use crate::report::marks::MARKS;
use crate::report::row::IdleTable;
use crate::report::row::Row;
use crate::report::row::Sample;
use crate::report::row::StartRow;
use crate::report::row::Table;
use crate::report::row::median;
use crate::report::row::range;
use crate::workload::Shape;

pub(super) fn table(table: &Table) -> String {
    let Shape { connections, acts, size, .. } = table.load.shape;
    let (ceiling, peer, large) = (table.load.ceiling, table.load.peer, table.load.shape.is_large());
    let rounds = table.rows.iter().map(|row| row.samples.len()).max().unwrap_or_default();
    let mut text = format!(
        "### {}: {}\n\n{connections} connections, {acts} a connection, {size} octets; median of {rounds} rounds (range).\n\n",
        table.name(),
        table.load.title
    );
    let octets = if large { " MB/s | CPU ms per GB |" } else { "" };
    let _ = writeln!(
        text,
        "| system | rate /s | ÷ {ceiling} |{octets} CPU ms per 1000 | CPU ÷ {peer} | p50 ms | p99 ms | p99 ÷ {peer} | \
         RSS / PSS MB (processes) |"
    );
    let _ = writeln!(text, "|{}", " --- |".repeat(if large { 11 } else { 9 }));
    for row in &table.rows {
        let octets = if large { octets_of(row, size) } else { String::new() };
        let memory = row.memory;
        let _ = writeln!(
            text,
            "| {} | {} | {} |{octets} {} | {} | {} | {} | {} | {:.0} / {:.0} ({}) |",
            row.system,
            number(row.rate(), 1),
            ranged(&row.ratios(table.row(ceiling), Sample::rate), 3),
            with_range(row.median(Sample::cpu_per_1000), row.range(Sample::cpu_per_1000), 1),
            ranged(&row.ratios(table.row(peer), Sample::cpu_per_1000), 3),
            number(row.median(|sample| sample.p50.as_secs_f64() * 1e3), 2),
            number(row.median(|sample| sample.p99.as_secs_f64() * 1e3), 2),
            ranged(&row.ratios(table.row(peer), |sample| sample.p99.as_secs_f64()), 2),
            memory.resident as f64 / 1e6,
            memory.proportional as f64 / 1e6,
            memory.processes,
        );
    }
    text
}

pub(super) fn idle(table: &IdleTable) -> String {
    let mut text = format!("### {}: {}\n\n", table.idle.name, table.idle.title);
    text += "| system | sessions | PSS KB a session | RSS KB a session | processes | CPU ms to open 1000 |\n";
    let _ = writeln!(text, "|{}", " --- |".repeat(6));
    for row in &table.rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {} | {:.1} |",
            row.system,
            row.sessions,
            row.proportional as f64 / 1000.0,
            row.resident as f64 / 1000.0,
            row.processes,
            row.cpu.as_secs_f64() * 1e6 / row.sessions as f64,
        );
    }
    text
}

pub(super) fn starts(rows: &[StartRow]) -> String {
    let mut text = "### loaded: the start\n\n| system | s to the first greeting | PSS MB then |\n".to_owned();
    let _ = writeln!(text, "|{}", " --- |".repeat(3));
    for StartRow { system, samples } in rows {
        let times: Vec<f64> = samples.iter().map(|(time, _)| time.as_secs_f64()).collect();
        let memory: Vec<f64> = samples.iter().map(|(_, memory)| memory.proportional as f64 / 1e6).collect();
        let _ = writeln!(text, "| {system} | {} | {} |", ranged(&times, 3), ranged(&memory, 1));
    }
    text
}

pub(super) fn marks(report: &Report) -> String {
    let mut text =
        "### Marks\n\n| workload | system | mark | measured | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for mark in MARKS.iter().filter(|mark| mark.is_asked(report)) {
        let value = mark.value(report);
        let judged = match value {
            None => "not measured",
            Some(value) if value <= mark.most => "reached",
            Some(_) => "**missed**",
        };
        let (workload, system, words) = (mark.workload, mark.system, mark.text());
        let _ = writeln!(text, "| {workload} | {system} | {words} | {} | {judged} |", number(value, 3));
    }
    text
}

/// Two cells: megabytes a second, and nanoseconds of CPU for an octet.
fn octets_of(row: &Row, size: usize) -> String {
    let megabytes = row.rate().map(|rate| rate * size as f64 / 1e6);
    let cpu = row.median(Sample::cpu_per_1000).map(|cpu| cpu / 1e3 / size as f64 * 1e9);
    format!(" {} | {} |", number(megabytes, 0), number(cpu, 0))
}

fn ranged(values: &[f64], digits: usize) -> String {
    with_range(median(values.iter().copied()), range(values.iter().copied()), digits)
}

fn with_range(value: Option<f64>, range: Option<(f64, f64)>, digits: usize) -> String {
    let range = range.map_or(String::new(), |(least, most)| format!(" ({least:.digits$}–{most:.digits$})"));
    number(value, digits) + &range
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
