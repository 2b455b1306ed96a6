//! The blocking half of a hold: all work that waits for a disk, to be run where blocking is allowed. The file has no
//! name (O_TMPFILE, or unlinked at once). It must not leave anything of a message behind when the process is killed.

use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::memfd::MFdFlags;
use nix::sys::memfd::memfd_create;
use nix::sys::sendfile::sendfile;
use nix::sys::statvfs::statvfs;

use crate::hold::chunks::CHUNK;
use crate::hold::chunks::Chunks;

/// The result of a piece of work.
pub(super) struct Done {
    pub(super) file: File,
    pub(super) what: What,
}

/// The kind of work done, with its start offset in the file.
pub(super) enum What {
    Read(u64, Vec<Bytes>),
    Sent(u64, Sent),
    Written,
}

/// The result of sending from the file to a socket.
pub(super) struct Sent {
    /// Octets that the socket took.
    pub(super) octets: u64,
    /// The socket, unless it cannot be used any more.
    pub(super) socket: Option<OwnedFd>,
    pub(super) stop: Stop,
}

/// The reason why sending stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// All requested octets were sent.
    Done,
    /// The socket's buffer is full.
    Full,
    /// The connection is lost.
    Lost,
    /// The system cannot send from this file, or to this socket.
    Unable,
}

/// Writes `pieces` at offset `at`; makes the file in `spool` if there is none yet.
pub(super) fn write(file: Option<File>, spool: &Path, at: u64, pieces: Vec<Bytes>) -> io::Result<Done> {
    let mut file = match file {
        Some(file) => file,
        None => tempfile::tempfile_in(spool)?,
    };
    file.seek(SeekFrom::Start(at))?;
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Done { file, what: What::Written })
}

/// A file of these pieces that is in memory only, at its start.
pub(super) fn in_memory(pieces: &[Bytes]) -> io::Result<File> {
    let file = File::from(memfd_create("message", MFdFlags::MFD_CLOEXEC)?);
    let mut at = 0;
    for piece in pieces {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(file)
}

/// The file at its start. Nothing waits for the disk.
pub(super) fn from_start(mut file: File) -> io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Reads the octets from `at` to `end`, at most [`AT_ONCE`] of them.
pub(super) fn read(mut file: File, at: u64, end: u64, chunks: &Chunks) -> io::Result<Done> {
    file.seek(SeekFrom::Start(at))?;
    let mut wanted = end.saturating_sub(at).min(AT_ONCE);
    let mut pieces = Vec::with_capacity(AT_ONCE as usize / CHUNK);
    while wanted > 0 {
        let mut chunk = chunks.take();
        let taken = chunk.read(&mut file, wanted)?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        wanted -= taken as u64;
        pieces.push(chunk.freeze());
    }
    Ok(Done { file, what: What::Read(at, pieces) })
}

/// Sends the octets from `at` to `end`, at most [`SENT_AT_ONCE`] of them, without copying them to user space. `socket`
/// must be non-blocking.
pub(super) fn send(file: File, socket: OwnedFd, at: u64, end: u64) -> io::Result<Done> {
    let end = end.min(at.saturating_add(SENT_AT_ONCE));
    let mut next = off_t::try_from(at).map_err(io::Error::other)?;
    let (octets, stop) = loop {
        let octets = u64::try_from(next).map_err(io::Error::other)? - at;
        if at + octets >= end {
            break (octets, Stop::Done);
        }
        let left = usize::try_from(end - at - octets).unwrap_or(usize::MAX);
        match sendfile(&socket, &file, Some(&mut next), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => break (octets, Stop::Full),
            Err(Errno::EINVAL | Errno::ENOSYS) => break (octets, Stop::Unable),
            Err(Errno::EIO) => return Err(Errno::EIO.into()),
            Err(_) => break (octets, Stop::Lost),
        }
    };
    let socket = matches!(stop, Stop::Done | Stop::Full).then_some(socket);
    Ok(Done { file, what: What::Sent(at, Sent { octets, socket, stop }) })
}

/// Free octets for an ordinary user on the file system of `path`.
pub(super) fn free_octets(path: &Path) -> io::Result<u64> {
    let system = statvfs(path)?;
    Ok(system.blocks_available().saturating_mul(system.fragment_size()))
}

/// Octets of one disk read or write: going to another thread and back costs more than a small write.
pub(super) const AT_ONCE: u64 = 256 * 1024;

/// Octets of one send, which needs no memory of ours.
const SENT_AT_ONCE: u64 = 1024 * 1024;
