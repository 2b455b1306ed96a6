//! One process in a group of its own: its start by posix_spawn, which alone can give it descriptors beyond 0, 1 and 2
//! without a fork of all our memory, and its end. It must not leave a zombie, nor signal a number that may be another's.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::spawn::PosixSpawnAttr;
use nix::spawn::PosixSpawnFileActions;
use nix::spawn::PosixSpawnFlags;
use nix::spawn::posix_spawn;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::signal::killpg;
use nix::sys::wait::Id;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitid;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use nix::unistd::getpgid;
use rustix::process::PidfdFlags;
use rustix::process::pidfd_open;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::backend::queue::reply::End;
use crate::backend::spawn::Grace;

/// The descriptors that a program gets.
pub(super) struct Descriptors<'a> {
    /// For 0: the message.
    pub(super) message: BorrowedFd<'a>,
    /// For 1, which is read: the envelope.
    pub(super) envelope: BorrowedFd<'a>,
    /// For 2: its log.
    pub(super) output: BorrowedFd<'a>,
    /// For 4, where simscan and the patch sets write an error text, and for 6, where programs of notqmail do.
    pub(super) text: BorrowedFd<'a>,
}

/// A program that has not been reaped.
pub(super) struct Process {
    pid: Pid,
    /// Readable when the process has ended; `None` on a kernel before 5.3.
    ended: Option<AsyncFd<OwnedFd>>,
}

impl Process {
    /// Starts `program`, without arguments. Needs a tokio runtime.
    ///
    /// # Errors
    /// That of its exec, too.
    pub(super) fn start(program: &Path, environment: &[CString], descriptors: &Descriptors<'_>) -> io::Result<Self> {
        let name = CString::new(program.as_os_str().as_bytes())?;
        let mut actions = PosixSpawnFileActions::init()?;
        let Descriptors { message, envelope, output, text } = descriptors;
        // In this order: a source may be 4 or 6 itself, but none is below 3.
        for (ours, theirs) in [(message, 0), (envelope, 1), (output, 2), (text, 4), (text, 6)] {
            actions.add_dup2(ours.as_raw_fd(), theirs)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
        )?;
        attributes.set_pgroup(Pid::from_raw(0))?;
        // We ignore SIGPIPE ourselves, and may have been started with SIGCHLD ignored: programs count on both.
        attributes.set_sigdefault(&SigSet::from_iter([Signal::SIGCHLD, Signal::SIGPIPE]))?;
        attributes.set_sigmask(&SigSet::empty())?;
        let pid = posix_spawn(program, &actions, &attributes, &[&name], environment)?;
        Ok(Self { pid, ended: watch(pid) })
    }

    /// Its number, and that of its group.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for its end; when `limit` is over, its whole group is ended.
    pub(super) async fn end(&mut self, limit: Duration, grace: Grace) -> End {
        if let Ok(end) = timeout(limit, self.wait()).await {
            return end;
        }
        self.signal(Signal::SIGTERM);
        if let Ok(end) = timeout(grace.terminate, self.wait()).await {
            return end.late();
        }
        self.signal(Signal::SIGKILL);
        self.wait().await.late()
    }

    /// Waits until it has ended, and reaps it.
    async fn wait(&mut self) -> End {
        match &self.ended {
            Some(ended) => _ = ended.readable().await,
            None => {
                let id = Id::Pid(self.pid);
                let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                _ = spawn_blocking(move || waitid(id, flags)).await;
            }
        }
        // It has ended: this does not wait.
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => End::Exit(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => End::Signal(signal as i32),
            Ok(_) | Err(_) => End::Lost,
        }
    }

    fn signal(&self, signal: Signal) {
        // It has not been reaped: the number is still its own.
        let _ = killpg(self.pid, signal);
        // A program may have left its group for another.
        if getpgid(Some(self.pid)) != Ok(self.pid) {
            let _ = kill(self.pid, signal);
        }
        tracing::warn!(pid = self.pid(), %signal, "queue program is out of time");
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd stays open as long as it is watched, which a safe call cannot promise for every type"
)]
fn watch(pid: Pid) -> Option<AsyncFd<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw())?;
    AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::empty()).ok()?, Interest::READABLE).ok()
}
