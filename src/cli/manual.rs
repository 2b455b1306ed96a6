//! `completions` and `man`: files that a package installs beside the program, generated from the words of `--help`. It
//! must not add words of its own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::cli::output::note;

/// Print what a shell needs to complete commands and options
///
/// For bash: portcullis completions bash >/etc/bash_completion.d/portcullis
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write the manual pages, portcullis.1 and one for each command
#[derive(Args, Debug)]
pub(super) struct Manual {
    /// Into this folder, which is made where it is missing
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
        let written = fs::create_dir_all(&self.to).and_then(|()| clap_mangen::generate_to(command, &self.to));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", self.to.display());
                ExitCode::FAILURE
            }
        }
    }
}
