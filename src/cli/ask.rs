//! The question before a change: on a terminal it is asked, a script has to pass --yes. It must not take silence, or
//! the end of input, for a yes.

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::BAD_USAGE;

/// Whether to go on; without a terminal and without `yes` nothing may be changed, and `instead` names the alternative.
pub(super) fn ask(question: &str, yes: bool, instead: &str) -> Result<bool, ExitCode> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        eprintln!("{question}\nnobody can be asked here: add --yes to do it, or {instead}");
        return Err(ExitCode::from(BAD_USAGE));
    }
    eprint!("{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes");
    if !agreed {
        eprintln!("nothing was changed");
    }
    Ok(agreed)
}
