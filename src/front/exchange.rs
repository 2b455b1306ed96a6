//! Reading and writing one stream within one future, without splitting it and without a task: whichever can go on first.

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

/// What is wanted of a stream now.
pub(super) struct Wish<'a> {
    /// Read into this, with room for so many octets.
    pub(super) read: Option<(&'a mut BytesMut, usize)>,
    /// Write this.
    pub(super) write: Option<&'a mut Outbox>,
    /// What was written may still wait inside TLS.
    pub(super) flush: bool,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    /// So many octets; 0 is the end.
    Read(io::Result<usize>),
    /// So many octets; `flushed`: with all before them they are on their way.
    Written { result: io::Result<usize>, flushed: bool },
    /// All that was written is on its way.
    Flushed(io::Result<()>),
}

/// Ready when one of the wishes is fulfilled. Pending loses nothing: the next time it may be asked with other wishes.
pub(super) fn poll_exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    wish: &mut Wish<'_>,
    cx: &mut Context<'_>,
) -> Poll<Done> {
    if let Some(outbox) = &mut wish.write
        && let Poll::Ready(result) = poll_write(stream, outbox, cx)
    {
        // What TLS keeps back leaves in the same turn where it can.
        let flushed = outbox.is_empty() && matches!(Pin::new(stream).poll_flush(cx), Poll::Ready(Ok(())));
        return Poll::Ready(Done::Written { result, flushed });
    }
    if wish.flush
        && wish.write.is_none()
        && let Poll::Ready(result) = Pin::new(&mut *stream).poll_flush(cx)
    {
        return Poll::Ready(Done::Flushed(result));
    }
    if let Some((buffer, room)) = &mut wish.read
        && let Poll::Ready(result) = poll_read(stream, buffer, *room, cx)
    {
        return Poll::Ready(Done::Read(result));
    }
    Poll::Pending
}

/// One piece goes out as it is; gathering costs more than it brings.
fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if !outbox.is_one_piece() {
        return pin!(stream.write_buf(outbox)).poll(cx);
    }
    let written = ready!(Pin::new(stream).poll_write(cx, outbox.chunk()))?;
    outbox.advance(written);
    Poll::Ready(Ok(written))
}

/// Idle sessions hold no read buffer, because most are idle most of the time: input is read through room that all have
/// together. Only of a long message, of which more than that may be there, is it read to where it stays.
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

/// Octets of it.
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
            let mut stream = BufStream::new(ours);
            let mut outbox = Outbox::default();
            outbox.push(Bytes::from(vec![b'x'; 100]));
            let mut wish = Wish { read: None, write: Some(&mut outbox), flush: false };
            let done = poll_fn(|cx| poll_exchange(&mut stream, &mut wish, cx)).await;
            assert!(matches!(done, Done::Written { result: Ok(100), flushed } if flushed == at_once), "{done:?}");
            let mut taken = vec![0; 100];
            if !at_once {
                let mut wish = Wish { read: None, write: None, flush: true };
                let flushed = poll_fn(|cx| poll_exchange(&mut stream, &mut wish, cx));
                let (done, read) = tokio::join!(flushed, theirs.read_exact(&mut taken));
                assert!(matches!(done, Done::Flushed(Ok(()))) && read.is_ok(), "{done:?}");
            } else {
                theirs.read_exact(&mut taken).await.unwrap();
            }
            assert_eq!(taken, [b'x'; 100]);
        }
    }
}
