//! Rounds: each system in turn, every second round in reverse order. A system that fails is reported and left out from
//! there on; the others go on.

use std::error::Error;
use std::time::Duration;

use crate::client;
use crate::client::Outcome;
use crate::client::idle::Held;
use crate::client::pace::Extent;
use crate::options::Options;
use crate::report::Report;
use crate::report::row::IdleRow;
use crate::report::row::Row;
use crate::report::row::Sample;
use crate::report::row::StartRow;
use crate::report::row::Table;
use crate::systems::Running;
use crate::systems::Site;
use crate::systems::System;
use crate::workload::Idle;
use crate::workload::Load;
use crate::workload::Setup;
use crate::workload::Shape;
use crate::workload::Stage;
use crate::workload::Task;
use crate::workload::W1;

/// The runner of a task.
pub(crate) struct Rounds<'a> {
    pub(crate) options: &'a Options,
    pub(crate) site: &'a Site,
}

impl Rounds<'_> {
    pub(crate) fn run(&self, task: &Task, report: &mut Report) {
        match task {
            Task::Load(load) => self.load(load, report),
            Task::Idle(idle) => self.idle(idle, report),
            Task::Start(systems) => self.starts(systems, report),
        }
    }

    fn load(&self, load: &Load, report: &mut Report) {
        let running = self.start(&self.options.systems(load.systems, load.shape), load.setup(), report);
        let closed = self.table(load, &running, self.options.extent(), report);
        let rate = |system| closed.rows.iter().find(|row| row.system == system).and_then(Row::rate);
        let saturated = [load.peer, System::Portcullis].into_iter().filter_map(rate).min_by(f64::total_cmp);
        if let Some(open) = self.options.open_rate(load, saturated.map(|rate| rate / 2.0)) {
            let fast = |running: &Running| rate(running.system).is_some_and(|rate| rate > open * ROOM);
            let (fast, slow): (Vec<Running>, Vec<Running>) = running.into_iter().partition(fast);
            for system in slow {
                report.left_out(
                    system.system,
                    &format!("from the open loop of {}: it does not take its rate", load.name),
                );
            }
            let extent = Extent { rate: Some(open), ..self.options.extent() };
            report.add(closed);
            let open = self.table(load, &fast, extent, report);
            report.add(open);
        } else {
            report.add(closed);
        }
    }

    /// Starts the systems that can be started.
    fn start(&self, systems: &[System], setup: Setup, report: &mut Report) -> Vec<Running> {
        let mut running = Vec::new();
        for system in systems.iter().copied().take_while(|_| !self.site.processes.are_ending()) {
            if let Some(why) = system.missing() {
                report.left_out(system, &why);
                continue;
            }
            match self.site.start(system, setup) {
                Ok(started) => running.push(started),
                Err(fault) => report.failed(&fault),
            }
        }
        running
    }

    fn table(&self, load: &Load, running: &[Running], extent: Extent, report: &mut Report) -> Table {
        let rate = extent.rate.map_or(String::new(), |rate| format!(" at {rate:.0} a second"));
        eprintln!("{}{rate}: {}", load.name, load.title);
        let mut rows: Vec<Row> = running.iter().map(|system| Row::new(system.system)).collect();
        let mut faults: Vec<Option<String>> = vec![None; rows.len()];
        // Not measured: it fills the caches and pools of all systems.
        let warm = Extent { time: extent.time.min(WARM_UP), ..extent };
        for (at, system) in running.iter().enumerate() {
            faults[at] = client::run(system.target(), &load.shape, warm).err().map(|fault| fault.to_string());
        }
        for round in 0..self.options.rounds() {
            let mut order: Vec<usize> = (0..running.len()).filter(|at| faults[*at].is_none()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                if self.site.processes.are_ending() {
                    break;
                }
                match sample(&running[at], load, extent) {
                    Ok(sample) => rows[at].samples.push(sample),
                    Err(fault) => faults[at] = Some(fault.to_string()),
                }
            }
        }
        for ((row, fault), system) in rows.iter_mut().zip(faults).zip(running) {
            row.memory = system.memory().unwrap_or_default();
            if let Some(fault) = fault {
                report.failed(&format!("{} in {}: {fault}", system.system, load.name));
            }
        }
        Table { load: load.clone(), rate: extent.rate, rows }
    }

    fn idle(&self, idle: &Idle, report: &mut Report) {
        eprintln!("{}: {}", idle.name, idle.title);
        let mut rows = Vec::new();
        // A fresh process each: memory freed under load would hide a session's use.
        let tls = idle.stage == Stage::Secured;
        let shape = Shape { tls, ..W1 };
        for system in self.options.systems(idle.systems, shape) {
            for running in self.start(&[system], Setup { tls, ..Setup::default() }, report) {
                match self.sessions(&running, idle) {
                    Ok(row) => rows.push(row),
                    Err(fault) => report.failed(&format!("{system} in {}: {fault}", idle.name)),
                }
            }
        }
        report.add_idle(idle.clone(), rows);
    }

    fn sessions(&self, running: &Running, idle: &Idle) -> Result<IdleRow, Box<dyn Error>> {
        let (first, sessions) = match idle.stage {
            Stage::Uploading => (2, UPLOADS),
            _ if running.system.forks() => (20, self.site.idle / 20),
            _ => (20, self.site.idle),
        };
        // The first sessions pay for what all share.
        let first = Held::open(running.target(), first, idle.stage)?;
        let (before, cpu) = (running.memory()?, running.cpu()?);
        let rest = Held::open(running.target(), sessions, idle.stage)?;
        let (after, cpu) = (running.memory()?, running.cpu()?.saturating_sub(cpu));
        drop((first, rest));
        let grown = |after: u64, before: u64| after.saturating_sub(before) / sessions as u64;
        Ok(IdleRow {
            system: running.system,
            sessions,
            resident: grown(after.resident, before.resident),
            proportional: grown(after.proportional, before.proportional),
            processes: after.processes,
            cpu,
        })
    }

    fn starts(&self, systems: &[System], report: &mut Report) {
        eprintln!("from the start to the first greeting");
        let systems = self.options.systems(systems, W1);
        let mut rows: Vec<StartRow> =
            systems.into_iter().map(|system| StartRow { system, samples: Vec::new() }).collect();
        for _ in 0..self.options.rounds() {
            for row in &mut rows {
                for running in self.start(&[row.system], Setup::default(), report) {
                    row.samples.push((running.began_within, running.memory().unwrap_or_default()));
                }
            }
        }
        report.add_starts(rows);
    }
}

fn sample(running: &Running, load: &Load, extent: Extent) -> Result<Sample, Box<dyn Error>> {
    let before = running.cpu()?;
    let Outcome { acts, seconds, latencies } = client::run(running.target(), &load.shape, extent)?;
    let cpu = running.cpu()?.saturating_sub(before);
    let part = |part: f64| latencies.get(((acts as f64 * part) as usize).min(acts.saturating_sub(1))).copied();
    let (p50, p99) = part(0.5).zip(part(0.99)).ok_or("nothing was sent")?;
    Ok(Sample { acts, seconds, cpu, p50, p99 })
}

/// Messages on their way in at once: one client may have a quarter of what is held.
const UPLOADS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(500);
/// Systems with less headroom are not measured in the open loop: their queue would only grow.
const ROOM: f64 = 1.2;
