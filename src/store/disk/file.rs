//! The state's redb file: made for its owner alone, read from end to end when it is opened, set aside when it is no state any
//! more. It must not decide what is done without a file, and it must not lose one that it sets aside.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;
use redb::Database;
use redb::Durability;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::StorageBackend;
use redb::TableDefinition;
use redb::backends::FileBackend;
use redb::backends::InMemoryBackend;

use crate::policy::throttle::key::Seed;
use crate::store::blocks::Block;
use crate::store::clock::Time;
use crate::store::disk;
use crate::store::disk::changes::Batch;
use crate::store::disk::changes::Octets;
use crate::store::extensions::Heard;
use crate::store::history;
use crate::text::bounded;

/// The contents of the file.
#[derive(Debug, Default)]
pub(in crate::store) struct Everything {
    pub(in crate::store) seed: Option<[u8; 16]>,
    /// The rows of each table, by its name.
    pub(in crate::store) tables: HashMap<&'static str, Vec<(u128, Octets)>>,
    pub(in crate::store) blocks: Vec<Block>,
    pub(in crate::store) extensions: Vec<(u128, Heard)>,
    pub(in crate::store) history: history::Stored,
}

/// The changes to be written at once.
#[derive(Debug, Default)]
pub(in crate::store) struct Changed {
    /// The changes of each table, with its name.
    pub(in crate::store) tables: Vec<(&'static str, Batch)>,
    pub(in crate::store) blocks: Vec<(String, Option<Block>)>,
    /// All of them, if any has changed: they are few, and change seldom.
    pub(in crate::store) extensions: Option<Vec<(u128, Heard)>>,
    pub(in crate::store) history: history::Batch,
}

/// The file, open and locked.
#[derive(Debug)]
pub(in crate::store) struct File {
    /// The database, until it is closed.
    database: Option<Database>,
}

/// The reason why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum NoFile {
    /// Another process has locked it.
    Taken,
    /// The system refuses it now: no room, no permission, no folder.
    Refused(String),
    /// The file is no state.
    Damaged(String),
}

