//! Brings messages from quarantine back into the queue, through qmail-queue like any new message. It must not remove a
//! copy before qmail-queue has exited 0: in doubt the copy stays, and the message may arrive twice rather than never.

use std::fs::File;
use std::io;
use std::io::Seek;
use std::io::Write;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::AccessFlags;
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::queue::look::layout::with_remedy;
use crate::queue::quarantine::folder::Quarantine;
use crate::queue::quarantine::saved::Saved;
use crate::queue::quarantine::saved::Stage;

/// A restorer of messages, one after the other.
#[derive(Debug)]
pub struct Restore<'q> {
    quarantine: &'q Quarantine,
    program: &'q Path,
    limit: Duration,
    runtime: Runtime,
}

impl<'q> Restore<'q> {
    /// A restorer that runs `program`, which is qmail-queue or a wrapper of it, for at most `limit` a message.
    ///
    /// # Errors
    /// `program` does not exist.
    pub fn new(quarantine: &'q Quarantine, program: &'q Path, limit: Duration) -> Result<Self, String> {
        if !program.is_file() {
            return Err(format!("{}: no such file: name qmail-queue with --qmail-queue PATH", program.display()));
        }
        nix::unistd::access(program, AccessFlags::X_OK).map_err(|error| {
            format!(
                "{} cannot be run: {}: look at its mode, or name another with --qmail-queue PATH",
                program.display(),
                error.desc()
            )
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the child cannot be waited for: {error}"))?;
        Ok(Self { quarantine, program, limit, runtime })
    }

    /// Passes the message to qmail-queue for its remaining recipients, and removes the copy. Gives the number of
    /// recipients.
    ///
    /// # Errors
    /// The reason why the message is still in quarantine; or it is in the queue again and its copy could not be
    /// removed.
    pub fn restore(&self, id: u64) -> Result<usize, String> {
        let saved = whole(self.quarantine, id)?;
        if saved.to_do() == 0 {
            return Err("no recipient is left, so nothing is restored: queue delete removes it".to_owned());
        }
        let queued = self.queue(id, &saved).map_err(|error| with_remedy(&error))?;
        let status = queued.ok_or_else(|| format!("{} took too long and was killed", self.program.display()))?;
        match status.code() {
            Some(0) => {}
            Some(code) => return Err(format!("qmail-queue said {code}: {}", meaning(code))),
            None => return Err(format!("qmail-queue crashed ({status})")),
        }
        let removed = self.quarantine.forget_restored(id, saved.birth);
        removed.map_err(|error| {
            format!("it is in the queue again, but its copy cannot be removed: {}", with_remedy(&error))
        })?;
        Ok(saved.to_do())
    }

    /// Runs qmail-queue for the message; `None` if it did not exit in time.
    fn queue(&self, id: u64, saved: &Saved) -> io::Result<Option<ExitStatus>> {
        let message = self.quarantine.dir().file(&id.to_string(), OFlag::O_RDONLY)?;
        let mut envelope = tempfile::tempfile_in(self.quarantine.path())?;
        envelope.write_all(&saved.envelope())?;
        envelope.rewind()?;
        self.runtime.block_on(self.run(message, envelope))
    }

    /// Runs qmail-queue, which reads the message from descriptor 0 and the envelope from descriptor 1.
    async fn run(&self, message: File, envelope: File) -> io::Result<Option<ExitStatus>> {
        let mut command = Command::new(self.program);
        let started = command.stdin(message).stdout(envelope).kill_on_drop(true).spawn();
        // The fault is the program's, not the queue's.
        let cannot = |error| io::Error::other(format!("{} cannot be started: {error}", self.program.display()));
        let mut child = started.map_err(cannot)?;
        if let Ok(status) = tokio::time::timeout(self.limit, child.wait()).await {
            return status.map(Some);
        }
        // On SIGALRM qmail-queue removes what it has written; killed, it would leave that behind.
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGALRM);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(None)
    }
}

/// The envelope of a message that may be restored or deleted.
///
/// # Errors
/// There is none, or the message is not out of this queue yet.
pub fn whole(quarantine: &Quarantine, id: u64) -> Result<Saved, String> {
    let saved = quarantine.saved(id).map_err(|error| with_remedy(&error))?;
    match saved.filter(|_| quarantine.is_there(id)) {
        None => Err("it is not in quarantine: see portcullis queue list --quarantined".to_owned()),
        // A message copied here from elsewhere has nothing to complete.
        Some(saved) if saved.stage == Stage::Taken || !quarantine.has(id) => Ok(saved),
        Some(_) => Err(format!("an earlier run was interrupted: first complete it with queue quarantine {id}")),
    }
}

/// The meaning of a qmail-queue exit code (qmail-queue.8, qmail.c).
fn meaning(code: i32) -> &'static str {
    match code {
        11 => "an address is too long",
        12..=30 | 32..=40 => "it refuses the message permanently",
        31 => "the message is refused",
        51 => "out of memory",
        52 => "it took too long",
        53 => "a write failed: the disk may be full",
        54 => "the message or its envelope could not be read",
        55 => "a configuration file could not be read",
        56 => "trouble with the network",
        61 => "trouble with qmail's home directory",
        62 => "trouble with the queue's directory",
        63 => "trouble with the queue's pid folder",
        64 => "trouble with the queue's mess folder",
        65 => "trouble with the queue's intd folder",
        66 => "trouble with the queue's todo folder",
        71 => "the mail server refuses the message for now",
        72 => "the connection to the mail server timed out",
        73 => "the mail server refuses the connection",
        74 => "the connection to the mail server failed",
        81 => "an internal error of qmail-queue",
        91 => "it does not understand the envelope",
        111 | 120 => "it could not be started, or could not continue",
        _ => "it failed for now",
    }
}

/// Time between SIGALRM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
