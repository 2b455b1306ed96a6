//! All that sessions share and that survives a restart, as one value: it is read once, at the start, and written once a
//! second by a thread of its own. A path that answers a session must not touch the disk.

use std::fmt;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::familiar::FAMILIAR_MEMORY;
use crate::policy::repeat::OVERSIZE_MEMORY;
use crate::policy::repeat::OVERSIZES_BEFORE_DEFERRAL;
use crate::policy::repeat::REFUSAL_MEMORY;
use crate::policy::repeat::TRIES_PER_OVERSIZE;
use crate::policy::throttle::escalation::ESCALATION_MEMORY;
use crate::policy::throttle::key::Seed;
use crate::store::blocks::Blocks;
use crate::store::clock::Clock;
use crate::store::clock::Time;
use crate::store::clock::whole;
use crate::store::disk::Disk;
use crate::store::disk::Health;
use crate::store::disk::Taken;
use crate::store::disk::file::Changed;
use crate::store::disk::file::Everything;
use crate::store::disk::writer::Writer;
use crate::store::ledger::Ledger;
use crate::store::table::Row;
use crate::store::table::Table;
use crate::store::throttle::DEFAULT_BOUND;
use crate::store::throttle::ThrottleTable;

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// In memory only: a restart forgets all.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// The memory of the proxy.
#[derive(Debug)]
pub struct State {
    rooms: Arc<Rooms>,
    disk: Option<(Writer, Arc<Health>)>,
}

/// What it consists of.
#[derive(Debug)]
pub struct Rooms {
    /// The time of all of it.
    pub clock: Arc<dyn Clock>,
    /// The secret of the keys.
    pub seed: Seed,
    /// The counters.
    pub throttles: ThrottleTable,
    /// What was delivered.
    pub ledger: Arc<Ledger>,
    /// The blocks, of operators and of throttles.
    pub blocks: Blocks,
    /// Refused oversizes, by `oversize_key`.
    pub oversizes: Table,
    /// Defers, by `escalation_key`.
    pub escalations: Table,
    /// Refusals, by `refusal_key`.
    pub refusals: Table,
    /// Networks that have delivered to a recipient, by `familiar_key`.
    pub familiars: Table,
}

/// Why there is no state.
#[derive(Debug)]
pub struct StateFault {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

impl State {
    /// Reads what there is, and begins to write. A file that is damaged or cannot be had is said and lived with.
    ///
    /// # Errors
    /// Another process has the file, or the system has no randomness or no thread for us.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StateFault> {
        match settings {
            Settings::Memory => {
                Ok(Self { rooms: Arc::new(Rooms::new(new_seed(Path::new("memory:"))?, clock)), disk: None })
            }
            Settings::File(path) => Self::open_file(path, clock),
        }
    }

    /// With a seed that is known: for tests and drills.
    pub fn in_memory(seed: Seed, clock: Arc<dyn Clock>) -> Self {
        Self { rooms: Arc::new(Rooms::new(seed, clock)), disk: None }
    }

    /// Resolves when all that has changed up to now is on the disk. False: it could not be written.
    pub async fn flush(&self) -> bool {
        match &self.disk {
            None => true,
            Some((writer, _)) => writer.flush().await.unwrap_or(false),
        }
    }

    /// How the disk does; `None` where there is none.
    pub fn health(&self) -> Option<&Health> {
        self.disk.as_ref().map(|(_, health)| &**health)
    }

    fn open_file(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StateFault> {
        let fault = |error: &dyn fmt::Display, remedy: &str| StateFault {
            path: path.to_owned(),
            what: format!("{error}; {remedy}"),
        };
        let health = Arc::new(Health::default());
        let started = Disk::start(path, new_seed(path)?, clock.clone(), health.clone());
        let (disk, everything) =
            started.map_err(|Taken| fault(&"another process has it", "stop that one, or set another state.url"))?;
        let rooms = Arc::new(Rooms::new(disk.seed().clone(), clock));
        rooms.load(everything);
        let write = rooms.clone().writes_to(disk);
        let writer = Writer::start(write).map_err(|error| fault(&error, "allow one thread more"))?;
        Ok(Self { rooms, disk: Some((writer, health)) })
    }
}

impl std::ops::Deref for State {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl Rooms {
    fn new(seed: Seed, clock: Arc<dyn Clock>) -> Self {
        Self {
            throttles: ThrottleTable::new(DEFAULT_BOUND, clock.clone()),
            ledger: Arc::new(Ledger::new(DEFAULT_BOUND, clock.clone())),
            blocks: Blocks::new(MOST_BLOCKS, clock.clone()),
            oversizes: Table::new(MOST_MEMORIES, OVERSIZE_MEMORY),
            escalations: Table::new(MOST_MEMORIES, ESCALATION_MEMORY),
            refusals: Table::new(MOST_MEMORIES, REFUSAL_MEMORY),
            familiars: Table::new(MOST_MEMORIES, FAMILIAR_MEMORY),
            seed,
            clock,
        }
    }

