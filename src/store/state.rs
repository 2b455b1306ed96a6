//! The memory of the proxy and its disk, as one value: it is read once, at the start, and written once a second by a thread of
//! its own. A state that cannot be read or written must not be a reason not to take mail.

use std::fmt;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::throttle::key::Seed;
use crate::store::clock::Clock;
use crate::store::disk::Disk;
use crate::store::disk::Health;
use crate::store::disk::Taken;
use crate::store::disk::writer::Writer;
use crate::store::tables::Tables;

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// In memory only: a restart forgets all.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// The memory of the proxy, and its disk if it has one.
#[derive(Debug)]
pub struct State {
    tables: Arc<Tables>,
    disk: Option<(Writer, Arc<Health>)>,
}

/// The reason why there is no state.
#[derive(Debug)]
pub struct StateFault {
    /// The state's file.
    pub path: PathBuf,
    /// The fault, and what to do about it.
    pub what: String,
}

impl State {
    /// Reads the state, and begins to write it. A file that is damaged or cannot be opened is logged, and no fault.
    ///
    /// # Errors
    /// Another process has the file, or the system has no randomness or no thread for us.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StateFault> {
        match settings {
            Settings::Memory => Ok(Self::in_memory(new_seed(Path::new("memory:"))?, clock)),
            Settings::File(path) => Self::open_file(path, clock),
        }
    }

    /// A state with a known seed and without a disk: for tests and drills.
    pub fn in_memory(seed: Seed, clock: Arc<dyn Clock>) -> Self {
        Self { tables: Arc::new(Tables::new(seed, clock)), disk: None }
    }

    /// The counters, ledger, blocks and memories.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Resolves when all that has changed up to now is on the disk; to false when it could not be written.
    pub async fn flush(&self) -> bool {
        match &self.disk {
            None => true,
            Some((writer, _)) => writer.flush().await.unwrap_or(false),
        }
    }

    /// The health of the disk; `None` where there is none.
    pub fn health(&self) -> Option<&Health> {
        self.disk.as_ref().map(|(_, health)| &**health)
    }

    fn open_file(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StateFault> {
        let fault = |error: &dyn fmt::Display, remedy: &str| StateFault {
            path: path.to_owned(),
            what: format!("{error}; {remedy}"),
        };
        let health = Arc::new(Health::default());
        let started = Disk::start(path, Tables::names(), new_seed(path)?, clock.clone(), health.clone());
        let (disk, everything) =
            started.map_err(|Taken| fault(&"another process has it", "stop that one, or set another state.url"))?;
        let tables = Arc::new(Tables::new(disk.seed().clone(), clock));
        tables.load(everything);
        let writer = Writer::start(writes(tables.clone(), disk));
        let writer = writer.map_err(|error| fault(&error, "allow one thread more"))?;
        Ok(Self { tables, disk: Some((writer, health)) })
    }
}

impl fmt::Display for StateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for StateFault {}

fn new_seed(path: &Path) -> Result<Seed, StateFault> {
    let mut octets = [0; 16];
    let read = |octets: &mut [u8]| -> io::Result<()> { std::fs::File::open("/dev/urandom")?.read_exact(octets) };
    match read(&mut octets) {
        Ok(()) => Ok(Seed::new(octets)),
        Err(error) => Err(StateFault { path: path.to_owned(), what: format!("cannot read randomness: {error}") }),
    }
}

/// The function that writes the changes, each time it is called, and all of them where that was asked for; false when they are
/// not on the disk.
fn writes(tables: Arc<Tables>, mut disk: Disk) -> impl FnMut(bool) -> bool {
    move |whole| {
        match disk.again() {
            Ok(None) => {}
            Ok(Some(blocks)) => {
                blocks.into_iter().for_each(|block| tables.blocks.load_missing(block));
                tables.write_anew();
            }
            Err(_) => return false,
        }
        let changed = tables.take_changes(whole);
        let is_written = disk.write(&changed);
        if !is_written {
            tables.put_back(changed);
        }
        is_written
    }
}
