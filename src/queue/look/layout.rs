//! The layout of a queue: its folder, split, big-todo, and the path of each file. It opens files below the queue's
//! folder and follows no link there; it must not write.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;
use nix::sys::stat::Mode;

use crate::queue::look::File;

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    path: PathBuf,
    root: OwnedFd,
    split: u64,
    big_todo: bool,
    unknown: Vec<String>,
    /// The numbered folders of `mess`, `info`, `local`, `remote`, held open: resolving the path is a third of a
    /// look-up's cost.
    held: Vec<OwnedFd>,
}

impl Queue {
    /// Opens the queue and finds its split.
    ///
    /// # Errors
    /// `path` is no queue or cannot be read; the message says what to do.
    pub fn open(path: &Path) -> Result<Self, String> {
        let at = |error: io::Error| format!("{}: {}", path.display(), with_remedy(&error));
        let root = nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let root = root.map_err(|error| at(error.into()))?;
        if let Some(folder) = ["mess", "info", "local", "remote", "todo"].iter().find(|name| !path.join(name).is_dir())
        {
            // Without permission every folder looks absent.
            fs::read_dir(path).map_err(at)?;
            return Err(not_a_queue(path, folder));
        }
        let split = split_of(path).map_err(at)?;
        if split == 0 || split > MAX_SPLIT {
            return Err(format!(
                "{}: mess has no folders 0, 1, 2 and so on: this is not a qmail queue",
                path.display()
            ));
        }
        let big_todo = is_big_todo(path, split).map_err(at)?;
        let unknown = fs::read_dir(path).map_err(at)?.flatten().map(|entry| entry.file_name());
        let unknown = unknown.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with("suppl"));
        let unknown = unknown.collect();
        let mut queue = Self { path: path.to_owned(), root, split, big_todo, unknown, held: Vec::new() };
        queue.hold();
        Ok(queue)
    }

    /// Opens all folders or none: a very wide queue needs more descriptors than a process has.
    fn hold(&mut self) {
        let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
        let folders = HELD.iter().flat_map(|file| self.folders(*file));
        let open = |folder: String| nix::fcntl::openat(&self.root, folder.as_str(), flags, Mode::empty()).ok();
        if self.split <= MAX_HELD {
            self.held = folders.map(open).collect::<Option<_>>().unwrap_or_default();
        }
    }

    /// An open folder, and the path of the file below it, written into `place`.
    fn anchor(&self, file: File, id: u64, place: &mut String) -> &OwnedFd {
        let kind = HELD.iter().position(|held| *held == file);
        let at = kind.and_then(|kind| usize::try_from(kind as u64 * self.split + id % self.split).ok());
        match at.and_then(|at| self.held.get(at)) {
            Some(folder) => {
                place.clear();
                let _ = write!(place, "{id}");
                folder
            }
            None => {
                self.write_place(file, id, place);
                &self.root
            }
        }
    }

    /// Opens a file of a message for reading without changing its access time: qmail-clean goes by that, and updating
    /// it takes as long as two reads. `place` is a scratch buffer for the path.
    ///
    /// # Errors
    /// The system's error.
    pub fn read_of(&self, file: File, id: u64, place: &mut String) -> io::Result<fs::File> {
        let folder = self.anchor(file, id, place);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let open = |flags| nix::fcntl::openat(folder, place.as_str(), flags, Mode::empty());
        // Only the owner and root may use O_NOATIME.
        let opened = open(flags | OFlag::O_NOATIME).or_else(|error| match error {
            Errno::EPERM => open(flags),
            _ => Err(error),
        });
        Ok(opened?.into())
    }

    /// The status of a message's file; `place` is a scratch buffer for the path.
    ///
    /// # Errors
    /// The system's error.
    pub fn stat_of(&self, file: File, id: u64, place: &mut String) -> io::Result<FileStat> {
        let folder = self.anchor(file, id, place);
        Ok(nix::sys::stat::fstatat(folder, place.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// The path of the queue's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor of the queue's folder.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Number of folders below each of `mess`, `info`, `local` and `remote`.
    pub fn split(&self) -> u64 {
        self.split
    }

    /// Whether `todo` and `intd` are split too.
    pub fn big_todo(&self) -> bool {
        self.big_todo
    }

    /// Recipient folders that only a patched qmail has (channels: `suppl0`); they are not read.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether files of this kind lie in numbered folders.
    pub fn is_split(&self, file: File) -> bool {
        match file {
            File::Mess | File::Info | File::Local | File::Remote => true,
            File::Todo | File::Intd => self.big_todo,
            File::Bounce => false,
        }
    }

    /// The folders of files of this kind, relative to the queue.
    pub fn folders(&self, file: File) -> impl Iterator<Item = String> {
        let count = if self.is_split(file) { self.split } else { 1 };
        (0..count).map(move |at| match self.is_split(file) {
            true => format!("{}/{at}", file.name()),
            false => file.name().to_owned(),
        })
    }

    /// Writes the path of a file, relative to the queue, into `place`.
    pub fn write_place(&self, file: File, id: u64, place: &mut String) {
        place.clear();
        let _ = match self.is_split(file) {
            true => write!(place, "{}/{}/{id}", file.name(), id % self.split),
            false => write!(place, "{}/{id}", file.name()),
        };
    }

    /// The path of a file, relative to the queue.
    pub fn place(&self, file: File, id: u64) -> String {
        let mut place = String::new();
        self.write_place(file, id, &mut place);
        place
    }

    /// Opens a file of the queue, but never a link.
    ///
    /// # Errors
    /// The system's error.
    pub fn open_file(&self, place: &str, flags: OFlag) -> io::Result<fs::File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(nix::fcntl::openat(&self.root, place, flags, Mode::empty())?.into())
    }

    /// The status of a file, or of a link itself.
    ///
    /// # Errors
    /// The system's error.
    pub fn stat(&self, place: &str) -> io::Result<FileStat> {
        Ok(nix::sys::stat::fstatat(&self.root, place, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Opens a folder of the queue.
    ///
    /// # Errors
    /// The system's error.
    pub fn folder(&self, place: &str) -> io::Result<Dir> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Dir::openat(&self.root, place, flags, Mode::empty())?)
    }
}

/// Whether `stat` is of a regular file.
pub fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG
}

/// The system's error text, with what to do.
pub fn with_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied if nix::unistd::geteuid().is_root() => {
            format!("{error}: root may not either, so look at its attributes (lsattr) and at how it is mounted")
        }
        io::ErrorKind::PermissionDenied => format!("{error}: run this as root"),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!("{error}: name the queue with --queue DIR"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            format!("{error}: make room on the queue's file system")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("{error}: mount it for writing"),
        _ => error.to_string(),
    }
}

