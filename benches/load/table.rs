//! The results: medians of the rounds, as a table for people and as JSON for a file.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::client::Shape;
use crate::systems::System;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) messages: usize,
    pub(crate) seconds: f64,
    /// Of the proxy alone.
    pub(crate) cpu: Option<Duration>,
}

/// All rounds of one system.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) system: System,
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    pub(crate) fn new(system: System) -> Self {
        Self { system, samples: Vec::new() }
    }

    fn rate(&self) -> Option<f64> {
        median(self.samples.iter().map(Sample::rate))
    }

    /// Against `direct` of the same round: minutes differ more than systems do.
    fn ratio(&self, direct: Option<&Self>) -> Option<f64> {
        let pairs = self.samples.iter().zip(&direct?.samples);
        median(pairs.map(|(own, direct)| own.rate() / direct.rate()))
    }

    fn cpu(&self) -> Option<f64> {
        median(self.samples.iter().filter_map(Sample::cpu_per_1000))
    }

    /// Against `other` of the same round.
    fn cpu_ratio(&self, other: Option<&Self>) -> Option<f64> {
        let pairs = self.samples.iter().zip(&other?.samples);
        median(pairs.filter_map(|(own, other)| Some(own.cpu_per_1000()? / other.cpu_per_1000()?)))
    }
}

impl Sample {
    /// Milliseconds.
    fn cpu_per_1000(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / self.messages as f64)
    }

    fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

pub(crate) fn print(workloads: &[(Shape, Vec<Row>)], idle: &[(System, Option<u64>)], connections: usize) {
    for (shape, rows) in workloads {
        println!("\n{shape}; median of {} rounds", rows.first().map_or(0, |row| row.samples.len()));
        println!(
            "{:<14} {:>10} {:>10} {:>8} {:>16} {:>10}",
            "system", "rate /s", "MB/s", "ratio", "CPU ms per 1000", "CPU ratio"
        );
        for row in rows {
            let rate = row.rate();
            println!(
                "{:<14} {:>10} {:>10} {:>8} {:>16} {:>10}",
                row.system,
                number(rate, 1),
                number(rate.map(|rate| rate * shape.size as f64 / 1e6), 1),
                number(row.ratio(direct(rows)), 3),
                number(row.cpu(), 1),
                number(row.cpu_ratio(peer(rows)), 3),
            );
        }
    }
    println!("\n{connections} idle connections");
    println!("{:<14} {:>24}", "system", "octets RSS a connection");
    for (system, octets) in idle {
        println!("{system:<14} {:>24}", octets.map_or_else(|| "-".to_owned(), |octets| octets.to_string()));
    }
}

pub(crate) fn json(workloads: &[(Shape, Vec<Row>)], idle: &[(System, Option<u64>)], connections: usize) -> String {
    let workloads: Vec<Value> = workloads
        .iter()
        .map(|(shape, rows)| {
            let systems: Vec<Value> = rows.iter().map(|row| system(row, direct(rows))).collect();
            json!({
                "connections": shape.connections, "messages": shape.messages, "size": shape.size,
                "pipelined": shape.pipelined, "total": shape.total, "systems": systems,
            })
        })
        .collect();
    let idle: Vec<Value> =
        idle.iter().map(|(system, octets)| json!({ "system": system.to_string(), "octets": octets })).collect();
    format!("{:#}\n", json!({ "workloads": workloads, "idle": { "connections": connections, "systems": idle } }))
}

fn system(row: &Row, direct: Option<&Row>) -> Value {
    let rates: Vec<f64> = row.samples.iter().map(Sample::rate).collect();
    json!({
        "system": row.system.to_string(), "rate": row.rate(), "ratio": row.ratio(direct),
        "cpu_ms_per_1000": row.cpu(), "rates": rates,
    })
}

fn direct(rows: &[Row]) -> Option<&Row> {
    rows.iter().find(|row| row.system == System::Direct)
}

/// What the CPU of the others is compared with: HAProxy, or else the last one.
fn peer(rows: &[Row]) -> Option<&Row> {
    rows.iter().find(|row| row.system == System::Haproxy).or(rows.last())
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
