//! The quarantine and its messages. Message N is `N`, a hard link of `mess/N`, which keeps its content and keeps the number from
//! being used again; `N.envelope` beside it; `N.bounce`, the failures that were not reported. It must not change the queue.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use nix::fcntl::Flock;
use nix::fcntl::OFlag;

use crate::queue::look::File as QueueFile;
use crate::queue::look::Message;
use crate::queue::look::Recipients;
use crate::queue::look::filter::Filter;
use crate::queue::look::header;
use crate::queue::look::header::MAX_HEADER;
use crate::queue::look::layout::Queue;
use crate::queue::look::layout::number;
use crate::queue::look::layout::with_remedy;
use crate::queue::look::read::MAX_ENVELOPE;
use crate::queue::look::read::Want;
use crate::queue::look::read::slurp;
use crate::queue::quarantine::dir::Dir;
use crate::queue::quarantine::owner;
use crate::queue::quarantine::owner::ANOTHER;
use crate::queue::quarantine::saved;
use crate::queue::quarantine::saved::Saved;
use crate::queue::quarantine::saved::Stage;
use crate::text::shell;

/// An open quarantine.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    dir: Dir,
    /// The lock that keeps other processes from changing the quarantine.
    lock: Option<Flock<File>>,
}

impl Quarantine {
    /// Opens the quarantine for reading; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or belongs to another queue.
    pub fn look(path: &Path, queue: &Queue) -> Result<Option<Self>, String> {
        let at = |what: String| format!("{}: {what}", path.display());
        match Dir::open(path) {
            Ok(dir) => {
                owner::check(&dir, queue).map_err(at)?;
                Ok(Some(Self { path: path.to_owned(), dir, lock: None }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(at(with_remedy(&error))),
            Err(error) => Err(at(format!("{error}: {ANOTHER}"))),
        }
    }

    /// Opens the quarantine for changes, and makes it if there is none.
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
                return Err(at(format!("the quarantine cannot be made: {}", with_remedy(&error))));
            }
            _ => {}
        }
        let mut quarantine = Self::look(path, queue)?.ok_or_else(|| at("no such folder".to_owned()))?;
        let metadata = quarantine.dir.metadata().map_err(|error| at(error.to_string()))?;
        let us = nix::unistd::geteuid().as_raw();
        if metadata.mode() & 0o022 != 0 || metadata.uid() != us {
            let name = shell::word(&path.display().to_string());
            return Err(at(format!("others may write here: chown {us} {name}; chmod 700 {name}")));
        }
        quarantine.lock = quarantine.dir.lock().map_err(|error| at(error.to_string()))?;
        if quarantine.lock.is_none() {
            return Err(at("another portcullis queue is running: wait until it has finished".to_owned()));
        }
        owner::claim(&quarantine.dir, queue).map_err(|error| at(with_remedy(&error)))?;
        Ok(quarantine)
    }

