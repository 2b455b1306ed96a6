//! `init`: prints what this host has for receiving mail, and writes configuration and service that would take over into
//! a new folder. It must not write into a folder with anything in it.

use std::io::IsTerminal;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::INTERNAL;
use crate::cli::print;
use crate::config::file::Overrides;
use crate::daemon::assemble::Origin;
use crate::takeover;
use crate::takeover::Files;
use crate::takeover::Findings;
use crate::takeover::Options;
use crate::takeover::Ours;
use crate::takeover::Wanted;
use crate::text::readable::shown;

/// Look at this host (qmail, run scripts, tcprules) and write a configuration and a service that take over
///
/// Run scripts are read, never run. Nothing is changed: one new folder is written, with a commented configuration, a
/// service folder, and the steps to switch and to switch back. Root is not needed, but can read more. Exit code 0 when
/// the configuration is complete, else 1: there are errors to settle first, several services to choose from, or
/// Portcullis is already installed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The folder to write: a new one, or an empty one
    #[arg(long, value_name = "DIR", default_value = "./portcullis-init")]
    to: PathBuf,
    /// The service to take over, by its folder or its unit [default: the one on port 25]
    #[arg(long, value_name = "PATH")]
    service: Option<PathBuf>,
    /// The backend to write: spawn, the program that speaks SMTP now, or queue, straight into qmail, one process per
    /// message (queue:/PROGRAM for another one than the qmail home's bin/qmail-queue)
    #[arg(long, value_name = "BACKEND", default_value = "spawn", value_parser = wanted)]
    backend: Wanted,
    /// Look at the copy of a host below this folder; paths stay those of the host
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Write nothing: print what was found, and the files
    #[arg(long)]
    dry_run: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(super) fn run(&self) -> ExitCode {
        let (folder, program) = match (std::path::absolute(&self.to), std::env::current_exe()) {
            (Ok(folder), Ok(program)) => (folder, program),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("{}: {error}", self.to.display());
                return ExitCode::from(INTERNAL);
            }
        };
        let (root, service, wanted) = (self.root.clone(), self.service.clone(), self.backend.clone());
        let options = Options { root, service, folder, program, wanted };
        if !self.root.is_dir() {
            eprintln!("--root {}: not a directory, or it may not be entered", self.root.display());
            return ExitCode::FAILURE;
        }
        let (findings, files) = match takeover::look(&options) {
            Ok(outcome) => (outcome.findings, outcome.files),
            Err(what) => {
                eprintln!("--service {}", shown(&what));
                return ExitCode::FAILURE;
            }
        };
        let written = match &files {
            Some(files) if !self.dry_run => match takeover::write(&options.folder, files) {
                Ok(()) => true,
                Err(what) => {
                    eprintln!("{what}");
                    return ExitCode::FAILURE;
                }
            },
            _ => false,
        };
        let faults = if written && self.root == Path::new("/") { faults(&options) } else { Vec::new() };
        if self.json {
            let folder = written.then_some(&options.folder);
            print(&json!({ "findings": findings, "written": folder, "faults": faults }).to_string());
        } else {
            print_findings(&findings);
            self.print_files(&options, findings.ours.is_some(), files.as_ref(), &faults);
        }
        if findings.plan.complete && faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn print_files(&self, options: &Options, is_ours: bool, files: Option<&Files>, faults: &[String]) {
        let Some(Files { files, steps }) = files else {
            return print(match is_ours {
                true => "\nNothing was written.",
                false => "\nNothing was written: choose the service to take over with --service.",
            });
        };
        if self.dry_run {
            let is_terminal = std::io::stdout().is_terminal();
            for (name, text, mode) in files {
                // Text from a run script of this host may hold terminal controls.
                let lines = text.split('\n').map(|line| line.split('\t').map(shown).collect::<Vec<_>>().join("\t"));
                let text = if is_terminal { lines.collect::<Vec<_>>().join("\n") } else { text.to_string() };
                print(&format!("\n--- {} (mode {mode:o})\n{text}", options.folder.join(name).display()));
            }
            return print("Nothing was written.");
        }
        print(&format!("\nwritten    {}", options.folder.display()));
        files.iter().for_each(|(name, ..)| print(&format!("           {name}")));
        faults.iter().for_each(|fault| print(&format!("error      {fault}")));
        print(&format!("\n{steps}"));
    }
}

