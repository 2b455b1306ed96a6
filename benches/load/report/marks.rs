//! The marks that we want to reach, and whether they are reached. A mark that was not measured is none.

use crate::report::Report;
use crate::report::row::median;
use crate::systems::System;
use crate::systems::System::*;

/// One mark.
pub(super) struct Mark {
    pub(super) workload: &'static str,
    pub(super) system: System,
    pub(super) what: What,
    /// The largest value that reaches the mark.
    pub(super) most: f64,
}

/// The quantity compared with the mark.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// CPU of an act as a ratio to this system's, in the same round.
    Cpu(System),
    /// Milliseconds of CPU for 1000 acts.
    Milliseconds,
    /// p99 in the open loop as a ratio to this system's, in the same round.
    P99(System),
    /// Kilobytes of an idle session.
    Session,
    /// Seconds to the first greeting.
    Seconds,
    /// Megabytes above this system's.
    Megabytes(System),
}

pub(super) const MARKS: &[Mark] = &[
    cpu("W1", Portcullis, Haproxy, 1.15),
    cpu("W1", PortcullisKeepalive, Haproxy, 1.0),
    cpu("W1", Portcullis, Nginx, 0.85),
    cpu("W2", Portcullis, Haproxy, 1.35),
    cpu("W2", Portcullis, Nginx, 1.3),
    cpu("W2p", Portcullis, Haproxy, 1.6),
    cpu("W2p", PortcullisChunking, Haproxy, 1.4),
    cpu("W2p", Portcullis, Nginx, 1.6),
    cpu("W3", PortcullisStreamed, Haproxy, 1.1),
    cpu("W3", PortcullisInMemory, Haproxy, 1.3),
    cpu("W3", Portcullis, Haproxy, 1.8),
    cpu("W4n", Portcullis, Ideal, 1.25),
    Mark { workload: "W4k", system: Portcullis, what: What::Milliseconds, most: 8.0 },
    cpu("W5d", Portcullis, Ideal, 1.25),
    cpu("W5s", Portcullis, Ideal, 2.0),
    Mark { workload: "W6", system: Portcullis, what: What::Session, most: 1.5 },
    Mark { workload: "W6t", system: Portcullis, what: What::Session, most: 16.0 },
    cpu("W6+W1", PortcullisIdle, Portcullis, 1.05),
    cpu("W7h", Portcullis, Ideal, 1.2),
    cpu("W7m", Portcullis, Nginx, 0.9),
    Mark { workload: "W1", system: Portcullis, what: What::P99(Haproxy), most: 1.3 },
    Mark { workload: "W2", system: Portcullis, what: What::P99(Haproxy), most: 1.5 },
    cpu("watched W2", PortcullisWatched, Portcullis, 1.03),
    cpu("watched W4k", PortcullisWatched, Portcullis, 1.03),
    cpu("loaded W1", PortcullisLoaded, Portcullis, 1.05),
    cpu("loaded W2", PortcullisLoaded, Portcullis, 1.05),
    cpu("loaded W4n", PortcullisLoaded, Portcullis, 1.05),
    Mark { workload: "loaded", system: PortcullisLoaded, what: What::Megabytes(Portcullis), most: 300.0 },
    Mark { workload: "loaded", system: PortcullisLoaded, what: What::Seconds, most: 1.0 },
    cpu("W1", PortcullisQueue, Smtpfront, 0.5),
    cpu("W2", PortcullisQueue, Smtpfront, 1.05),
    cpu("W3", PortcullisQueue, Smtpfront, 0.25),
    Mark { workload: "W8", system: PortcullisQueue, what: What::Session, most: 300.0 },
    cpu("W1", PortcullisSmtpfront, Smtpfront, 1.08),
    cpu("W4n", PortcullisSmtpfront, Smtpfront, 1.0 / 25.0),
];

const fn cpu(workload: &'static str, system: System, peer: System, most: f64) -> Mark {
    Mark { workload, system, what: What::Cpu(peer), most }
}

impl Mark {
    /// The mark in words.
    pub(super) fn text(&self) -> String {
        match self.what {
            What::Cpu(peer) if self.most < 0.1 => format!("CPU ≤ 1/{:.0} × {peer}", 1.0 / self.most),
            What::Cpu(peer) => format!("CPU ≤ {} × {peer}", self.most),
            What::Milliseconds => format!("CPU ≤ {} ms per 1000", self.most),
            What::P99(peer) => format!("p99 in the open loop ≤ {} × {peer}", self.most),
            What::Session => format!("≤ {} KB a session", self.most),
            What::Seconds => format!("the first greeting within {} s", self.most),
            What::Megabytes(peer) => format!("≤ {} MB more than {peer}", self.most),
        }
    }

    /// Whether the mark's workload ran.
    pub(super) fn is_asked(&self, report: &Report) -> bool {
        let loads = report.tables.iter().map(|table| table.load.name);
        let mut names = loads.chain(report.idle.iter().map(|table| table.idle.name));
        names.any(|name| name == self.workload) || (self.workload == "loaded" && !report.starts.is_empty())
    }

    /// The measured value; `None` where it was not measured.
    pub(super) fn value(&self, report: &Report) -> Option<f64> {
        let table = |open: bool| {
            report.tables.iter().find(|table| table.load.name == self.workload && table.rate.is_some() == open)
        };
        let start = |system| report.starts.iter().find(|row| row.system == system);
        let megabytes = |system| {
            let octets = start(system)?.samples.iter().map(|(_, memory)| memory.proportional as f64);
            median(octets.map(|octets| octets / 1e6))
        };
        match self.what {
            What::Cpu(peer) => {
                let table = table(false)?;
                let row = table.row(self.system)?;
                median(row.ratios(table.row(peer), super::row::Sample::cpu_per_1000))
            }
            What::Milliseconds => table(false)?.row(self.system)?.median(super::row::Sample::cpu_per_1000),
            What::P99(peer) => {
                let table = table(true)?;
                median(table.row(self.system)?.ratios(table.row(peer), |sample| sample.p99.as_secs_f64()))
            }
            What::Session => {
                let table = report.idle.iter().find(|table| table.idle.name == self.workload)?;
                let row = table.rows.iter().find(|row| row.system == self.system)?;
                Some(row.proportional as f64 / 1000.0)
            }
            What::Seconds => median(start(self.system)?.samples.iter().map(|(time, _)| time.as_secs_f64())),
            What::Megabytes(peer) => Some(megabytes(self.system)? - megabytes(peer)?),
        }
    }
}
