//! The quarantine: a folder on the queue's file system. Message N is `N`, a hard link of `mess/N`, which keeps its content
//! and keeps the number from being used again; `N.envelope` beside it; `N.bounce`, the failures that were not reported.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::queue::look::File as QueueFile;
use crate::queue::look::Message;
use crate::queue::look::Recipients;
use crate::queue::look::filter::Filter;
use crate::queue::look::header;
use crate::queue::look::header::MAX_HEADER;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::number;
use crate::queue::look::layout::told;
use crate::queue::look::read::MAX_ENVELOPE;
use crate::queue::look::read::Want;
use crate::queue::look::read::slurp;
use crate::queue::quarantine::saved;
use crate::queue::quarantine::saved::Saved;
use crate::queue::quarantine::saved::Stage;
use crate::text::readable;

/// The folder, open.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    dir: File,
    /// Nobody else changes anything meanwhile.
    lock: Option<Flock<File>>,
}

/// Where it is: beside the queue, or inside it where the queue has a file system of its own. Several queues side by side
/// have one each.
pub fn place(queue: &Queue, wanted: Option<&Path>) -> PathBuf {
    let inside = queue.path().join("quarantine");
    let beside = || {
        let home = fs::canonicalize(queue.path()).ok()?.parent()?.to_owned();
        let same = fs::metadata(&home).ok()?.dev() == fs::metadata(queue.path().join("mess")).ok()?.dev();
        let name = match fs::canonicalize(queue.path()).ok()?.file_name()?.to_str()? {
            "queue" => "quarantine".to_owned(),
            name => format!("quarantine-{name}"),
        };
        same.then(|| home.join(name))
    };
    match wanted {
        Some(wanted) => wanted.to_owned(),
        None if inside.is_dir() => inside,
        None => beside().unwrap_or(inside),
    }
}

/// Why `wanted` cannot be the quarantine of this queue: qmail's own folders are not for anything else.
pub fn refusal(queue: &Queue, wanted: &Path) -> Option<String> {
    let root = fs::canonicalize(queue.path()).ok()?;
    let whole = std::path::absolute(wanted).ok()?;
    // What is not there yet has no links in it.
    let (there, missing) = whole
        .ancestors()
        .find_map(|ancestor| Some((fs::canonicalize(ancestor).ok()?, whole.strip_prefix(ancestor).ok()?)))?;
    let place = there.join(missing);
    let is_inside = place.starts_with(&root) && place != root.join("quarantine");
    is_inside.then(|| format!("{}: is inside the queue: name a folder beside it", wanted.display()))
}