/// The faults that `check` would find in the files that were written.
fn faults(options: &Options) -> Vec<String> {
    let file = options.folder.join("portcullis.toml");
    match Origin::find(Some(&file), Overrides::default()).assemble() {
        Ok(_) => Vec::new(),
        Err(refused) => refused.faults.iter().map(|fault| shown(&fault.to_string()).into_owned()).collect(),
    }
}

fn print_findings(findings: &Findings) {
    let line = |head: &str, text: &str| print(&format!("{head:<10} {}", shown(text)));
    for home in &findings.homes {
        let taken = if Some(&home.folder) == findings.home.as_ref() { findings.why_home.as_str() } else { "not taken" };
        line("qmail", &format!("{} ({taken})", home.folder.display()));
        home.control.iter().for_each(|file| line("", &format!("control/{}: {}", file.name, file.says)));
    }
    for service in &findings.services {
        let port = match service.port {
            _ if service.ours => "Portcullis".to_owned(),
            Some(port) => format!("port {port}"),
            None => "port not understood".to_owned(),
        };
        let state = if service.active { "" } else { ", not active" };
        line("service", &format!("{} ({}, {port}{state})", service.entry.display(), service.supervisor));
        line("", &service.command);
        // Remarks of the service that is taken over are listed already.
        if Some(&service.entry) != findings.takes_over.as_ref() {
            service.remarks.iter().for_each(|remark| line("", remark));
        }
    }
    for listener in &findings.listeners {
        let who = match (&listener.program, listener.pid) {
            (Some(program), Some(pid)) => format!("{program}, pid {pid}"),
            _ => "a process that only root can see".to_owned(),
        };
        line("listening", &format!("{} by {who}, user {}", listener.address, listener.user));
    }
    for (path, why) in findings.unreadable.iter().take(MOST_UNREADABLE) {
        line("unreadable", &format!("{}: {why}", path.display()));
    }
    if let Some(more) = findings.unreadable.len().checked_sub(MOST_UNREADABLE).filter(|more| *more > 0) {
        line("unreadable", &format!("and {more} more; start as root, or see --json"));
    }
    if findings.services.is_empty() || findings.homes.is_empty() {
        let missing = match (findings.services.is_empty(), findings.homes.is_empty()) {
            (true, true) => "no service that receives mail and no qmail home",
            (true, false) => "no service that receives mail",
            _ => "no qmail home",
        };
        line("not found", &format!("{missing}; looked for:"));
        findings.looked_for.iter().for_each(|place| line("", place));
    }
    if let Some(ours) = &findings.ours {
        print_ours(ours, &line);
    }
    if let Some(service) = &findings.takes_over {
        line("takes over", &service.display().to_string());
    }
    findings.plan.errors.iter().for_each(|error| line("error", error));
    findings.plan.remarks.iter().for_each(|remark| line("mind", remark));
}

fn print_ours(ours: &Ours, line: &impl Fn(&str, &str)) {
    let mut what = ours.entry.as_ref().map_or("a process".to_owned(), |entry| entry.display().to_string());
    if let Some(file) = &ours.configuration {
        what = format!("{what}, configuration {}", file.display());
    }
    match ours.serves {
        true => line("serving", &format!("Portcullis runs on this host already: {what}")),
        false => line("earlier", &format!("an earlier init left Portcullis here, not started: {what}")),
    }
    ours.advice.iter().for_each(|advice| line("", advice));
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text.split_once(':') {
        None if text == "spawn" => Ok(Wanted::Spawn),
        None if text == "queue" => Ok(Wanted::Queue(None)),
        Some(("queue", program)) if program.starts_with('/') => Ok(Wanted::Queue(Some(program.into()))),
        _ => Err("write spawn, queue or queue:/PROGRAM".to_owned()),
    }
}

/// Unreadable files listed on a terminal.
const MOST_UNREADABLE: usize = 30;

const EXAMPLES: &str = "Examples:
  portcullis init --dry-run
  portcullis init --to /etc/portcullis
  portcullis init --service /service/qmail-smtpd --to /etc/portcullis
  portcullis init --backend queue --to /etc/portcullis";
