//! The workloads W1 to W7 by name, with their messages and systems, and the tasks for a fully loaded system.

use clap::ValueEnum;

use crate::systems::System;
use crate::systems::System::*;

/// `--workloads`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// 4 KB, a connection each
    #[value(name = "W1")]
    W1,
    /// 4 KB, 100 a connection
    #[value(name = "W2")]
    W2,
    /// The same, MAIL, RCPT and DATA in one write
    #[value(name = "W2p")]
    W2p,
    /// 34 MiB
    #[value(name = "W3")]
    W3,
    /// A blocked sender, a connection each
    #[value(name = "W4n")]
    W4n,
    /// The same, 1000 a connection
    #[value(name = "W4k")]
    W4k,
    /// A size that is declared and too large
    #[value(name = "W5d")]
    W5d,
    /// 34 MiB where 10 MiB are allowed, not declared
    #[value(name = "W5s")]
    W5s,
    /// Idle sessions, plain and under TLS
    #[value(name = "W6")]
    W6,
    /// W1 while idle sessions are held
    #[value(name = "W6+W1")]
    W6AndW1,
    /// STARTTLS, a full handshake each
    #[value(name = "W7h")]
    W7h,
    /// 4 KB under TLS, 20 a connection
    #[value(name = "W7m")]
    W7m,
    /// 34 MiB on their way in, half of them here
    #[value(name = "W8")]
    W8,
    /// W2 and W4k while 100 pages are open, 50 readers read nothing, and metrics are scraped
    #[value(name = "watched")]
    Watched,
    /// A million blocked senders, throttle keys and ledger entries: the start, then W1, W2 and W4n
    #[value(name = "loaded")]
    Loaded,
}

/// A task of a workload.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Load(Load),
    Idle(Idle),
    /// Measure from the start to the first greeting.
    Start(&'static [System]),
}

/// A load of messages, refusals or handshakes.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) shape: Shape,
    pub(crate) systems: &'static [System],
    /// The system whose rate is the upper bound.
    pub(crate) ceiling: System,
    /// The system whose CPU is compared with.
    pub(crate) peer: System,
    /// Whether to measure at half of the saturated rate too.
    pub(crate) half: bool,
}

/// Idle sessions.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) systems: &'static [System],
    pub(crate) stage: Stage,
}

/// How far a session has come that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Greeted,
    Secured,
    /// Half of a message of 34 MiB has come.
    Uploading,
}

/// The form of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) act: Act,
    /// Whether STARTTLS comes first.
    pub(crate) tls: bool,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Acts of each connection.
    pub(crate) acts: usize,
    /// Octets of a message on the wire, not counting the final dot.
    pub(crate) size: usize,
}

/// The unit that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Message,
    /// A message with MAIL, RCPT and DATA in one write.
    Pipelined,
    /// A refused MAIL of a blocked sender.
    Refused,
    /// A message too large by its declared size.
    Declared,
    /// A message too large without a declared size, known only when it has arrived.
    Undeclared,
    /// STARTTLS and EHLO.
    Handshake,
}

/// The configuration of a system that a load needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) tls: bool,
    /// Whether messages are limited to [`LIMIT`] octets.
    pub(crate) limited: bool,
}

impl Workload {
    pub(crate) fn tasks(self) -> Vec<Task> {
        match self {
            Self::W6 => vec![
                Task::Idle(Idle {
                    name: "W6",
                    title: "idle sessions, after the greeting",
                    systems: IDLE,
                    stage: Stage::Greeted,
                }),
                Task::Idle(Idle {
                    name: "W6t",
                    title: "idle sessions under TLS",
                    systems: IDLE_TLS,
                    stage: Stage::Secured,
                }),
            ],
            Self::W8 => vec![Task::Idle(Idle {
                name: "W8",
                title: "34 MiB on their way in, half of them here",
                systems: UPLOADING,
                stage: Stage::Uploading,
            })],
            Self::Loaded => {
                let load = |name, title, shape| Load { name, title, ..load("", "", shape, LOADED, Portcullis) };
                vec![
                    Task::Start(LOADED),
                    Task::Load(load("loaded W1", "W1 with a million of everything", W1)),
                    Task::Load(load("loaded W2", "W2 with a million of everything", W2)),
                    Task::Load(load("loaded W4n", "W4n with a million of everything", W4N)),
                ]
            }
            Self::Watched => {
                let load = |name, title, shape| load(name, title, shape, WATCHED, Portcullis);
                vec![
                    Task::Load(load("watched W2", "W2 with 100 pages open", W2)),
                    Task::Load(load("watched W4k", "W4k with 100 pages open", W4K)),
                ]
            }
            other => vec![Task::Load(other.load())],
        }
    }

