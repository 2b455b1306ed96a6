//! An open folder and the files in it. Every call goes by the folder's descriptor and follows no link; a name must not be a path.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::queue::look::layout::Queue;

/// An open folder. All calls return the system's errors.
#[derive(Debug)]
pub(super) struct Dir(File);

impl Dir {
    /// Opens the folder at `path`, but not through a link.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(Self(nix::fcntl::open(path, flags, Mode::empty())?.into()))
    }

    /// Owner, mode and times of the folder itself.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Locks the folder until the lock is dropped; `None` while another process holds it.
    pub(super) fn lock(&self) -> io::Result<Option<Flock<File>>> {
        Ok(Flock::lock(self.0.try_clone()?, FlockArg::LockExclusiveNonblock).ok())
    }

    /// Passes every file name to `sink`, in no order.
    pub(super) fn each_name(&self, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut dir = nix::dir::Dir::openat(&self.0, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                sink(name);
            }
        }
        Ok(())
    }

    /// The inode number of a file; `None` where no file can be seen.
    pub(super) fn inode(&self, name: &str) -> Option<u64> {
        nix::sys::stat::fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
    }

    /// Opens a file.
    pub(super) fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(&self.0, name, flags, Mode::from_bits_truncate(0o600))?.into())
    }

    /// Makes a hard link to a file of the queue.
    pub(super) fn link(&self, queue: &Queue, place: &str, name: &str) -> io::Result<()> {
        Ok(nix::unistd::linkat(queue.root(), place, &self.0, name, AtFlags::empty())?)
    }

    /// Writes a file with these octets, replacing an older one.
    pub(super) fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.unlink(name)?;
        let mut file = self.file(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
        file.write_all(octets)
    }

    /// Renames a file, over another one if `to` is there. `to` may be in a folder that [`make_folder`](Self::make_folder) made.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(nix::fcntl::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file; a missing file is no error.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        match nix::unistd::unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a folder in this folder; an existing one is no error.
    pub(super) fn make_folder(&self, name: &str) -> io::Result<()> {
        match nix::sys::stat::mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Flushes the whole file system to disk (syncfs), the queue's part included: one call for a thousand messages.
    /// Also fails if an earlier write could not be flushed.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(self.0.as_fd())?)
    }
}
