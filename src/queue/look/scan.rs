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

/// The fault in a file's name, place or kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrayFault {
    /// A message whose name is not its inode's number; the value is that number.
    Inode(u64),
    /// In a folder where qmail does not find it; the value is the right path.
    Place(String),
    /// Not a regular file.
    Kind,
    /// A name that is not a number.
    Name,
    /// A missing folder.
    Missing,
    /// A folder that qmail does not look into.
    Folder,
    /// A folder that cannot be read, and why.
    Unreadable(String),
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
    /// The numbers of messages that have a file among the strays, sorted: what else the queue has of them belongs to it.
    pub scattered: Vec<u64>,
    /// Whether a folder could not be read, so that some files were not seen.
    pub has_gap: bool,
}

impl Scan {
    /// Whether a file of this message is not where or what it should be, so that the rest of it must be left alone.
    pub fn is_scattered(&self, id: u64) -> bool {
        self.scattered.binary_search(&id).is_ok()
    }
}

/// Reads every folder. `progress` gets the number of folders done, and of all.
///
/// # Errors
/// A folder cannot be read, or there are more files than this program keeps in memory.
pub fn scan(queue: &Queue, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Scan, String> {
    let parent = |file: &File| queue.is_split(*file).then(|| (*file, file.name().to_owned()));
    let own = |file: &File| {
        let file = *file;
        queue.folders(file).map(move |folder| (file, folder))
    };
    let folders: Vec<(File, String)> =
        File::ALL.iter().flat_map(|file| parent(file).into_iter().chain(own(file))).collect();
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
    /// Reads a folder of files, or the parent of numbered ones, which should have nothing else.
    fn read_folder(&mut self, queue: &Queue, file: File, folder: &str) -> Result<(), String> {
        let own = folder.rsplit('/').next().and_then(|name| number(name.as_bytes()));
        let place = match own {
            None if queue.is_split(file) => Place::Parent,
            own => Place::Own(own.filter(|_| queue.is_split(file))),
        };
        self.each_name(queue, folder, &mut |scan, name, kind, inode| {
            scan.read_name(queue, file, &Name { folder, name, kind, inode }, place)
        })
    }

    fn read_name(&mut self, queue: &Queue, file: File, name: &Name<'_>, place: Place) -> Result<(), String> {
        let kind = || name.kind.unwrap_or_else(|| kind_of(queue, &name.place()));
        match (number(name.name), place) {
            (Some(id), Place::Parent) if id < queue.split() && kind() == Type::Directory => Ok(()),
            (Some(id), Place::Own(own)) if kind() == Type::File && own.is_none_or(|own| own == id % queue.split()) => {
                if file == File::Mess && name.inode != id {
                    self.stray(name.place(), StrayFault::Inode(name.inode));
                }
                self.insert(id, file)
            }
            (Some(id), _) if kind() == Type::File => self.misplaced(queue, file, name.place(), id),
            _ if kind() == Type::Directory => self.read_stray_folder(queue, file, &name.place()),
            (Some(id), _) => {
                self.stray(name.place(), StrayFault::Kind);
                self.scatter(id)
            }
            (None, _) => {
                self.stray(name.place(), StrayFault::Name);
                Ok(())
            }
        }
    }

    /// Looks for files of messages in a folder where qmail does not look.
    fn read_stray_folder(&mut self, queue: &Queue, file: File, folder: &str) -> Result<(), String> {
        self.stray(folder.to_owned(), StrayFault::Folder);
        self.each_name(queue, folder, &mut |scan, name, kind, _| {
            let place = format!("{folder}/{}", String::from_utf8_lossy(name));
            match (number(name), kind.unwrap_or_else(|| kind_of(queue, &place))) {
                (Some(id), Type::File) => scan.misplaced(queue, file, place, id),
                _ => {
                    scan.stray(place, StrayFault::Name);
                    Ok(())
                }
            }
        })
    }

    fn misplaced(&mut self, queue: &Queue, file: File, place: String, id: u64) -> Result<(), String> {
        self.stray(place, StrayFault::Place(queue.place(file, id)));
        self.scatter(id)
    }

    /// Passes each name of the folder to `sink`, with its kind, if the file system tells, and its inode. A folder that is
    /// missing or cannot be read is a stray itself.
    fn each_name(
        &mut self,
        queue: &Queue,
        folder: &str,
        sink: &mut dyn FnMut(&mut Self, &[u8], Option<Type>, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut names = match queue.folder(folder) {
            Ok(names) => names,
            Err(error) => return self.unread(queue, folder, &error),
        };
        for name in names.iter() {
            let name = match name {
                Ok(name) => name,
                Err(error) => return self.unread(queue, folder, &error.into()),
            };
            let text = name.file_name().to_bytes();
            if !matches!(text, b"." | b"..") {
                sink(self, text, name.file_type(), name.ino())?;
            }
        }
        Ok(())
    }

    fn unread(&mut self, queue: &Queue, folder: &str, error: &io::Error) -> Result<(), String> {
        let fault = match error.kind() {
            io::ErrorKind::NotFound => {
                self.stray(folder.to_owned(), StrayFault::Missing);
                return Ok(());
            }
            // Another user can read all of it.
            io::ErrorKind::PermissionDenied => {
                return Err(format!("{}/{folder}: {}", queue.path().display(), with_remedy(error)));
            }
            io::ErrorKind::NotADirectory => StrayFault::Unreadable("not a folder".to_owned()),
            _ => StrayFault::Unreadable(error.to_string()),
        };
        self.has_gap = true;
        self.stray(folder.to_owned(), fault);
        Ok(())
    }

    fn insert(&mut self, id: u64, file: File) -> Result<(), String> {
        self.has_room()?;
        let mut files = Files::default();
        files.insert(file);
        self.entries.push(Entry { id, files });
        Ok(())
    }

    /// Notes that a file of this message is a stray.
    fn scatter(&mut self, id: u64) -> Result<(), String> {
        self.has_room()?;
        self.scattered.push(id);
        Ok(())
    }

    fn has_room(&self) -> Result<(), String> {
        match self.entries.len() + self.scattered.len() < MAX_FILES {
            true => Ok(()),
            false => Err(format!("the queue has more than {MAX_FILES} files, which is more than this program lists")),
        }
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
        self.scattered.extend(part.scattered);
        self.has_gap |= part.has_gap;
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
        self.scattered.sort_unstable();
        self.scattered.dedup();
        self.strays.sort_by(|one, other| one.place.cmp(&other.place));
    }
}

/// Where a name was found.
#[derive(Clone, Copy)]
enum Place {
    /// Beside the numbered folders.
    Parent,
    /// In a folder of files, which has this number where there are several.
    Own(Option<u64>),
}

/// A name in a folder.
struct Name<'n> {
    folder: &'n str,
    name: &'n [u8],
    /// What it is, if the file system tells.
    kind: Option<Type>,
    inode: u64,
}

impl Name<'_> {
    fn place(&self) -> String {
        format!("{}/{}", self.folder, String::from_utf8_lossy(self.name))
    }
}

fn kind_of(queue: &Queue, place: &str) -> Type {
    match queue.stat(place) {
        Ok(stat) if is_regular(&stat) => Type::File,
        Ok(stat) if stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR => Type::Directory,
        // A link, a FIFO, a socket: whatever is neither.
        _ => Type::Fifo,
    }
}

/// Files of a scan, at 16 octets each; a message has two to four.
const MAX_FILES: usize = 32 << 20;
/// Strays listed; the rest are only counted.
const MAX_STRAYS: usize = 10_000;
const MAX_THREADS: usize = 4;
