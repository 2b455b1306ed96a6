//! One process a session, started as tcpserver would start it: the connection on fd 0 and 1, the log on fd 2.
//!
//! A keeper stays with the child until it was reaped, and only then gives the permit back. Other than under tcpserver the
//! child leads a process group, so that a shell wrapper is ended with all that it started. It must not end a program that
//! ends by itself at end of file: a qmail-queue killed in its work leaves files in the queue.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backend::ClientInfo;
use crate::backend::environment;
use crate::backend::log;
use crate::backend::permits::Permit;

/// The time that a child has for each step of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// From end of file to SIGTERM.
    pub(super) exit: Duration,
    /// From SIGTERM to SIGKILL.
    pub(super) terminate: Duration,
    /// From its end to the end of its log, should another process keep that open.
    pub(super) log: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { exit: Duration::from_secs(5), terminate: Duration::from_secs(2), log: Duration::from_secs(1) }
    }
}

/// Starts `program` for `client`. When the sender is dropped, the child is brought to its end and reaped; then `permit`
/// is given back. Drop the stream with it, or before: end of file is what a program ends by.
///
/// # Errors
/// A text that names the program and says why it cannot be started.
pub(super) fn start(
    program: &[OsString],
    hostname: &str,
    client: &ClientInfo,
    grace: Grace,
    permit: Permit,
) -> Result<(UnixStream, oneshot::Sender<()>), String> {
    let (name, arguments) = program.split_first().ok_or("no program is set")?;
    let named = |error: io::Error| format!("{}: {error}", Path::new(name).display());
    let path = find(name, client.environment.get(b"PATH")).map_err(named)?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(named)?;
    // The command, and with it our copy of the child's end, is gone after this line: end of file needs that.
    let mut child = command(&path, arguments, theirs, hostname, client).and_then(|mut it| it.spawn()).map_err(named)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).expect("a child that was not waited for has a pid");
    let output = child.stderr.take().expect("stderr is a pipe");
    ours.set_nonblocking(true).map_err(named)?;
    let stream = UnixStream::from_std(ours).map_err(named)?;
    let log = tokio::spawn(log::relay(output, pid));
    let (open, closed) = oneshot::channel();
    let keeper = Keeper { child, pid: Pid::from_raw(pid), log, grace };
    tokio::spawn(keeper.keep(closed, permit));
    Ok((stream, open))
}

/// The keeper of one child.
struct Keeper {
    child: Child,
    /// The child's, and that of the process group that it leads.
    pid: Pid,
    log: JoinHandle<()>,
    grace: Grace,
}

impl Keeper {
    async fn keep(mut self, closed: oneshot::Receiver<()>, permit: Permit) {
        // Nothing is ever sent: the sender is dropped with the connection.
        let _ = closed.await;
        let ended = self.end().await;
        drop(permit);
        let pid = self.pid.as_raw();
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::debug!(pid, %status, "backend ended"),
            Err(error) => tracing::error!(pid, %error, "backend cannot be waited for"),
        }
        if timeout(self.grace.log, self.log_ended()).await.is_err() {
            self.log.abort();
        }
    }

    /// Brings the child to its end, and returns when it was reaped.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        if let Ok(ended) = timeout(self.grace.exit, self.child.wait()).await {
            return ended;
        }
        self.signal(Signal::SIGTERM);
        let terminate = self.grace.terminate;
        if let Ok(ended) = timeout(terminate, self.all_ended()).await {
            return ended;
        }
        // The child, or a process of its group that still holds its log, is there: the number is not another group's yet.
        self.signal(Signal::SIGKILL);
        self.child.wait().await
    }

    /// The child has ended, and its log with it: that ends with the last process that holds it, so that a program that
    /// outlives its wrapper is waited for.
    async fn all_ended(&mut self) -> io::Result<ExitStatus> {
        let ended = self.child.wait().await;
        self.log_ended().await;
        ended
    }

    async fn log_ended(&mut self) {
        // A finished task must not be awaited twice.
        if !self.log.is_finished() {
            let _ = (&mut self.log).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = killpg(self.pid, signal) {
            tracing::debug!(pid = self.pid.as_raw(), %signal, %error, "backend cannot be signalled");
        } else {
            tracing::debug!(pid = self.pid.as_raw(), %signal, "backend did not end by itself");
        }
    }
}

fn command(
    program: &Path,
    arguments: &[OsString],
    connection: std::os::unix::net::UnixStream,
    hostname: &str,
    client: &ClientInfo,
) -> io::Result<Command> {
    let output = OwnedFd::from(connection.try_clone()?);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment::variables(client, hostname));
    command.stdin(Stdio::from(OwnedFd::from(connection))).stdout(Stdio::from(output)).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// The file of a program; a name without a slash is looked up in the PATH that the child will have. Left to the standard
/// library, the search would need a fork of the whole process instead of posix_spawn: 12 ms instead of 0.07.
pub(super) fn find(name: &OsStr, path: Option<&[u8]>) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let path = OsStr::from_bytes(path.unwrap_or(DEFAULT_PATH));
    let mut candidates =
        std::env::split_paths(path).filter(|folder| !folder.as_os_str().is_empty()).map(|folder| folder.join(name));
    candidates.find(|candidate| is_executable(candidate)).ok_or_else(|| {
        let what = format!("not found in PATH {}", Path::new(path).display());
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The PATH of execvp, and of tcpserver, when none is set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

#[cfg(test)]
mod tests;
