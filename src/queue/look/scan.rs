//! Walks the queue's folders for the numbers and files of all messages. It reads names only. It must not judge a queue
//! that changes meanwhile: the reader of a message looks again.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use nix::dir::Type;

use crate::queue::look::File;
use crate::queue::look::Files;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::is_regular;
use crate::queue::look::layout::number;
use crate::queue::look::layout::with_remedy;

/// A message's number and files, as found in the folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message's number.
    pub id: u64,
    /// The files that the message has.
    pub files: Files,
}

/// A file or folder that is not as qmail would make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Path relative to the queue.
    pub place: String,
    /// The fault.
    pub fault: StrayFault,
}

/// The fault in a file's name or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayFault {
    /// A message whose name is not its inode's number; the value is that number.
    Inode(u64),
    /// In the wrong numbered folder, where qmail does not find it; the value is the right one.
    Split(u64),
    /// Not a regular file.
    Kind,
    /// A name that is not a number.
    Name,
    /// A missing folder.
    Folder,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Scan {
    /// The messages, sorted by number.
    pub entries: Vec<Entry>,
    /// The first strays, at most 10,000.
    pub strays: Vec<Stray>,
    /// The number of strays.
    pub stray_count: usize,
}

/// Reads every folder. `progress` gets the number of folders done, and of all.
///
/// # Errors
/// A folder cannot be read, or there are more files than this program keeps in memory.
pub fn scan(queue: &Queue, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Scan, String> {
    let folders: Vec<(File, String)> =
        File::ALL.iter().flat_map(|file| queue.folders(*file).map(|folder| (*file, folder))).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut scan = Scan::default();
        while let Some((file, folder)) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            scan.read_folder(queue, *file, folder)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, folders.len());
        }
        Ok(scan)
    };
    let parts: Vec<Result<Scan, String>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads()).map(|_| scope.spawn(work)).collect();
        let own = work();
        let join = |other: thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    });
    let mut whole = Scan::default();
    for part in parts {
        whole.join(part?);
    }
    whole.merge();
    Ok(whole)
}

/// Number of threads for reading a queue; more would only wait for the disk.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS))
}

impl Scan {
    fn read_folder(&mut self, queue: &Queue, file: File, folder: &str) -> Result<(), String> {
        let at = |error: io::Error| format!("{}/{folder}: {}", queue.path().display(), with_remedy(&error));
        let mut names = match queue.folder(folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stray(folder.to_owned(), StrayFault::Folder);
                return Ok(());
            }
            Err(error) => return Err(at(error)),
        };
        let own = folder.rsplit('/').next().and_then(|name| number(name.as_bytes()));
        let own = own.filter(|_| queue.is_split(file));
        for name in names.iter() {
            let name = name.map_err(|error| at(error.into()))?;
            let text = name.file_name().to_bytes();
            if matches!(text, b"." | b"..") {
                continue;
            }
            let place = || format!("{folder}/{}", String::from_utf8_lossy(text));
            let is_file = || match name.file_type() {
                Some(kind) => kind == Type::File,
                None => queue.stat(&place()).as_ref().is_ok_and(is_regular),
            };
            match number(text) {
                None => self.stray(place(), StrayFault::Name),
                Some(_) if !is_file() => self.stray(place(), StrayFault::Kind),
                Some(id) if own.is_some_and(|own| own != id % queue.split()) => {
                    self.stray(place(), StrayFault::Split(id % queue.split()));
                }
                Some(id) => {
                    if file == File::Mess && name.ino() != id {
                        self.stray(place(), StrayFault::Inode(name.ino()));
                    }
                    self.insert(id, file)?;
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, id: u64, file: File) -> Result<(), String> {
        if self.entries.len() == MAX_FILES {
            return Err(format!(
                "there are more than {MAX_FILES} files in this queue, and no room to keep them in mind"
            ));
        }
        let mut files = Files::default();
        files.insert(file);
        self.entries.push(Entry { id, files });
        Ok(())
    }

    fn stray(&mut self, place: String, fault: StrayFault) {
        self.stray_count += 1;
        if self.strays.len() < MAX_STRAYS {
            self.strays.push(Stray { place, fault });
        }
    }

    fn join(&mut self, part: Self) {
        match self.entries.is_empty() {
            true => self.entries = part.entries,
            false => self.entries.extend(part.entries),
        }
        self.strays.extend(part.strays);
        self.strays.truncate(MAX_STRAYS);
        self.stray_count += part.stray_count;
    }

    /// Merges the entries of one number into one.
    fn merge(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.id);
        self.entries.dedup_by(|later, kept| {
            let same = later.id == kept.id;
            if same {
                kept.files = Files(kept.files.0 | later.files.0);
            }
            same
        });
        self.strays.sort_by(|one, other| one.place.cmp(&other.place));
    }
}

/// Files of a scan, at 16 octets each; a message has two to four.
const MAX_FILES: usize = 32 << 20;
/// Strays listed; the rest are only counted.
const MAX_STRAYS: usize = 10_000;
const MAX_THREADS: usize = 4;
