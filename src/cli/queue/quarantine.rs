//! `queue quarantine`: says what it will do, asks, and runs `queue::quarantine::take`. It must not change the queue
//! itself.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::ask::ask;
use crate::cli::print;
use crate::cli::queue::DRY_RUN;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::failed;
use crate::cli::queue::filter::Which;
use crate::cli::queue::list::each;
use crate::cli::queue::now;
use crate::cli::queue::progress;
use crate::cli::queue::scan;
use crate::cli::queue::selection::Selection;
use crate::queue::look::Files;
use crate::queue::look::filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::list;
use crate::queue::look::read::Reader;
use crate::queue::look::read::Want;
use crate::queue::look::scan::Entry;
use crate::queue::look::scan::Scan;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::owner::refusal;
use crate::queue::quarantine::running;
use crate::queue::quarantine::running::Holder;
use crate::queue::quarantine::running::Running;
use crate::queue::quarantine::supervisor;
use crate::queue::quarantine::take::QuarantineRun;
use crate::text::number::count;

/// Take messages out of the queue, and keep them
///
/// Nothing is deleted: a message goes to the quarantine beside the queue, with its envelope, and `restore` brings it back.
/// It works while qmail-send is running: the remaining recipients are marked as done, as qmail-send itself does, and it
/// removes the message at its next attempt; until then the message is still in the queue, but is not delivered any further.
/// A delivery that is under way is not recalled, and a message that qmail-send has not preprocessed yet (S4) has to wait: the
/// command says so. When qmail-send is stopped, it cannot start meanwhile, and the files are removed at once, also those of
/// messages that were quarantined earlier and are still in the queue. Bounces that would go to the sender are kept
/// too. Needs root.
#[derive(Args, Debug)]
pub(super) struct Quarantining {
    #[command(flatten)]
    which: Which,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: QueueArgs,
}

impl Quarantining {
    pub(super) fn run(&self) -> ExitCode {
        self.go().unwrap_or_else(|code| code)
    }

    fn go(&self) -> Result<ExitCode, ExitCode> {
        let filter = self.which.read()?;
        let queue = self.args.open()?;
        if !queue.unknown().is_empty() {
            return Err(failed("recipients in these folders cannot be marked as done: nothing was changed"));
        }
        let folder = self.args.quarantine(&queue);
        if let Some(what) = refusal(&queue, &folder) {
            return Err(failed(&what));
        }
        let Selected { selection, taken, scan } = self.select(&queue, &filter)?;
        let is_locked = running::is_locked(&queue);
        self.tell(&selection, taken.len(), is_locked);
        if self.dry_run {
            if self.json {
                let cleared: &[u64] = if is_locked == Some(true) { &[] } else { &taken };
                print(
                    &json!({ "would_take": selection.ids, "bytes": selection.bytes, "would_clear": cleared })
                        .to_string(),
                );
            }
            return Ok(ExitCode::SUCCESS);
        }
        if selection.ids.is_empty() && !folder.is_dir() {
            return Ok(ExitCode::FAILURE);
        }
        if let Some(question) = question(&selection, taken.len(), is_locked) {
            ask(&question, self.yes, DRY_RUN)?;
        }
        let domains = self.args.virtual_domains(&queue)?;
        let running = take(&queue, is_locked)?;
        let quarantine = Quarantine::open(&folder, &queue).map_err(|what| failed(&what))?;
        let mut run = QuarantineRun::new(&queue, &quarantine, &filter, domains, running.is_live(), now());
        let outcome = carry_out(&mut run, &selection.ids, &taken);
        let holders = match run.is_live() {
            true => holders(&queue, &run.taken),
            false => Vec::new(),
        };
        let code = self.report(&run, &holders, &quarantine, outcome.as_ref().err());
        if run.is_live() && !(run.taken.is_empty() && taken.is_empty()) {
            tell_when(&queue);
        }
        self.tell_rest(&queue, &scan, &selection);
        Ok(match outcome {
            Ok(()) => code,
            Err(what) if run.taken.is_empty() => failed(&format!("{what}\nno message was taken")),
            Err(what) => failed(&format!("{what}\nnot all were taken: run it again for the rest")),
        })
    }

    fn select(&self, queue: &Queue, filter: &filter::Filter) -> Result<Selected, ExitCode> {
        let scan = scan(queue)?;
        let in_quarantine = self.args.taken(queue)?;
        let (mut selection, mut taken, mut scattered) = (Selection::default(), Vec::new(), 0_u64);
        let want = Want { recipients: Some(0), header: None, ..Want::default() };
        each(queue, &scan, filter, &want, &mut |message| {
            match in_quarantine.has(message.id) {
                true => taken.push(message.id),
                false if scan.is_scattered(message.id) => scattered += 1,
                false => selection.add(message),
            }
            ControlFlow::Continue(())
        });
        if scattered > 0 {
            let messages = count(scattered, "message");
            let again = self.args.again();
            eprintln!(
                "{messages} left alone: some of the files are not where qmail looks: portcullis queue check{again}"
            );
        }
        selection.add_subjects(|id, want| Reader::new(queue).read(Entry { id, files: Files::default() }, want));
        Ok(Selected { selection, taken, scan })
    }

