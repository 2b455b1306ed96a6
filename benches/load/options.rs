//! The command line of the load bench. Every count has a bound, so that no mistake of typing runs for a day.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::value_parser;

use crate::client::Shape;
use crate::systems::System;

/// Drives load through Portcullis, HAProxy and nothing, and compares.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Connections at a time; with --messages, --size or --pipelined: one workload instead of the four
    #[arg(long, value_parser = value_parser!(u16).range(1..=2000))]
    connections: Option<u16>,
    /// Messages of each connection
    #[arg(long, value_parser = value_parser!(u32).range(1..=100_000))]
    messages: Option<u32>,
    /// Octets of each message on the wire
    #[arg(long, value_parser = value_parser!(u32).range(100..=1_000_000_000))]
    size: Option<u32>,
    /// MAIL, RCPT and DATA in one write
    #[arg(long)]
    pipelined: bool,
    /// Messages in all, of each system and round
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000))]
    total: Option<u32>,
    /// Rounds, whose median counts [default: 5; 3 with --quick]
    #[arg(long, value_parser = value_parser!(u8).range(1..=201))]
    rounds: Option<u8>,
    /// Idle connections for the memory of one [default: 1000; 200 with --quick]
    #[arg(long, value_parser = value_parser!(u16).range(10..=4000))]
    idle: Option<u16>,
    /// Which systems, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "portcullis", "without-ledger", "haproxy"])]
    systems: Vec<System>,
    /// Longest time of one run
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// A tenth of the messages: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Write the results to this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn systems(&self) -> Vec<System> {
        let mut systems: Vec<System> = Vec::new();
        for system in &self.systems {
            if !systems.contains(system) {
                systems.push(*system);
            }
        }
        systems
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).into()
    }

    pub(crate) fn idle_connections(&self) -> usize {
        self.idle.unwrap_or(if self.quick { 200 } else { 1000 }).into()
    }

    pub(crate) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The workload that was asked for, or the four that are compared with the peers.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        let shape = |connections, messages, size, pipelined, total: usize| {
            let total = self.total.map_or(if self.quick { total.div_ceil(10) } else { total }, |total| total as usize);
            Shape { connections, messages, size, pipelined, total }
        };
        let asked = self.connections.is_some() || self.messages.is_some() || self.size.is_some() || self.pipelined;
        if asked {
            let connections = usize::from(self.connections.unwrap_or(50));
            let (messages, size) = (self.messages.unwrap_or(1) as usize, self.size.unwrap_or(4096) as usize);
            let total = (connections * messages).max((200 * 1024 * 1024 / size).clamp(20, 10_000));
            return vec![shape(connections, messages, size, self.pipelined, total)];
        }
        vec![
            shape(50, 1, 4096, false, 10_000),
            shape(50, 100, 4096, false, 40_000),
            shape(50, 100, 4096, true, 40_000),
            shape(4, 4, 34 * 1024 * 1024, false, 64),
        ]
    }
}
