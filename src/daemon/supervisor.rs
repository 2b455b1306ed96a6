//! What a supervisor that asks for it (systemd, `NOTIFY_SOCKET`; s6, `--notify-fd`) hears of us. One that does not ask
//! hears nothing, and one that does not listen changes nothing.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;

use sd_notify::NotifyState;

use crate::daemon::fault::StartFault;

/// s6's way (servicedir, notification-fd): a newline on a descriptor, once.
pub(super) struct Notification(File);

/// Opened while we are who started us: what belongs to root cannot be opened afterwards.
///
/// # Errors
/// There is no such descriptor, or it cannot be written.
pub(super) fn notification(number: Option<u32>) -> Result<Option<Notification>, StartFault> {
    let open = |number| {
        let opened = OpenOptions::new().write(true).open(format!("/dev/fd/{number}"));
        opened.map(Notification).map_err(|error| StartFault::Notification(number, error))
    };
    number.map(open).transpose()
}

impl Notification {
    /// The listeners accept.
    pub(super) fn ready(mut self) {
        if let Err(error) = self.0.write_all(b"\n") {
            tracing::warn!(%error, "--notify-fd");
        }
    }
}

/// The listeners accept.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Everything is being read again; `ready` follows.
pub(super) fn reloading() {
    if let Ok(since) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since]);
    }
}

/// Transactions that run may end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "NOTIFY_SOCKET");
    }
}
