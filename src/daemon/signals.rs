//! What the supervisor says. TERM and INT: stop, transactions that run may end; a second one: at once. HUP and ALRM:
//! read everything again.

use std::io;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// A word of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Reload,
    Stop,
}

/// Listens from now on.
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

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.alarm.recv() => Word::Reload,
            _ = self.hangup.recv() => Word::Reload,
            _ = self.interrupt.recv() => Word::Stop,
            _ = self.terminate.recv() => Word::Stop,
        }
    }
}

/// A file that may not grow (`softlimit -f`, RLIMIT_FSIZE) is an error like a full disk then, and not our end: with a handler,
/// whatever it does, the write fails with EFBIG (setrlimit(2)). Within a runtime.
pub(super) fn outlive_file_limit() {
    if let Err(error) = signal(SignalKind::from_raw(nix::libc::SIGXFSZ)) {
        tracing::warn!(%error, "SIGXFSZ");
    }
}
