//! `drill`: plays incident and honest traffic against a throwaway instance of the configuration, or the incident
//! against another server, and prints tables. It must not touch the state, the queue or the listeners of the running
//! proxy.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

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

/// Play the incident against a throwaway instance of your configuration
///
/// 72 copies of a 34 MB newsletter, twenty minutes apart on a clock of its own: once with lost acknowledgements, once
/// acknowledged, once coming back from a forward with a hop more. The instance has a port of its own and a backend that
/// counts and forgets; tcprules, rcpthosts and TLS are left out, because the sender is on this host. Nothing is
/// delivered, and a running proxy is not touched. The sender ignores every refusal.
///
/// Then twenty habits of honest senders that look like a storm: all that they send has to arrive, as it does without the
/// proxy (messages over 1 MB are too large there). The exit code is 1 where something does not.
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
    /// Drive this server instead; it gets the copies for real
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<SocketAddr>,
    /// Allow --against another host
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Drill {
    pub(super) fn run(&self) -> ExitCode {
        if self.against.is_some_and(|address| !address.ip().to_canonical().is_loopback()) && !self.force {
            eprintln!(
                "--against: {} copies of {} octets, and honest mail, for another host; add --force if it is yours",
                self.copies, self.size
            );
            return ExitCode::from(BAD_USAGE);
        }
        let plan = Plan { copies: self.copies, size: usize::try_from(self.size).unwrap_or(usize::MAX) };
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(drill::steps(plan) + drill::habits()),
            false => ProgressBar::hidden(),
        };
        let progress = || bar.inc(1);
        let rows = match self.against {
            Some(address) => {
                let incident = drill::against(address, plan, &progress);
                incident.and_then(|rows| Ok((rows, drill::honest_against(address, &progress)?)))
            }
            None => {
                let assemble = || self.source.origin(&[], None).assemble().ok();
                let configuration = || assemble().map(|assembly| (assembly.config, assembly.snapshot));
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

fn print_table(rows: &[Row]) {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
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
            row.wire_bytes / 1_000_000,
            row.queue_bytes / 1_000_000,
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
