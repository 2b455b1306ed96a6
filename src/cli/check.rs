//! `check`: prints every error of the configuration and of the files that it names, and what on this host would keep it
//! from running. It must not change anything, nor need the running proxy.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::admin::daemon::Checked;
use crate::cli::Source;
use crate::cli::print;
use crate::config::schema;
use crate::daemon::desk;
use crate::text::number;

/// Report every error in the configuration, in the lists, and on this host, with file, line and column
///
/// Besides the files, it checks whether the ports are free (and which process has them), whether server.user may write to
/// its folders, and whether the backend is the proxy itself. A proxy that is already running with this configuration is
/// not an error. Exit code 0 if there are no errors, else 1; warnings do not count. Nothing is changed or started.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// Do not check whether the ports are free: for use while the old server is still running
    #[arg(long)]
    no_ports: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the configuration, for editors; nothing is checked
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        if self.schema {
            print(&format!("{:#}", schema::schema()));
            return ExitCode::SUCCESS;
        }
        let checked = desk::check(&self.source.origin(&[], None), !self.no_ports);
        match self.json {
            true => print(&json!(checked).to_string()),
            false => show(&checked),
        }
        if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn show(Checked { file, faults, warnings, notes }: &Checked) {
    faults.iter().for_each(|error| print(&error.to_string()));
    warnings.iter().for_each(|warning| print(&format!("{warning} (warning)")));
    notes.iter().for_each(|note| print(&format!("{note} (note)")));
    let name = file.as_deref().unwrap_or("the built-in default");
    match faults.len() {
        0 => print(&format!("{name}: no errors")),
        count => print(&format!("{name}: {}", number::count(count as u64, "error"))),
    }
}
