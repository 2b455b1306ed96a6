//! Measurements, and values derived from them: medians, and ratios within a round, because minutes differ more than
//! systems do.

use std::time::Duration;

use crate::systems::System;
use crate::usage::Memory;
use crate::workload::Idle;
use crate::workload::Load;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) acts: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// All rounds of one system.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) system: System,
    pub(crate) samples: Vec<Sample>,
    /// Memory after the last round.
    pub(crate) memory: Memory,
}

/// All systems of one load.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) load: Load,
    /// Rate of an open loop, in acts a second.
    pub(crate) rate: Option<f64>,
    pub(crate) rows: Vec<Row>,
}

/// Memory and CPU of idle sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleRow {
    pub(crate) system: System,
    pub(crate) sessions: usize,
    /// Octets a session, resident.
    pub(crate) resident: u64,
    /// Octets a session, with shared pages in part.
    pub(crate) proportional: u64,
    pub(crate) processes: usize,
    /// CPU time to open all of them.
    pub(crate) cpu: Duration,
}

/// The idle sessions of all systems.
#[derive(Clone, Debug)]
pub(crate) struct IdleTable {
    pub(crate) idle: Idle,
    pub(crate) rows: Vec<IdleRow>,
}

/// Time to the first greeting, and the memory at that time.
#[derive(Clone, Debug)]
pub(crate) struct StartRow {
    pub(crate) system: System,
    pub(crate) samples: Vec<(Duration, Memory)>,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.acts as f64 / self.seconds
    }

    /// Milliseconds of CPU for 1000 acts.
    pub(crate) fn cpu_per_1000(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.acts as f64
    }
}

impl Row {
    pub(crate) fn new(system: System) -> Self {
        Self { system, samples: Vec::new(), memory: Memory::default() }
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(Sample::rate)
    }

    pub(crate) fn median(&self, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.samples.iter().map(of))
    }

    /// The smallest and the largest sample.
    pub(crate) fn range(&self, of: impl Fn(&Sample) -> f64) -> Option<(f64, f64)> {
        range(self.samples.iter().map(of))
    }

    /// Ratios to `other` in the same round.
    pub(crate) fn ratios(&self, other: Option<&Self>, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let pairs = self.samples.iter().zip(other.into_iter().flat_map(|other| &other.samples));
        pairs.map(|(own, other)| of(own) / of(other)).collect()
    }
}

impl Table {
    pub(crate) fn name(&self) -> String {
        match self.rate {
            Some(rate) => format!("{} at {rate:.0} a second", self.load.name),
            None => self.load.name.to_owned(),
        }
    }

    pub(crate) fn row(&self, system: System) -> Option<&Row> {
        self.rows.iter().find(|row| row.system == system)
    }
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    })
}
