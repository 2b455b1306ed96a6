//! The blocking half of a hold: all that waits for a disk, to be run where blocking is allowed. The file has no name
//! (O_TMPFILE, or unlinked at once), so that nothing of a message is left when we are killed.

use std::fs::File;
use std::io;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use nix::sys::statvfs::statvfs;

use crate::hold::chunks::CHUNK;
use crate::hold::chunks::Chunks;

/// What a piece of work gives back.
pub(super) struct Done {
    pub(super) file: File,
    /// Where in the file the pieces begin, and the pieces; none for a write.
    pub(super) pieces: Option<(u64, Vec<Bytes>)>,
}

/// Writes `pieces` at `at`; makes the file in `spool` when there is none yet.
pub(super) fn write(file: Option<File>, spool: &Path, at: u64, pieces: Vec<Bytes>) -> io::Result<Done> {
    let mut file = match file {
        Some(file) => file,
        None => tempfile::tempfile_in(spool)?,
    };
    file.seek(SeekFrom::Start(at))?;
    for piece in pieces {
        file.write_all(&piece)?;
    }
    Ok(Done { file, pieces: None })
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
    Ok(Done { file, pieces: Some((at, pieces)) })
}

/// Octets that an ordinary user may still write on the file system of `path`.
pub(super) fn free_octets(path: &Path) -> io::Result<u64> {
    let system = statvfs(path)?;
    Ok(system.blocks_available().saturating_mul(system.fragment_size()))
}

/// Octets that go to or come from the disk at a time: the way to another thread and back costs more than a small write.
pub(super) const AT_ONCE: u64 = 256 * 1024;
