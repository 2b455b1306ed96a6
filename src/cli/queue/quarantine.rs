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
use crate::cli::queue::table::number_of;
use crate::queue::look::filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::read::Want;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::owner::refusal;
use crate::queue::quarantine::running;
use crate::queue::quarantine::running::Holder;
use crate::queue::quarantine::running::Running;
use crate::queue::quarantine::take::QuarantineRun;

/// Take messages out of the queue, and keep them
///
/// Nothing is deleted: a message goes to the quarantine beside the queue, with its envelope, and `restore` brings it back.
/// It works while qmail-send runs: the recipients that are left are marked as done, as qmail-send itself does, and it ends
/// the message at its next try; until then the message is still in the queue, and delivers nothing. What cannot be done
/// while it runs is said: a delivery that is under way is not recalled, and a message whose recipients are not sorted yet (S4)
/// has to wait. When qmail-send is stopped, its lock is held and the files are removed at once, also those of messages that
/// were taken while it ran and that it has not ended yet. A bounce that would go to the
/// sender is held back too. Needs root.
#[derive(Args, Debug)]
pub(super) struct Quarantining {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only say what would be done
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
            return Err(failed("recipients in such folders cannot be marked: nothing was changed"));
        }
        let folder = self.args.quarantine(&queue);
        if let Some(what) = refusal(&queue, &folder) {
            return Err(failed(&what));
        }
        let (selection, taken) = self.select(&queue, &filter)?;
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
        let running = Running::take(&queue).map_err(|what| failed(&what))?;
        if is_locked == Some(true) && !running.is_live() {
            return Err(failed("qmail-send was stopped meanwhile: run this again; nothing was changed"));
        }
        let quarantine = Quarantine::open(&folder, &queue).map_err(|what| failed(&what))?;
        let mut run = QuarantineRun::new(&queue, &quarantine, &filter, domains, running.is_live(), now());
        let outcome = carry_out(&mut run, &selection.ids, &taken);
        let holders = match run.is_live() {
            true => holders(&queue, &run.taken),
            false => Vec::new(),
        };
        let code = self.report(&run, &holders, &quarantine, outcome.as_ref().err());
        Ok(match outcome {
            Ok(()) => code,
            Err(what) if run.taken.is_empty() => failed(&format!("{what}\nno message was taken")),
            Err(what) => failed(&format!("{what}\nthat is not all: run it again for the rest")),
        })
    }

    /// The selected messages, and the numbers in quarantine that are still in the queue.
    fn select(&self, queue: &Queue, filter: &filter::Filter) -> Result<(Selection, Vec<u64>), ExitCode> {
        let scan = scan(queue)?;
        let in_quarantine = self.args.taken(queue)?;
        let (mut selection, mut taken) = (Selection::default(), Vec::new());
        let want = Want { recipients: Some(0), header: None, ..Want::default() };
        each(queue, &scan, filter, &want, &mut |message| {
            match in_quarantine.has(message.id) {
                true => taken.push(message.id),
                false => selection.add(message),
            }
            ControlFlow::Continue(())
        });
        Ok((selection, taken))
    }

    /// Says what will be done, on standard error where JSON is wanted.
    fn tell(&self, selection: &Selection, taken: usize, is_locked: Option<bool>) {
        if !self.json && !selection.ids.is_empty() {
            selection.show();
        }
        if selection.ids.is_empty() {
            eprintln!("no message of the queue is meant");
        }
        if taken > 0 {
            let when = match is_locked {
                Some(true) => "when qmail-send tries them next",
                _ => "now, because qmail-send is stopped",
            };
            eprintln!("{taken} more are in quarantine already, and leave the queue {when}");
        }
        match is_locked {
            _ if selection.ids.is_empty() => {}
            Some(true) => {
                eprintln!("qmail-send runs: what is left to do is marked as done, and it ends these messages itself")
            }
            Some(false) => eprintln!("qmail-send is stopped: its lock is held meanwhile, and the files are removed"),
            None => {}
        }
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
                "message {id}: a delivery is under way and is not recalled (process {pid}, {name}); `restore` would deliver it \
                 once more"
            );
        }
        if !run.finished.is_empty() {
            eprintln!("an earlier run ended half way: {} completed", number_of(run.finished.len(), "message"));
        }
        if !run.cleared.is_empty() {
            let messages = number_of(run.cleared.len(), "message");
            eprintln!("taken earlier, while qmail-send ran, and out of the queue now: {messages}");
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
            false => print(&format!("{} taken to {folder}", number_of(run.taken.len(), "message"))),
        }
        if run.is_live() && !run.taken.is_empty() {
            eprintln!("they deliver nothing any more, and leave the queue at qmail-send's next try");
        }
        let is_changed = !(run.taken.is_empty() && run.finished.is_empty() && run.cleared.is_empty());
        match run.skipped.is_empty() && is_changed {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// The question before anything is changed; none where nothing is.
fn question(selection: &Selection, taken: usize, is_locked: Option<bool>) -> Option<String> {
    match selection.ids.is_empty() {
        false => Some(format!("Take {} out of the queue?", selection.counted())),
        true if taken == 0 || is_locked == Some(true) => None,
        true => Some(format!("Remove from the queue what is left there of {}?", number_of(taken, "message"))),
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
