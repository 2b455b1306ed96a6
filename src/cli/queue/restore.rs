//! `queue restore`: brings messages from quarantine back into the queue, through `queue::quarantine::restore`. It must
//! not remove a copy itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::print;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::failed;
use crate::cli::queue::filter::Which;
use crate::cli::queue::progress;
use crate::cli::queue::selection::each_quarantined;
use crate::cli::queue::selection::no_quarantine;
use crate::config::units;
use crate::queue::look::layout::Queue;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::folder::REPORTS;
use crate::queue::quarantine::restore::Restore;
use crate::text::number::count;

/// Bring messages from quarantine back into the queue
///
/// Each goes through qmail-queue with its own sender, to the recipients that have not received it yet, and gets a new number.
/// The quarantined copy is removed once qmail-queue has accepted it, and stays otherwise.
#[derive(Args, Debug)]
pub(super) struct Restoring {
    #[command(flatten)]
    which: Which,
    /// The program that queues a message [default: bin/qmail-queue beside the queue]
    #[arg(long, value_name = "PATH", env = "QMAILQUEUE")]
    qmail_queue: Option<PathBuf>,
    /// Time limit for one message
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: QueueArgs,
}

impl Restoring {
    pub(super) fn run(&self) -> ExitCode {
        self.go().unwrap_or_else(|code| code)
    }

    fn go(&self) -> Result<ExitCode, ExitCode> {
        let filter = self.which.read_quarantined()?;
        let queue = self.args.open()?;
        let path = self.args.quarantine(&queue);
        if !path.is_dir() {
            return Err(no_quarantine(&path));
        }
        let quarantine = Quarantine::open(&path, &queue).map_err(|what| failed(&what))?;
        let mut ids = filter.ids().to_vec();
        // Missing numbers are named; a filter selects only existing messages.
        if ids.is_empty() {
            each_quarantined(&quarantine, &filter, &mut |message| ids.push(message.id))?;
        }
        let program = self.qmail_queue.clone().unwrap_or_else(|| beside(&queue));
        let restore = Restore::new(&quarantine, &program, self.timeout).map_err(|what| failed(&what))?;
        let (mut restored, mut left) = (Vec::new(), Vec::new());
        let bar = progress(ids.len(), "messages");
        for id in ids {
            let has_report = quarantine.has_report(id);
            match restore.restore(id) {
                Ok(recipients) => {
                    if has_report {
                        bar.suspend(|| {
                            eprintln!(
                                "message {id}: its earlier failures are not reported to the sender; see {}/{REPORTS}",
                                path.display()
                            )
                        });
                    }
                    restored.push((id, recipients));
                }
                Err(why) => {
                    bar.suspend(|| eprintln!("message {id}: {why}"));
                    left.push((id, why));
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(self.report(&restored, &left))
    }

    fn report(&self, restored: &[(u64, usize)], left: &[(u64, String)]) -> ExitCode {
        if self.json {
            let row = |(id, recipients): &(u64, usize)| json!({ "id": id, "recipients": recipients });
            let restored: Vec<_> = restored.iter().map(row).collect();
            let left: Vec<_> = left.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
            print(&json!({ "restored": restored, "left": left }).to_string());
        } else {
            let recipients: usize = restored.iter().map(|(_, recipients)| recipients).sum();
            let messages = count(restored.len() as u64, "message");
            let what = format!("{messages} restored, to {}", count(recipients as u64, "recipient"));
            match left.len() {
                0 => print(&what),
                left => print(&format!("{what}; {left} not")),
            }
        }
        match left.is_empty() && !restored.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn beside(queue: &Queue) -> PathBuf {
    let path = queue.path().canonicalize().unwrap_or_else(|_| queue.path().to_owned());
    path.parent().unwrap_or(&path).join("bin/qmail-queue")
}
