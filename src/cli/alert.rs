//! `alert`: tries out the ways by which problems are told. It sends by itself, as the proxy would, and must not show the
//! secrets of a webhook.

use std::process::ExitCode;

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use crate::alerts;
use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::now;
use crate::cli::print;
use crate::config::checked::alert::Alert as Configured;

/// Try out the alerts
#[derive(Args, Debug)]
pub(super) struct Alert {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(Test),
}

/// Send a test event by each configured alert, and show what was answered
///
/// The running proxy is not needed. Exit code 0 if all were sent, 1 if not, 64 if there is no such alert.
#[derive(Args, Debug)]
struct Test {
    #[command(flatten)]
    source: Source,
    /// Only this one: its name, or its number in the configuration
    #[arg(long, value_name = "NAME")]
    alert: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Alert {
    pub(super) fn run(&self) -> ExitCode {
        match &self.command {
            Command::Test(test) => test.run(),
        }
    }
}

impl Test {
    fn run(&self) -> ExitCode {
        let desk = match self.source.look() {
            Ok((desk, None)) => desk,
            Ok((_, Some(refused))) => {
                // An alert that could be read need not be as it was meant.
                refused.faults.iter().for_each(|fault| eprintln!("{fault}"));
                eprintln!("nothing was sent: the configuration has errors");
                return ExitCode::FAILURE;
            }
            Err(code) => return code,
        };
        let config = &desk.read.config;
        let wanted = match self.wanted(&config.alerts) {
            Ok(wanted) => wanted,
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::from(BAD_USAGE);
            }
        };
        let now = u32::try_from(now().timestamp().as_second()).unwrap_or_default();
        let (mut told, mut all_sent) = (Vec::new(), true);
        for alert in wanted {
            let outcome = alerts::test(alert, &config.session.hostname, now);
            all_sent &= outcome.is_ok();
            match self.json {
                true => told.push(as_json(alert, &outcome)),
                false => print(&line(alert, &outcome)),
            }
        }
        if self.json {
            print(&Value::Array(told).to_string());
        }
        if all_sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The alerts to be tried.
    ///
    /// # Errors
    /// There is none, and what to write.
    fn wanted<'a>(&self, all: &'a [Configured]) -> Result<Vec<&'a Configured>, String> {
        if all.is_empty() {
            return Err(NONE.to_owned());
        }
        let Some(name) = &self.alert else { return Ok(all.iter().collect()) };
        let by_number = || all.get(name.parse::<usize>().ok()?.checked_sub(1)?);
        let found = all.iter().find(|alert| alert.name == *name).or_else(by_number);
        let names = || all.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>().join(", ");
        found.map(|alert| vec![alert]).ok_or_else(|| format!("there is no alert {name:?}; the alerts are {}", names()))
    }
}

fn line(alert: &Configured, outcome: &Result<String, String>) -> String {
    let (name, to) = (&alert.name, alert.channel.target());
    match outcome {
        Ok(answer) => format!("{name} ({to}): sent: {answer}"),
        Err(error) => format!("{name} ({to}): not sent: {error}"),
    }
}

fn as_json(alert: &Configured, outcome: &Result<String, String>) -> Value {
    let answer = outcome.as_ref().unwrap_or_else(|error| error);
    json!({ "alert": alert.name, "to": alert.channel.target(), "sent": outcome.is_ok(), "answer": answer })
}

const NONE: &str = "no alert is configured; write one into the configuration, such as\n\n\
                    [[alert]]\n\
                    webhook = \"https://example.org/hook\"\n\
                    # template = \"slack\" # mattermost, ntfy, pagerduty, alertmanager";
