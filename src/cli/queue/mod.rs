//! `queue`: lists the qmail queue, and clears it without losing anything. One file a sub-command; `filter` selects the
//! messages for all of them. It must not act on the queue itself: `queue::quarantine` does.

mod check;
mod delete;
mod filter;
mod list;
mod quarantine;
mod restore;
mod selection;
mod show;
mod summary;
mod table;

use std::io::IsTerminal;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::Subcommand;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;

use crate::cli;
use crate::cli::Source;
use crate::control::files;
use crate::policy::virtualdomains::VirtualDomains;
use crate::queue::look::layout;
use crate::queue::look::scan;
use crate::queue::look::scan::Scan;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::owner;
use crate::queue::quarantine::saved::Stage;
use crate::text::shell;

/// Inspect the qmail queue, and clear it without losing anything
#[derive(Args, Debug)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct Queue {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Quarantine(quarantine::Quarantining),
    Restore(restore::Restoring),
    Delete(delete::Delete),
    Check(check::Check),
}

impl Queue {
    pub(super) fn run(&self) -> ExitCode {
        match &self.command {
            Command::List(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Quarantine(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Delete(command) => command.run(),
            Command::Check(command) => command.run(),
        }
    }
}

/// Where the queue is; the same on every sub-command.
#[derive(Args, Debug)]
struct QueueArgs {
    /// The queue [default: qmail.queue of the configuration, else queue beside the control folder, else
    /// /var/qmail/queue or /var/lib/qmail/queue]
    #[arg(long, value_name = "DIR")]
    queue: Option<PathBuf>,
    /// The quarantine, on the queue's file system [default: quarantine beside the queue, quarantine-NAME beside
    /// a queue with another name than queue]
    #[arg(long, value_name = "DIR")]
    quarantine: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

impl QueueArgs {
    /// Opens the queue and says which one it is; prints the fault otherwise.
    fn open(&self) -> Result<layout::Queue, ExitCode> {
        let (path, why) = self.find()?;
        let queue = layout::Queue::open(&path).map_err(|what| {
            eprintln!("{what}");
            ExitCode::FAILURE
        })?;
        let big = if queue.big_todo() { ", big-todo" } else { "" };
        eprintln!("queue {} ({why}), split {}{big}", path.display(), queue.split());
        if !queue.unknown().is_empty() {
            let folders = queue.unknown().join(", ");
            eprintln!("it also has recipients in {folders} (the channels patch), which are not read");
        }
        Ok(queue)
    }

    /// The options that name the same queue to another command, with a blank before each.
    fn again(&self) -> String {
        let Self { queue, quarantine, source: Source { config, control } } = self;
        let named = [("--queue", queue), ("--quarantine", quarantine), ("--config", config), ("--control", control)];
        let given = named.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string())));
        given.map(|(name, path)| format!(" {name} {}", shell::word(&path))).collect()
    }

    fn quarantine(&self, queue: &layout::Queue) -> PathBuf {
        owner::place(queue, self.quarantine.as_deref())
    }

    /// The messages in quarantine; none where we may not look.
    fn taken(&self, queue: &layout::Queue) -> Result<Taken, ExitCode> {
        let Ok(Some(quarantine)) = Quarantine::look(&self.quarantine(queue), queue) else { return Ok(Taken(None)) };
        let ids = quarantine.ids().map_err(|error| failed(&format!("{}: {error}", quarantine.path().display())))?;
        Ok(Taken((!ids.is_empty()).then_some((quarantine, ids))))
    }

