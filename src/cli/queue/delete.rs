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
use crate::cli::queue::table::number_of;
use crate::queue::look::layout::with_remedy;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::restore::whole;

/// Give up messages that are in quarantine, for good
///
/// There is no way back. A message of the queue itself has to be quarantined first.
#[derive(Args, Debug)]
pub(super) struct Delete {
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
            return Err(failed("no message of the quarantine is meant: see queue list --quarantined"));
        }
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
        Ok(self.delete(&quarantine, &selection.ids))
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
            false if left.is_empty() => print(&format!("{} deleted", number_of(deleted.len(), "message"))),
            false => print(&format!("{} deleted, {} not", number_of(deleted.len(), "message"), left.len())),
        }
        if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
