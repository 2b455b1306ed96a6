//! `block`, `unblock` and `blocks`: sends them to the running proxy, and prints the answer. What would hit ourselves is asked
//! first. It must not keep a block of
//! its own.

use std::path::Path;
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
use crate::cli::desk::Desk;
use crate::cli::print;
use crate::cli::zone::moment;
use crate::config::units;
use crate::daemon::own;
use crate::daemon::own::Ours;
use crate::policy::block::BlockKey;
use crate::policy::list::folded;
use crate::text::readable;
use crate::text::readable::shown;
use crate::text::shell;

/// Block a sender, a domain or a client for a time
///
/// The running proxy applies it at once, also on open connections, and keeps it over a restart. With --file the sender or
/// domain is written into badmailfrom instead, where it stays until it is removed; the proxy need not be running. A
/// block that hits this host, clients that may relay, your own domains, or a very large network needs confirmation.
#[derive(Args, Debug)]
pub(super) struct Block {
    #[command(flatten)]
    source: Source,
    /// user@example.org, @example.org, 192.0.2.1 or 192.0.2.0/24
    key: String,
    /// For how long
    #[arg(long = "for", value_name = "TIME", conflicts_with = "file", default_value = "7d", value_parser = units::duration)]
    length: std::time::Duration,
    /// The reason, shown by `blocks`
    #[arg(long, value_name = "TEXT", conflicts_with = "file", default_value = "")]
    why: String,
    /// Add it to badmailfrom: to PATH, or to the one in qmail.control
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    file: Option<Option<PathBuf>>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lift a block, or reset a throttle's count
///
/// `explain --sender A --client IP` prints the key of a throttle that refuses.
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

/// List blocks, soonest to expire first
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
        let key = match self.read_key() {
            Ok(key) => key,
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::from(BAD_USAGE);
            }
        };
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let file = self.file.as_ref().map(Option::as_deref);
        let beside = file.flatten().and_then(Path::parent);
        if let Some(what) = own::doubt(Ours::of(&desk.read), beside, &key)
            && let Err(code) = ask::ask(&format!("{what}. Block it?"), self.yes, "name less")
        {
            return code;
        }
        if let Some(file) = file {
            return block_file::block(&desk, file, &key, self.json);
        }
        let wish = Wish::Block(key.to_string(), self.length.as_secs(), self.why.clone());
        request(&desk, &wish, self.json, |made| {
            let before = match (made["before"].as_i64(), made["until"].as_i64()) {
                (Some(before), Some(until)) if until < before => {
                    format!("; now ends {} (was {})", moment(until), moment(before))
                }
                _ => String::new(),
            };
            print(&format!("{key} is blocked for {}{before}", units::write_duration(self.length)));
        })
    }

    /// The key.
    ///
    /// # Errors
    /// An option that is wrong, and what to write instead.
    fn read_key(&self) -> Result<BlockKey, String> {
        if matches!(self.key.trim(), "<>" | "") {
            return Err(
                "the null sender cannot be blocked: every bounce comes from it, also those that your users wait \
                        for. Bounces in the queue: portcullis queue quarantine --sender '<>' --recipient ADDRESS"
                    .to_owned(),
            );
        }
        let key: BlockKey = self.key.parse().map_err(|what| format!("{:?}: {what}", self.key))?;
        match key.doubt() {
            Some(what) => Err(format!("{:?}: {what}", self.key)),
            None if self.length.as_secs() == 0 => {
                Err("--for: write a time of at least a second, such as 24h".to_owned())
            }
            None => Ok(key),
        }
    }
}

impl Unblock {
    pub(super) fn run(&self) -> ExitCode {
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        if let Some(file) = &self.file {
            return block_file::unblock(&desk, file.as_deref(), &self.key, self.json);
        }
        let wish = Wish::Unblock(self.key.clone());
        let code = request(&desk, &wish, self.json, |block| {
            let key = word(&block["key"]);
            print(&match block["throttles"].as_array() {
                None => format!("lifted the block on {key}"),
                Some(names) => {
                    let names: Vec<String> = names.iter().map(word).collect();
                    let of_one = names.iter().find_map(|name| key.strip_prefix(name.as_str())?.strip_prefix(':'));
                    let whom = of_one.unwrap_or(&key);
                    match names.as_slice() {
                        [name] => format!("throttle {name} starts from zero for {whom}"),
                        names => format!("throttles {} start from zero for {whom}", names.join(" and ")),
                    }
                }
            });
        });
        self.tell_of_lists(&desk);
        code
    }

    /// Warns if a list still refuses the sender; only `--file` changes a list.
    fn tell_of_lists(&self, desk: &Desk) {
        let folded = folded(self.key.trim_matches(['<', '>']));
        let senders = &desk.read.snapshot.policy.senders;
        let Some(location) = senders.iter().find_map(|list| list.find_folded(folded.as_bytes())) else { return };
        let remedy = match block_file::entry_at(&location) {
            Some(entry) => format!(
                "to remove that line: portcullis unblock {} --file {}",
                shell::word(&entry),
                shell::word(&location.source)
            ),
            None => "edit that line".to_owned(),
        };
        eprintln!("but {location} still refuses {folded}; {remedy}");
    }
}

impl Blocks {
    pub(super) fn run(&self) -> ExitCode {
        let desk = match self.source.desk() {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        request(&desk, &Wish::Blocks, false, |answer| {
            if self.json {
                let mut text = String::new();
                readable::write_json(&mut text, &answer["blocks"].to_string());
                return print(&text);
            }
            let blocks = answer["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
            if blocks.is_empty() {
                return print("nothing is blocked");
            }
            for block in blocks {
                let until = moment(block["until"].as_i64().unwrap_or(0));
                let (key, by, why) = (word(&block["key"]), word(&block["by"]), word(&block["why"]));
                print(format!("{key:<40} until {until}  by {by:<8} {why}").trim_end());
            }
        })
    }
}

fn request(desk: &Desk, wish: &Wish, json: bool, show: impl FnOnce(&Value)) -> ExitCode {
    if let Some(what) = client::doubt(&desk.read.config.admin) {
        eprintln!("{what} (warning)");
    }
    match desk.ask(wish) {
        Ok((text, _)) if json => print(&text),
        Ok((_, answer)) => show(&answer),
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A string without its quotes, made readable: a stranger's octets may be in a throttle's key.
pub(super) fn word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    shown(&text).into_owned()
}
