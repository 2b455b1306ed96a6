//! Reading and writing one stream within one future, without splitting it and without a task: whichever can go on first.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;

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
    /// So many octets.
    Written(io::Result<usize>),
    /// All that was written is on its way.
    Flushed(io::Result<()>),
}

/// Resolves when one of the wishes is fulfilled; dropping it loses nothing.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, mut wish: Wish<'_>) -> Done {
    poll_fn(|cx| {
        if let Some(outbox) = &mut wish.write
            && let Poll::Ready(result) = pin!(stream.write_buf(outbox)).poll(cx)
        {
            return Poll::Ready(Done::Written(result));
        }
        if wish.flush
            && wish.write.is_none()
            && let Poll::Ready(result) = Pin::new(&mut *stream).poll_flush(cx)
        {
            return Poll::Ready(Done::Flushed(result));
        }
        if let Some((buffer, room)) = &mut wish.read {
            buffer.reserve(*room);
            if let Poll::Ready(result) = pin!(stream.read_buf(*buffer)).poll(cx) {
                return Poll::Ready(Done::Read(result));
            }
            // Who waits keeps no room: most sessions wait most of the time.
            if buffer.is_empty() {
                **buffer = BytesMut::new();
            }
        }
        Poll::Pending
    })
    .await
}
