//! The systems measured: the sink itself, Portcullis and its peers in front of it, each with a configuration of its own
//! below the scratch folder. It must not read or write anything that belongs to the host's own mail system.

mod haproxy;
mod haraka;
mod nginx;
pub(crate) mod portcullis;
mod postfix;
mod sink;
mod smtpfront;
mod starting;

use std::cell::Cell;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;

use crate::client::Target;
use crate::client::idle::Held;
use crate::client::watching::Watching;
use crate::host;
use crate::loaded::Loaded;
use crate::process::Group;
use crate::process::Processes;
use crate::systems::sink::Kind;
use crate::systems::starting::Starting;
use crate::usage::Memory;
use crate::workload::Act;
use crate::workload::Setup;
use crate::workload::Shape;
use crate::workload::Stage;

/// One way to the sink, or to what does without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// No proxy: the ceiling of what needs a backend
    Direct,
    /// The sink refusing, and with TLS, by itself: the ceiling of what needs none
    Ideal,
    /// HAProxy in TCP mode: what a proxy costs that reads nothing
    Haproxy,
    /// The same with option splice-auto
    HaproxySplice,
    /// nginx's mail proxy: it looks at the first message of a connection
    Nginx,
    /// Postfix as a filter before the queue
    Postfix,
    /// Haraka, where it is installed
    Haraka,
    /// tcpserver and smtpfront-qmail with a qmail-queue that throws the mail away: no sink
    Smtpfront,
    /// The same behind HAProxy
    HaproxySmtpfront,
    /// This crate
    Portcullis,
    /// The same, keeping sessions with the backend for the next client
    PortcullisKeepalive,
    /// The same, with a sink that offers CHUNKING
    PortcullisChunking,
    /// The same, keeping no message
    PortcullisStreamed,
    /// The same, keeping 34 MiB in memory
    PortcullisInMemory,
    /// The same, holding idle sessions
    PortcullisIdle,
    /// The same, with a million of everything
    PortcullisLoaded,
    /// The same, starting smtpfront-qmail for each session: no sink
    PortcullisSmtpfront,
    /// The same, starting that qmail-queue for each message: no sink
    PortcullisQueue,
    /// The same, remembering no message: what the ledger costs
    PortcullisWithoutLedger,
    /// The same, with 100 open pages, 50 readers that read nothing, and a scrape a second
    PortcullisWatched,
    /// The same with two threads for the sessions, and with four
    PortcullisTwoWorkers,
    PortcullisFourWorkers,
}

/// A system's refusal of a blocked sender or a large message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) sender: &'static [u8; 3],
    pub(crate) oversize: &'static [u8; 3],
    /// Whether it refuses at RCPT, not at MAIL.
    pub(crate) at_recipient: bool,
    /// Whether it closes the connection then.
    pub(crate) closes: bool,
}

/// The bench's folder, processes and sink.
pub(crate) struct Site {
    pub(crate) scratch: PathBuf,
    /// Folder with certificate.pem and key.pem.
    pub(crate) certificates: PathBuf,
    pub(crate) processes: Processes,
    /// Number of sessions that `portcullis-idle` holds.
    pub(crate) idle: usize,
    sink: SocketAddr,
    sinks: Rc<Group>,
    loaded: OnceCell<Loaded>,
    started: Cell<usize>,
}

/// A system that accepts connections; it is ended when this is dropped.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    /// Time from exec to the first greeting.
    pub(crate) began_within: Duration,
    /// Declared before `group`, so that sessions close before their server ends.
    _held: Option<Held>,
    _watching: Option<Watching>,
    group: Rc<Group>,
}

