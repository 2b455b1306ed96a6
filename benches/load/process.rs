//! Programs that the bench starts, in one group for each system. They are ended by their own ids on every path, with
//! all that they have started. If control groups (version 2) are permitted each group has its own, which no process can
//! leave; otherwise the process tree has to do.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;
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

use crate::usage;
use crate::usage::Memory;

/// The processes that were started and still run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    state: Arc<Mutex<State>>,
}

/// The processes of one system; they are ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    number: usize,
    folder: Option<PathBuf>,
    processes: Processes,
}

#[derive(Debug, Default)]
struct State {
    groups: Vec<Members>,
    made: usize,
    /// Whether the bench ends: no more processes may start.
    closed: bool,
}

#[derive(Debug)]
struct Members {
    number: usize,
    folder: Option<PathBuf>,
    children: Vec<Child>,
}

impl Processes {
    /// An empty group.
    pub(crate) fn group(&self) -> io::Result<Group> {
        let mut state = self.state();
        if state.closed {
            return Err(ending());
        }
        state.made += 1;
        let number = state.made;
        let folder = usage::control_groups()
            .map(|root| root.join(format!("portcullis-load-{}-{number}", std::process::id())))
            .filter(|folder| fs::create_dir(folder).is_ok());
        state.groups.push(Members { number, folder: folder.clone(), children: Vec::new() });
        Ok(Group { number, folder, processes: self.clone() })
    }

    /// Ends all processes, and lets no other start.
    pub(crate) fn end_all(&self) {
        let mut state = self.state();
        state.closed = true;
        state.groups.drain(..).for_each(end);
    }

    /// Whether a signal has stopped the bench.
    pub(crate) fn are_ending(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// A command whose processes will be in this group.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(folder) = &self.folder else { return Command::new(program) };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(folder.join("cgroup.procs")).arg(program);
        command
    }

    pub(crate) fn start(&self, command: &mut Command) -> io::Result<()> {
        // Under the lock, so that a signal finds the child.
        let mut state = self.processes.state();
        let members = state.groups.iter_mut().find(|members| members.number == self.number).ok_or_else(ending)?;
        members.children.push(command.spawn()?);
        Ok(())
    }

    /// Whether a process has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        let mut state = self.processes.state();
        let members = state.groups.iter_mut().find(|members| members.number == self.number);
        members.is_none_or(|members| members.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None))))
    }

    /// CPU time so far, of ended processes too.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        match &self.folder {
            Some(folder) => usage::cpu_of_group(folder),
            None => usage::cpu_of_trees(&self.ids()),
        }
    }

    /// Memory used now.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        let ids = match &self.folder {
            Some(folder) => usage::members(folder)?,
            None => usage::trees(&self.ids())?,
        };
        Ok(usage::memory(&ids))
    }

    fn ids(&self) -> Vec<u32> {
        let state = self.processes.state();
        let members = state.groups.iter().find(|members| members.number == self.number);
        members.into_iter().flat_map(|members| &members.children).map(Child::id).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut state = self.processes.state();
        if let Some(at) = state.groups.iter().position(|members| members.number == self.number) {
            end(state.groups.swap_remove(at));
        }
    }
}

/// Sends TERM to our children, and KILL to all that is left.
fn end(members: Members) {
    let ids: Vec<u32> = members.children.iter().map(Child::id).collect();
    let below = if members.folder.is_some() { Vec::new() } else { usage::trees(&ids).unwrap_or_default() };
    for mut child in members.children {
        if let Ok(None) = child.try_wait() {
            send(child.id(), Signal::SIGTERM);
            until(|| !matches!(child.try_wait(), Ok(None)));
        }
        drop(child.kill());
        drop(child.wait());
    }
    // Grandchildren mostly end by themselves.
    let left = || below.iter().filter(|id| usage::trees(&[**id]).is_ok()).copied().collect::<Vec<_>>();
    let left = || members.folder.as_ref().map_or_else(left, |folder| usage::members(folder).unwrap_or_default());
    if !until(|| left().is_empty()) {
        left().into_iter().for_each(|id| send(id, Signal::SIGKILL));
        until(|| left().is_empty());
    }
    if let Some(folder) = members.folder {
        until(|| fs::remove_dir(&folder).is_ok());
    }
}

fn send(id: u32, signal: Signal) {
    if let Ok(id) = i32::try_from(id) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// Whether it happened within some seconds.
fn until(reached: impl FnMut() -> bool) -> bool {
    wait(Duration::from_secs(3), reached)
}

/// Polls until it happens, or `limit` is over.
pub(crate) fn wait(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if reached() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ending() -> io::Error {
    io::Error::other("the bench is ending")
}

/// Raises the descriptor limit to the hard limit, and gives it: it limits idle sessions.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
