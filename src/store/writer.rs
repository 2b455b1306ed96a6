//! The disk's side of the state: a redb file, and the one thread that writes to it, once a second and when somebody asks.
//! Every write is durable before it is told to be. It must not stop taking mail when the disk fails: what was not
//! written is written next time, and said.

use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use redb::Database;
use redb::Durability;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::TableDefinition;
use redb::TableError;
use tokio::sync::oneshot;

use crate::store::blocks::Block;
use crate::store::changes::Batch;
use crate::store::changes::Octets;

/// Everything that stands on the disk.
#[derive(Debug, Default)]
pub(super) struct Everything {
    pub(super) seed: Option<[u8; 16]>,
    pub(super) tables: Vec<Vec<(u128, Octets)>>,
    pub(super) blocks: Vec<Block>,
}

/// What is to be written now.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// In the order of [`TABLES`].
    pub(super) tables: Vec<Batch>,
    pub(super) blocks: Vec<(String, Option<Block>)>,
}

/// The file.
#[derive(Debug)]
pub(super) struct File {
    database: Database,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Writer {
    orders: SyncSender<oneshot::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

/// How the disk does.
#[derive(Debug, Default)]
pub struct Health {
    failing: AtomicBool,
    /// By the state's clock, in nanoseconds since the epoch.
    written: AtomicU64,
}

impl File {
    /// Opens or makes it. One that is no state any more is moved aside: mail goes on, what it remembered is lost.
    pub(super) fn open(path: &Path) -> Result<Self, redb::DatabaseError> {
        match Self::open_when_free(path) {
            Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(what))) => {
                let aside = aside(path);
                tracing::error!(path = %path.display(), what, kept = %aside.display(), "state broken, beginning anew");
                std::fs::rename(path, aside).map_err(redb::StorageError::Io)?;
                Self::try_open(path)
            }
            other => other,
        }
    }

    /// A process that was killed may have left one behind that has forked and not yet become its backend: it holds the
    /// lock for some milliseconds more.
    fn open_when_free(path: &Path) -> Result<Self, redb::DatabaseError> {
        for _ in 0..MOST_LOOKS {
            match Self::try_open(path) {
                Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "before the runtime starts, and a lock has no event"
                    )]
                    std::thread::sleep(LOOK_EVERY);
                }
                other => return other,
            }
        }
        Self::try_open(path)
    }

    fn try_open(path: &Path) -> Result<Self, redb::DatabaseError> {
        // The default cache of a gigabyte would be filled by reading all of it once.
        let database = Database::builder().set_cache_size(CACHE).create(path)?;
        Ok(Self { database })
    }

    pub(super) fn read(&self) -> Result<Everything, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut everything = Everything::default();
        if let Some(meta) = existing(transaction.open_table(META))? {
            everything.seed = meta.get("seed")?.and_then(|seed| seed.value().try_into().ok());
        }
        for name in TABLES {
            let mut rows = Vec::new();
            if let Some(table) = existing(transaction.open_table(rows_of(name)))? {
                for row in table.iter()? {
                    let (key, octets) = row?;
                    rows.push((key.value(), octets.value()));
                }
            }
            everything.tables.push(rows);
        }
        if let Some(table) = existing(transaction.open_table(BLOCKS))? {
            for row in table.iter()? {
                everything.blocks.extend(serde_json::from_slice::<Block>(row?.1.value()).ok());
            }
        }
        Ok(everything)
    }

    pub(super) fn write_seed(&self, seed: [u8; 16]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert("seed", seed.as_slice())?;
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn write(&self, changed: &Changed) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        for (name, batch) in TABLES.into_iter().zip(&changed.tables).filter(|(_, batch)| !batch.is_empty()) {
            if batch.anew {
                transaction.delete_table(rows_of(name))?;
            }
            let mut table = transaction.open_table(rows_of(name))?;
            for (key, octets) in &batch.rows {
                match octets {
                    Some(octets) => _ = table.insert(key, octets)?,
                    None => _ = table.remove(key)?,
                }
            }
        }
        if !changed.blocks.is_empty() {
            let mut table = transaction.open_table(BLOCKS)?;
            for (key, block) in &changed.blocks {
                match block.as_ref().and_then(|block| serde_json::to_vec(block).ok()) {
                    Some(json) => _ = table.insert(key.as_str(), json.as_slice())?,
                    None => _ = table.remove(key.as_str())?,
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Changed {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.tables.iter().all(Batch::is_empty)
    }
}

impl Writer {
    /// Starts the thread. `write` writes what has changed and tells whether all of it is on the disk now.
    pub(super) fn start(write: impl FnMut() -> bool + Send + 'static) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(MOST_ORDERS);
        let thread = std::thread::Builder::new().name("portcullis-disk".to_owned());
        let thread = thread.spawn(move || {
            // Nobody waits for it but who asks for a flush: a session that has something to do goes first. On Linux it is the
            // thread's alone.
            let _ = rustix::process::nice(NICENESS);
            run(&received, write);
        })?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Resolves when all that has changed up to now is on the disk: false if it could not be written.
    pub(super) fn flush(&self) -> oneshot::Receiver<bool> {
        let (done, wait) = oneshot::channel();
        // Full: nobody is told, and the receiver says so.
        let _ = self.orders.try_send(done);
        wait
    }
}

impl Drop for Writer {
    /// What has changed is written before the thread ends.
    fn drop(&mut self) {
        let (closed, _) = sync_channel(1);
        self.orders = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Health {
    pub(super) fn wrote(&self, now: u64) {
        self.written.store(now, Ordering::Relaxed);
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("state written again");
        }
    }

    pub(super) fn failed(&self, error: &redb::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let remedy = "make room on the disk; until then a restart forgets what happens now";
            tracing::error!(%error, remedy, "state degraded");
        }
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// When all was written last, in nanoseconds since the epoch.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

fn run(orders: &Receiver<oneshot::Sender<bool>>, mut write: impl FnMut() -> bool) {
    loop {
        let first = orders.recv_timeout(EVERY);
        // All that wait have the same write.
        let mut waiting: Vec<_> = orders.try_iter().collect();
        let ends = matches!(first, Err(RecvTimeoutError::Disconnected));
        waiting.extend(first);
        let durable = write();
        for waiter in waiting {
            let _ = waiter.send(durable);
        }
        if ends {
            return;
        }
    }
}

fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => other.map(Some),
    }
}

fn rows_of(name: &'static str) -> TableDefinition<'static, u128, Octets> {
    TableDefinition::new(name)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".broken");
    name.into()
}

/// The tables of rows, by the names that they have on the disk.
pub(super) const TABLES: [&str; 8] =
    ["throttles", "unacknowledged", "delivered", "envelopes", "oversizes", "escalations", "refusals", "familiars"];

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blocks");

const CACHE: usize = 8 << 20;
/// Two seconds in all.
const MOST_LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_secs(1);
const MOST_ORDERS: usize = 1000;
/// A third of the usual share, where the processor is not enough for all.
const NICENESS: i32 = 5;
