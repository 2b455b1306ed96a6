//! `log`: summarizes a log, or prints its lines, from files, folders of multilog or standard input. It must not
//! interpret a line: `logs` does.

mod digest;
mod follow;
mod lines;
mod moment;
mod printer;
mod report;
mod source;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::ZonedDateTime;

use crate::cli;
use crate::cli::BAD_USAGE;
use crate::cli::count;
use crate::cli::log::digest::Digest;
use crate::cli::log::printer::Printer;
use crate::cli::log::source::Input;
use crate::cli::log::source::Progress;
use crate::cli::print;
use crate::logs::select::Filter;
use crate::logs::select::Select;
use crate::logs::stamp::Tai;
use crate::policy::addresses::Addresses;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::text::number;
use crate::text::readable;

/// Summarise the log: is the block working?
///
/// Reads the logs of Portcullis, smtpfront-qmail, tcpserver, sslserver and qmail-send: with TAI64N stamps, through
/// tai64nlocal, as syslogd, journald or a container keeps them, or without a time. Other programs' lines are counted by
/// name. For each sender it shows how many messages were accepted, absorbed, deferred and refused, why, and since when.
/// Times without a zone are read in local time. --lines shows the lines themselves, --message follows one message through
/// all logs. Exit code 1 if no line matches, or a file could not be read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Log {
    /// Files, folders that multilog, svlogd or s6-log write (rotated files too), folders of such folders, or - for
    /// standard input [default: standard input if something is piped in, else /var/log/portcullis, else
    /// /var/log/smtpfront-qmail]
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Not before: 2h ago, 14:00, 2026-11-25, '2026-11-25 14:00', 2026-11-25T13:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before; written as for --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only this envelope sender, matched as in badmailfrom: a@example.org, @example.org, or <>; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    sender: Vec<String>,
    /// Only this envelope recipient; written as for --sender
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// Only messages that ended like this: accept, reject, defer, absorb, disconnect; may be repeated
    #[arg(long, value_parser = verdict)]
    verdict: Vec<Verdict>,
    /// Only messages that ended for this reason, such as blocked_sender; may be repeated
    #[arg(long, value_parser = reason)]
    reason: Vec<Reason>,
    /// The lines of one session: the id that replies show in brackets, or the pid of smtpfront-qmail
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The lines of one message, through all logs given: its Message-ID, its number in the queue, or its qp
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Print the matching lines, in local time, instead of the summary
    #[arg(long)]
    lines: bool,
    /// Print matching lines as they are written, through rotation; from now on, or from --since on
    #[arg(short, long)]
    follow: bool,
    /// Show at most this many senders (0: all)
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count::<usize>)]
    top: usize,
    /// The program that wrote the TAI64N stamps: auto, daemontools (also runit), s6 (27 seconds ahead)
    #[arg(long, value_name = "PROGRAM", default_value = "auto", value_parser = tai)]
    tai: Tai,
    /// Print JSON: the summary as one object, or one object for each line
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(super) fn run(&self) -> ExitCode {
        let now = cli::now();
        let (filter, inputs) = match self.filter(&now).and_then(|filter| Ok((filter, self.inputs()?))) {
            Ok(found) => found,
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::from(BAD_USAGE);
            }
        };
        let is_asked = !filter.is_empty() || filter.since.is_some() || filter.until.is_some();
        let lines = self.lines || self.follow || filter.is_about_one();
        let mut digest = Digest::new(Select::new(filter), lines.then(|| Printer::new(now.time_zone(), self.json)));
        let read = match self.follow {
            true => follow::follow(inputs, self.tai, &now, &mut digest),
            false => self.read(inputs, &now, &mut digest),
        };
        if digest.untimed() > 0 {
            eprintln!("left out, because they have no time: {}", number::count(digest.untimed(), "line"));
        }
        if !lines {
            print(&self.summary(&digest, &now));
        }
        if is_asked && !digest.found() {
            eprintln!("no log line matches");
        }
        let is_log = digest.is_log();
        if !is_log {
            eprintln!(
                "no line is in a known format: is it a log of Portcullis (logfmt or json), smtpfront-qmail or \
                 qmail-send? From journalctl, take -o short, cat or json"
            );
        }
        if read && is_log && (!is_asked || digest.found()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn read(&self, inputs: Vec<Input>, now: &ZonedDateTime, digest: &mut Digest) -> bool {
        let quiet = !std::io::stderr().is_terminal() || (digest.prints() && std::io::stdout().is_terminal());
        let progress = Progress::new(&inputs, quiet);
        let read = source::read(inputs, self.tai, now, &progress, digest);
        progress.finish();
        read
    }

    fn summary(&self, digest: &Digest, now: &ZonedDateTime) -> String {
        match self.json {
            true => {
                let mut text = String::new();
                readable::write_json(&mut text, &report::json(digest.summary(), self.top).to_string());
                text
            }
            false => table::table(digest.summary(), now.time_zone(), self.top, !self.sender.is_empty()),
        }
    }

    fn filter(&self, now: &ZonedDateTime) -> Result<Filter, String> {
        let moment = |name: &str, text: &Option<String>| {
            let read = |text: &String| moment::read(text, now).map_err(|what| format!("--{name}: {what}"));
            text.as_ref().map(read).transpose()
        };
        let (since, until) = (moment("since", &self.since)?, moment("until", &self.until)?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            let shown =
                |time: jiff::Timestamp| time.to_zoned_datetime(now.time_zone().clone()).strftime("%F %T").to_string();
            return Err(format!("--since {} is not before --until {}: no line can match", shown(since), shown(until)));
        }
        Ok(Filter {
            senders: Addresses::read("--sender", &self.sender)?,
            recipients: Addresses::read("--recipient", &self.recipient)?,
            verdicts: self.verdict.clone(),
            reasons: self.reason.clone(),
            session: self.session.clone(),
            message: self.message.clone(),
            since,
            until,
        })
    }

    fn inputs(&self) -> Result<Vec<Input>, String> {
        if !self.inputs.is_empty() {
            return Ok(self.inputs.iter().flat_map(|path| Input::at(path)).collect());
        }
        if source::is_piped() {
            return Ok(vec![Input::Stdin]);
        }
        let usual = USUAL.iter().map(PathBuf::from).find(|path| path.is_dir());
        let usual = usual.ok_or_else(|| {
            let tried = USUAL.join(" nor ");
            format!(
                "neither {tried} exists: name the log's folder, such as /var/log/qmail/smtpd, or pipe the log in: \
                 journalctl -u portcullis | portcullis log"
            )
        })?;
        eprintln!("reading {}", usual.display());
        Ok(Input::at(&usual))
    }
}

