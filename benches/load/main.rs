//! Load: the cost of a message, a refusal, a handshake or an idle session in Portcullis and its peers, and whether our
//! own marks are reached. A closed loop at a fixed number of connections, and an open one for latencies; the systems in
//! turn, every second round in reverse order, ratios within a round and their medians. Client and sink share the
//! machine with the system under test: compare the ratios and the CPU, not the rates of two machines.
//! docs/performance.md says how to read it.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and waits for the programs it started")]

mod client;
#[path = "../../tests/support/host.rs"]
mod host;
mod loaded;
mod machine;
mod options;
mod process;
mod report;
mod rounds;
mod sink;
#[path = "../../tests/support/svg.rs"]
mod svg;
mod systems;
mod usage;
mod wire;
mod workload;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

use crate::options::Options;
use crate::process::Processes;
use crate::report::Report;
use crate::rounds::Rounds;
use crate::systems::Site;

fn main() -> ExitCode {
    let options = Options::parse();
    if let (Some(json), Some(picture)) = (&options.draw, &options.picture) {
        return code(Some(report::draw(json, picture).map(|()| true).map_err(|fault| fault.to_string())));
    }
    if options.sink {
        return code(Some(
            sink::serve(options.ideal.as_deref(), options.chunking).map(|()| true).map_err(|fault| fault.to_string()),
        ));
    }
    let processes = Processes::default();
    let (done, finished) = oneshot::channel();
    let worker = {
        let processes = processes.clone();
        std::thread::spawn(move || done.send(measure(&options, &processes).map_err(|fault| fault.to_string())))
    };
    let outcome = wait(finished);
    // Also after a signal, while the worker still runs: no process must be left.
    processes.end_all();
    // The worker still has to remove the scratch folder; the processes that it waits for have just ended.
    if process::wait(Duration::from_secs(20), || worker.is_finished()) {
        drop(worker.join());
    }
    code(outcome)
}

fn code(outcome: Option<Result<bool, String>>) -> ExitCode {
    match outcome {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(fault)) => {
            eprintln!("load: {fault}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(130),
    }
}

/// The worker's outcome, or `None` when it panicked or a signal stops us.
fn wait(finished: oneshot::Receiver<Result<bool, String>>) -> Option<Result<bool, String>> {
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

/// Measures everything; gives whether every system did its task.
fn measure(options: &Options, processes: &Processes) -> Result<bool, Box<dyn Error>> {
    let descriptors = process::raise_descriptor_limit()?;
    // Fail now, not after half an hour, if the file cannot be written.
    for file in [&options.json, &options.picture].into_iter().flatten() {
        std::fs::write(file, "")?;
    }
    let scratch = tempfile::tempdir()?;
    // A session through a proxy takes two descriptors there.
    let idle = options.idle().min(usize::try_from(descriptors.saturating_sub(500) / 2)?);
    let site = Site::new(scratch.path(), processes, idle)?;
    let mut report = Report::begin();
    let rounds = Rounds { options, site: &site };
    for task in options.tasks() {
        rounds.run(&task, &mut report);
        if processes.are_ending() {
            return Err("interrupted".into());
        }
    }
    report.end(options.json.as_deref(), options.picture.as_deref())?;
    Ok(report.is_whole())
}