impl Quarantine {
    /// Opens it to look; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is that of another queue.
    pub fn look(path: &Path, queue: &Queue) -> Result<Option<Self>, String> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let at = |what: String| format!("{}: {what}", path.display());
        match nix::fcntl::open(path, flags, Mode::empty()).map_err(io::Error::from) {
            Ok(dir) => {
                let folder = Self { path: path.to_owned(), dir: dir.into(), lock: None };
                match folder.owner().map_err(|error| at(format!("{OWNER}: {error}")))? {
                    Some(owner) if owner != name_of(queue) => {
                        let owner = readable::text(&owner);
                        Err(at(format!(
                            "it is the quarantine of {owner}: {ANOTHER}; if that is this queue, write so there"
                        )))
                    }
                    _ => Ok(Some(folder)),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(at(told(&error))),
            Err(error) => Err(at(format!("{error}: {ANOTHER}"))),
        }
    }

    /// Opens it to change it, and makes it if there is none.
    ///
    /// # Errors
    /// It cannot be made or locked, or others could write into it.
    pub fn open(path: &Path, queue: &Queue) -> Result<Self, String> {
        let at = |what: String| format!("{}: {what}", path.display());
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(at(format!("the quarantine cannot be made: {error}: {ANOTHER}")));
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(format!("the quarantine cannot be made: {}", told(&error))));
            }
            _ => {}
        }
        let mut folder = Self::look(path, queue)?.ok_or_else(|| at("it is not there".to_owned()))?;
        let metadata = folder.dir.metadata().map_err(|error| at(error.to_string()))?;
        let us = nix::unistd::geteuid().as_raw();
        if metadata.mode() & 0o022 != 0 || metadata.uid() != us {
            return Err(at(format!("others may write here: it must be owned by uid {us}, with mode 0700")));
        }
        let copy = folder.dir.try_clone().map_err(|error| at(error.to_string()))?;
        match Flock::lock(copy, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => folder.lock = Some(lock),
            Err(_) => return Err(at("another portcullis queue is at work: wait for its end".to_owned())),
        }
        folder.claim(queue).map_err(|error| at(format!("{error}")))?;
        Ok(folder)
    }

    /// Whose queue's it is, if that is known.
    fn owner(&self) -> io::Result<Option<Vec<u8>>> {
        let mut octets = Vec::new();
        let length = match self.file(OWNER, OFlag::O_RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            outcome => slurp(&outcome?, &mut octets, MAX_OWNER)?,
        };
        Ok(Some(octets[..length].trim_ascii_end().to_vec()))
    }

    /// What is removed from here has to be ours: a folder with anything in it is not made a quarantine.
    fn claim(&self, queue: &Queue) -> io::Result<()> {
        if self.owner()?.is_some() {
            return Ok(());
        }
        let mut dir = nix::dir::Dir::openat(&self.dir, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let is_file = |name: &[u8]| !matches!(name, b"." | b"..") && name != NEW_OWNER.as_bytes();
        let is_used = dir.iter().flatten().any(|entry| is_file(entry.file_name().to_bytes()));
        if is_used {
            let queue = readable::text(&name_of(queue));
            return Err(io::Error::other(format!(
                "it is not empty, and no quarantine: {ANOTHER}; if it is one, write {queue} into a file queue there"
            )));
        }
        self.write(NEW_OWNER, &[&name_of(queue)[..], b"\n"].concat())?;
        self.sync()?;
        self.rename(NEW_OWNER, OWNER)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of all messages, whole or not, sorted.
    ///
    /// # Errors
    /// As the system says.
    pub fn ids(&self) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        let mut dir = nix::dir::Dir::openat(&self.dir, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let stem = name.split(|octet| *octet == b'.').next().unwrap_or_default();
            ids.extend(number(stem));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The envelope, if it is whole.
    ///
    /// # Errors
    /// As the system says.
    pub fn saved(&self, id: u64) -> io::Result<Option<Saved>> {
        let mut octets = Vec::new();
        match self.file(&envelope(id), OFlag::O_RDONLY) {
            Ok(file) => {
                let length = slurp(&file, &mut octets, MAX_ENVELOPE)?;
                Ok(saved::read(&octets[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an envelope, whole or not, says that the queue was changed for it.
    pub fn is_begun(&self, id: u64) -> bool {
        let mut first = [0];
        let read = self.file(&envelope(id), OFlag::O_RDONLY).and_then(|file| file.read_exact_at(&mut first, 0));
        read.is_ok() && [Stage::Taking, Stage::Taken].iter().any(|stage| stage.letter() == first[0])
    }

    /// Whether message N is there, as the inode of that number.
    pub fn has(&self, id: u64) -> bool {
        self.inode(&id.to_string()) == Some(id)
    }

    /// The inode of a file in it.
    pub fn inode(&self, name: &str) -> Option<u64> {
        nix::sys::stat::fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
    }

    /// Opens a file in it; never a link.
    ///
    /// # Errors
    /// As the system says.
    pub fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(&self.dir, name, flags, Mode::from_bits_truncate(0o600))?.into())
    }

    /// A hard link of a file of the queue.
    ///
    /// # Errors
    /// As the system says.
    pub fn link(&self, queue: &Queue, place: &str, name: &str) -> io::Result<()> {
        Ok(nix::unistd::linkat(queue.root(), place, &self.dir, name, AtFlags::empty())?)
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// As the system says.
    pub fn unlink(&self, name: &str) -> io::Result<()> {
        match nix::unistd::unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A new file with these octets; what is left of an older one goes.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.unlink(name)?;
        let mut file = self.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
        file.write_all(octets)
    }

    /// Changes one octet of an envelope in place.
    ///
    /// # Errors
    /// As the system says.
    pub fn change(&self, id: u64, at: u64, octet: u8) -> io::Result<()> {
        self.file(&envelope(id), OFlag::O_WRONLY)?.write_all_at(&[octet], at)
    }

    /// Renames a file in it, over one that is there.
    ///
    /// # Errors
    /// As the system says.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(nix::fcntl::renameat(&self.dir, from, &self.dir, to)?)
    }

    /// All that was written to this file system, the queue's part too, is on the disk: one call for a thousand messages.
    ///
    /// # Errors
    /// As the system says; also what an earlier write could not bring to the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(self.dir.as_fd())?)
    }

    /// Gives up what is kept of a message, so that an end half way is seen as that.
    ///
    /// # Errors
    /// As the system says.
    pub fn remove(&self, id: u64) -> io::Result<()> {
        [envelope(id), id.to_string(), bounce(id), restored(id)].iter().try_for_each(|name| self.unlink(name))
    }

    /// The message is back in the queue: its copy goes, and a report of failures that nobody got is kept in `reports`.
    ///
    /// # Errors
    /// As the system says; called once more it goes on.
    pub fn forget_restored(&self, id: u64, birth: Option<i64>) -> io::Result<()> {
        match self.rename(&envelope(id), &restored(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.inode(&bounce(id)).is_some() {
            match nix::sys::stat::mkdirat(&self.dir, REPORTS, Mode::S_IRWXU) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            self.rename(&bounce(id), &format!("{REPORTS}/{id}-{}", birth.unwrap_or_default()))?;
        }
        self.unlink(&id.to_string())?;
        self.unlink(&restored(id))
    }

    /// Hands on the messages that the filter means. What was left half way by a crash is not told here.
    ///
    /// # Errors
    /// As the system says.
    pub fn each(&self, filter: &Filter, want: &Want, now: i64, sink: &mut dyn FnMut(Message)) -> io::Result<()> {
        let wanted = filter.want(want);
        for id in self.ids()? {
            if let Some(message) = self.message(id, &wanted)?
                && filter.matches(&message, now)
            {
                sink(message);
            }
        }
        Ok(())
    }

    /// A message in quarantine, as `list` and `show` tell it.
    ///
    /// # Errors
    /// As the system says.
    pub fn message(&self, id: u64, want: &Want) -> io::Result<Option<Message>> {
        let is_there = self.inode(&id.to_string()).is_some();
        let Some(saved) = self.saved(id)?.filter(|saved| saved.stage != Stage::Saved && is_there) else {
            return Ok(None);
        };
        let file = self.file(&id.to_string(), OFlag::O_RDONLY)?;
        let to_do = saved.to_do();
        let recipients =
            Recipients { done: saved.recipients.len() - to_do, to_do, kept: saved.recipients, modified: 0 };
        let mut message = Message {
            id,
            size: Some(file.metadata()?.len()),
            uid: saved.uid,
            qp: saved.qp,
            sender: Some(saved.sender),
            birth: saved.birth,
            queued: Some(recipients),
            bounce_size: self
                .file(&bounce(id), OFlag::O_RDONLY)
                .and_then(|file| file.metadata())
                .ok()
                .map(|file| file.len()),
            ..Message::default()
        };
        if saved.stage == Stage::Taking {
            message.troubles.push(match self.has(id) {
                true => "an earlier run ended half way: run queue quarantine again".to_owned(),
                false => "it was copied here half way: the queue it comes from may deliver it too".to_owned(),
            });
        }
        if let Some(names) = &want.header {
            let mut octets = Vec::new();
            let length = slurp(&file, &mut octets, MAX_HEADER)?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            message.header = Some(header::parse(&octets[..length], &names));
        }
        Ok(Some(message))
    }
}

/// How a queue is written down.
fn name_of(queue: &Queue) -> Vec<u8> {
    fs::canonicalize(queue.path()).unwrap_or_else(|_| queue.path().to_owned()).into_os_string().into_encoded_bytes()
}

/// The path of the queue whose quarantine it is.
const OWNER: &str = "queue";
const NEW_OWNER: &str = "queue.new";
const MAX_OWNER: usize = 4 << 10;
const ANOTHER: &str = "name another folder with --quarantine DIR";
/// Failures of restored messages that were not reported to the sender.
pub const REPORTS: &str = "reports";

/// The envelope's name.
pub fn envelope(id: u64) -> String {
    format!("{id}.envelope")
}

/// The name of what has failed for good.
pub fn bounce(id: u64) -> String {
    format!("{id}.{}", QueueFile::Bounce.name())
}

/// The envelope's name when the message is back in the queue, until its copy is removed.
pub fn restored(id: u64) -> String {
    format!("{id}.restored")
}
