//! `block`, `unblock` and `blocks`: sends them to the running proxy, and prints the answer. It must not keep a block of
//! its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::admin::client;
use crate::admin::client::Wish;
use crate::cli::BAD_USAGE;
use crate::cli::Source;
use crate::cli::ask;
use crate::cli::block_file;
use crate::cli::print;
use crate::config::units;
use crate::daemon::assemble::Assembly;
use crate::policy::block::BlockKey;
use crate::policy::list::folded;
use crate::text::readable::shown;

/// Refuse a sender, a domain or a client for a time
///
/// The running proxy obeys at once, also on open connections, and remembers it over a restart. With --file the sender or
/// domain is written into badmailfrom instead, where it stays until it is removed; the proxy need not run.
#[derive(Args, Debug)]
pub(super) struct Block {
    #[command(flatten)]
    source: Source,
    /// user@example.org, @example.org, 192.0.2.1 or 192.0.2.0/24
    key: String,
    /// For how long
    #[arg(long = "for", value_name = "TIME", conflicts_with = "file", default_value = "7d", value_parser = units::duration)]
    length: std::time::Duration,
    /// Why, for whoever reads `blocks`
    #[arg(long, value_name = "TEXT", conflicts_with = "file", default_value = "")]
    why: String,
    /// Add it to badmailfrom: to PATH, or to the one in qmail.control
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    file: Option<Option<PathBuf>>,
    /// Do not ask, whoever is blocked
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// End a block, or what a throttle holds against somebody
///
/// A throttle that refuses without a block is lifted by its key too: `explain --sender A --client IP` prints it.
#[derive(Args, Debug)]
pub(super) struct Unblock {
    #[command(flatten)]
    source: Source,
    /// As `blocks` or `explain` shows it, such as 192.0.2.1 or retrying-sender:192.0.2.0/24,a@example.org; with --file an
    /// address or @domain
    key: String,
    /// Remove it from badmailfrom: from PATH, or from the one in qmail.control
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    file: Option<Option<PathBuf>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List the blocks, the one that ends first in front
#[derive(Args, Debug)]
pub(super) struct Blocks {
    #[command(flatten)]
    source: Source,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Block {
    pub(super) fn run(&self) -> ExitCode {
        let key: BlockKey = match self.key.parse() {
            Ok(key) => key,
            Err(what) => {
                eprintln!("{:?}: {what}", self.key);
                return ExitCode::from(BAD_USAGE);
            }
        };
        if let Some(what) = key.doubt() {
            eprintln!("{:?}: {what}", self.key);
            return ExitCode::from(BAD_USAGE);
        }
        if let Some(file) = &self.file {
            return block_file::block(&self.source, file.as_deref(), &key, self.json);
        }
        if self.length.as_secs() == 0 {
            eprintln!("--for: write a time of at least a second, such as 24h");
            return ExitCode::from(BAD_USAGE);
        }
        if let Some(whom) = key.breadth() {
            let question = format!("{key} is {whom}. Refuse them all?");
            match ask::ask(&question, self.yes, "name a smaller network") {
                Ok(true) => {}
                Ok(false) => return ExitCode::FAILURE,
                Err(code) => return code,
            }
        }
        let wish = Wish::Block(key.to_string(), self.length.as_secs(), self.why.clone());
        assemble_and_ask(&self.source, &wish, self.json, |made| {
            let before = match (made["before"].as_i64(), made["until"].as_i64()) {
                (Some(before), Some(until)) if until < before => {
                    format!("; shortened: it would have been until {}, and is until {}", moment(before), moment(until))
                }
                _ => String::new(),
            };
            print(&format!("{key} is blocked for {}{before}", units::write_duration(self.length)));
        })
    }
}

impl Unblock {
    pub(super) fn run(&self) -> ExitCode {
        if let Some(file) = &self.file {
            return block_file::unblock(&self.source, file.as_deref(), &self.key, self.json);
        }
        let assembly = match self.source.assemble() {
            Ok(assembly) => assembly,
            Err(code) => return code,
        };
        let wish = Wish::Unblock(self.key.clone());
        let code = request(&assembly, &wish, self.json, |block| {
            let key = word(&block["key"]);
            print(&match block["throttles"].as_array() {
                None => format!("{key} is not blocked any more"),
                Some(names) => {
                    let names: Vec<String> = names.iter().map(word).collect();
                    format!("{key} is counted anew by {}", names.join(", "))
                }
            });
        });
        self.tell_of_lists(&assembly);
        code
    }

    /// Warns if a list refuses the sender anyway; only `--file` changes a list.
    fn tell_of_lists(&self, assembly: &Assembly) {
        let folded = folded(self.key.trim_matches(['<', '>']));
        let senders = &assembly.snapshot.policy.senders;
        if let Some(location) = senders.iter().find_map(|list| list.find_folded(folded.as_bytes())) {
            eprintln!(
                "{location} refuses {folded} still: portcullis unblock {folded} --file takes it out of badmailfrom"
            );
        }
    }
}

impl Blocks {
    pub(super) fn run(&self) -> ExitCode {
        assemble_and_ask(&self.source, &Wish::Blocks, self.json, |blocks| {
            let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
            if blocks.is_empty() {
                return print("nobody is blocked");
            }
            for block in blocks {
                let until = moment(block["until"].as_i64().unwrap_or(0));
                let (key, by, why) = (word(&block["key"]), word(&block["by"]), word(&block["why"]));
                print(format!("{key:<40} until {until}  by {by:<8} {why}").trim_end());
            }
        })
    }
}

fn assemble_and_ask(source: &Source, wish: &Wish, json: bool, show: impl FnOnce(&Value)) -> ExitCode {
    match source.assemble() {
        Ok(assembly) => request(&assembly, wish, json, show),
        Err(code) => code,
    }
}

fn request(assembly: &Assembly, wish: &Wish, json: bool, show: impl FnOnce(&Value)) -> ExitCode {
    if let Some(what) = client::doubt(&assembly.config.admin) {
        eprintln!("{what} (warning)");
    }
    match client::ask(&assembly.config.admin, wish) {
        Ok((text, _)) if json => print(&text),
        Ok((_, answer)) => show(&answer),
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Seconds since the epoch as local time.
fn moment(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A string without its quotes, made readable: a stranger's octets may be in a throttle's key.
pub(super) fn word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    shown(&text).into_owned()
}
