//! One process a message: qmail-queue, or a program in its place (QMAILQUEUE), given the message on descriptor 0 and the
//! envelope on descriptor 1, as qmail-smtpd does it.
//!
//! A keeper stays with the process until it was reaped, and only then gives the permit back; the answer is known when the
//! process has ended, never before. It must not touch the message, nor end a program that has not used up its time: a
//! qmail-queue killed in its work leaves files in the queue.

mod process;
mod reply;
mod text;

use std::ffi::CString;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::unistd::pipe2;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::backend::ClientInfo;
use crate::backend::OpenFault;
use crate::backend::Settings;
use crate::backend::environment;
use crate::backend::log;
use crate::backend::permits::Permit;
use crate::backend::queue::process::Descriptors;
use crate::backend::queue::process::Process;
use crate::backend::queue::reply::End;
use crate::backend::queue::text::ErrorText;
use crate::backend::spawn;
use crate::backend::spawn::Grace;
use crate::smtp::reply::Offer;
use crate::smtp::reply_reader::BackendReply;

/// The envelope of a message: addresses without quotes, as qmail has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender; empty for the null sender.
    pub sender: Vec<u8>,
    /// The recipients, at least one.
    pub recipients: Vec<Vec<u8>>,
}

/// What qmail-smtpd offers, but for the parameters that are ours.
pub(super) fn offer() -> Arc<Offer> {
    static OFFER: LazyLock<Arc<Offer>> =
        LazyLock::new(|| Arc::new(Offer { eight_bit_mime: true, pipelining: true, ..Offer::NONE }));
    OFFER.clone()
}

/// A message that is to be handed over.
pub(super) struct Job {
    program: PathBuf,
    /// The variables as `NAME=value`.
    environment: Vec<CString>,
    envelope: Vec<u8>,
    message: File,
    /// Time that the program has for its work.
    limit: Duration,
    grace: Grace,
}

impl Job {
    /// The message is read from the file's start. `program` is the configured one; QMAILQUEUE in the client's environment
    /// takes its place.
    pub(super) fn new(
        program: &Path,
        settings: &Settings,
        client: &ClientInfo,
        envelope: &Envelope,
        message: File,
    ) -> Self {
        let variables = environment::variables(client, &settings.hostname);
        let program = chosen(program, variables.get(OsStr::new("QMAILQUEUE")), variables.get(OsStr::new("PATH")));
        let pair = |(name, value): (OsString, OsString)| {
            // No variable has a NUL: the configuration refuses one, and tcprules end a value there.
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        };
        let environment = variables.into_iter().filter_map(pair).collect();
        let (limit, grace) = (settings.reply, Grace::default());
        Self { program, environment, envelope: envelope.octets(), message, limit, grace }
    }
}

impl Envelope {
    /// The octets for descriptor 1: `F`, sender, NUL; `T`, recipient, NUL for each; NUL (qmail-queue(8)).
    fn octets(&self) -> Vec<u8> {
        let mut octets = [b"F", self.sender.as_slice(), b"\0"].concat();
        for recipient in &self.recipients {
            octets.extend([b"T", recipient.as_slice(), b"\0"].concat());
        }
        octets.push(0);
        octets
    }
}

/// Starts the program, and gives its answer when it has ended. Dropped before the start, nothing is started; dropped before
/// the answer, the program is kept to its end all the same, and `permit` is held until then. `starting` counts it until
/// its exec.
///
/// # Errors
/// The program is lost to us: neither its end nor its start could be learned.
pub(super) async fn run(
    job: Job,
    starting: Option<OwnedSemaphorePermit>,
    permit: Permit,
) -> Result<BackendReply, OpenFault> {
    let (limit, grace, program) = (job.limit, job.grace, job.program.clone());
    let (name, (tell, told)) = (program.clone(), oneshot::channel());
    // Starting a process waits for its exec: that must not be the thread of all sessions. The caller may go meanwhile:
    // what was started has its keeper all the same.
    spawn_blocking(move || {
        if tell.is_closed() {
            return;
        }
        let started = start(job);
        drop(starting);
        match started {
            Ok(running) => drop(tokio::spawn(Keeper { running, limit, grace }.keep(tell, permit))),
            Err(error) => {
                tracing::warn!(error = format!("{}: {error}", name.display()), "queue program cannot be started");
                let _ = tell.send(reply::of(End::NotStarted, None));
            }
        }
    });
    told.await.map_err(|_| OpenFault::Unavailable(format!("{}: its end is not known", program.display())))
}

