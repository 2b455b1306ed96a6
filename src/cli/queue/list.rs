//! `queue list`: prints the messages of the queue, one a line, or sums by sender. It must not change anything.

use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;

use crate::cli::count;
use crate::cli::output::note;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::Taken;
use crate::cli::queue::failed;
use crate::cli::queue::filter::Filter;
use crate::cli::queue::filter::message_number;
use crate::cli::queue::now;
use crate::cli::queue::progress;
use crate::cli::queue::scan;
use crate::cli::queue::summary::By;
use crate::cli::queue::summary::Summary;
use crate::cli::queue::table::Table;
use crate::queue::look::Message;
use crate::queue::look::filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::with_remedy;
use crate::queue::look::list;
use crate::queue::look::read::Want;
use crate::queue::look::scan::Scan;
use crate::queue::quarantine::folder::Quarantine;
use crate::text::number;

/// List the messages in the queue
///
/// By number, with state, age, size, recipients done and to do, sender and subject. States: S2 being received, S3 its
/// envelope being received, S4 not yet preprocessed by qmail-send, S5 waiting for an attempt or being delivered,
/// orphan: files without their message.
/// `taken`: in quarantine, and qmail-send removes it from the queue at its next attempt. The queue may be in use.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only these numbers
    #[arg(value_name = "NUMBER", value_parser = message_number)]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// List the quarantine, not the queue
    #[arg(long)]
    quarantined: bool,
    /// Sums by sender, largest first: a storm is in the first line
    #[arg(long)]
    summary: bool,
    /// What --summary sorts by
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = By::Messages, requires = "summary")]
    by: By,
    /// Show at most this many senders (0: all)
    #[arg(long, value_name = "COUNT", default_value_t = 20, requires = "summary", value_parser = count::<usize>)]
    top: usize,
    /// Leave the subjects out: faster on a large queue
    #[arg(long)]
    no_subject: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: QueueArgs,
}

impl List {
    pub(super) fn run(&self) -> ExitCode {
        let outcome = self.filter.read(&self.ids).and_then(|filter| {
            let queue = self.args.open()?;
            if self.quarantined {
                self.filter.of_quarantine()?;
                return self.list_quarantine(&queue, &filter);
            }
            let scan = scan(&queue)?;
            match self.summary {
                true => self.sum_up(&queue, &scan, &filter),
                false => note(&self.print_rows(&queue, &scan, &filter)),
            }
            if scan.stray_count > 0 {
                let files = number::count(scan.stray_count as u64, "file");
                eprintln!("{files} misplaced or odd: see portcullis queue check{}", self.args.again());
            }
            Ok(())
        });
        outcome.err().unwrap_or(ExitCode::SUCCESS)
    }

    fn list_quarantine(&self, queue: &Queue, filter: &filter::Filter) -> Result<(), ExitCode> {
        let path = self.args.quarantine(queue);
        eprintln!("quarantine {}", path.display());
        let quarantine = Quarantine::look(&path, queue).map_err(|what| failed(&what))?;
        let want = Want {
            recipients: Some(RECIPIENTS),
            header: (!self.no_subject).then(|| vec!["subject".to_owned()]),
            ..Want::default()
        };
        let mut summary = Summary::default();
        let mut table = if self.summary { None } else { Table::begin(self.json, now()).ok() };
        if let Some(quarantine) = quarantine {
            let outcome = quarantine.each(filter, &want, now(), &mut |message| match &mut table {
                Some(table) => note(&table.row(&message)),
                None => summary.add(&message),
            });
            outcome.map_err(|error| failed(&format!("{}: {}", path.display(), with_remedy(&error))))?;
        }
        match table {
            Some(table) => note(&table.end()),
            None => summary.print(self.by, self.top, self.json, now()),
        }
        Ok(())
    }

    fn print_rows(&self, queue: &Queue, scan: &Scan, filter: &filter::Filter) -> io::Result<()> {
        let mut table = Table::begin(self.json, now())?;
        let recipients = Some(if self.json { RECIPIENTS } else { 0 });
        let want =
            Want { recipients, header: (!self.no_subject).then(|| vec!["subject".to_owned()]), ..Want::default() };
        let taken = self.args.taken(queue).unwrap_or(Taken(None));
        let mut outcome = Ok(());
        each(queue, scan, filter, &want, &mut |mut message| {
            message.quarantined = taken.has(message.id);
            outcome = table.row(&message);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        outcome?;
        table.end()
    }

    fn sum_up(&self, queue: &Queue, scan: &Scan, filter: &filter::Filter) {
        let mut summary = Summary::default();
        let want = Want { rough: true, ..Want::default() };
        let taken = self.args.taken(queue).unwrap_or(Taken(None));
        each(queue, scan, filter, &want, &mut |mut message| {
            message.quarantined = taken.has(message.id);
            summary.add(&message);
            ControlFlow::Continue(())
        });
        summary.print(self.by, self.top, self.json, now());
    }
}

/// Reads the selected messages, with progress on a terminal, unless the rows themselves go there.
pub(super) fn each(
    queue: &Queue,
    scan: &Scan,
    filter: &filter::Filter,
    want: &Want,
    sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
) {
    let bar = progress(scan.entries.len(), "messages");
    list::each(queue, &scan.entries, filter, want, now(), &|count| bar.inc(count as u64), sink);
    bar.finish_and_clear();
}

/// Recipients of each file in JSON; `show` has all.
const RECIPIENTS: usize = 100;