/// Parses a number as qmail writes it: digits without a leading zero; `None` otherwise.
pub fn number(name: &[u8]) -> Option<u64> {
    let plain = matches!(name, [b'0'] | [b'1'..=b'9', ..]) && name.iter().all(u8::is_ascii_digit);
    str::from_utf8(name).ok().filter(|_| plain)?.parse().ok()
}

/// The number of folders that most of the four have: one stray or missing folder changes nothing.
fn split_of(path: &Path) -> io::Result<u64> {
    let mut splits = Vec::new();
    for file in HELD {
        splits.extend(numbered(&path.join(file.name()))?.iter().max().map(|last| last + 1));
    }
    let votes = |split: u64| splits.iter().filter(|other| **other == split).count();
    // In a tie the first wins, which is `mess`.
    Ok(splits.iter().rev().copied().max_by_key(|split| votes(*split)).unwrap_or(0))
}

/// Whether most of the numbered folders of `todo` and `intd` exist: a single one, which some recipes for repair make, changes
/// nothing.
fn is_big_todo(path: &Path, split: u64) -> io::Result<bool> {
    let mut found = 0;
    for file in [File::Todo, File::Intd] {
        match numbered(&path.join(file.name())) {
            Ok(numbers) => found += numbers.iter().filter(|number| **number < split).count() as u64,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found > split)
}

fn numbered(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = number(entry.file_name().as_encoded_bytes())
            && entry.path().is_dir()
        {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn not_a_queue(path: &Path, folder: &str) -> String {
    let shown = path.display();
    if path.join("queue1/mess").is_dir() {
        return format!("{shown}: several queues lie in it: name one of them, --queue {shown}/queue1");
    }
    if path.join("queue/mess").is_dir() {
        return format!("{shown}: the queue lies in it: --queue {shown}/queue");
    }
    format!("{shown}: this is not a qmail queue, it has no folder {folder}: name the queue with --queue DIR")
}

const HELD: [File; 4] = [File::Mess, File::Info, File::Local, File::Remote];
/// Widest split whose folders are held open: four descriptors each, of a process's usual 1024.
const MAX_HELD: u64 = 160;
/// Largest split accepted; conf-split is 23, and 151 at indimail.
const MAX_SPLIT: u64 = 100_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::create_dir_all(folder.path().join(name)).unwrap());
        folder
    }

    #[test]
    fn the_split_and_big_todo_are_detected() {
        let queue = folders(&["mess/0", "mess/1", "mess/2", "info", "local", "remote", "todo"]);
        let found = Queue::open(queue.path()).unwrap();
        assert_eq!((found.split(), found.big_todo()), (3, false));
        assert_eq!(found.place(File::Mess, 7), "mess/1/7");
        assert_eq!(found.place(File::Todo, 7), "todo/7");
        fs::create_dir(queue.path().join("todo/0")).unwrap();
        assert!(!Queue::open(queue.path()).unwrap().big_todo(), "one folder makes no big-todo");
        for folder in ["todo/1", "todo/2", "intd/0", "intd/1"] {
            fs::create_dir_all(queue.path().join(folder)).unwrap();
        }
        let found = Queue::open(queue.path()).unwrap();
        assert_eq!(found.place(File::Todo, 7), "todo/1/7");
        assert_eq!(found.folders(File::Intd).collect::<Vec<_>>(), ["intd/0", "intd/1", "intd/2"]);
        assert_eq!(found.folders(File::Bounce).collect::<Vec<_>>(), ["bounce"]);
    }

    #[test]
    fn a_stray_folder_or_a_missing_one_is_no_other_split() {
        let names: Vec<String> = ["mess", "info", "local", "remote"]
            .iter()
            .flat_map(|kind| (0..3).map(move |at| format!("{kind}/{at}")))
            .collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.extend(["todo", "mess/2026"]);
        assert_eq!(Queue::open(folders(&names).path()).unwrap().split(), 3);
        names.retain(|name| !matches!(*name, "mess/2" | "mess/2026"));
        assert_eq!(Queue::open(folders(&names).path()).unwrap().split(), 3);
    }

    #[test]
    fn what_is_no_queue_is_told_with_what_to_do() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "no folder mess"),
            (&["mess/0", "info", "local"], "no folder remote"),
            (&["mess", "info", "local", "remote", "todo"], "no folders 0, 1, 2"),
            (&["queue1/mess/0"], "/queue1"),
            (&["queue/mess/0"], "/queue"),
        ];
        for (names, expected) in cases {
            let folder = folders(names);
            let what = Queue::open(folder.path()).unwrap_err();
            assert!(what.contains(expected), "{what}");
        }
        for folders in [&["todo/0"][..], &["todo/0", "intd/0"]] {
            let names = [&["mess/0", "info", "local", "remote", "todo"], folders].concat();
            assert_eq!(Queue::open(self::folders(&names).path()).unwrap().big_todo(), folders.len() == 2, "split 1");
        }
        assert!(Queue::open(Path::new("/nowhere")).unwrap_err().contains("--queue"));
    }

    #[test]
    fn numbers_are_written_in_one_way() {
        let cases =
            [("0", Some(0)), ("10051728", Some(10_051_728)), ("007", None), ("", None), ("1x", None), ("-1", None)];
        for (name, expected) in cases {
            assert_eq!(number(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(number(b"99999999999999999999999"), None);
    }
}
