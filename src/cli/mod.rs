//! The command line: one file a command, arguments in, output and exit code out. Exit codes: 0 done, 1 the answer is no
//! or there are faults, 64 bad usage, 70 internal, 74 standard output cannot be written to, 78 `serve` with a bad
//! configuration. A command must not decide about mail: it asks the modules below.

mod alert;
mod ask;
mod block_file;
mod blocks;
mod check;
mod config;
mod desk;
mod drill;
mod explain;
mod init;
mod log;
mod manual;
mod output;
mod queue;
mod ready;
mod serve;
mod status;
mod zone;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::error::ErrorKind;
use jiff::ZonedDateTime;

use crate::cli::output::print;
use crate::config::file::Overrides;
use crate::config::units;
use crate::daemon::assemble::Origin;
use crate::text::version;

#[derive(Debug, Parser)]
#[command(name = "portcullis", version = version::SHORT, long_version = version::LONG, about, long_about = LONG_ABOUT, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Config(config::Config),
    Explain(explain::Explain),
    Block(blocks::Block),
    Unblock(blocks::Unblock),
    Blocks(blocks::Blocks),
    Status(status::Status),
    Ready(ready::Ready),
    Alert(alert::Alert),
    Queue(queue::Queue),
    Log(log::Log),
    Drill(drill::Drill),
    Init(init::Init),
    Completions(manual::Completions),
    #[command(hide = true, name = "man")]
    Manual(manual::Manual),
}

/// Where the configuration is; the same on every command.
#[derive(Args, Debug)]
struct Source {
    /// The configuration file [default: $PORTCULLIS_CONFIG, else the first of ./portcullis.toml, /etc/portcullis.toml and
    /// /etc/portcullis/portcullis.toml, else the built-in default]
    #[arg(short, long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// qmail's control folder, in place of qmail.control
    #[arg(long, value_name = "DIR")]
    control: Option<PathBuf>,
}

impl Source {
    fn origin(&self, listen: &[String], backend: Option<&str>) -> Origin {
        let overrides =
            Overrides { listen: listen.to_vec(), backend: backend.map(str::to_owned), control: self.control.clone() };
        Origin::find(self.config.as_deref(), overrides)
    }
}

/// Runs the command given on the command line.
pub fn run() -> ExitCode {
    match Arguments::try_parse() {
        Ok(Arguments { command }) => output::or_unwritten(match command {
            Command::Serve(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Block(command) => command.run(),
            Command::Unblock(command) => command.run(),
            Command::Blocks(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Ready(command) => command.run(),
            Command::Alert(command) => command.run(),
            Command::Queue(command) => command.run(),
            Command::Log(command) => command.run(),
            Command::Drill(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Manual(command) => command.run(),
        }),
        Err(error) => {
            // A closed pipe after --help is no fault.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(BAD_USAGE),
            }
        }
    }
}

/// Checks that `words`, the program's name first, are a valid command line; nothing is run. For checking the commands
/// in the documentation.
///
/// # Errors
/// The message that the operator would see.
pub fn try_words(words: &[String]) -> Result<(), String> {
    match Arguments::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.exit_code() == 0 => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a number in an option: rows, copies, a descriptor.
fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number = units::number(text).ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| "write a number, such as 20".to_owned())
}

/// The time at which the command was given, in the operator's zone.
#[expect(clippy::disallowed_methods, reason = "the commands' one place; what they call is handed the time")]
fn now() -> ZonedDateTime {
    ZonedDateTime::now().with_time_zone(zone::zone())
}

/// sysexits.h: EX_USAGE
const BAD_USAGE: u8 = 64;
/// sysexits.h: EX_SOFTWARE
const INTERNAL: u8 = 70;
/// sysexits.h: EX_CONFIG
const BAD_CONFIGURATION: u8 = 78;

const LONG_ABOUT: &str = "Portcullis is an SMTP policy proxy. It listens on port 25 in front of smtpfront-qmail, or any SMTP server, and \
decides about every message before it reaches the queue: a blocked sender gets 554, an oversized message 552, and a \
sender that keeps retrying is slowed down, then refused.";

const AFTER_HELP: &str = "A storm fills the queue:
  portcullis status                                                 who sends it
  portcullis block newsletter@sillyplace.com                        refuse it from now on
  portcullis queue list --summary                                   what is in the queue, by sender
  portcullis queue quarantine --sender newsletter@sillyplace.com    take it out of the queue, and keep it
  portcullis log --since 1h --sender newsletter@sillyplace.com      is the block working?";
