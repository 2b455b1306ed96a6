//! `queue check`: prints the faults of the queue with their remedies, as `queue::quarantine::check` finds them. It must
//! not change anything.

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
use crate::text::readable::shown;

/// Say what is wrong in the queue, and what to do about it
///
/// Debris of killed programs, files without their message, messages in the wrong folder or under a wrong number, wrong
/// owners, locks that are not as qmail-send needs them, a quarantine that ended half way. Changes nothing. Exit code 1 when
/// something is found.
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
        let findings = check::check(&queue, &scan, quarantine.as_ref(), now(), &|count| bar.inc(count as u64));
        bar.finish_and_clear();
        let total: usize = findings.counts.values().sum();
        match self.json {
            true => print(&json!({ "findings": findings.first, "total": total }).to_string()),
            false => print_table(&findings, total, scan.entries.len()),
        }
        Ok(if total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print_table(findings: &Findings, total: usize, messages: usize) {
    let mut remedy = "";
    for (at, finding) in findings.first.iter().enumerate() {
        print(&format!("{}: {}", shown(&finding.place), shown(&finding.what)));
        remedy = finding.remedy;
        // Print a remedy once for a series of equal ones.
        if findings.first.get(at + 1).is_none_or(|next| next.remedy != remedy) {
            print(&format!("    {remedy}"));
        }
    }
    if total > findings.first.len() {
        print(&format!("and {} more like these", total - findings.first.len()));
    }
    let faults = if total == 1 { "fault" } else { "faults" };
    match remedy.is_empty() {
        true => print(&format!("{messages} numbers looked at: no faults")),
        false => print(&format!("{messages} numbers looked at: {total} {faults}; nothing was changed")),
    }
}
