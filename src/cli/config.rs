//! `config`: the default configuration, to begin a file of one's own with. It must not read one.

use std::process::ExitCode;

use clap::Args;

use crate::cli::print;
use crate::config;

/// Print the commented default configuration
///
/// Every key with its default and what it does. To start a file of your own:
///
///   portcullis config >/etc/portcullis.toml
///
/// The manual page portcullis.toml(5) has each key in full.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Config {}

impl Config {
    pub(super) fn run(&self) -> ExitCode {
        print(config::DEFAULT_TEXT.trim_end());
        ExitCode::SUCCESS
    }
}
