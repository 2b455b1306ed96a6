//! `status`: prints the status of the running proxy, once or over and over, as `admin` gives it. On a terminal, `--watch`
//! is a view with keys, in the folder of this name. It must not change anything by itself.

mod ask;
mod conversation;
mod keys;
mod model;
mod rows;
mod screen;
mod seen;
mod sessions;
mod told;
mod view;

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::DecimalBytes;
use serde_json::Value;

use crate::admin::client::Wish;
use crate::cli::Source;
use crate::cli::blocks::word;
use crate::cli::desk::Desk;
use crate::cli::output::is_closed;
use crate::cli::print;
use crate::cli::status::sessions::Sessions;
use crate::config::units;

/// Show what the running proxy is doing
///
/// Storms first, then counts of the last 60 seconds and the last hour, and the senders of the last hour with the most
/// messages accepted, bytes, and messages absorbed, deferred or refused. With --sessions the sessions that are open, with
/// --session one of them, and with --follow what is said in it, as it is said.
#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    source: Source,
    /// On a terminal, fill it with a live view with keys (? lists them); else repeat every 2 s, or every TIME
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = units::duration)]
    watch: Option<Duration>,
    #[command(flatten)]
    sessions: Sessions,
    /// Print JSON; with --watch and --follow one object per line
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self) -> ExitCode {
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        if let Some(code) = self.sessions.run(&desk, self.json) {
            return code;
        }
        let Some(every) = self.watch else { return self.show(&desk) };
        if !self.json && screen::is_there() {
            return screen::run(desk);
        }
        loop {
            // The proxy may be restarting: an operator that watches wants to see it come back.
            self.show(&desk);
            if is_closed() {
                return ExitCode::SUCCESS;
            }
            if !self.json {
                print("");
            }
            #[expect(clippy::disallowed_methods, reason = "a command without a runtime, between two looks")]
            std::thread::sleep(every.max(SHORTEST));
        }
    }

    fn show(&self, desk: &Desk) -> ExitCode {
        match desk.ask(&Wish::Status) {
            Ok((text, _)) if self.json => print(&text),
            Ok((_, status)) => print(&table(&status)),
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

fn table(status: &Value) -> String {
    let mut text = String::new();
    rows(&status["problems"]).iter().for_each(|problem| write_problem(&mut text, problem));
    rows(&status["storms"]).iter().for_each(|storm| write_storm(&mut text, storm));
    write_now(&mut text, status);
    write_networks(&mut text, rows(&status["networks"]));
    write_rates(&mut text, &status["rates"]);
    for (key, by) in [("accepted", "accepted"), ("bytes", "bytes"), ("not_accepted", "not accepted")] {
        write_senders(&mut text, by, rows(&status["senders"][key]));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Writes a problem, unless what follows says it.
fn write_problem(text: &mut String, problem: &Value) {
    let is_said = ["storm", "state_degraded", "log_unread", "hold_nearly_full"].map(Value::from);
    if !is_said.contains(&problem["kind"]) {
        let label = if problem["severity"] == "notice" { "NOTICE" } else { "TROUBLE" };
        let _ = writeln!(text, "{label:<14} {}", word(&problem["text"]));
    }
}

fn write_storm(text: &mut String, storm: &Value) {
    let (key, to, reason) = (word(&storm["key"]), word(&storm["recipients"]), word(&storm["reason"]));
    let to = if to.is_empty() { "(no recipient seen yet)" } else { &to };
    let [copies, absorbed, refused, deferred, delivered, similar] =
        ["copies", "absorbed", "refused", "deferred", "delivered", "similar"].map(|name| word(&storm[name]));
    let (queue, wire) = (bytes(&storm["bytes_spared"]), bytes(&storm["wire_spared"]));
    let _ = writeln!(text, "STORM          {key} for {to}");
    let last = if reason.is_empty() { String::new() } else { format!(", last by {reason}") };
    let _ =
        write!(text, "               {copies} copies: {absorbed} absorbed, {refused} refused, {deferred} deferred, ");
    let _ = writeln!(text, "{delivered} delivered again{last}");
    if similar != "0" {
        let _ = writeln!(text, "               {similar} messages that differ only in Date and Message-ID");
    }
    let _ = writeln!(text, "               saved: {queue} of queue, {wire} of traffic");
}

fn write_now(text: &mut String, status: &Value) {
    let lines = [
        ("state", word(&status["state"])),
        ("connections", word(&status["connections"])),
        ("held", bytes(&status["held_octets"])),
        ("blocks", word(&status["blocks"])),
        ("throttle keys", word(&status["throttle_keys"])),
        ("ledger", format!("{} entries, {} unacknowledged", status["ledger_entries"], status["unacknowledged"])),
        ("version", word(&status["version"])),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<14} {value}");
    }
    if let Some(error) = status["state_error"].as_str() {
        let _ = writeln!(text, "state          cannot be written: {error}");
    }
    if let Some(kept) = status["state_set_aside"].as_str() {
        let _ = writeln!(text, "state          was damaged and started empty; the old file is kept as {kept}");
    }
    if status["log_stalled"] == true {
        text.push_str("log            is not being read: its lines are discarded\n");
    }
    if status["stress"] == true {
        text.push_str("stress         connections are nearly used up: time limits are shorter\n");
    }
    if let Some(pressure @ 1..) = status["hold_pressure"].as_u64() {
        let _ =
            writeln!(text, "{:<14} nearly used up ({pressure} of 4): the slowest uploads are closed with 421", "hold");
    }
    if status["stopping"] == true {
        text.push_str("stopping       no new transactions\n");
    }
}

/// Writes the client networks with most of what all share.
fn write_networks(text: &mut String, list: &[Value]) {
    if list.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{:<50} {:>11} {:>11} {:>11}", "client networks", "connections", "held", "backend");
    for network in list {
        let [name, connections, backend] =
            ["network", "connections", "backend_sessions"].map(|name| word(&network[name]));
        let _ = writeln!(text, "{name:<50} {connections:>11} {:>11} {backend:>11}", bytes(&network["held_octets"]));
    }
}

fn write_rates(text: &mut String, rates: &Value) {
    let counts = || ["connections"].iter().chain(&COUNTS);
    let _ = write!(text, "\n{:<14}", "");
    counts().chain(&["bytes"]).for_each(|head| _ = write!(text, " {head:>11}"));
    for (name, key) in [("last minute", "minute"), ("last hour", "hour")] {
        let _ = write!(text, "\n{name:<14}");
        counts().for_each(|count| _ = write!(text, " {:>11}", word(&rates[key][*count])));
        let _ = write!(text, " {:>11}", bytes(&rates[key]["bytes"]));
    }
    text.push('\n');
}

fn write_senders(text: &mut String, by: &str, list: &[Value]) {
    if list.is_empty() {
        return;
    }
    let title = format!("senders by {by}");
    let _ = write!(text, "\n{title:<50}");
    COUNTS.iter().chain(&["bytes"]).for_each(|head| _ = write!(text, " {head:>9}"));
    for top in list {
        let _ = write!(text, "\n{:<50}", word(&top["sender"]));
        COUNTS.iter().for_each(|count| _ = write!(text, " {:>9}", word(&top[*count])));
        let _ = write!(text, " {:>9}", bytes(&top["bytes"]));
    }
    text.push('\n');
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn bytes(value: &Value) -> String {
    DecimalBytes(value.as_u64().unwrap_or(0)).to_string()
}

/// The ends of a transaction, as they are called everywhere.
const COUNTS: [&str; 4] = ["accepted", "absorbed", "deferred", "refused"];

/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
