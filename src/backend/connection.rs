//! One session with the backend, whatever carries it. Dropping it ends the session: the other side hears end of file.
//! It must not outlive what it pays for: the place goes back when the stream is closed, a child's when it was reaped.

use std::fmt;
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
use tokio_rustls::client::TlsStream;

use crate::backend::OpenFault;
use crate::backend::Visitor;
use crate::backend::maildir;
use crate::backend::places::Place;
use crate::backend::tls::Secure;

/// An open session with the backend.
pub struct Connection {
    stream: Stream,
}

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
        /// For STARTTLS.
        secure: Option<Box<Secure>>,
        place: Place,
    },
    Tls {
        stream: Box<TlsStream<TcpStream>>,
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

    pub(super) fn tcp(stream: TcpStream, secure: Option<Secure>, place: Place) -> Self {
        Self { stream: Stream::Tcp { stream, secure: secure.map(Box::new), place } }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, place: Place) -> Self {
        Self { stream: Stream::Tls { stream: Box::new(stream), _place: place } }
    }

    /// The TLS handshake, after the backend's 220 to STARTTLS.
    ///
    /// # Errors
    /// It failed, or there is nothing to secure.
    pub async fn secure(self) -> Result<Self, OpenFault> {
        match self.stream {
            Stream::Tcp { stream, secure: Some(secure), place } => {
                let stream = secure.connect(stream).await.map_err(OpenFault::Unavailable)?;
                Ok(Self::tls(stream, place))
            }
            _ => Err(OpenFault::Unavailable("this backend has no TLS".to_owned())),
        }
    }

    /// Tells the backend at once that its octets have come. mailfront writes each reply by itself under Nagle: without it
    /// the second of two waits 40 ms. The kernel forgets the option; a failure costs only speed.
    pub fn acknowledge(&self) {
        let socket = match &self.stream {
            Stream::Tcp { stream, .. } => stream,
            Stream::Tls { stream, .. } => stream.get_ref().0,
            Stream::Pipe(_) | Stream::Spawn { .. } => return,
        };
        let _ = socket.set_quickack(true);
    }

    fn wire(&mut self) -> Pin<&mut dyn Wire> {
        match &mut self.stream {
            Stream::Pipe(stream) => Pin::new(stream),
            Stream::Spawn { stream, .. } => Pin::new(stream),
            Stream::Tcp { stream, .. } => Pin::new(stream),
            Stream::Tls { stream, .. } => Pin::new(&mut **stream),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire().poll_read(context, buffer)
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
