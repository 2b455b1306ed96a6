//! What is measured: the sink itself, Portcullis and HAProxy in front of it, each with a configuration of its own.

use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use clap::ValueEnum;

use crate::process;
use crate::process::Processes;

/// One way to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// No proxy: the ceiling.
    Direct,
    /// HAProxy in TCP mode: what a proxy costs that reads nothing.
    Haproxy,
    /// This crate.
    Portcullis,
    /// This crate, remembering no message: what the ledger costs.
    WithoutLedger,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Haproxy => "haproxy",
            Self::Portcullis => "portcullis",
            Self::WithoutLedger => "without-ledger",
        })
    }
}

/// A system that accepts connections; it is ended when this is dropped.
pub(crate) struct Running {
    system: System,
    address: SocketAddr,
    process: Option<u32>,
    processes: Processes,
}

impl Running {
    pub(crate) fn start(
        system: System,
        sink: SocketAddr,
        scratch: &Path,
        processes: &Processes,
    ) -> Result<Self, String> {
        let started = match system {
            System::Direct => Ok((sink, None)),
            System::Haproxy => haproxy(sink, scratch, processes),
            System::Portcullis => portcullis(sink, &scratch.join("with"), "", processes),
            System::WithoutLedger => portcullis(sink, &scratch.join("without"), WITHOUT_LEDGER, processes),
        };
        let (address, process) = started.map_err(|fault| format!("{system}: {fault} (--systems leaves it out)"))?;
        Ok(Self { system, address, process, processes: processes.clone() })
    }

    pub(crate) fn system(&self) -> System {
        self.system
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// So far; nothing for the sink, which shares a process with the client.
    pub(crate) fn cpu(&self) -> io::Result<Option<Duration>> {
        self.process.map(process::cpu).transpose()
    }

    /// Octets, now.
    pub(crate) fn resident(&self) -> io::Result<Option<u64>> {
        self.process.map(process::resident).transpose()
    }

    pub(crate) fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = self.process {
            self.processes.end(id);
        }
    }
}

type Started = io::Result<(SocketAddr, Option<u32>)>;

fn haproxy(sink: SocketAddr, scratch: &Path, processes: &Processes) -> Started {
    // HAProxy cannot tell which port it got: take a free one and let it go again.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let file = scratch.join("haproxy.cfg");
    fs::write(&file, HAPROXY.replace("{listen}", &address.to_string()).replace("{sink}", &sink.to_string()))?;
    let log = scratch.join("haproxy.log");
    let program = if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" };
    // -db: no fork, so that the id is the one that works.
    let id = spawn(Command::new(program).arg("-db").arg("-f").arg(&file), &log, processes)?;
    until(id, &log, processes, || TcpStream::connect(address).ok().map(|_| address))
}

fn portcullis(sink: SocketAddr, scratch: &Path, more: &str, processes: &Processes) -> Started {
    fs::create_dir_all(scratch)?;
    // Not beside the configuration, whose folder is watched.
    let log = scratch.with_extension("log");
    let file = scratch.join("portcullis.toml");
    fs::write(&file, PORTCULLIS.replace("{sink}", &sink.to_string()) + more)?;
    let program = PathBuf::from(env!("CARGO_BIN_EXE_portcullis"));
    let id = spawn(Command::new(program).arg("serve").arg("-c").arg(&file).current_dir(scratch), &log, processes)?;
    until(id, &log, processes, || {
        let text = fs::read_to_string(&log).ok()?;
        let (_, address) = text.lines().find(|line| line.contains("listening"))?.split_once("address=")?;
        address.split_whitespace().next()?.parse().ok()
    })
}

fn spawn(command: &mut Command, log: &Path, processes: &Processes) -> io::Result<u32> {
    let log = File::create(log)?;
    processes.start(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
}

/// Asks again until it listens, has ended, or ten seconds are over.
fn until(id: u32, log: &Path, processes: &Processes, ready: impl Fn() -> Option<SocketAddr>) -> Started {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(address) = ready() {
            return Ok((address, Some(id)));
        }
        let ended = processes.has_ended(id);
        if ended || Instant::now() > deadline {
            processes.end(id);
            let why = if ended { "ended at once" } else { "does not listen within 10 s" };
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(io::Error::other(format!("{why}: {}", said.trim())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const HAPROXY: &str = "\
global
    maxconn 5000
defaults
    mode tcp
    maxconn 5000
    timeout connect 10s
    timeout client 5m
    timeout server 5m
listen smtp
    bind {listen}
    server sink {sink}
";

// Limits are out of the way, everything else is as shipped: what is measured is what an operator gets.
const PORTCULLIS: &str = "\
[server]
listen = [\"127.0.0.1:0\"]
hostname = \"portcullis.example\"
max_connections = 10000
max_connections_per_client = 10000
[backend]
tcp = \"{sink}\"
max = 10000
[size]
limit = \"1GB\"
[admin]
listen = \"\"
";

const WITHOUT_LEDGER: &str = "\
[repeat]
unacknowledged = \"deliver\"
limit = 0
";
