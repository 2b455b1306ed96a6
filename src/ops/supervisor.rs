//! What a supervisor that asks for it (systemd, `NOTIFY_SOCKET`) hears of us. One that does not ask hears nothing, and one
//! that does not listen changes nothing.

use sd_notify::NotifyState;

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