impl System {
    /// The reason why it cannot be measured here.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Haproxy | Self::HaproxySplice => haproxy::missing(),
            Self::HaproxySmtpfront => haproxy::missing().or_else(smtpfront::missing),
            Self::Haraka => haraka::missing(),
            Self::Nginx => nginx::missing(),
            Self::Postfix => postfix::missing(),
            Self::PortcullisQueue | Self::PortcullisSmtpfront | Self::Smtpfront => smtpfront::missing(),
            _ => None,
        }
    }

    /// Whether the system supports this: TCP relays refuse nothing, nginx has no size limit, not all have TLS.
    pub(crate) fn can(self, shape: Shape) -> bool {
        let relays = matches!(self, Self::Direct | Self::Haproxy | Self::HaproxySplice);
        let secures = !relays && !matches!(self, Self::HaproxySmtpfront | Self::PortcullisSmtpfront | Self::Smtpfront);
        let does = match shape.act {
            Act::Message | Act::Pipelined => true,
            Act::Refused => !relays,
            Act::Declared | Act::Undeclared => !relays && self != Self::Nginx,
            Act::Handshake => secures,
        };
        does && (secures || !shape.tls)
    }

    /// Whether it has a process for each session, so that idle ones are few.
    pub(crate) fn forks(self) -> bool {
        matches!(self, Self::HaproxySmtpfront | Self::PortcullisSmtpfront | Self::Postfix | Self::Smtpfront)
    }

    pub(crate) fn refusal(self) -> Refusal {
        let at_mail = |sender| Refusal { sender, oversize: b"552", at_recipient: false, closes: false };
        match self {
            Self::Nginx => Refusal { at_recipient: true, closes: true, ..at_mail(b"550") },
            Self::Haraka => Refusal { oversize: b"550", ..at_mail(b"550") },
            Self::HaproxySmtpfront | Self::Smtpfront => at_mail(b"553"),
            Self::Direct | Self::Haproxy | Self::HaproxySplice | Self::Ideal => at_mail(b"550"),
            _ => at_mail(b"554"),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

impl Site {
    /// A site with a running sink.
    pub(crate) fn new(scratch: &Path, processes: &Processes, idle: usize) -> io::Result<Self> {
        let certificates = scratch.join("tls");
        host::make_certificate(&certificates, &["localhost", "127.0.0.1"])?;
        let (scratch, processes) = (scratch.to_owned(), processes.clone());
        let sinks = Rc::new(processes.group()?);
        let (loaded, started) = (OnceCell::new(), Cell::new(0));
        let sink = sink::start(&Starting::new(&sinks, &scratch, "sink", Setup::default())?, &Kind::Plain)?;
        Ok(Self { scratch, certificates, processes, idle, sink, sinks, loaded, started })
    }

    /// The files of a loaded proxy, made at the first call.
    pub(crate) fn loaded(&self) -> io::Result<&Loaded> {
        if self.loaded.get().is_none() {
            let made = Loaded::make(&self.scratch)?;
            let _ = self.loaded.set(made);
        }
        self.loaded.get().ok_or_else(|| io::Error::other("nothing is loaded"))
    }

    /// Starts a system, and tries again if the chosen port was taken meanwhile.
    pub(crate) fn start(&self, system: System, setup: Setup) -> Result<Running, String> {
        let again = |fault: io::Error| match fault.kind() {
            io::ErrorKind::TimedOut => Err(fault),
            _ => self.try_start(system, setup),
        };
        self.try_start(system, setup).or_else(again).map_err(|fault| format!("{system}: {fault}"))
    }

    fn try_start(&self, system: System, setup: Setup) -> io::Result<Running> {
        if system == System::Direct {
            let (address, group) = (self.sink, self.sinks.clone());
            return Ok(Running { system, address, began_within: Duration::ZERO, _held: None, _watching: None, group });
        }
        self.started.set(self.started.get() + 1);
        let group = Rc::new(self.processes.group()?);
        let name = format!("{system}-{}", self.started.get());
        let starting = Starting::new(&group, &self.scratch, &name, setup)?;
        let address = match system {
            System::Haproxy => haproxy::start(&starting, self.sink, false)?,
            System::HaproxySplice => haproxy::start(&starting, self.sink, true)?,
            System::HaproxySmtpfront => haproxy::start(&starting, smtpfront::start(&starting)?, false)?,
            System::Haraka => haraka::start(&starting, self.sink, &self.certificates)?,
            System::Ideal | System::Direct => sink::start(&starting, &Kind::Ideal(&self.certificates))?,
            System::Nginx => nginx::start(&starting, self.sink, &self.certificates)?,
            System::Postfix => postfix::start(&starting, self.sink, &self.certificates)?,
            System::Smtpfront => smtpfront::start(&starting)?,
            System::PortcullisChunking => {
                let of_sink = Starting::new(&self.sinks, &self.scratch, &format!("{name}-sink"), Setup::default())?;
                portcullis::start(&starting, system, sink::start(&of_sink, &Kind::Chunking)?, self)?
            }
            _ => portcullis::start(&starting, system, self.sink, self)?,
        };
        let began_within = starting.began.get().elapsed();
        let held = match system {
            System::PortcullisIdle => Some(self.hold(system, address)?),
            _ => None,
        };
        let watching = match system {
            System::PortcullisWatched => {
                Some(Watching::begin(&starting.folder.join("admin")).map_err(io::Error::other)?)
            }
            _ => None,
        };
        Ok(Running { system, address, began_within, _held: held, _watching: watching, group })
    }

    fn hold(&self, system: System, address: SocketAddr) -> io::Result<Held> {
        Held::open(Target { address, refusal: system.refusal() }, self.idle, Stage::Greeted).map_err(io::Error::other)
    }
}

impl Running {
    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, refusal: self.system.refusal() }
    }

    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.group.cpu()
    }

    pub(crate) fn memory(&self) -> io::Result<Memory> {
        self.group.memory()
    }
}
