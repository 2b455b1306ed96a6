//! How the state lives with its disk: a damaged file is set aside and a new one begun, one that cannot be had or written
//! is asked for again, and all of it is said. It must never be a reason not to take mail.

pub(super) mod changes;
pub(super) mod file;
pub(super) mod writer;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::policy::throttle::key::Seed;
use crate::store::blocks::Block;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::disk::file::Changed;
use crate::store::disk::file::Everything;
use crate::store::disk::file::File;
use crate::store::disk::file::NoFile;

/// The file, or the want of one.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// The names of the tables.
    tables: Vec<&'static str>,
    seed: Seed,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    file: Option<File>,
    /// Opening reads all of it: what cannot be opened, or written then, has a tenth of the time at most.
    next_try: Time,
}

/// How the disk does.
#[derive(Debug, Default)]
pub struct Health {
    /// Why the last write failed.
    failing: Mutex<Option<String>>,
    /// Where a damaged file was put since the start.
    set_aside: Mutex<Option<PathBuf>>,
}

/// Another process has the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Disk {
    /// Whatever can be read of the state at `path`. `seed` is for a state that has none.
    ///
    /// # Errors
    /// Another process has it. Everything else is said and lived with.
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
                disk.health.wrote();
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

    /// Of the keys.
    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Opens the file again if it is closed: everything is to be written anew then, and the blocks of a file that others
    /// have begun are to be known too (its keys mean nothing under our seed).
    ///
    /// # Errors
    /// There is none to be had now.
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

    /// Whether it is on the disk now.
    pub(super) fn write(&mut self, changed: &Changed) -> bool {
        let written = match &self.file {
            _ if changed.is_empty() => Ok(()),
            Some(file) => file.write(changed),
            None => return false,
        };
        match written {
            Ok(()) => self.health.wrote(),
            Err(none) => {
                self.health.failed(&none, &self.path);
                // An error stays with redb: whatever is asked of it from now on fails, until it is opened anew.
                self.file = None;
                return false;
            }
        }
        true
    }

    /// A process that was killed may have left one behind that has forked and not yet become its backend: it holds the
    /// lock for some milliseconds more.
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
    fn wrote(&self) {
        if lock(&self.failing).take().is_some() {
            tracing::info!("state written again");
        }
    }

    fn failed(&self, error: &NoFile, path: &Path) {
        let mut failing = lock(&self.failing);
        if failing.is_none() {
            let remedy =
                "make room on its disk, or let server.user write there; until then a restart forgets what happens";
            tracing::error!(%error, path = %path.display(), remedy, "state degraded");
        }
        *failing = Some(error.to_string());
    }

    fn set_aside(&self, path: &Path, what: &str, kept: PathBuf) {
        let remedy = "block again what has to be; remove the kept file when nobody wants to look into it";
        tracing::error!(path = %path.display(), what, kept = %kept.display(), remedy, "state broken, beginning anew");
        *lock(&self.set_aside) = Some(kept);
    }

    /// Why the last write failed, if it did.
    pub fn failing(&self) -> Option<String> {
        lock(&self.failing).clone()
    }

    /// Where the file is that was damaged when it was opened, if there was one.
    pub fn kept(&self) -> Option<PathBuf> {
        lock(&self.set_aside).clone()
    }
}

/// Whole values are put in: a panic elsewhere leaves nothing half done.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two seconds in all.
const MOST_LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);
