//! The command line of the load bench. Every count has a bound, so that no mistake of typing runs for a day.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::ValueEnum;
use clap::value_parser;

use crate::client::pace::Extent;
use crate::systems::System;
use crate::workload::Act;
use crate::workload::Load;
use crate::workload::Shape;
use crate::workload::Task;
use crate::workload::Workload;

/// Drives load through Portcullis and its peers, compares, and says which marks are reached
///
/// Everything runs on this machine, on loopback. What is printed is Markdown.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Which workloads; all when none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Which systems, as far as they can do it; those that a workload is compared through when none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,
    /// Rounds, whose median counts [default: 5; 3 with --quick]
    #[arg(long, value_parser = value_parser!(u8).range(1..=201))]
    rounds: Option<u8>,
    /// Milliseconds of one run of one system [default: 3000; 300 with --quick]
    #[arg(long, value_parser = value_parser!(u64).range(10..=600_000))]
    milliseconds: Option<u64>,
    /// Messages, or what else is counted, of one run at most
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    total: u32,
    /// Open loop at half of what HAProxy or Portcullis took, the less of both, after the closed one (W1, W2)
    /// [default where all workloads run]
    #[arg(long)]
    half: bool,
    /// Open loop at so many a second, after the closed one (all but W6)
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Idle sessions [default: 7000; 1000 with --quick]; a twentieth where each is a process
    #[arg(long, value_parser = value_parser!(u16).range(20..=9000))]
    idle: Option<u16>,
    /// One workload of your own: connections at a time
    #[arg(long, value_parser = value_parser!(u16).range(1..=2000))]
    connections: Option<u16>,
    /// The same: messages of each connection
    #[arg(long, value_parser = value_parser!(u32).range(1..=100_000))]
    messages: Option<u32>,
    /// The same: octets of each message on the wire
    #[arg(long, value_parser = value_parser!(u32).range(200..=1_000_000_000))]
    size: Option<u32>,
    /// The same: MAIL, RCPT and DATA in one write
    #[arg(long)]
    pipelined: bool,
    /// A look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Write all samples to this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the results to this file as well (SVG)
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    /// Measure nothing: draw what --json wrote to this file
    #[arg(long, value_name = "FILE", requires = "picture")]
    pub(crate) draw: Option<PathBuf>,
    /// Be the sink, not the bench
    #[arg(long, hide = true)]
    pub(crate) sink: bool,
    /// Be one that offers CHUNKING
    #[arg(long, hide = true)]
    pub(crate) chunking: bool,
    /// Be an ideal one, with this folder's certificate
    #[arg(long, hide = true, value_name = "FOLDER")]
    pub(crate) ideal: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The tasks, in the order in which they were named.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        if let Some(shape) = self.own() {
            return vec![Task::Load(Load::own(shape))];
        }
        let all = if self.workloads.is_empty() { Workload::value_variants() } else { &self.workloads };
        all.iter().flat_map(|workload| workload.tasks()).collect()
    }

    /// The systems: `usual`, or those named that can do it.
    pub(crate) fn systems(&self, usual: &[System], shape: Shape) -> Vec<System> {
        let named = if self.systems.is_empty() { usual } else { &self.systems };
        let mut systems: Vec<System> = Vec::new();
        for system in named {
            if system.can(shape) && !systems.contains(system) {
                systems.push(*system);
            }
        }
        systems
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).into()
    }

    pub(crate) fn extent(&self) -> Extent {
        let time = Duration::from_millis(self.milliseconds.unwrap_or(if self.quick { 300 } else { 3000 }));
        Extent { time, most: self.total as usize, rate: None }
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.unwrap_or(if self.quick { 1000 } else { 7000 }).into()
    }

    /// Acts a second of the open loop; `half` is the default.
    pub(crate) fn open_rate(&self, load: &Load, half: Option<f64>) -> Option<f64> {
        let everything = self.workloads.is_empty() && self.own().is_none();
        self.rate.map(f64::from).or(half.filter(|_| load.half && (self.half || everything)))
    }

    fn own(&self) -> Option<Shape> {
        let asked = self.connections.is_some() || self.messages.is_some() || self.size.is_some() || self.pipelined;
        asked.then(|| Shape {
            act: if self.pipelined { Act::Pipelined } else { Act::Message },
            tls: false,
            connections: self.connections.unwrap_or(50).into(),
            acts: self.messages.unwrap_or(1) as usize,
            size: self.size.unwrap_or(4096) as usize,
        })
    }
}