    /// Says what will be done, on standard error where JSON is wanted.
    fn tell(&self, selection: &Selection, taken: usize, is_locked: Option<bool>) {
        if !self.json && !selection.ids.is_empty() {
            selection.show();
        }
        if selection.ids.is_empty() {
            eprintln!("no message in the queue matches");
        }
        if taken > 0 {
            let when = match is_locked {
                Some(true) => "at qmail-send's next attempt",
                _ => "now, because qmail-send is stopped",
            };
            let messages = count(taken as u64, "message");
            eprintln!("{messages} already in quarantine: removed from the queue {when}");
        }
        match is_locked {
            _ if selection.ids.is_empty() => {}
            Some(true) => eprintln!("qmail-send is running: {LIVE}"),
            Some(false) => {
                eprintln!("qmail-send is stopped: it cannot start meanwhile, and the files are removed at once")
            }
            None => {}
        }
    }

    /// Says which bounces to the senders remain in the queue, and what takes them too.
    fn tell_rest(&self, queue: &Queue, scan: &Scan, selection: &Selection) {
        let Some(bounces) = self.which.bounces_to(selection.senders()) else { return };
        let Ok(taken) = self.args.taken(queue) else { return };
        let mut remaining = 0_u64;
        list::each(queue, &scan.entries, bounces.filter(), &Want::default(), now(), &|_| {}, &mut |message| {
            remaining += u64::from(!taken.has(message.id));
            ControlFlow::Continue(())
        });
        bounces.tell(remaining, "the queue", "quarantine", &self.args.again());
    }

    fn report(
        &self,
        run: &QuarantineRun<'_>,
        holders: &[Holder],
        quarantine: &Quarantine,
        error: Option<&String>,
    ) -> ExitCode {
        for (id, why) in run.skipped.iter().take(TOLD) {
            eprintln!("message {id} was not taken: {why}");
        }
        if run.skipped.len() > TOLD {
            eprintln!("and {} more were not taken", run.skipped.len() - TOLD);
        }
        for Holder { id, pid, name } in holders.iter().take(TOLD) {
            eprintln!(
                "message {id}: a delivery is under way and is not recalled (process {pid}, {name}); `restore` would deliver \
                 it again"
            );
        }
        if !run.finished.is_empty() {
            eprintln!("completed an interrupted run: {}", count(run.finished.len() as u64, "message"));
        }
        if !run.cleared.is_empty() {
            let messages = count(run.cleared.len() as u64, "message");
            eprintln!("removed from the queue now, quarantined earlier while qmail-send was running: {messages}");
        }
        let folder = quarantine.path().display().to_string();
        match self.json {
            true => {
                let skipped: Vec<_> = run.skipped.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
                let under_way: Vec<_> = holders
                    .iter()
                    .map(|holder| json!({ "id": holder.id, "pid": holder.pid, "name": holder.name }))
                    .collect();
                print(
                    &json!({
                        "taken": run.taken, "skipped": skipped, "finished": run.finished, "cleared": run.cleared,
                        "under_way": under_way, "quarantine": folder, "error": error,
                    })
                    .to_string(),
                );
            }
            false => print(&format!("{} taken to {folder}", count(run.taken.len() as u64, "message"))),
        }
        let is_changed = !(run.taken.is_empty() && run.finished.is_empty() && run.cleared.is_empty());
        match run.skipped.is_empty() && is_changed {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// What a run is about.
struct Selected {
    selection: Selection,
    /// Numbers in quarantine that are still in the queue.
    taken: Vec<u64>,
    scan: Scan,
}

/// Takes qmail-send's lock or finds it running; `is_locked` is what was said before the question.
fn take(queue: &Queue, is_locked: Option<bool>) -> Result<Running, ExitCode> {
    let running = Running::take(queue).map_err(|what| failed(&what))?;
    match (is_locked, running.is_live()) {
        (Some(true), false) => Err(failed("qmail-send was stopped meanwhile: run this again; nothing was changed")),
        (Some(false), true) => {
            // The system's list of locks leaves out those of another container.
            eprintln!("qmail-send has started, or runs in another container: {LIVE}");
            Ok(running)
        }
        _ => Ok(running),
    }
}

const LIVE: &str = "the remaining recipients are marked as done, and it removes the messages itself";

/// Says when the messages leave the queue, and how that is hurried.
fn tell_when(queue: &Queue) {
    eprintln!("nothing more of them is delivered; they leave the queue at qmail-send's next attempt");
    if let Some(command) = supervisor::try_now(queue) {
        eprintln!("to make that attempt now:\n  {command}");
    }
}

/// The question before anything is changed; none where nothing is.
fn question(selection: &Selection, taken: usize, is_locked: Option<bool>) -> Option<String> {
    match selection.ids.is_empty() {
        false => Some(format!("Take {} out of the queue?", selection.counted())),
        true if taken == 0 || is_locked == Some(true) => None,
        true => Some(format!("Remove from the queue what is left there of {}?", count(taken as u64, "message"))),
    }
}

fn carry_out(run: &mut QuarantineRun<'_>, ids: &[u64], taken: &[u64]) -> Result<(), String> {
    run.sweep().and_then(|()| run.clear(taken))?;
    if ids.is_empty() {
        return Ok(());
    }
    let steps = run.steps(ids);
    let bar = progress(steps.len(), "steps");
    let outcome = steps.iter().try_for_each(|step| {
        bar.inc(1);
        run.act(*step)
    });
    bar.finish_and_clear();
    if outcome.is_err() {
        run.undo();
    }
    outcome
}

fn holders(queue: &Queue, ids: &[u64]) -> Vec<Holder> {
    let ids: HashSet<u64> = ids.iter().copied().collect();
    queue.stat("mess").map_or(Vec::new(), |mess| running::holders(mess.st_dev, &ids))
}

/// Lines printed of one kind.
const TOLD: usize = 20;
