//! `queue check`: prints the errors of the queue with their remedies, as `queue::quarantine::check` finds them. It must
//! not change anything.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::print;
use crate::cli::queue::QueueArgs;
use crate::cli::queue::failed;
use crate::cli::queue::now;
use crate::cli::queue::progress;
use crate::cli::queue::scan;
use crate::queue::quarantine::check;
use crate::queue::quarantine::check::Findings;
use crate::queue::quarantine::folder::Quarantine;
use crate::text::number::count;
use crate::text::readable::shown;

/// Report what is wrong in the queue, and what to do about it
///
/// Debris of killed programs, files without their message, files in the wrong folder or under a wrong number, wrong owners,
/// locks that are not as qmail-send needs them, a quarantine that was interrupted. The commands it prints are for the
/// queue's folder, and delete nothing. Changes nothing. Exit code 1 when something is found.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    args: QueueArgs,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        self.go().unwrap_or_else(|code| code)
    }

    fn go(&self) -> Result<ExitCode, ExitCode> {
        let queue = self.args.open()?;
        let scan = scan(&queue)?;
        let quarantine = Quarantine::look(&self.args.quarantine(&queue), &queue).map_err(|what| failed(&what))?;
        let bar = progress(scan.entries.len(), "messages");
        let findings =
            check::check(&queue, &scan, quarantine.as_ref(), now(), &self.args.again(), &|count| bar.inc(count as u64));
        bar.finish_and_clear();
        let total: usize = findings.counts.values().sum();
        match self.json {
            true => print(&json!({ "findings": findings.first, "total": total }).to_string()),
            false => print_table(&findings, total, scan.entries.len(), queue.path()),
        }
        Ok(if total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print_table(findings: &Findings, total: usize, messages: usize, queue: &Path) {
    for (at, finding) in findings.first.iter().enumerate() {
        print(&format!("{}: {}", shown(&finding.place), shown(&finding.what)));
        // Print a remedy once for a series of equal ones.
        if findings.first.get(at + 1).is_none_or(|next| next.remedy != finding.remedy) {
            print(&format!("    {}", shown(&finding.remedy)));
        }
    }
    if total > findings.first.len() {
        print(&format!("and {} more like these", total - findings.first.len()));
    }
    let messages = count(messages as u64, "message");
    match total {
        0 => print(&format!("{messages} examined: no errors")),
        _ => {
            let queue = queue.display();
            print(&format!("{messages} examined: {}; nothing was changed", count(total as u64, "error")));
            print(&format!("run the commands in {queue}, with qmail-send stopped where they say so"));
        }
    }
}
