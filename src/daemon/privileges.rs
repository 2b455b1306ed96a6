//! Gives up root's rights, after binding and before any thread is started, for the whole process. It must not leave
//! more than the backend needs.

use std::ffi::CString;

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::Gid;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::initgroups;
use nix::unistd::setgid;
use nix::unistd::setuid;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::set_capabilities;

use crate::backend::Target;

/// Becomes `user` and `group`; without a group, the user's own.
///
/// # Errors
/// A user or group that does not exist, or a change that was not allowed, and what to do.
pub(super) fn become_user(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    let Some(name) = user else {
        return match group {
            Some(_) => Err("server.group is set without server.user; set both".to_owned()),
            None => Ok(()),
        };
    };
    let user = User::from_name(name).map_err(|error| format!("server.user {name:?}: {error}"))?;
    let user =
        user.ok_or_else(|| format!("server.user: no user {name:?} on this host; create it, or write another name"))?;
    let gid = match group {
        Some(name) => group_id(name)?,
        None => user.gid,
    };
    if Uid::effective() == user.uid && Gid::effective() == gid {
        return Ok(());
    }
    let c_name = CString::new(name).map_err(|_| "server.user: NUL in the name".to_owned())?;
    let steps = initgroups(&c_name, gid).and_then(|()| setgid(gid)).and_then(|()| setuid(user.uid));
    steps.map_err(|error| format!("cannot become user {name:?}: {error}; start as root, or leave server.user out"))
}

/// Drops the capabilities lent for binding (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), which children would
/// inherit. Root keeps its own, with a warning: backends run as root then.
///
/// # Errors
/// The system's error.
pub(super) fn drop_capabilities() -> Result<(), String> {
    if Uid::effective().is_root() {
        tracing::warn!(remedy = "set server.user", "running as root, and so do the backends");
        return Ok(());
    }
    // What is neither permitted nor inheritable cannot be ambient: the kernel clears that set with them.
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|error| format!("cannot drop capabilities: {error}"))
}

/// Whether the backend may start a setuid program, which qmail-queue is: smtpfront-qmail starts it too.
pub(super) fn may_need_setuid(backend: &Target) -> bool {
    match backend {
        Target::Queue(_) | Target::Spawn(_) => true,
        Target::Lmtp(_) | Target::Maildir(_) | Target::Tcp(_) => false,
    }
}

/// Denies new privileges to this process and its children, unless the backend needs them. This cannot be undone: a
/// reload must not name a backend that needs them.
pub(super) fn gain_none(backend: &Target) {
    if may_need_setuid(backend) {
        return;
    }
    // Kernels before 3.5 lack it, which is no reason to refuse mail.
    if let Err(error) = set_no_new_privs() {
        tracing::warn!(%error, "no_new_privs");
    }
}

fn group_id(name: &str) -> Result<Gid, String> {
    let group = Group::from_name(name).map_err(|error| format!("server.group {name:?}: {error}"))?;
    group
        .map(|group| group.gid)
        .ok_or_else(|| format!("server.group: no group {name:?} on this host; create it, or write another name"))
}
