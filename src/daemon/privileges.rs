//! Bind as root, then become somebody who may do less. Before any thread is started, for all threads of the process.

use std::ffi::CString;

use caps::CapSet;
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::Gid;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::initgroups;
use nix::unistd::setgid;
use nix::unistd::setuid;

use crate::backend::Target;

/// Becomes `user` and `group`; without a group, the user's own.
///
/// # Errors
/// Which of them there is not, or what was not allowed, and what to do.
pub(super) fn become_user(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    let Some(name) = user else {
        return match group {
            Some(_) => Err("server.group is set without server.user; set both".to_owned()),
            None => Ok(()),
        };
    };
    let user = User::from_name(name).map_err(|error| format!("server.user {name:?}: {error}"))?;
    let user = user.ok_or_else(|| format!("server.user: there is no user {name:?} on this host"))?;
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

/// What a supervisor lent for binding (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE) goes; children would have it too.
/// Root keeps its own, and is told so: backends run as root then.
///
/// # Errors
/// The system's.
pub(super) fn drop_capabilities() -> Result<(), String> {
    if Uid::effective().is_root() {
        tracing::warn!(remedy = "set server.user", "serving as root, and so do backends");
        return Ok(());
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| format!("cannot give up capabilities: {error}"))?;
    }
    Ok(())
}

/// Whether a backend may lead to a setuid program: smtpfront-qmail starts qmail-queue.
pub(super) fn may_need_setuid(backend: &Target) -> bool {
    match backend {
        Target::Spawn(_) => true,
        Target::Maildir(_) | Target::Tcp(_) => false,
    }
}

/// Whatever this process starts, setuid or not, gets no more than it has itself. It cannot be taken back: a reload must not
/// name a backend then that needs it.
pub(super) fn gain_none(backend: &Target) {
    if may_need_setuid(backend) {
        return;
    }
    // A kernel before 3.5 does not know it, and is no reason not to take mail.
    if let Err(error) = set_no_new_privs() {
        tracing::warn!(%error, "no_new_privs");
    }
}

fn group_id(name: &str) -> Result<Gid, String> {
    let group = Group::from_name(name).map_err(|error| format!("server.group {name:?}: {error}"))?;
    group.map(|group| group.gid).ok_or_else(|| format!("server.group: there is no group {name:?} on this host"))
}
