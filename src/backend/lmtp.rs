//! Connections to the unix socket of an LMTP server. It must not speak LMTP: the session does.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio::time::timeout;

/// Connects to the socket at `path`, within `limit`.
///
/// # Errors
/// A text that names the socket, and why there is no connection.
pub(super) async fn connect(path: &Path, limit: Duration) -> Result<UnixStream, String> {
    let connected = timeout(limit, connect_when_there_is_room(path)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::Error::other(format!("no connection within {limit:?}"))));
    connected.map_err(|error| format!("unix:{}: {error}", path.display()))
}

/// The server's queue of connections may be full: unix(7) tells of no time when it is not.
async fn connect_when_there_is_room(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BETWEEN_TRIES).await,
            connected => return connected,
        }
    }
}

const BETWEEN_TRIES: Duration = Duration::from_millis(20);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::AddressFamily;
    use nix::sys::socket::Backlog;
    use nix::sys::socket::SockFlag;
    use nix::sys::socket::SockType;
    use nix::sys::socket::UnixAddr;
    use nix::sys::socket::bind;
    use nix::sys::socket::listen;
    use nix::sys::socket::socket;

    use super::*;

    #[tokio::test]
    async fn an_error_names_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp");
        let why = connect(&path, LIMIT).await.unwrap_err();
        assert_eq!(why, format!("unix:{}: No such file or directory (os error 2)", path.display()));
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _first = connect(&path, LIMIT).await.unwrap();
        let why = connect(&path, Duration::from_millis(50)).await.unwrap_err();
        assert!(why.ends_with("lmtp: no connection within 50ms"), "{why}");
        let listener = UnixListener::from(listener);
        let (second, accepted) = tokio::join!(connect(&path, LIMIT), async { listener.accept() });
        assert!(second.is_ok() && accepted.is_ok());
    }

    const LIMIT: Duration = Duration::from_secs(10);
}
