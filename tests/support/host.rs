//! Resources of this host for the tests and the load benchmark: a free port, a certificate, the folders of a Postfix,
//! and a process's use of the system. It must not know what is tested.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "each user uses a part")]

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use nix::unistd::User;
use nix::unistd::chown;

/// Longer than anything takes on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits for a condition that has no event.
pub(crate) fn until(what: &str, happens: impl FnMut() -> bool) {
    assert!(happens_within(LONG, happens), "waited {LONG:?} for: {what}");
}

/// Whether it happens in time.
pub(crate) fn happens_within(time: Duration, mut happens: impl FnMut() -> bool) -> bool {
    let (deadline, never) = (Instant::now() + time, Condvar::new());
    let nobody = Mutex::new(());
    let mut guard = nobody.lock().unwrap();
    loop {
        if happens() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        guard = never.wait_timeout(guard, Duration::from_millis(5)).unwrap().0;
    }
}

/// An address free a moment ago, for a program that cannot report its port.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// An ECDSA P-256 certificate for these names, its key and its authority, in `folder`.
pub(crate) fn make_certificate(folder: &Path, names: &[&str]) -> io::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make.sh");
    let output = Command::new(script).arg("-o").arg(folder).args(names).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Makes data and queue of a Postfix, with their owners. Only root can make them.
pub(crate) fn make_postfix_folders(home: &Path) -> io::Result<()> {
    let owner = User::from_name("postfix")?.ok_or_else(|| io::Error::other("there is no user postfix"))?;
    let queues = POSTFIX_QUEUES.map(|name| format!("queue/{name}"));
    for name in ["data", "queue", "queue/pid"].into_iter().chain(queues.iter().map(String::as_str)) {
        let path = home.join(name);
        fs::create_dir(&path)?;
        if !["queue", "queue/pid"].contains(&name) {
            chown(&path, Some(owner.uid), None)?;
        }
    }
    Ok(())
}

const POSTFIX_QUEUES: [&str; 13] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "private", "public",
    "saved", "trace",
];

pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Number of TCP sockets that the process has open.
pub(crate) fn sockets(pid: u32) -> usize {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let inodes: Vec<&str> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let links =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let own = links.filter_map(|link| {
        let text = link.to_string_lossy().into_owned();
        text.strip_prefix("socket:[").and_then(|text| text.strip_suffix(']')).map(str::to_owned)
    });
    own.filter(|inode| inodes.contains(&inode.as_str())).count()
}

/// The children of a process, zombies included.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Octets of private memory.
pub(crate) fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
