//! One session with the backend, whatever carries it. Dropping it ends the session: the other side hears end of file.
//! It must not outlive what it pays for: the place goes back when the stream is closed, a child's when it was reaped.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::DuplexStream;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::backend::Visitor;
use crate::backend::maildir;
use crate::backend::places::Place;

/// An open session with the backend.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    /// Our own server, a task of this process that holds the place.
    Pipe(DuplexStream),
    /// A child; its keeper holds the place and cleans up when `_open` is dropped.
    Spawn {
        stream: UnixStream,
        _open: oneshot::Sender<()>,
    },
    Tcp {
        stream: TcpStream,
        _place: Place,
    },
}

impl Connection {
    pub(super) fn maildir(maildir: PathBuf, hostname: &str, visitor: &Visitor, place: Place) -> Self {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let Visitor { client, host, helo, .. } = visitor.clone();
        let server = maildir::serve(theirs, maildir, hostname.to_owned(), client, host, helo);
        tokio::spawn(async move {
            server.await;
            drop(place);
        });
        Self { stream: Stream::Pipe(ours) }
    }

    pub(super) fn spawn(stream: UnixStream, open: oneshot::Sender<()>) -> Self {
        Self { stream: Stream::Spawn { stream, _open: open } }
    }

    pub(super) fn tcp(stream: TcpStream, place: Place) -> Self {
        Self { stream: Stream::Tcp { stream, _place: place } }
    }

    fn wire(&mut self) -> Pin<&mut dyn Wire> {
        match &mut self.stream {
            Stream::Pipe(stream) => Pin::new(stream),
            Stream::Spawn { stream, .. } => Pin::new(stream),
            Stream::Tcp { stream, .. } => Pin::new(stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.wire().poll_read(context, buffer);
        if let Stream::Tcp { stream, .. } = &self.stream
            && buffer.filled().len() > before
        {
            // mailfront writes each reply by itself under Nagle: without an acknowledgement at once, the second of two
            // waits 40 ms. The kernel forgets the option, so after each read; a failure costs only speed.
            let _ = stream.set_quickack(true);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.wire().poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Octets on their way between us and our own server, each direction.
const PIPE: usize = 64 * 1024;
