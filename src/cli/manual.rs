//! `completions` and `man`: files that a package installs beside the program, generated from the words of `--help` and
//! the pages of docs/reference. It must not add words of its own.

mod page;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::cli::manual::page::Page;
use crate::cli::output::note;
use crate::config;

/// Print a script that completes commands and options in a shell
///
/// For bash: portcullis completions bash >/etc/bash_completion.d/portcullis
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write the manual pages: portcullis(1) and one for each command, portcullis.toml(5), portcullis(8)
#[derive(Args, Debug)]
pub(super) struct Manual {
    /// The folder to write to; it is made if it does not exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "portcullis", &mut script);
        // A reader that has gone away is no error.
        note(&io::Write::write_all(&mut io::stdout(), &script));
        ExitCode::SUCCESS
    }
}

impl Manual {
    pub(super) fn run(&self) -> ExitCode {
        let command = Arguments::command().disable_help_subcommand(true);
        let written = fs::create_dir_all(&self.to)
            .and_then(|()| clap_mangen::generate_to(command, &self.to))
            .and_then(|()| PAGES.iter().try_for_each(|page| fs::write(self.to.join(page.file_name()), page.roff())));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", self.to.display());
                ExitCode::FAILURE
            }
        }
    }
}

const PAGES: [Page; 2] = [
    Page {
        name: "portcullis.toml",
        section: "5",
        about: "configuration of the Portcullis SMTP policy proxy",
        opens_with: "DESCRIPTION",
        markdown: include_str!("../../docs/reference/configuration.md"),
        example: Some(config::DEFAULT_TEXT),
        see_also: &[("portcullis", "1"), ("portcullis-check", "1"), ("portcullis-config", "1"), ("portcullis", "8")],
    },
    Page {
        name: "portcullis",
        section: "8",
        about: "SMTP policy proxy in front of smtpfront-qmail or any SMTP server",
        opens_with: "",
        markdown: include_str!("../../docs/reference/daemon.md"),
        example: None,
        see_also: &[("portcullis", "1"), ("portcullis-serve", "1"), ("portcullis.toml", "5"), ("tcpserver", "1")],
    },
];
