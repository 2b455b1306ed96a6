//! The question before a change: on a terminal it is asked, a script has to pass --yes. It must not take silence, or
//! the end of input, for a yes.

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::BAD_USAGE;

/// Asks whether to go on; without a terminal and without `yes` nothing may be changed, and `instead` names the alternative.
///
/// # Errors
/// The exit code where the answer is no, 1, or nobody can answer, 64.
pub(super) fn ask(question: &str, yes: bool, instead: &str) -> Result<(), ExitCode> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        eprintln!("{question}\nstandard input is not a terminal; add --yes to go ahead, or {instead}");
        return Err(ExitCode::from(BAD_USAGE));
    }
    eprint!("{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(());
    }
    eprintln!("nothing was changed");
    Err(ExitCode::FAILURE)
}
