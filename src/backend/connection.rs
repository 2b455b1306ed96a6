//! One session with the backend, over TCP, TLS, a unix socket, a child's socket or a pipe. Dropping it ends the session:
//! the other side gets end of file. It must not give its permit back before the stream is closed, a child's before it was reaped.

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
use std::task::ready;

use futures_util::FutureExt;
use nix::errno::Errno;
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

use crate::backend::ClientInfo;
use crate::backend::OpenFault;
use crate::backend::Settings;
use crate::backend::maildir;
use crate::backend::permits::Permit;
use crate::backend::tls::Secure;

/// An open session with the backend.
pub struct Connection {
    // Before the permit: fields are dropped in this order.
    stream: Stream,
    /// Held while a client has the session. `None` in the idle pool; the server of a Maildir and the keeper of a child hold
    /// their own.
    permit: Option<Permit>,
    /// Settings for STARTTLS.
    secure: Option<Box<Secure>>,
    /// The terms of reuse; `None`: the session must not serve another client.
    reuse: Option<ReusePolicy>,
    /// Whether another client was served before, so that no greeting comes.
    is_greeted: bool,
}

/// The conditions under which a session may serve one client after another.
#[derive(Debug)]
pub(super) struct ReusePolicy {
    /// The settings that the session was opened under; under others it must not be used.
    pub(super) settings: Arc<Settings>,
    /// The end of its life.
    pub(super) until: Instant,
}

enum Stream {
    /// Our own server, a task of this process.
    Pipe(DuplexStream),
    /// A child; its keeper cleans up when `_open` is dropped.
    Spawn {
        stream: UnixStream,
        _open: oneshot::Sender<()>,
    },
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Connection {
    pub(super) fn maildir(maildir: PathBuf, hostname: &str, client: &ClientInfo, permit: Permit) -> Self {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let ClientInfo { address, host, helo, .. } = client.clone();
        let server = maildir::serve(theirs, maildir, hostname.to_owned(), address, host, helo);
        tokio::spawn(async move {
            server.await;
            drop(permit);
        });
        Self::new(Stream::Pipe(ours), None)
    }

    pub(super) fn spawn(stream: UnixStream, open: oneshot::Sender<()>) -> Self {
        Self::new(Stream::Spawn { stream, _open: open }, None)
    }

    pub(super) fn tcp(stream: TcpStream, secure: Option<Secure>, permit: Permit) -> Self {
        Self { secure: secure.map(Box::new), ..Self::new(Stream::Tcp(stream), Some(permit)) }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, permit: Permit) -> Self {
        Self::new(Stream::Tls(Box::new(stream)), Some(permit))
    }

    pub(super) fn unix(stream: UnixStream, permit: Permit) -> Self {
        Self::new(Stream::Unix(stream), Some(permit))
    }

    fn new(stream: Stream, permit: Option<Permit>) -> Self {
        Self { stream, permit, secure: None, reuse: None, is_greeted: false }
    }

    /// Lets the session serve other clients after this one, under this policy.
    pub(super) fn reusable(self, policy: ReusePolicy) -> Self {
        Self { reuse: Some(policy), ..self }
    }

    /// Whether it may serve another client, under `settings`.
    pub(super) fn may_serve(&self, settings: &Arc<Settings>, now: Instant) -> bool {
        self.reuse.as_ref().is_some_and(|policy| Arc::ptr_eq(&policy.settings, settings) && policy.until > now)
    }

    /// Prepares the session for the pool. Gives its permit, which is released when dropped.
    pub(super) fn check_in(&mut self) -> Option<Permit> {
        self.permit.take()
    }

    /// Takes the session out of the pool, for the client that has acquired `permit`.
    pub(super) fn check_out(self, permit: Permit) -> Self {
        Self { permit: Some(permit), is_greeted: true, ..self }
    }

    /// Whether the session has served another client before: it does not greet again.
    pub fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// Whether nothing has come over the connection to a server, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        let socket = match &self.stream {
            Stream::Unix(stream) => Some(stream.as_fd()),
            _ => self.tcp_stream().map(AsFd::as_fd),
        };
        socket.is_some_and(|socket| matches!(poll_now(socket, PollFlags::POLLIN), Ok(0)))
    }

    /// Ends the session. QUIT is a courtesy: it goes out at once or not at all.
    pub fn end(mut self) {
        let _ = self.write_all(b"QUIT\r\n").now_or_never();
    }

    /// Does the TLS handshake, after the backend's 220 to STARTTLS.
    ///
    /// # Errors
    /// The handshake failed, or the connection has no TLS settings.
    pub async fn secure(self) -> Result<Self, OpenFault> {
        let (Stream::Tcp(stream), Some(secure)) = (self.stream, self.secure) else {
            return Err(OpenFault::Unavailable("this backend has no TLS".to_owned()));
        };
        let stream = secure.connect(stream).await.map_err(OpenFault::Unavailable)?;
        Ok(Self { reuse: self.reuse, ..Self::new(Stream::Tls(Box::new(stream)), self.permit) })
    }

    /// Tells the backend at once that its octets have come. mailfront writes each reply by itself under Nagle: without it
    /// the second of two waits 40 ms. The kernel forgets the option; a failure costs only speed.
    pub fn acknowledge(&self) {
        if let Some(stream) = self.tcp_stream() {
            let _ = stream.set_quickack(true);
        }
    }

    /// Another descriptor of the same socket, to which a file can go by itself; `None` where octets have to pass us.
    pub fn duplicate_socket(&self) -> Option<OwnedFd> {
        self.socket()?.as_fd().try_clone_to_owned().ok()
    }

    /// Ready when the socket takes octets again, or never will: a file went there by way of
    /// [`Self::duplicate_socket`].
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = self.socket() else { return Poll::Ready(()) };
        loop {
            if ready!(socket.poll_writable(context)).is_err() {
                return Poll::Ready(());
            }
            match socket.ask_room() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// The TCP connection, beneath TLS too.
    fn tcp_stream(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.get_ref().0),
            Stream::Pipe(_) | Stream::Spawn { .. } | Stream::Unix(_) => None,
        }
    }

    /// The socket that octets go to as they are.
    fn socket(&self) -> Option<&dyn Socket> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Spawn { stream, .. } | Stream::Unix(stream) => Some(stream),
            Stream::Pipe(_) | Stream::Tls(_) => None,
        }
    }

    fn wire(&mut self) -> Pin<&mut dyn Wire> {
        match &mut self.stream {
            Stream::Pipe(stream) => Pin::new(stream),
            Stream::Spawn { stream, .. } | Stream::Unix(stream) => Pin::new(stream),
            Stream::Tcp(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(&mut **stream),
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

/// A socket that the runtime watches.
trait Socket: AsFd {
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// `WouldBlock`: there is no room. Octets that were written past the runtime left it with the belief that there is: the
    /// system is asked, and its answer corrects that.
    fn ask_room(&self) -> io::Result<()>;
}

macro_rules! watched {
    ($kind:ty) => {
        impl Socket for $kind {
            fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(context)
            }

            fn ask_room(&self) -> io::Result<()> {
                self.try_io(Interest::WRITABLE, || match poll_now(self.as_fd(), PollFlags::POLLOUT)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                })
            }
        }
    };
}

watched!(TcpStream);
watched!(UnixStream);

/// The number of descriptors, 0 or 1, that are ready for it.
fn poll_now(socket: BorrowedFd<'_>, flags: PollFlags) -> Result<i32, Errno> {
    poll(&mut [PollFd::new(socket, flags)], PollTimeout::ZERO)
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Octets of the pipe to our own server, each direction.
const PIPE: usize = 64 * 1024;
