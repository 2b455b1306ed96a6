//! Standard output. If it cannot be written to, the command says so once and exits with 74; a reader that has gone away
//! is no error. It must not panic where `println!` would.

use std::io;
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Prints a text and a line's end.
pub(super) fn print(text: &str) {
    note(&writeln!(io::stdout(), "{text}"));
}

/// Notes the outcome of writing to standard output.
pub(super) fn note(outcome: &io::Result<()>) {
    if let Err(error) = outcome
        && FAULT.set(error.kind()).is_ok()
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("standard output: {error}: the output is incomplete");
    }
}

/// Whether printing more is pointless.
pub(super) fn is_closed() -> bool {
    FAULT.get().is_some()
}

/// The exit code of the command, or 74 if its output was lost.
pub(super) fn or_unwritten(code: ExitCode) -> ExitCode {
    match FAULT.get() {
        Some(kind) if *kind != io::ErrorKind::BrokenPipe => ExitCode::from(NOT_WRITTEN),
        _ => code,
    }
}

/// The first write error; a process has one standard output.
static FAULT: OnceLock<io::ErrorKind> = OnceLock::new();
/// sysexits.h: EX_IOERR
const NOT_WRITTEN: u8 = 74;