/// A program at work, and our ends of its descriptors.
struct Running {
    process: Process,
    /// The way for what is left of the envelope, when it did not fit into the pipe.
    rest: Option<(pipe::Sender, Vec<u8>)>,
    /// The envelope's pipe at the reading end: what is left in it when the program has ended, it has not read.
    envelope: OwnedFd,
    text: ErrorText,
    log: JoinHandle<()>,
}

fn start(job: Job) -> io::Result<Running> {
    let (envelope, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (text, text_writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (output, output_writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let written = match nix::unistd::write(&writer, &job.envelope) {
        Err(Errno::EAGAIN) => 0,
        written => written?,
    };
    let descriptors = Descriptors {
        message: job.message.as_fd(),
        envelope: envelope.as_fd(),
        output: output_writer.as_fd(),
        text: text_writer.as_fd(),
    };
    let text = ErrorText::new(pipe::Receiver::from_owned_fd(text)?);
    let output = pipe::Receiver::from_owned_fd(output)?;
    // What can fail comes before the program: one that is started has a keeper.
    let rest = match job.envelope.get(written..) {
        Some([]) | None => None,
        Some(rest) => Some((pipe::Sender::from_owned_fd(writer)?, rest.to_vec())),
    };
    let process = Process::start(&job.program, &job.environment, &descriptors)?;
    let log = tokio::spawn(log::relay(output, process.pid()));
    Ok(Running { process, rest, envelope, text, log })
}

/// The keeper of one program.
struct Keeper {
    running: Running,
    limit: Duration,
    grace: Grace,
}

impl Keeper {
    async fn keep(mut self, tell: oneshot::Sender<BackendReply>, permit: Permit) {
        let end = self.end().await;
        let unread = rustix::io::ioctl_fionread(&self.running.envelope).unwrap_or_default();
        let end = match end {
            // A program that has not read the recipients has not queued the message for them.
            End::Exit(0) if unread > 0 || self.running.rest.is_some() => End::Unread,
            End::Exit(0) => End::Queued { at: now(), pid: self.running.process.pid() },
            end => end,
        };
        drop(permit);
        let reply = reply::of(end, self.running.text.take());
        if !reply.is_success() {
            tracing::info!(pid = self.running.process.pid(), status = ?end, error = reply.text(), "queue program refused");
        }
        // The session may be gone; the program was brought to its end all the same.
        let _ = tell.send(reply);
        let log = &mut self.running.log;
        if timeout(self.grace.log, &mut *log).await.is_err() {
            log.abort();
        }
    }

    /// Waits for the program's end, or brings it about when its time is up; meanwhile writes the rest of the
    /// envelope and reads the error text.
    async fn end(&mut self) -> End {
        let Running { process, rest, text, .. } = &mut self.running;
        let feed = async {
            if let Some((writer, octets)) = rest
                && writer.write_all(octets).await.is_ok()
            {
                *rest = None;
            }
        };
        let work = async {
            tokio::join!(feed, text.read());
            std::future::pending().await
        };
        tokio::select! {
            end = process.end(self.limit, self.grace) => end,
            end = work => end,
        }
    }
}

/// The program to start: QMAILQUEUE, or the configured one. As mailfront does, a name without a slash is looked up in the
/// program's PATH, and stays as it is where none is found; a relative path is one below the qmail home, where qmail-smtpd
/// stands when it starts qmail-queue.
pub fn chosen(program: &Path, wanted: Option<&OsString>, path: Option<&OsString>) -> PathBuf {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return program.to_owned() };
    if !wanted.as_bytes().contains(&b'/') {
        return spawn::find(wanted, path.map(|path| path.as_bytes())).unwrap_or_else(|_| wanted.into());
    }
    qmail_home(program).join(wanted)
}

/// The qmail home of a qmail-queue: the folder above its `bin`.
pub fn qmail_home(program: &Path) -> &Path {
    program.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
}

#[expect(clippy::disallowed_methods, reason = "the time at which the message was queued, as qmail-smtpd tells it")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests;
