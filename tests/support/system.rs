//! What the system knows of a process, and a wait for what has no event of its own.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::time::Instant;

use super::proxy::LONG;

/// For what has no event of its own.
pub(crate) fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(began.elapsed() < LONG, "never: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Open TCP sockets: what the kernel has of this process.
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

pub(crate) fn children(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok());
    children.map(|children| children.split_whitespace().count()).sum()
}

/// Octets of memory that are its own.
pub(crate) fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
