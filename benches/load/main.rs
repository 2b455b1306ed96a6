//! Load: what a message costs directly at a sink, through Portcullis, and through HAProxy in TCP mode. Closed loop at a
//! fixed number of connections, the systems in turn, every second round in reverse order, medians of the rounds. Client
//! and sink share the machine with the system under test: compare the ratios and the CPU, not the rates of two machines.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and waits for the programs it started")]

mod client;
mod options;
mod process;
mod sink;
mod systems;
mod table;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

use crate::client::Shape;
use crate::options::Options;
use crate::process::Processes;
use crate::sink::Sink;
use crate::systems::Running;
use crate::systems::System;
use crate::table::Row;
use crate::table::Sample;

fn main() -> ExitCode {
    let options = Options::parse();
    let processes = Processes::default();
    let (done, finished) = oneshot::channel();
    let worker = {
        let processes = processes.clone();
        std::thread::spawn(move || done.send(measure(&options, &processes).map_err(|fault| fault.to_string())))
    };
    let outcome = wait(finished);
    // Also after a signal, while the worker still runs: nothing that was started stays.
    processes.end_all();
    match outcome {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(fault)) => {
            eprintln!("load: {fault}");
            ExitCode::FAILURE
        }
        None if worker.is_finished() => ExitCode::from(70),
        None => ExitCode::from(130),
    }
}

/// The worker's outcome, or nothing when it panicked or we are told to stop.
fn wait(finished: oneshot::Receiver<Result<(), String>>) -> Option<Result<(), String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).ok()?;
        let mut terminate = signal(SignalKind::terminate()).ok()?;
        tokio::select! {
            outcome = finished => outcome.ok(),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        }
    })
}

fn measure(options: &Options, processes: &Processes) -> Result<(), Box<dyn Error>> {
    process::raise_descriptor_limit()?;
    let sink = Sink::start()?;
    let scratch = tempfile::tempdir()?;
    let systems = options.systems();
    let start = |system: System| Running::start(system, sink.address(), scratch.path(), processes);

    let running = systems.iter().map(|system| start(*system)).collect::<Result<Vec<_>, _>>()?;
    let mut workloads = Vec::new();
    for shape in options.shapes() {
        eprintln!("{shape}");
        let rows = rounds(&running, &shape, options.rounds(), options.time_limit())?;
        workloads.push((shape, rows));
    }
    for system in running {
        system.stop();
    }

    // Fresh ones: memory that a load has freed would hide what a connection takes.
    let mut idle = Vec::new();
    for system in systems {
        let running = start(system)?;
        idle.push((system, idle_octets(&running, options.idle_connections())?));
        running.stop();
    }
    table::print(&workloads, &idle, options.idle_connections());
    if let Some(file) = &options.json {
        std::fs::write(file, table::json(&workloads, &idle, options.idle_connections()))?;
    }
    Ok(())
}

fn rounds(running: &[Running], shape: &Shape, rounds: usize, limit: Duration) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows: Vec<Row> = running.iter().map(|system| Row::new(system.system())).collect();
    // Not measured: it fills caches and pools of everybody alike.
    for system in running {
        client::run(system.address(), &shape.warm_up(), limit)?;
    }
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let system = &running[at];
            let cpu_before = system.cpu()?;
            let begin = Instant::now();
            let messages = client::run(system.address(), shape, limit)
                .map_err(|fault| format!("{} at {shape}: {fault}", system.system()))?;
            let seconds = begin.elapsed().as_secs_f64();
            let cpu = system.cpu()?.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
            rows[at].samples.push(Sample { messages, seconds, cpu });
        }
        eprintln!("  round {} of {rounds}", round + 1);
    }
    Ok(rows)
}

/// Resident octets of the system for one connection that has said EHLO and then nothing.
fn idle_octets(running: &Running, connections: usize) -> Result<Option<u64>, Box<dyn Error>> {
    if running.system() == System::Direct {
        return Ok(None);
    }
    let resident = || running.resident();
    client::idle(running.address(), connections, resident)
}
