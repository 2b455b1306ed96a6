//! Programs that the bench starts: ended by their own id on every path, and what the kernel says they used.

use std::fs;
use std::io;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Everything that was started and still runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Child>,
    /// We end: whatever would be started now, nobody would end.
    closed: bool,
}

impl Processes {
    /// Starts `command` and gives its id.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<u32> {
        // Under the lock: a signal that comes meanwhile finds the child.
        let mut state = self.state();
        if state.closed {
            return Err(io::Error::other("the bench is ending"));
        }
        let child = command.spawn()?;
        let id = child.id();
        state.running.push(child);
        Ok(id)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self, id: u32) -> bool {
        let mut state = self.state();
        let child = state.running.iter_mut().find(|child| child.id() == id);
        child.is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn end(&self, id: u32) {
        let mut state = self.state();
        if let Some(at) = state.running.iter().position(|child| child.id() == id) {
            end(state.running.swap_remove(at));
        }
    }

    /// Ends all of them, and lets no other start.
    pub(crate) fn end_all(&self) {
        let mut state = self.state();
        state.closed = true;
        state.running.drain(..).for_each(end);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TERM, and KILL when it does not listen.
fn end(mut child: Child) {
    let id = i32::try_from(child.id()).map(Pid::from_raw);
    if let (Ok(None), Ok(id)) = (child.try_wait(), id) {
        let deadline = Instant::now() + Duration::from_secs(3);
        let _ = kill(id, Signal::SIGTERM);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    drop(child.kill());
    drop(child.wait());
}

/// CPU time of the process and of all it started, those that have ended included.
pub(crate) fn cpu(id: u32) -> io::Result<Duration> {
    let ticks: u64 = tree(id)?.iter().map(|process| process.ticks).sum();
    Ok(Duration::from_millis(ticks * MILLISECONDS_A_TICK))
}

/// Resident octets of the process and of all it started.
pub(crate) fn resident(id: u32) -> io::Result<u64> {
    Ok(tree(id)?.iter().map(|process| process.resident).sum())
}

/// As many descriptors as the hard limit allows: two for each connection live in this process.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}

struct Usage {
    id: u32,
    parent: u32,
    ticks: u64,
    resident: u64,
}

fn tree(id: u32) -> io::Result<Vec<Usage>> {
    let all = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut left: Vec<Usage> = all.filter_map(usage).collect();
    let mut tree: Vec<Usage> = left.extract_if(.., |process| process.id == id).collect();
    if tree.is_empty() {
        return Err(io::Error::other(format!("process {id} has ended")));
    }
    let mut at = 0;
    while let Some(parent) = tree.get(at).map(|process| process.id) {
        tree.extend(left.extract_if(.., |process| process.parent == parent));
        at += 1;
    }
    Ok(tree)
}

/// proc_pid_stat(5). The name in parentheses may hold blanks, so the fields are counted behind it.
fn usage(id: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    let parent = u32::try_from(number(4)?).ok()?;
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Usage { id, parent, ticks, resident: number(24)? * PAGE })
}

/// The kernel's USER_HZ is 100 on every architecture we run on.
const MILLISECONDS_A_TICK: u64 = 10;
const PAGE: u64 = 4096;
