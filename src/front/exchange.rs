//! One side of a session, client or backend: its stream and the octets that wait on either way. It is read and written
//! within one future, without splitting the stream and without a task: whichever can go on first. It must not know which
//! side it is.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf;
use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;

use crate::front::outbox::Outbox;

/// A stream and the octets on their way from it and to it.
#[derive(Debug, Default)]
pub(super) struct Side<S> {
    pub(super) stream: S,
    /// Octets read and not used yet.
    pub(super) input: BytesMut,
    /// Octets not written yet.
    pub(super) outbox: Outbox,
    /// Whether octets that were written may still be inside TLS.
    is_unflushed: bool,
}

/// The work on a side that is wanted now, besides the flush of what was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interest {
    /// Octets to read at once; 0: none.
    pub(super) reads: usize,
    /// Whether the outbox may go out.
    pub(super) writes: bool,
}

/// One step of the exchange with a side.
#[derive(Debug)]
pub(super) enum Done {
    /// A read of so many octets; 0 is the end.
    Read(io::Result<usize>),
    /// Octets were written or flushed. A stream that failed takes no more: its outbox is empty.
    Written(io::Result<()>),
}

impl<S> Side<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), outbox: Outbox::default(), is_unflushed: false }
    }

    /// Whether everything written is in the system's hands.
    pub(super) fn is_written(&self) -> bool {
        self.outbox.is_empty() && !self.is_unflushed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    /// Ready when something was done. Pending loses nothing: the next time it may be asked with another interest.
    pub(super) fn poll(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<Done> {
        let writes = interest.writes && !self.outbox.is_empty();
        if writes && let Poll::Ready(result) = poll_write(&mut self.stream, &mut self.outbox, cx) {
            // Flush in the same turn what TLS holds back, if possible.
            self.is_unflushed = !self.outbox.is_empty() || !matches!(self.poll_flush(cx), Poll::Ready(Ok(())));
            return Poll::Ready(self.written(result));
        }
        if self.is_unflushed
            && !writes
            && let Poll::Ready(result) = self.poll_flush(cx)
        {
            self.is_unflushed = false;
            return Poll::Ready(self.written(result));
        }
        if interest.reads > 0
            && let Poll::Ready(result) = poll_read(&mut self.stream, &mut self.input, interest.reads, cx)
        {
            return Poll::Ready(Done::Read(result));
        }
        Poll::Pending
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn written(&mut self, result: io::Result<()>) -> Done {
        if result.is_err() {
            self.outbox.clear();
            self.is_unflushed = false;
        }
        Done::Written(result)
    }
}

/// Writes from the outbox. One piece goes out as it is; gathering costs more than it brings.
fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if !outbox.is_one_piece() {
        return pin!(stream.write_buf(outbox)).poll(cx).map_ok(drop);
    }
    let written = ready!(Pin::new(stream).poll_write(cx, outbox.chunk()))?;
    outbox.advance(written);
    Poll::Ready(Ok(()))
}

/// Idle sessions hold no read buffer, because most sessions are idle most of the time: reads go through one buffer per
/// thread. Only where more than that may be there, of a long message, octets are read to where they stay.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    room: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if room > SHARED_ROOM {
        buffer.reserve(room);
        let result = pin!(stream.read_buf(buffer)).poll(cx);
        if result.is_pending() && buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        return result;
    }
    ROOM.with_borrow_mut(|shared| {
        let mut read = ReadBuf::new(&mut shared[..room]);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

thread_local! {
    static ROOM: RefCell<[u8; SHARED_ROOM]> = const { RefCell::new([0; SHARED_ROOM]) };
}

/// Octets of the buffer that the sessions of a thread share.
pub(super) const SHARED_ROOM: usize = 16 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use tokio::io::BufStream;
    use tokio::io::duplex;

    use super::*;

    /// As under TLS: what is written stays until it is flushed.
    #[tokio::test]
    async fn what_is_kept_back_leaves_in_the_same_turn_or_when_there_is_room() {
        for (room, at_once) in [(1024, true), (16, false)] {
            let (ours, mut theirs) = duplex(room);
            let mut side = Side::new(BufStream::new(ours));
            side.outbox.push(Bytes::from(vec![b'x'; 100]));
            let interest = Interest { reads: 0, writes: true };
            let done = poll_fn(|cx| side.poll(interest, cx)).await;
            assert!(matches!(done, Done::Written(Ok(()))) && side.outbox.is_empty(), "{done:?}");
            assert_eq!(side.is_written(), at_once);
            let mut taken = vec![0; 100];
            if !at_once {
                let flushed = poll_fn(|cx| side.poll(interest, cx));
                let (done, read) = tokio::join!(flushed, theirs.read_exact(&mut taken));
                assert!(matches!(done, Done::Written(Ok(()))) && read.is_ok(), "{done:?}");
                assert!(side.is_written());
            } else {
                theirs.read_exact(&mut taken).await.unwrap();
            }
            assert_eq!(taken, [b'x'; 100]);
        }
    }
}
