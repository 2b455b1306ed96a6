//! All samples, for a file.

use serde_json::Value;
use serde_json::json;

use crate::report::Report;
use crate::report::marks::MARKS;
use crate::report::row::IdleTable;
use crate::report::row::Row;
use crate::report::row::StartRow;
use crate::report::row::Table;
use crate::systems::portcullis;
use crate::usage::Memory;

pub(super) fn text(report: &Report) -> String {
    let marks: Vec<Value> = MARKS
        .iter()
        .filter_map(|mark| {
            let value = mark.value(report)?;
            Some(json!({
                "workload": mark.workload, "system": mark.system.to_string(), "mark": mark.text(), "most": mark.most,
                "value": value, "reached": value <= mark.most,
            }))
        })
        .collect();
    let left_out: Vec<Value> =
        report.left_out.iter().map(|(system, why)| json!({ "system": system.to_string(), "why": why })).collect();
    let whole = json!({
        "machine": report.machine.json(),
        "configuration": portcullis::text(&[]),
        "workloads": report.tables.iter().map(table).collect::<Vec<_>>(),
        "idle": report.idle.iter().map(idle).collect::<Vec<_>>(),
        "starts": report.starts.iter().map(start).collect::<Vec<_>>(),
        "marks": marks,
        "left_out": left_out,
        "failed": report.failed,
    });
    format!("{whole:#}\n")
}

fn table(table: &Table) -> Value {
    let shape = table.load.shape;
    json!({
        "name": table.load.name, "title": table.load.title, "open_loop_rate": table.rate,
        "connections": shape.connections, "acts_a_connection": shape.acts, "octets": shape.size, "tls": shape.tls,
        "ceiling": table.load.ceiling.to_string(), "peer": table.load.peer.to_string(),
        "systems": table.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    let samples: Vec<Value> = row
        .samples
        .iter()
        .map(|sample| {
            json!({
                "acts": sample.acts, "seconds": sample.seconds, "cpu_seconds": sample.cpu.as_secs_f64(),
                "p50_seconds": sample.p50.as_secs_f64(), "p99_seconds": sample.p99.as_secs_f64(),
            })
        })
        .collect();
    json!({ "system": row.system.to_string(), "samples": samples, "memory": memory(row.memory) })
}

fn idle(table: &IdleTable) -> Value {
    let rows = table.rows.iter().map(|row| {
        json!({
            "system": row.system.to_string(), "sessions": row.sessions, "pss_octets": row.proportional,
            "rss_octets": row.resident, "processes": row.processes, "cpu_seconds": row.cpu.as_secs_f64(),
        })
    });
    json!({ "name": table.idle.name, "stage": format!("{:?}", table.idle.stage).to_lowercase(), "systems": rows.collect::<Vec<_>>() })
}

fn start(row: &StartRow) -> Value {
    let samples =
        row.samples.iter().map(|(time, used)| json!({ "seconds": time.as_secs_f64(), "memory": memory(*used) }));
    json!({ "system": row.system.to_string(), "samples": samples.collect::<Vec<_>>() })
}

fn memory(memory: Memory) -> Value {
    json!({
        "rss_octets": memory.resident, "pss_octets": memory.proportional, "processes": memory.processes,
    })
}