    /// The path of the quarantine's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The quarantine's open folder.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The numbers of all messages, whole or not, sorted.
    ///
    /// # Errors
    /// The system's error.
    pub fn ids(&self) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        self.dir.each_name(&mut |name| {
            let stem = name.split(|octet| *octet == b'.').next().unwrap_or_default();
            ids.extend(number(stem));
        })?;
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The envelope of a message; `None` if it is not whole.
    ///
    /// # Errors
    /// The system's error.
    pub fn saved(&self, id: u64) -> io::Result<Option<Saved>> {
        let mut octets = Vec::new();
        match self.dir.file(&envelope(id), OFlag::O_RDONLY) {
            Ok(file) => {
                let length = slurp(&file, &mut octets, MAX_ENVELOPE)?;
                Ok(saved::read(&octets[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the message's envelope, whole or not, says that the queue was changed for it.
    pub(super) fn is_begun(&self, id: u64) -> bool {
        let mut first = [0];
        let read = self.dir.file(&envelope(id), OFlag::O_RDONLY).and_then(|file| file.read_exact_at(&mut first, 0));
        read.is_ok() && [Stage::Taking, Stage::Taken].iter().any(|stage| stage.letter() == first[0])
    }

    /// Whether there is a file N, perhaps copied here under another message's number.
    pub fn is_there(&self, id: u64) -> bool {
        self.dir.inode(&id.to_string()).is_some()
    }

    /// Whether message N is present, as the inode of that number.
    pub fn has(&self, id: u64) -> bool {
        self.dir.inode(&id.to_string()) == Some(id)
    }

    /// Whether the message has failures that were never reported.
    pub fn has_report(&self, id: u64) -> bool {
        self.dir.inode(&bounce(id)).is_some()
    }

    /// Changes one octet of an envelope in place.
    pub(super) fn change(&self, id: u64, at: u64, octet: u8) -> io::Result<()> {
        self.dir.file(&envelope(id), OFlag::O_WRONLY)?.write_all_at(&[octet], at)
    }

    /// Removes all files of a message, the envelope first, so that an interrupted removal is recognized.
    ///
    /// # Errors
    /// The system's error.
    pub fn remove(&self, id: u64) -> io::Result<()> {
        [envelope(id), id.to_string(), bounce(id), restored(id)].iter().try_for_each(|name| self.dir.unlink(name))
    }

    /// Removes a message that is back in the queue. Failures that were never reported are kept in `reports`.
    ///
    /// # Errors
    /// The system's error; another call continues.
    pub fn forget_restored(&self, id: u64, birth: Option<i64>) -> io::Result<()> {
        match self.dir.rename(&envelope(id), &restored(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.has_report(id) {
            self.dir.make_folder(REPORTS)?;
            self.dir.rename(&bounce(id), &format!("{REPORTS}/{id}-{}", birth.unwrap_or_default()))?;
        }
        self.dir.unlink(&id.to_string())?;
        self.dir.unlink(&restored(id))
    }

    /// Passes the selected messages to `sink`, except those that a crash left unfinished.
    ///
    /// # Errors
    /// The system's error.
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

    /// Reads a message in quarantine, as `list` and `show` print it.
    ///
    /// # Errors
    /// The system's error.
    pub fn message(&self, id: u64, want: &Want) -> io::Result<Option<Message>> {
        let Some(saved) = self.saved(id)?.filter(|saved| saved.stage != Stage::Saved && self.is_there(id)) else {
            return Ok(None);
        };
        let file = self.dir.file(&id.to_string(), OFlag::O_RDONLY)?;
        let to_do = saved.to_do();
        let recipients =
            Recipients { done: saved.recipients.len() - to_do, to_do, kept: saved.recipients, modified: 0 };
        let failures = self.dir.file(&bounce(id), OFlag::O_RDONLY).and_then(|file| file.metadata());
        let mut message = Message {
            id,
            size: Some(file.metadata()?.len()),
            uid: saved.uid,
            qp: saved.qp,
            sender: Some(saved.sender),
            birth: saved.birth,
            queued: Some(recipients),
            bounce_size: failures.ok().map(|file| file.len()),
            ..Message::default()
        };
        if saved.stage == Stage::Taking {
            message.troubles.push(match self.has(id) {
                true => "an earlier run was interrupted: run portcullis queue quarantine again".to_owned(),
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

/// The folder for failures of restored messages that were not reported to their senders.
pub const REPORTS: &str = "reports";

/// File name of a message's envelope.
pub(super) fn envelope(id: u64) -> String {
    format!("{id}.envelope")
}

/// File name of a message's failures so far.
pub(super) fn bounce(id: u64) -> String {
    format!("{id}.{}", QueueFile::Bounce.name())
}

/// File name of the envelope once the message is back in the queue, until its copy is removed.
pub(super) fn restored(id: u64) -> String {
    format!("{id}.restored")
}
