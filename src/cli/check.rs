//! `check`: prints every fault of the configuration and of the files that it names. It must not change anything, nor
//! need the running proxy.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::Source;
use crate::cli::print;

/// Report every fault of the configuration and of the lists, with file, line and column
///
/// Exit code 0 when there is none, else 1. Warnings do not count. Nothing is changed, nothing is started.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        let origin = self.source.origin(&[], None);
        let (faults, warnings, notes) = match origin.assemble() {
            Ok(assembly) => (Vec::new(), assembly.warnings, assembly.notes),
            Err(refused) => (refused.faults, refused.warnings, Vec::new()),
        };
        let file = origin.file.as_ref().map(|file| file.display().to_string());
        if self.json {
            print(&json!({ "file": file, "faults": faults, "warnings": warnings, "notes": notes }).to_string());
        } else {
            faults.iter().for_each(|fault| print(&fault.to_string()));
            warnings.iter().for_each(|warning| print(&format!("{warning} (warning)")));
            notes.iter().for_each(|note| print(&format!("{note} (note)")));
            let name = file.as_deref().unwrap_or("the embedded default");
            match faults.len() {
                0 => print(&format!("{name}: no faults")),
                1 => print(&format!("{name}: 1 fault")),
                count => print(&format!("{name}: {count} faults")),
            }
        }
        if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
