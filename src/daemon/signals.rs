//! The signals of a supervisor. TERM and INT: stop, running transactions may end; a second one: at once. HUP and ALRM:
//! reload. It must not act on them.

use std::io;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// The action that a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    Reload,
    Stop,
}

/// The signal handlers, in effect from `new` on.
pub(super) struct Signals {
    alarm: Signal,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            alarm: signal(SignalKind::alarm())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub(super) async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.alarm.recv() => SignalAction::Reload,
            _ = self.hangup.recv() => SignalAction::Reload,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.terminate.recv() => SignalAction::Stop,
        }
    }
}

/// Hears of the end of children. A parent that ignores SIGCHLD hands that down, and then nobody learns how a queue program
/// has ended: the system reaps it (sigaction(2)). Call it within a runtime, before a program is started.
pub(super) fn hear_children() {
    if let Err(error) = signal(SignalKind::child()) {
        tracing::warn!(%error, "SIGCHLD");
    }
}

/// Makes writing past RLIMIT_FSIZE (`softlimit -f`) an error like a full disk, instead of the end of the process: with
/// any handler the write fails with EFBIG (setrlimit(2)). Call it within a runtime.
pub(super) fn outlive_file_limit() {
    if let Err(error) = signal(SignalKind::from_raw(nix::libc::SIGXFSZ)) {
        tracing::warn!(%error, "SIGXFSZ");
    }
}
