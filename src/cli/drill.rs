//! `drill`: plays incident and honest traffic against a throwaway instance of the configuration, or the incident
//! against another server, and prints tables. It must not touch the state, the queue or the listeners of the running
//! proxy.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::count;
use crate::cli::print;
use crate::config::units;
use crate::rehearsal::drill;
use crate::rehearsal::drill::HonestRow;
use crate::rehearsal::drill::Plan;
use crate::rehearsal::drill::Row;
use crate::text::number;

/// Rehearse the incident against a throwaway instance of your configuration
///
/// 72 copies of a 34 MB newsletter, twenty minutes apart on a simulated clock: once with lost acknowledgements, once
/// acknowledged, once returned by a forward with one more hop. The instance has its own port and a backend that counts and
/// discards; tcprules, rcpthosts and TLS are left out, because the sender is on this host. Nothing is delivered, and a
/// running proxy is not touched. The sender ignores every refusal.
///
/// Then twenty habits of honest senders that look like a storm: everything they send has to arrive, as it does without the
/// proxy (messages over 1 MB are too large there). The exit code is 1 if something does not.
#[derive(Args, Debug)]
pub(super) struct Drill {
    #[command(flatten)]
    source: Source,
    /// Copies of each scenario
    #[arg(long, default_value_t = 72, value_parser = count::<u32>)]
    copies: u32,
    /// Size of the newsletter
    #[arg(long, value_name = "SIZE", default_value = "34MB", value_parser = units::size)]
    size: u64,
    /// Send to this server instead; it really gets the copies
    #[arg(long, value_name = "HOST:PORT", value_parser = server)]
    against: Option<Server>,
    /// Allow another host with --against
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Drill {
    pub(super) fn run(&self) -> ExitCode {
        let against = match self.against.as_ref().map(|server| self.address(server)).transpose() {
            Ok(against) => against,
            Err((code, what)) => {
                eprintln!("--against: {what}");
                return code;
            }
        };
        if against.is_none()
            && let Err(code) = self.remark()
        {
            return code;
        }
        let plan = Plan { copies: self.copies, size: usize::try_from(self.size).unwrap_or(usize::MAX) };
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(drill::steps(plan) + drill::habits()),
            false => ProgressBar::hidden(),
        };
        let progress = || bar.inc(1);
        let rows = match against {
            Some(address) => {
                let incident = drill::against(address, plan, &progress);
                incident.and_then(|rows| Ok((rows, drill::honest_against(address, &progress)?)))
            }
            None => {
                let configuration = || self.source.look().ok().map(|(desk, _)| (desk.read.config, desk.read.snapshot));
                let incident = drill::against_ourselves(configuration, plan, &progress);
                incident.and_then(|rows| Ok((rows, drill::honest(configuration, &progress)?)))
            }
        };
        bar.finish_and_clear();
        match rows {
            Err(what) => {
                eprintln!("{what}");
                ExitCode::FAILURE
            }
            Ok((incident, honest)) => self.tell(&incident, &honest),
        }
    }

    /// Where to connect.
    ///
    /// # Errors
    /// The server is another host's and that is not allowed, or nobody answers there.
    fn address(&self, server: &Server) -> Result<SocketAddr, (ExitCode, String)> {
        if !self.force && !server.addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            let copies = number::count(self.copies, "copy");
            let what = format!(
                "{} is another host: it would get {copies} of {} octets each, and honest mail; add --force if it is yours",
                server.name, self.size
            );
            return Err((ExitCode::from(BAD_USAGE), what));
        }
        let mut why = String::new();
        for address in &server.addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(_) => return Ok(*address),
                Err(error) => why = format!("{} ({address}): {error}", server.name),
            }
        }
        Err((ExitCode::FAILURE, format!("{why}; is an SMTP server running there?")))
    }

    /// Names the errors of the configuration, if it has any: the drill goes on without the values that have one.
    fn remark(&self) -> Result<(), ExitCode> {
        let (_, Some(refused)) = self.source.look()? else { return Ok(()) };
        refused.faults.iter().for_each(|fault| eprintln!("{fault}"));
        let count = number::count(refused.faults.len() as u64, "error");
        eprintln!(
            "{count}: Portcullis does not start with this. The drill continues with what could be read, and defaults for the rest"
        );
        Ok(())
    }

    fn tell(&self, incident: &[Row], honest: &[HonestRow]) -> ExitCode {
        if self.json {
            print(&json!({ "incident": incident, "honest": honest }).to_string());
        } else {
            print_table(incident);
            print_honest(honest);
        }
        if honest.iter().any(HonestRow::is_harmed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A server, as it was written, and its addresses.
#[derive(Clone, Debug)]
struct Server {
    name: String,
    addresses: Vec<SocketAddr>,
}

fn server(text: &str) -> Result<Server, String> {
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err("write a host and a port, such as localhost:25 or [::1]:25".to_owned());
    }
    match text.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => Ok(Server { name: text.to_owned(), addresses }),
        Ok(_) => Err("the name has no address".to_owned()),
        Err(error) => Err(format!("the name has no address ({error}); write one, such as 127.0.0.1:25")),
    }
}

fn print_table(rows: &[Row]) {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    // The length of a host's name must not make 33 of 34.
    let megabytes = |octets: u64| octets.saturating_add(500_000) / 1_000_000;
    print("scenario              copies  250  5xx  4xx  delivered  wire MB  queue MB  backend sessions  CPU s");
    for row in rows {
        let cpu = row.cpu_seconds.map_or("-".to_owned(), |cpu| format!("{cpu:.1}"));
        print(&format!(
            "{:<21} {:>6} {:>4} {:>4} {:>4} {:>10} {:>8} {:>9} {:>17} {:>6}",
            row.scenario,
            row.copies,
            row.accepted,
            row.rejected,
            row.deferred,
            number(row.delivered),
            megabytes(row.wire_bytes),
            megabytes(row.queue_bytes),
            number(row.backend_sessions),
            cpu,
        ));
    }
}

fn print_honest(rows: &[HonestRow]) {
    print("");
    print("honest traffic                       sent  250  delivered  without the proxy");
    for HonestRow { habit, sent, accepted, delivered, delivered_without } in rows {
        let [with, without] = [delivered, delivered_without].map(|it| it.map_or("-".to_owned(), |it| it.to_string()));
        print(&format!("{habit:<36} {sent:>4} {accepted:>4} {with:>10} {without:>18}"));
    }
}

/// Time for a connection to be made.
const PATIENCE: Duration = Duration::from_secs(10);