fn verdict(word: &str) -> Result<Verdict, String> {
    let words = || Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>().join(", ");
    let found = Verdict::ALL.iter().copied().find(|verdict| verdict.as_str() == word);
    found.ok_or_else(|| format!("write one of {}", words()))
}

fn reason(word: &str) -> Result<Reason, String> {
    let words = || Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
    let found = Reason::ALL.iter().copied().find(|reason| reason.as_str() == word);
    found.ok_or_else(|| format!("write one of {}", words()))
}

fn tai(word: &str) -> Result<Tai, String> {
    match word {
        "auto" => Ok(Tai::Auto),
        "daemontools" | "runit" => Ok(Tai::Daemontools),
        "s6" => Ok(Tai::S6),
        _ => Err("write auto, daemontools or s6".to_owned()),
    }
}

/// Folders in which logs usually are.
const USUAL: &[&str] = &["/var/log/portcullis", "/var/log/smtpfront-qmail"];

const EXAMPLES: &str = "Examples:
  portcullis log                                           what happened, from the usual folder
  portcullis log --since 2h --sender @sillyplace.com       is that sender still getting through?
  portcullis log --lines --reason blocked_sender DIR       each refusal, in local time
  portcullis log /var/log/qmail                            all logs under it: smtpd, send, pop3d
  portcullis log --message 17294 /var/log/smtpfront-qmail /var/log/qmail
                                                           one message, from its connection to its delivery
  portcullis log --follow --sender newsletter@sillyplace.com
  journalctl -u portcullis | portcullis log --since 2h";
