//! The memory of held messages, reused: a fresh page costs as much as the copy into it. It must not keep more than
//! [`MOST_FREE`] free chunks, nor show octets of an earlier message: a chunk is never cleared, but only its written
//! part is visible.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;

/// The free chunks. A clone is the same list.
#[derive(Clone, Default)]
pub(super) struct Chunks {
    free: Arc<Mutex<Free>>,
}

#[derive(Default)]
struct Free {
    chunks: Vec<Vec<u8>>,
    /// The smallest number of free chunks since the last sweep: these were not needed.
    fewest: usize,
}

/// A piece of memory that returns to its list when it, or the last part of the `Bytes` it was frozen into, is dropped.
pub(super) struct Chunk {
    octets: Vec<u8>,
    home: Chunks,
}

impl Chunks {
    /// An empty chunk of [`CHUNK`] octets.
    pub(super) fn take(&self) -> Chunk {
        let mut free = self.lock();
        let chunk = free.chunks.pop();
        free.fewest = free.fewest.min(free.chunks.len());
        drop(free);
        Chunk { octets: chunk.unwrap_or_else(|| Vec::with_capacity(CHUNK)), home: self.clone() }
    }

    /// An empty chunk of [`SMALL`] octets, for the start of a message: most mail is that small, and the allocator
    /// reuses such pieces itself.
    pub(super) fn take_small(&self) -> Chunk {
        Chunk { octets: Vec::with_capacity(SMALL), home: self.clone() }
    }

    /// Returns chunks that were not needed since the last sweep to the system.
    pub(super) fn sweep(&self) {
        let mut free = self.lock();
        let kept = free.chunks.len() - free.fewest;
        let spare = free.chunks.split_off(kept);
        free.chunks.shrink_to_fit();
        free.fewest = kept;
        drop(free);
        drop(spare);
        nudge_allocator();
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees a large piece of memory, because mimalloc looks for memory to return to the system when something large is
/// freed; an idle thread never does. The piece is not touched and so costs nothing; if there is no room for it, nothing
/// is lost.
fn nudge_allocator() {
    let mut large: Vec<u8> = Vec::new();
    let _ = large.try_reserve_exact(LARGE);
    drop(black_box(large));
}

impl Chunk {
    /// Copies as many of `octets` as fit, and gives their number.
    pub(super) fn append(&mut self, octets: &[u8]) -> usize {
        let place = self.octets.capacity() - self.octets.len();
        let taken = octets.len().min(place);
        self.octets.extend_from_slice(&octets[..taken]);
        taken
    }

    /// Reads from `file`, from its current position, until the chunk has `wanted` octets (at most [`CHUNK`]) or the
    /// file ends.
    pub(super) fn read(&mut self, file: &mut File, wanted: u64) -> io::Result<usize> {
        file.take(wanted.min(CHUNK as u64)).read_to_end(&mut self.octets)
    }

    /// The octets of the chunk, immutable.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.octets.capacity() != CHUNK {
            return;
        }
        let mut octets = std::mem::take(&mut self.octets);
        octets.clear();
        let mut free = self.home.lock();
        if free.chunks.len() < MOST_FREE {
            free.chunks.push(octets);
        }
    }
}

/// Size of a chunk in octets.
pub(super) const CHUNK: usize = 64 * 1024;

/// Size of a message's first chunk in octets.
const SMALL: usize = 8 * 1024;

/// Octets allocated by `nudge_allocator`: more than a segment of the allocator.
const LARGE: usize = 64 << 20;

/// Free chunks kept, 32 MiB: the need of 64 messages on their way into files.
const MOST_FREE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_empty_when_its_last_part_is_gone() {
        let chunks = Chunks::default();
        let mut chunk = chunks.take();
        assert_eq!(chunk.append(b"first"), 5);
        let whole = chunk.freeze();
        let part = whole.slice(1..3);
        drop(whole);
        assert_eq!(chunks.lock().chunks.len(), 0);
        drop(part);
        assert_eq!(chunks.lock().chunks.len(), 1);
        let again = chunks.take();
        assert_eq!(again.as_ref(), b"");
        assert_eq!(chunks.lock().chunks.len(), 0);
    }

    #[test]
    fn a_full_chunk_takes_no_more() {
        let chunks = Chunks::default();
        for (mut chunk, size) in [(chunks.take(), CHUNK), (chunks.take_small(), SMALL)] {
            assert_eq!(chunk.append(&vec![b'x'; size + 1]), size);
            assert_eq!(chunk.append(b"x"), 0);
        }
        assert_eq!(chunks.lock().chunks.len(), 1, "only whole chunks are kept for later");
    }

    #[test]
    fn the_free_list_is_bounded() {
        let chunks = Chunks::default();
        let taken: Vec<Chunk> = (0..MOST_FREE + 9).map(|_| chunks.take()).collect();
        drop(taken);
        assert_eq!(chunks.lock().chunks.len(), MOST_FREE);
    }

    #[test]
    fn what_nobody_needs_is_given_back() {
        let chunks = Chunks::default();
        drop([(); 9].map(|()| chunks.take()));
        chunks.sweep();
        assert_eq!(chunks.lock().chunks.len(), 9, "they were needed a moment ago");
        drop([(); 2].map(|()| chunks.take()));
        chunks.sweep();
        assert_eq!(chunks.lock().chunks.len(), 2);
        chunks.sweep();
        assert_eq!(chunks.lock().chunks.len(), 0);
    }
}
