//! Processes' resource use by the kernel's account: CPU of a control group (version 2) or of a process tree, and
//! memory.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Uid;

/// Memory of several processes together, in octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Memory with shared pages counted in part.
    pub(crate) proportional: u64,
    pub(crate) processes: usize,
}

/// The folder of our own control group. Users other than root may make one below it, but not move into it.
pub(crate) fn control_groups() -> Option<PathBuf> {
    if !Uid::effective().is_root() {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    let mount = line.split(' ').nth(1)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    Some(Path::new(mount).join(own))
}

/// CPU time of all that ever ran in the group.
pub(crate) fn cpu_of_group(folder: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(folder.join("cpu.stat"))?;
    let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    microseconds.map(Duration::from_micros).ok_or_else(|| io::Error::other("cpu.stat tells no usage"))
}

/// The processes in the group.
pub(crate) fn members(folder: &Path) -> io::Result<Vec<u32>> {
    Ok(fs::read_to_string(folder.join("cgroup.procs"))?.lines().filter_map(|line| line.parse().ok()).collect())
}

/// CPU time of these processes and all below them, ended children included.
pub(crate) fn cpu_of_trees(ids: &[u32]) -> io::Result<Duration> {
    let ticks: u64 = find_trees(ids)?.iter().map(|process| process.ticks).sum();
    Ok(Duration::from_millis(ticks * MILLISECONDS_A_TICK))
}

/// The ids of these processes and of all below them.
pub(crate) fn trees(ids: &[u32]) -> io::Result<Vec<u32>> {
    Ok(find_trees(ids)?.iter().map(|process| process.id).collect())
}

/// The memory of these processes; an ended one has none.
pub(crate) fn memory(ids: &[u32]) -> Memory {
    let mut memory = Memory::default();
    for id in ids {
        let Ok(text) = fs::read_to_string(format!("/proc/{id}/smaps_rollup")) else { continue };
        let octets = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            value.map_or(0, |kilobytes: u64| kilobytes * 1024)
        };
        memory.resident += octets("Rss:");
        memory.proportional += octets("Pss:");
        memory.processes += 1;
    }
    memory
}

struct Process {
    id: u32,
    parent: u32,
    ticks: u64,
}

fn find_trees(ids: &[u32]) -> io::Result<Vec<Process>> {
    let all = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut left: Vec<Process> = all.filter_map(process).collect();
    let mut trees: Vec<Process> = left.extract_if(.., |process| ids.contains(&process.id)).collect();
    if trees.is_empty() && !ids.is_empty() {
        return Err(io::Error::other(format!("process {} has ended", ids[0])));
    }
    let mut at = 0;
    while let Some(parent) = trees.get(at).map(|process| process.id) {
        trees.extend(left.extract_if(.., |process| process.parent == parent));
        at += 1;
    }
    Ok(trees)
}

/// A process by proc_pid_stat(5). The name in parentheses may hold blanks, so fields are counted after it.
fn process(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    let parent = u32::try_from(number(4)?).ok()?;
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Process { id, parent, ticks })
}

/// The kernel's USER_HZ is 100 on every architecture we run on.
const MILLISECONDS_A_TICK: u64 = 10;