impl File {
    /// Opens the file at `path`, and reads these tables and all else; where nothing stands there, makes a new file.
    pub(in crate::store) fn open_or_make(
        path: &Path,
        tables: &[&'static str],
        seed: &Seed,
    ) -> Result<(Self, Everything), NoFile> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE).open(path);
        match made {
            Ok(file) => Self::make(path, file, seed),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::open(path, tables),
            Err(error) => Err(NoFile::Refused(error.to_string())),
        }
    }

    fn make(path: &Path, file: fs::File, seed: &Seed) -> Result<(Self, Everything), NoFile> {
        let made = guarded(|| {
            let file = Self::over(FileBackend::new(file)?)?;
            // redb keeps two commits. With the seed in both, no damaged header leads back to a state that has none.
            file.write_seed(seed)?;
            file.write_seed(seed)?;
            Ok(file)
        });
        if !matches!(made, Ok(_) | Err(NoFile::Taken)) {
            // An empty file would be taken for a damaged one.
            let _ = fs::remove_file(path);
        }
        Ok((made?, Everything { seed: Some(seed.octets()), ..Everything::default() }))
    }

    fn open(path: &Path, tables: &[&'static str]) -> Result<(Self, Everything), NoFile> {
        let refused = |error: io::Error| NoFile::Refused(error.to_string());
        let metadata = fs::metadata(path).map_err(refused)?;
        if metadata.is_dir() {
            // A folder with files in it was made on purpose: it is not ours to move.
            let is_empty = fs::read_dir(path).map_err(refused)?.next().is_none();
            let what = if is_empty { "it is a folder" } else { "it is a folder with files in it, and left alone" };
            return Err(if is_empty { NoFile::Damaged(what.to_owned()) } else { NoFile::Refused(what.to_owned()) });
        }
        if !metadata.is_file() {
            return Err(NoFile::Refused("it is neither a file nor a folder, and left alone".to_owned()));
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(refused)?;
        if path.extension().is_none_or(|name| name != "redb") && is_text(&file).map_err(refused)? {
            return Err(NoFile::Refused("it is a text file, not a state, and left alone".to_owned()));
        }
        narrow(path, &file);
        let was_empty = metadata.len() == 0;
        guarded(|| {
            // redb tries the lock first of all: a file that another process is making is not taken for damaged.
            let file = Self::over(FileBackend::new(file)?)?;
            let everything = file.read(tables)?;
            Ok((file, everything))
        })
        .and_then(|(file, everything)| match everything.seed {
            Some(_) => Ok((file, everything)),
            None if was_empty => Err(NoFile::Damaged("it is empty".to_owned())),
            None => Err(NoFile::Damaged("it has no seed".to_owned())),
        })
    }

    /// The contents of the file at `path`, read without the right or the room to write there.
    pub(in crate::store) fn copy(path: &Path, tables: &[&'static str]) -> Option<Everything> {
        let octets = bounded::read(path, LARGEST_COPY).ok()?;
        let copy = guarded(|| {
            let memory = InMemoryBackend::new();
            memory.set_len(octets.len() as u64)?;
            memory.write(0, &octets)?;
            Self::over(memory)?.read(tables)
        });
        copy.ok().filter(|everything| everything.seed.is_some())
    }

    fn over(backend: impl StorageBackend) -> Result<Self, redb::Error> {
        let mut builder = Database::builder();
        // The default cache of a gigabyte would be filled by reading all of it once.
        builder.set_cache_size(CACHE);
        // Without it redb believes every page: of random damages a quarter were read as a state without entries.
        builder.set_check_integrity_on_open(true);
        Ok(Self { database: Some(builder.create_with_backend(backend)?) })
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn read(&self, tables: &[&'static str]) -> Result<Everything, redb::Error> {
        let transaction = self.database()?.begin_read()?;
        let mut everything = Everything::default();
        if let Some(meta) = disk::existing(transaction.open_table(META))? {
            everything.seed = meta.get("seed")?.and_then(|seed| seed.value().try_into().ok());
        }
        for name in tables {
            let mut rows = Vec::new();
            if let Some(table) = disk::existing(transaction.open_table(rows_of(name)))? {
                for row in table.iter()? {
                    let (key, octets) = row?;
                    rows.push((key.value(), octets.value()));
                }
            }
            everything.tables.insert(name, rows);
        }
        if let Some(table) = disk::existing(transaction.open_table(BLOCKS))? {
            for row in table.iter()? {
                let block = serde_json::from_slice::<Block>(row?.1.value());
                let block = block.map_err(|error| redb::Error::Corrupted(format!("a block is none: {error}")))?;
                everything.blocks.push(block);
            }
        }
        if let Some(table) = disk::existing(transaction.open_table(EXTENSIONS))? {
            for row in table.iter()? {
                let (key, heard) = row?;
                // One that means nothing to this version is asked for again.
                let heard = serde_json::from_slice(heard.value()).ok();
                everything.extensions.extend(heard.map(|heard| (key.value(), heard)));
            }
        }
        everything.history = disk::history::read(&transaction)?;
        Ok(everything)
    }

    /// Writes the changes, which are on the disk when it returns.
    pub(in crate::store) fn write(&self, changed: &Changed) -> Result<(), NoFile> {
        guarded(|| self.write_all(changed))
    }

    fn write_all(&self, changed: &Changed) -> Result<(), redb::Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // A commit whose pages do not fit its header is damage then, and never a crash: redb says so, and does not go
        // back to the commit before without a word.
        transaction.set_two_phase_commit(true);
        for (name, batch) in changed.tables.iter().filter(|(_, batch)| !batch.is_empty()) {
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
        if let Some(extensions) = &changed.extensions {
            transaction.delete_table(EXTENSIONS)?;
            let mut table = transaction.open_table(EXTENSIONS)?;
            for (key, heard) in extensions {
                let json = serde_json::to_vec(heard).unwrap_or_default();
                table.insert(key, json.as_slice())?;
            }
        }
        if !changed.history.is_empty() {
            disk::history::write(&transaction, &changed.history)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes another seed, for the keys of all that follows.
    pub(in crate::store) fn change_seed(&self, seed: &Seed) -> Result<(), NoFile> {
        guarded(|| self.write_seed(seed))
    }

    fn write_seed(&self, seed: &Seed) -> Result<(), redb::Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.open_table(META)?.insert("seed", seed.octets().as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

impl Drop for File {
    /// Closing writes. What cannot be written then is repaired when the file is opened next.
    fn drop(&mut self) {
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl Changed {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
            && self.extensions.is_none()
            && self.history.is_empty()
            && self.tables.iter().all(|(_, batch)| batch.is_empty())
    }
}

impl fmt::Display for NoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("another process has it"),
            Self::Refused(what) | Self::Damaged(what) => f.write_str(what),
        }
    }
}

impl From<redb::Error> for NoFile {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Taken,
            // An error of the disk tells nothing about the file's contents, unless octets are missing.
            redb::Error::Io(error) if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::Refused(error.to_string())
            }
            redb::Error::PreviousIo => Self::Refused(error.to_string()),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Moves the file at `path` out of the way, under a free name with the time in it.
pub(in crate::store) fn set_aside(path: &Path, now: Time) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".broken-{}", Timestamp::from(now).strftime("%Y%m%dT%H%M%SZ")));
    let numbered = |number: u32| {
        let mut name = name.clone();
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let is_free = |name: &PathBuf| fs::symlink_metadata(name).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let free = (0..MOST_NAMES).map(numbered).find(is_free).ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(path, &free)?;
    Ok(free)
}

/// Takes the right to read from everybody but the owner: addresses stand in the file.
fn narrow(path: &Path, file: &fs::File) {
    let mode = file.metadata().map_or(PRIVATE, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 == 0 {
        return;
    }
    let (path, mode) = (path.display(), format!("{mode:04o}"));
    match file.set_permissions(Permissions::from_mode(PRIVATE)) {
        Ok(()) => tracing::warn!(%path, mode, "state was readable by others; its mode is 0600 now"),
        Err(error) => tracing::warn!(%path, mode, %error, remedy = "chmod 600", "state is readable by others"),
    }
}

/// Runs redb. It panics over some damaged files where it should return an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, NoFile> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(NoFile::from),
        Err(_) => Err(NoFile::Damaged("redb panics over it".to_owned())),
    }
}

fn rows_of(name: &'static str) -> TableDefinition<'static, u128, Octets> {
    TableDefinition::new(name)
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blocks");
const EXTENSIONS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("extensions");

const CACHE: usize = 8 << 20;
const PRIVATE: u32 = 0o600;
/// Octets; full tables take less.
const LARGEST_COPY: u64 = 1 << 30;
/// Whether a file begins with text: by another name than that of a state it is somebody's, and keeps its name and mode.
fn is_text(file: &fs::File) -> io::Result<bool> {
    let mut beginning = [0; 64];
    let length = file.read_at(&mut beginning, 0)?;
    let is_plain = |octet: &u8| octet.is_ascii_graphic() || matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    Ok(length > 0 && beginning[..length].iter().all(is_plain))
}

/// Files that are set aside within one second.
const MOST_NAMES: u32 = 100;
