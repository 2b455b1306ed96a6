//! The kind of file that standard error is, and who reads it: a logger that puts its own time before each line wants none of
//! ours. It is looked at once, at the start. It must not write anything.
//!
//! A pipe does not tell its reader. Who has its other end open is found in `/proc/*/fd`, which root sees of all processes,
//! and others of their own. A reader of another user that cannot be seen is taken for a logger where our parent is a
//! supervisor, or where we are the first process of a container, whose runtime reads; else lines have a time.

use std::fs;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::text::processes;

/// The kind of file that stderr is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// A terminal.
    Terminal,
    /// A file, a pipe to an ordinary program, or anything else that adds nothing.
    File,
    /// journald, which reads a priority before each line.
    Journal,
    /// multilog, svlogd, s6-log, a container's runtime: they put their own time before each line.
    Logger,
}

impl Stream {
    pub(super) fn of_stderr() -> Self {
        let stderr = io::stderr();
        if stderr.is_terminal() {
            return Self::Terminal;
        }
        let Ok(metadata) = stderr.as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata()) else {
            return Self::File;
        };
        let of_journal = std::env::var("JOURNAL_STREAM").is_ok_and(|journal| {
            // systemd.exec(5): the variable is inherited by programs whose stderr is not the journal any more.
            journal == format!("{}:{}", metadata.dev(), metadata.ino())
        });
        let kind = metadata.file_type();
        match () {
            () if of_journal => Self::Journal,
            () if kind.is_socket() => Self::Logger,
            () if kind.is_fifo() && is_read_by_logger(&metadata) => Self::Logger,
            () => Self::File,
        }
    }
}

fn is_read_by_logger(pipe: &fs::Metadata) -> bool {
    let readers = readers(pipe.dev(), pipe.ino());
    match readers.is_empty() {
        false => readers.iter().any(|name| LOGGERS.contains(&name.as_str())),
        true => {
            let parent = std::os::unix::process::parent_id();
            parent == 0 || processes::name(parent).is_some_and(|name| LOGGERS.contains(&name.as_str()))
        }
    }
}

/// The programs of all processes that have the pipe open for reading, ourselves left out.
fn readers(device: u64, inode: u64) -> Vec<String> {
    let others = processes::all().filter(|pid| *pid != std::process::id());
    others.filter(|pid| reads(*pid, device, inode)).filter_map(processes::name).collect()
}

fn reads(pid: u32, device: u64, inode: u64) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.take(MOST_DESCRIPTORS).any(|descriptor| is_open_for_reading(&descriptor.path(), device, inode))
}

fn is_open_for_reading(descriptor: &Path, device: u64, inode: u64) -> bool {
    // The link's own mode tells how it was opened (proc(5)).
    let may_read = fs::symlink_metadata(descriptor).is_ok_and(|link| link.mode() & 0o400 != 0);
    may_read && fs::metadata(descriptor).is_ok_and(|found| (found.dev(), found.ino()) == (device, inode))
}

/// Programs that put a time before each line, and the supervisors that keep a logger's pipe open, or start it in a moment.
const LOGGERS: &[&str] = &[
    "conmon",
    "containerd-shim",
    "cyclog",
    "dockerd",
    "logger",
    "multilog",
    "runsv",
    "runsvdir",
    "s6-fdholderd",
    "s6-log",
    "s6-supervise",
    "s6-svscan",
    "splogger",
    "supervise",
    "svlogd",
    "svscan",
    "tai64n",
    "tinylog",
    "ts",
];
/// Descriptors of one process that are looked at; a logger's pipe is its standard input.
const MOST_DESCRIPTORS: usize = 256;