    fn load(self) -> Load {
        match self {
            Self::W2 => half(load("W2", "4 KB, 100 a connection", W2, RELAYS, Haproxy)),
            Self::W2p => load("W2p", "4 KB, 100 a connection, pipelined", W2P, RELAYS, Haproxy),
            Self::W3 => load("W3", "34 MiB", W3, LARGE, Haproxy),
            Self::W4n => load("W4n", "a blocked sender, a connection each", W4N, REFUSING, Ideal),
            Self::W4k => load("W4k", "a blocked sender, 1000 a connection", W4K, REFUSING, Ideal),
            Self::W5d => load("W5d", "SIZE=35651584 where 10 MiB are allowed", W5D, SIZING, Ideal),
            Self::W5s => load("W5s", "34 MiB where 10 MiB are allowed, not declared", W5S, SIZING, Ideal),
            Self::W6AndW1 => load("W6+W1", "W1 while idle sessions are held", W1, BUSY, Portcullis),
            Self::W7h => load("W7h", "STARTTLS, a full handshake each", W7H, SECURE, Ideal),
            Self::W7m => Load { ceiling: Ideal, ..load("W7m", "4 KB under TLS, 20 a connection", W7M, SECURE, Nginx) },
            Self::W1 | Self::W6 | Self::W8 | Self::Loaded | Self::Watched => {
                half(load("W1", "4 KB, a connection each", W1, SMALL, Haproxy))
            }
        }
    }
}

/// A load, against the sink if it is among the systems, else against the peer.
fn load(name: &'static str, title: &'static str, shape: Shape, systems: &'static [System], peer: System) -> Load {
    let ceiling = if systems.contains(&Direct) { Direct } else { peer };
    Load { name, title, shape, systems, ceiling, peer, half: false }
}

fn half(load: Load) -> Load {
    Load { half: true, ..load }
}

impl Load {
    /// A load that is in no list.
    pub(crate) fn own(shape: Shape) -> Self {
        half(load("own", "as the options say", shape, RELAYS, Haproxy))
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup { tls: self.shape.tls, limited: matches!(self.shape.act, Act::Declared | Act::Undeclared) }
    }
}

impl Shape {
    /// Whether throughput in octets is worth a column.
    pub(crate) fn is_large(&self) -> bool {
        self.size > 1 << 20 && self.act != Act::Declared
    }
}

/// The size limit where one is set, in octets.
pub(crate) const LIMIT: usize = 10 << 20;
/// The blocked sender.
pub(crate) const STRANGER: &str = "blocked@sillyplace.example";

pub(crate) const W1: Shape = Shape { act: Act::Message, tls: false, connections: 50, acts: 1, size: 4096 };
const W2: Shape = Shape { acts: 100, ..W1 };
const W2P: Shape = Shape { act: Act::Pipelined, ..W2 };
pub(crate) const W3: Shape = Shape { connections: 4, acts: 4, size: 34 << 20, ..W1 };
const W4N: Shape = Shape { act: Act::Refused, ..W1 };
const W4K: Shape = Shape { acts: 1000, ..W4N };
const W5D: Shape = Shape { act: Act::Declared, size: 34 << 20, ..W1 };
const W5S: Shape = Shape { act: Act::Undeclared, ..W3 };
const W7H: Shape = Shape { act: Act::Handshake, tls: true, connections: 100, ..W1 };
const W7M: Shape = Shape { tls: true, acts: 20, ..W1 };

const SMALL: &[System] = &[
    Direct,
    Haproxy,
    Portcullis,
    PortcullisKeepalive,
    Nginx,
    Postfix,
    Haraka,
    Smtpfront,
    PortcullisQueue,
    PortcullisSmtpfront,
    HaproxySmtpfront,
];
const RELAYS: &[System] = &[
    Direct,
    Haproxy,
    Portcullis,
    PortcullisChunking,
    Nginx,
    Postfix,
    Haraka,
    Smtpfront,
    PortcullisQueue,
    PortcullisSmtpfront,
];
const LARGE: &[System] = &[
    Direct,
    Haproxy,
    HaproxySplice,
    PortcullisStreamed,
    PortcullisInMemory,
    Portcullis,
    Nginx,
    Postfix,
    Haraka,
    Smtpfront,
    PortcullisQueue,
    PortcullisSmtpfront,
];
const REFUSING: &[System] = &[Ideal, Portcullis, Nginx, Postfix, Haraka, Smtpfront, PortcullisSmtpfront];
const SIZING: &[System] = &[Ideal, Portcullis, Postfix, Haraka, Smtpfront];
const SECURE: &[System] = &[Ideal, Portcullis, Nginx, Postfix, Haraka];
const IDLE: &[System] = &[Haproxy, Portcullis, Nginx, Postfix, Haraka, Smtpfront];
const IDLE_TLS: &[System] = &[Portcullis, Nginx, Postfix, Haraka];
const UPLOADING: &[System] =
    &[Haproxy, Portcullis, Nginx, Postfix, Haraka, Smtpfront, PortcullisQueue, PortcullisSmtpfront];
const BUSY: &[System] = &[Portcullis, PortcullisIdle];
const WATCHED: &[System] = &[Portcullis, PortcullisWatched];
const LOADED: &[System] = &[Portcullis, PortcullisLoaded];
