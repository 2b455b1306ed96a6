//! The state's disk and its faults: a damaged file is set aside and a new one begun, a file that cannot be opened or written is
//! tried again, and all of it is logged. It must never be a reason not to take mail.

pub(super) mod changes;
pub(super) mod file;
mod history;
pub(super) mod writer;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::TableError;

use crate::policy::throttle::key::Seed;
use crate::store::blocks::Block;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::disk::file::Changed;
use crate::store::disk::file::Everything;
use crate::store::disk::file::File;
use crate::store::disk::file::NoFile;

/// The state's file while there is one, and the way to another.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// The names of the tables.
    tables: Vec<&'static str>,
    seed: Seed,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    file: Option<File>,
    /// The time before which the file is not opened again: opening reads all of it, and takes a tenth of the time at most.
    next_try: Time,
}

/// The health of the state's disk.
#[derive(Debug, Default)]
pub struct Health {
    /// The reason why the last write failed.
    failing: Mutex<Option<String>>,
    /// The path of a damaged file that was set aside since the start.
    set_aside: Mutex<Option<PathBuf>>,
    /// The nanosecond since the epoch up to which all changes are on the disk; 0: there was no write yet.
    written: AtomicU64,
    /// Failed writes, and failed tries to open the file, since the start.
    failures: AtomicU64,
}

/// The fault that another process has the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Disk {
    /// Opens the state at `path`, and reads these tables of it. `seed` is for a state that has none.
    ///
    /// # Errors
    /// Another process has the file. Everything else is logged, and no fault.
    pub(super) fn start(
        path: &Path,
        tables: Vec<&'static str>,
        seed: Seed,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
    ) -> Result<(Self, Everything), Taken> {
        let mut disk =
            Self { path: path.to_owned(), tables, seed, clock, health, file: None, next_try: Time::default() };
        let everything = match disk.open_when_free() {
            Ok((file, everything)) => {
                disk.health.wrote(disk.clock.now());
                disk.file = Some(file);
                everything
            }
            Err(NoFile::Taken) => return Err(Taken),
            Err(none) => {
                disk.health.failed(&none, &disk.path);
                File::copy(path, &disk.tables).unwrap_or_default()
            }
        };
        if let Some(octets) = everything.seed {
            disk.seed = Seed::new(octets);
        }
        Ok((disk, everything))
    }

    /// The seed of the keys.
    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Opens the file again if it is closed, which gives blocks, and everything has to be written anew. They are those of a file
    /// that another process has begun; its keys mean nothing under our seed.
    ///
    /// # Errors
    /// The file cannot be opened now.
    pub(super) fn again(&mut self) -> Result<Option<Vec<Block>>, NoFile> {
        if self.file.is_some() {
            return Ok(None);
        }
        let began = self.clock.now();
        if began < self.next_try {
            return Err(NoFile::Refused(self.health.failing().unwrap_or_default()));
        }
        let opened = self.open();
        let ended = self.clock.now();
        self.next_try = ended.plus(ended.since(began).saturating_mul(9));
        let (file, everything) = opened.inspect_err(|none| self.health.failed(none, &self.path))?;
        let is_ours = everything.seed.as_ref() == Some(&self.seed.octets());
        if !is_ours {
            file.change_seed(&self.seed).inspect_err(|none| self.health.failed(none, &self.path))?;
        }
        self.file = Some(file);
        Ok(Some(if is_ours { Vec::new() } else { everything.blocks }))
    }

    /// Writes the changes; false when they are not on the disk.
    pub(super) fn write(&mut self, changed: &Changed) -> bool {
        let written = match &self.file {
            _ if changed.is_empty() => Ok(()),
            Some(file) => file.write(changed),
            None => return false,
        };
        match written {
            Ok(()) => self.health.wrote(self.clock.now()),
            Err(none) => {
                self.health.failed(&none, &self.path);
                // An error stays with redb: whatever is asked of it from now on fails, until it is opened anew.
                self.file = None;
                return false;
            }
        }
        true
    }

    /// Opens the file, and waits for its lock: a process that was killed may have left a child that has not become its backend
    /// yet and holds the lock for some milliseconds more.
    fn open_when_free(&self) -> Result<(File, Everything), NoFile> {
        for _ in 0..MOST_LOOKS {
            match self.open() {
                Err(NoFile::Taken) => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "before the runtime starts, and a lock has no event"
                    )]
                    std::thread::sleep(LOOK_EVERY);
                }
                other => return other,
            }
        }
        self.open()
    }

    fn open(&self) -> Result<(File, Everything), NoFile> {
        let what = match File::open_or_make(&self.path, &self.tables, &self.seed) {
            Err(NoFile::Damaged(what)) => what,
            other => return other,
        };
        match file::set_aside(&self.path, self.clock.now()) {
            Ok(kept) => self.health.set_aside(&self.path, &what, kept),
            Err(error) => return Err(NoFile::Refused(format!("{what}, and it cannot be set aside: {error}"))),
        }
        File::open_or_make(&self.path, &self.tables, &self.seed)
    }
}

impl Health {
    fn wrote(&self, now: Time) {
        self.written.store(now.nanoseconds(), Ordering::Relaxed);
        if lock(&self.failing).take().is_some() {
            tracing::info!("state written again");
        }
    }

    fn failed(&self, error: &NoFile, path: &Path) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut failing = lock(&self.failing);
        if failing.is_none() {
            let remedy = "free space on its disk, or let server.user write there; until then a restart forgets what has happened since";
            tracing::error!(%error, path = %path.display(), remedy, "state degraded");
        }
        *failing = Some(error.to_string());
    }

    fn set_aside(&self, path: &Path, what: &str, kept: PathBuf) {
        let remedy = "set the blocks that are still needed again; remove the kept file when it is no longer needed";
        tracing::error!(path = %path.display(), what, kept = %kept.display(), remedy, "state damaged; starting with an empty one");
        *lock(&self.set_aside) = Some(kept);
    }

    /// The reason why the last write failed, if it did.
    pub fn failing(&self) -> Option<String> {
        lock(&self.failing).clone()
    }

    /// The time up to which all changes are on the disk; the epoch where nothing was written yet.
    pub fn written(&self) -> Time {
        Time::from_nanoseconds(self.written.load(Ordering::Relaxed))
    }

    /// Failed writes, and failed tries to open the file, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The path of the damaged file that was set aside, if there was one.
    pub fn kept(&self) -> Option<PathBuf> {
        lock(&self.set_aside).clone()
    }
}

/// A table, unless the file has none of its name: one of a version that did not know it.
pub(super) fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// A panic elsewhere leaves no value half written.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries to lock the file, for two seconds in all.
const MOST_LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);