    /// The virtual domains of the control folder that is named, or beside the queue, or of the configuration.
    fn virtual_domains(&self, queue: &layout::Queue) -> Result<VirtualDomains, ExitCode> {
        let beside = || queue.path().canonicalize().ok()?.parent().map(|home| home.join("control"));
        let configured = || self.source.desk().ok()?.read.config.qmail.control;
        let found = self.source.control.clone().or_else(|| beside().filter(|control| control.is_dir()));
        let Some(control) = found.or_else(configured) else {
            return Err(failed(
                "no control folder beside the queue: its virtualdomains tells how recipients were rewritten, so name it with \
                 --control DIR; nothing was changed",
            ));
        };
        match files::read(&control.join("virtualdomains")) {
            Ok(text) => Ok(VirtualDomains::parse(&text.unwrap_or_default())),
            Err(fault) => Err(failed(&fault.to_string())),
        }
    }

    fn find(&self) -> Result<(PathBuf, &'static str), ExitCode> {
        if let Some(queue) = &self.queue {
            return Ok((queue.clone(), "--queue"));
        }
        let config =
            self.source.desk().inspect_err(|_| eprintln!("or name the queue itself: --queue DIR"))?.read.config;
        if let Some(queue) = config.qmail.queue {
            let beside = config.qmail.control.as_deref().and_then(Path::parent).map(|home| home.join("queue"));
            let why = if beside.as_deref() == Some(&queue) { "beside the control folder" } else { "qmail.queue" };
            return Ok((queue, why));
        }
        let usual = USUAL.iter().find(|path| Path::new(path).is_dir());
        usual.map(|path| (PathBuf::from(path), "the usual place")).ok_or_else(|| {
            eprintln!("no queue found (looked at {}): name it with --queue DIR", USUAL.join(" and "));
            ExitCode::FAILURE
        })
    }
}

/// The quarantine and its numbers, if there are any.
struct Taken(Option<(Quarantine, Vec<u64>)>);

impl Taken {
    /// Whether the message is in quarantine, and only waits to be removed from the queue.
    fn has(&self, id: u64) -> bool {
        self.0.as_ref().is_some_and(|(quarantine, ids)| {
            let stage = || quarantine.saved(id).ok().flatten().map(|saved| saved.stage);
            // A message copied there may have another message's number.
            ids.binary_search(&id).is_ok() && quarantine.has(id) && stage() == Some(Stage::Taken)
        })
    }
}

/// Scans the queue, with progress on a terminal; prints the fault otherwise.
fn scan(queue: &layout::Queue) -> Result<Scan, ExitCode> {
    let bar = progress(0, "folders");
    let outcome = scan::scan(queue, &|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    outcome.map_err(|what| {
        eprintln!("{what}");
        ExitCode::FAILURE
    })
}

/// A progress bar on a terminal, nothing elsewhere.
fn progress(length: usize, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {msg}, {eta} to go");
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}

/// Prints a fault; gives exit code 1.
fn failed(what: &str) -> ExitCode {
    eprintln!("{what}");
    ExitCode::FAILURE
}

fn now() -> i64 {
    cli::now().timestamp().as_second()
}

/// The alternative offered where nobody can be asked.
const DRY_RUN: &str = "--dry-run to see what would be done";
const USUAL: [&str; 2] = ["/var/qmail/queue", "/var/lib/qmail/queue"];

const LONG_ABOUT: &str = "Inspect the qmail queue, and clear it without losing anything.\n\nlist, show and check change nothing. \
quarantine takes messages out of the queue, whether qmail-send is running or stopped, and keeps them in a folder \
beside the queue; restore brings them back, delete removes them permanently.";

const EXAMPLES: &str = "\
A storm fills the queue. Who is it?
  portcullis queue list --summary

Look at its messages, and at one of them:
  portcullis queue list --sender newsletter@sillyplace.com
  portcullis queue show 10051767

Take them out of the queue; qmail-send goes on running. First a dry run:
  portcullis queue quarantine --sender newsletter@sillyplace.com --dry-run
  portcullis queue quarantine --sender newsletter@sillyplace.com

If it was a mistake, restore one or all:
  portcullis queue restore 10051767
  portcullis queue restore all

If not, check once more, then delete them:
  portcullis queue list --quarantined
  portcullis queue delete --sender newsletter@sillyplace.com";