    /// What is remembered of undeclared messages under this key that were too large: none, or how long the next one has to
    /// wait. Every so-manieth is let through, to prove itself, when `tries` are counted.
    pub fn oversize(&self, key: u128, tries: bool) -> Option<Option<Duration>> {
        let now = self.clock.now();
        let row = self.oversizes.get(key, now)?;
        if row.count < OVERSIZES_BEFORE_DEFERRAL {
            return Some(None);
        }
        let count = |row: Row| Row { other: row.other.wrapping_add(1), ..row };
        let row = if tries { self.oversizes.update(key, now, |row| row.map(count)).unwrap_or(row) } else { count(row) };
        let wait = Duration::from_secs(row.until.saturating_sub(now.seconds()).into());
        Some((row.other % TRIES_PER_OVERSIZE != 0).then_some(wait))
    }

    /// A network has delivered to the recipient that knows it by this key.
    pub fn note_familiar(&self, key: u128, now: Time) {
        let first = now.seconds();
        let until = (first - first % SECONDS_OF_A_DAY).saturating_add(whole(FAMILIAR_MEMORY));
        self.familiars.update(key, now, |row| Some(Row { until, ..row.unwrap_or(Row { first, ..Row::default() }) }));
    }

    /// Whether one has.
    pub fn is_familiar(&self, key: u128) -> bool {
        self.familiars.get(key, self.clock.now()).is_some()
    }

    /// Forgets what is idle or has expired. For a timer; the bounds hold without it.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.throttles.keys.sweep(now);
        self.ledger.sweep();
        self.blocks.sweep();
        self.oversizes.sweep(now);
        self.escalations.sweep(now);
        self.refusals.sweep(now);
        self.familiars.sweep(now);
    }

    /// In the order of `file::TABLES`, behind the throttles.
    fn tables(&self) -> [&Table; 7] {
        let Ledger { unacknowledged, delivered, envelopes, .. } = &*self.ledger;
        let Self { oversizes, escalations, refusals, familiars, .. } = self;
        [unacknowledged, delivered, envelopes, oversizes, escalations, refusals, familiars]
    }

    fn load(&self, everything: Everything) {
        let now = self.clock.now();
        let mut tables = everything.tables.into_iter();
        for (key, octets) in tables.next().into_iter().flatten() {
            self.throttles.keys.load(key, octets, now);
        }
        for (table, rows) in self.tables().into_iter().zip(tables) {
            rows.into_iter().for_each(|(key, octets)| table.load(key, octets, now));
        }
        everything.blocks.into_iter().for_each(|block| self.blocks.load(block));
    }

    fn take_changes(&self) -> Changed {
        let rest = self.tables().map(Table::take_changes);
        let tables = std::iter::once(self.throttles.keys.take_changes()).chain(rest).collect();
        Changed { tables, blocks: self.blocks.take_changes() }
    }

    /// Whatever the disk has of it.
    fn write_anew(&self) {
        self.throttles.keys.write_anew();
        self.tables().iter().for_each(|table| table.write_anew());
        self.blocks.write_anew();
    }

    fn put_back(&self, changed: Changed) {
        self.write_anew();
        self.blocks.put_back(changed.blocks.into_iter().map(|(key, _)| key));
    }

    fn writes_to(self: Arc<Self>, mut disk: Disk) -> impl FnMut() -> bool {
        move || {
            match disk.again() {
                Ok(None) => {}
                Ok(Some(blocks)) => {
                    blocks.into_iter().for_each(|block| self.blocks.load_missing(block));
                    self.write_anew();
                }
                Err(_) => return false,
            }
            let changed = self.take_changes();
            let is_written = disk.write(&changed);
            if !is_written {
                self.put_back(changed);
            }
            is_written
        }
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

const SECONDS_OF_A_DAY: u32 = 86_400;
/// Blocks of operators and throttles together.
const MOST_BLOCKS: usize = 100_000;
/// Oversizes, and as many defers, and refusals.
const MOST_MEMORIES: usize = 250_000;
