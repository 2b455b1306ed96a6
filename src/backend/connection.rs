//! One session with the backend, whatever carries it. Dropping it ends the session: the other side hears end of file.
//! It must not outlive what it pays for: the place goes back when the stream is closed, a child's when it was reaped.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use futures_util::FutureExt;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::backend::OpenFault;
use crate::backend::Settings;
use crate::backend::Visitor;
use crate::backend::maildir;
use crate::backend::permits::Place;
use crate::backend::tls::Secure;

/// An open session with the backend.
pub struct Connection {
    stream: Stream,
    /// What it was opened under, when it may serve another client after this one.
    terms: Option<Terms>,
    /// Another client was served before, so that no greeting comes.
    is_greeted: bool,
}

/// Of a session that may be kept.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) settings: Arc<Settings>,
    /// It is not kept after that.
    pub(super) until: Instant,
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
        /// None while it is kept for the next client.
        place: Option<Place>,
    },
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        place: Option<Place>,
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
        Self::new(Stream::Pipe(ours))
    }

    pub(super) fn spawn(stream: UnixStream, open: oneshot::Sender<()>) -> Self {
        Self::new(Stream::Spawn { stream, _open: open })
    }

    pub(super) fn tcp(stream: TcpStream, secure: Option<Secure>, place: Place) -> Self {
        Self::new(Stream::Tcp { stream, secure: secure.map(Box::new), place: Some(place) })
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, place: Place) -> Self {
        Self::new(Stream::Tls { stream: Box::new(stream), place: Some(place) })
    }

    fn new(stream: Stream) -> Self {
        Self { stream, terms: None, is_greeted: false }
    }

    /// It may be kept for the next client under these terms.
    pub(super) fn on(self, terms: Terms) -> Self {
        Self { terms: Some(terms), ..self }
    }

    pub(super) fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Its place, which is given back when it is dropped; from now on the session is nobody's.
    pub(super) fn leave(&mut self) -> Option<Place> {
        match &mut self.stream {
            Stream::Tcp { place, .. } | Stream::Tls { place, .. } => place.take(),
            Stream::Pipe(_) | Stream::Spawn { .. } => None,
        }
    }

    /// The session is that of the client who has `taken`.
    pub(super) fn enter(&mut self, taken: Place) {
        self.is_greeted = true;
        match &mut self.stream {
            Stream::Tcp { place, .. } | Stream::Tls { place, .. } => *place = Some(taken),
            Stream::Pipe(_) | Stream::Spawn { .. } => {}
        }
    }

    /// Whether it has served another client before: it does not greet again.
    pub fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// Whether nothing has come, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        let socket = match &self.stream {
            Stream::Tcp { stream, .. } => stream.as_fd(),
            Stream::Tls { stream, .. } => stream.get_ref().0.as_fd(),
            Stream::Pipe(_) | Stream::Spawn { .. } => return false,
        };
        let mut asked = [PollFd::new(socket, PollFlags::POLLIN)];
        matches!(poll(&mut asked, PollTimeout::ZERO), Ok(0))
    }

    /// Ends it. QUIT is a courtesy: it goes out at once or not at all.
    pub fn end(mut self) {
        let _ = self.write_all(b"QUIT\r\n").now_or_never();
    }

    /// The TLS handshake, after the backend's 220 to STARTTLS.
    ///
    /// # Errors
    /// It failed, or there is nothing to secure.
    pub async fn secure(self) -> Result<Self, OpenFault> {
        match self.stream {
            Stream::Tcp { stream, secure: Some(secure), place } => {
                let stream = secure.connect(stream).await.map_err(OpenFault::Unavailable)?;
                let stream = Stream::Tls { stream: Box::new(stream), place };
                Ok(Self { stream, terms: self.terms, is_greeted: false })
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

    /// Another descriptor of the same socket, to which a file can go by itself; `None` where octets have to pass us.
    pub fn socket(&self) -> Option<OwnedFd> {
        match &self.stream {
            Stream::Tcp { stream, .. } => stream.as_fd().try_clone_to_owned().ok(),
            Stream::Spawn { stream, .. } => stream.as_fd().try_clone_to_owned().ok(),
            Stream::Pipe(_) | Stream::Tls { .. } => None,
        }
    }

    /// Ready when the [`Self::socket`] takes octets again, or never will.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            Stream::Tcp { stream, .. } => poll_room(
                context,
                |context| stream.poll_write_ready(context),
                || stream.try_io(Interest::WRITABLE, || has_room(stream.as_fd())),
            ),
            Stream::Spawn { stream, .. } => poll_room(
                context,
                |context| stream.poll_write_ready(context),
                || stream.try_io(Interest::WRITABLE, || has_room(stream.as_fd())),
            ),
            Stream::Pipe(_) | Stream::Tls { .. } => Poll::Ready(()),
        }
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

/// What was written past the runtime left it with the belief that there is room: the system is asked, and what it says
/// corrects that.
fn poll_room(
    context: &mut Context<'_>,
    mut poll_ready: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ask: impl Fn() -> io::Result<()>,
) -> Poll<()> {
    loop {
        match poll_ready(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => {}
        }
        match ask() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(()) | Err(_) => return Poll::Ready(()),
        }
    }
}

/// `WouldBlock`: it has none.
fn has_room(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut asked = [PollFd::new(socket, PollFlags::POLLOUT)];
    match poll(&mut asked, PollTimeout::ZERO)? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Octets on their way between us and our own server, each direction.
const PIPE: usize = 64 * 1024;
