//! Notifies a supervisor that asks for it (systemd, `NOTIFY_SOCKET`; s6, `--notify-fd`). It must not fail or wait
//! because a supervisor does not listen.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;

use sd_notify::NotifyState;

use crate::daemon::fault::StartFault;

/// The descriptor that s6 waits on (servicedir, notification-fd): a newline, once.
pub(super) struct Notification(File);

/// Opens the descriptor. Call it before the user is changed: root's descriptors cannot be opened afterwards.
///
/// # Errors
/// The descriptor does not exist or cannot be written.
pub(super) fn notification(number: Option<u32>) -> Result<Option<Notification>, StartFault> {
    let open = |number| {
        let opened = OpenOptions::new().write(true).open(format!("/dev/fd/{number}"));
        opened.map(Notification).map_err(|error| StartFault::Notification(number, error))
    };
    number.map(open).transpose()
}

impl Notification {
    /// Reports that the listeners accept.
    pub(super) fn ready(mut self) {
        if let Err(error) = self.0.write_all(b"\n") {
            tracing::warn!(%error, "--notify-fd");
        }
    }
}

/// Reports that the listeners accept.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reports that clients are served; systemd's watchdog waits for it.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Reports that everything is being read again; `ready` follows.
pub(super) fn reloading() {
    if let Ok(since) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since]);
    }
}

/// Reports that the proxy stops and lets running transactions end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "NOTIFY_SOCKET");
    }
}
