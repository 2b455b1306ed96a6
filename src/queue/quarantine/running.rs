//! Whether qmail-send runs, and which processes have a message open. It must not leave a trace: the lock is only tried
//! by a caller that keeps it, because a qmail-send that starts at that moment would give up.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use nix::fcntl::OFlag;

use crate::queue::look::layout::Queue;
use crate::queue::look::layout::with_remedy;
use crate::text::bounded;
use crate::text::processes;

/// The state of qmail-send while the queue is changed.
#[derive(Debug)]
pub enum Running {
    /// qmail-send runs: only changes that it understands at once are allowed.
    Live,
    /// qmail-send does not run, and cannot start while this lock is held.
    Stopped(Flock<File>),
}

impl Running {
    /// Takes qmail-send's lock, if it is free.
    ///
    /// # Errors
    /// The lock cannot be tried.
    pub fn take(queue: &Queue) -> Result<Self, String> {
        let at = |what: String| format!("{}/{SENDMUTEX}: {what}", queue.path().display());
        let file = queue.open_file(SENDMUTEX, OFlag::O_WRONLY).map_err(|error| {
            at(format!("{}; without it there is no way to tell whether qmail-send is running", with_remedy(&error)))
        })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self::Stopped(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(Self::Live),
            Err((_, error)) => Err(at(error.desc().to_owned())),
        }
    }

    /// Whether qmail-send runs.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }
}

/// Whether a process holds qmail-send's lock, from the system's list; `None` if that cannot be read.
pub fn is_locked(queue: &Queue) -> Option<bool> {
    lock_pids(queue).map(|pids| !pids.is_empty())
}

/// The process that holds qmail-send's lock, as far as we may look.
pub(super) fn lock_holder(queue: &Queue) -> Option<u32> {
    lock_pids(queue)?.first()?.parse().ok()
}

/// The processes that hold the lock, as the system's list names them.
fn lock_pids(queue: &Queue) -> Option<Vec<String>> {
    let mutex = queue.stat(SENDMUTEX).ok()?;
    let locks = bounded::read_text(Path::new("/proc/locks"), LARGEST_TABLE).ok()?;
    // Another file system may have a file of the same number, and the device listed is not always the file's.
    let is_mutex = |file: Metadata| (file.dev(), file.ino()) == (mutex.st_dev, mutex.st_ino);
    let has_open = |pid: &str| open_files(&Path::new("/proc").join(pid)).map_or(true, |mut open| open.any(is_mutex));
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let inode = words.get(5).and_then(|place| place.rsplit(':').next()).and_then(|inode| inode.parse().ok());
        let pid = words.get(4).copied().unwrap_or_default();
        (words.get(1) == Some(&"FLOCK") && inode == Some(mutex.st_ino) && has_open(pid)).then(|| pid.to_owned())
    };
    Some(locks.lines().filter_map(holder).collect())
}

/// A process that has a message open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The message's number.
    pub id: u64,
    /// The process's pid.
    pub pid: u32,
    /// The process's name.
    pub name: String,
}

/// The processes that have one of these messages open: deliveries under way, or qmail-queue. `dev` is the queue's file
/// system. Processes that we may not inspect are left out.
pub fn holders(dev: u64, ids: &HashSet<u64>) -> Vec<Holder> {
    let mut holders = Vec::new();
    for pid in processes::all().filter(|pid| *pid != std::process::id()) {
        let open = open_files(&Path::new("/proc").join(pid.to_string())).into_iter().flatten();
        let mut found: Vec<u64> =
            open.filter(|file| file.dev() == dev && ids.contains(&file.ino())).map(|file| file.ino()).collect();
        found.sort_unstable();
        found.dedup();
        let name = || processes::name(pid).unwrap_or_default();
        holders.extend(found.into_iter().map(|id| Holder { id, pid, name: name() }));
        if holders.len() > MAX_HOLDERS {
            break;
        }
    }
    holders
}

/// The files that a process has open, as far as we may look.
fn open_files(process: &Path) -> io::Result<impl Iterator<Item = Metadata> + use<>> {
    Ok(fs::read_dir(process.join("fd"))?.flatten().filter_map(|link| fs::metadata(link.path()).ok()))
}

/// Octets read of a kernel table.
const LARGEST_TABLE: u64 = 256 << 20;
const SENDMUTEX: &str = "lock/sendmutex";
/// Processes listed; qmail's concurrency is 255 at most.
const MAX_HOLDERS: usize = 10_000;
