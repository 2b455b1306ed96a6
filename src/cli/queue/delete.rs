//! `queue delete`: deletes messages in quarantine. It must not delete anything of the queue.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::ask::ask;
use crate::cli::print;
use crate::cli::queue::DRY_RUN;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::failed;
use crate::cli::queue::filter::Which;
use crate::cli::queue::selection::Selection;
use crate::cli::queue::selection::each_quarantined;
use crate::cli::queue::selection::no_quarantine;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::with_remedy;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::restore::whole;
use crate::text::number::count;

/// Delete quarantined messages permanently
///
/// There is no way back. A message in the queue itself has to be quarantined first.
#[derive(Args, Debug)]
pub(super) struct Delete {
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

impl Delete {
    pub(super) fn run(&self) -> ExitCode {
        self.go().unwrap_or_else(|code| code)
    }

    fn go(&self) -> Result<ExitCode, ExitCode> {
        let filter = self.which.read_quarantined()?;
        let queue = self.args.open()?;
        let path = self.args.quarantine(&queue);
        let looked =
            Quarantine::look(&path, &queue).map_err(|what| failed(&what))?.ok_or_else(|| no_quarantine(&path))?;
        let mut selection = Selection::default();
        each_quarantined(&looked, &filter, &mut |message| selection.add(message))?;
        if selection.ids.is_empty() {
            let again = self.args.again();
            return Err(failed(&format!(
                "no message in quarantine matches: see portcullis queue list --quarantined{again}"
            )));
        }
        selection.add_subjects(|id, want| looked.message(id, want).ok().flatten());
        if !self.json {
            selection.show();
        }
        if self.dry_run {
            if self.json {
                print(&json!({ "would_delete": selection.ids, "bytes": selection.bytes }).to_string());
            }
            return Ok(ExitCode::SUCCESS);
        }
        ask(&format!("Delete {} permanently?", selection.counted()), self.yes, DRY_RUN)?;
        let quarantine = Quarantine::open(&path, &queue).map_err(|what| failed(&what))?;
        let code = self.delete(&quarantine, &selection.ids);
        self.tell_rest(&quarantine, &selection)?;
        Ok(code)
    }

    /// Says what is still in quarantine, and how the bounces to the senders are deleted too.
    fn tell_rest(&self, quarantine: &Quarantine, selection: &Selection) -> Result<(), ExitCode> {
        let mut remaining = 0;
        each_quarantined(quarantine, &Filter::default(), &mut |_| remaining += 1)?;
        if remaining > 0 {
            eprintln!("{} in quarantine", counted_left(remaining));
        }
        let Some(bounces) = self.which.bounces_to(selection.senders()) else { return Ok(()) };
        let mut found = 0;
        each_quarantined(quarantine, bounces.filter(), &mut |_| found += 1)?;
        bounces.tell(found, "quarantine", "delete", &self.args.again());
        Ok(())
    }

    fn delete(&self, quarantine: &Quarantine, ids: &[u64]) -> ExitCode {
        let (mut deleted, mut left) = (Vec::new(), Vec::new());
        for id in ids {
            let outcome =
                whole(quarantine, *id).and_then(|_| quarantine.remove(*id).map_err(|error| with_remedy(&error)));
            match outcome {
                Ok(()) => deleted.push(*id),
                Err(why) => {
                    eprintln!("message {id}: {why}");
                    left.push(json!({ "id": id, "why": why }));
                }
            }
        }
        match self.json {
            true => print(&json!({ "deleted": deleted, "left": left }).to_string()),
            false if left.is_empty() => print(&format!("{} deleted", count(deleted.len() as u64, "message"))),
            false => print(&format!("{} deleted, {} not", count(deleted.len() as u64, "message"), left.len())),
        }
        if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// `1 message is left`, `2 messages are left`.
fn counted_left(number: u64) -> String {
    format!("{} {} left", count(number, "message"), if number == 1 { "is" } else { "are" })
}
