//! The admin interface: HTTP on a thread and runtime of its own, so that neither a storm nor a slow reader of it holds
//! up the other. `routes` has the answers. It must not be reachable from another host.

pub mod client;
mod metrics;
mod page;
mod places;
mod process;
mod routes;
mod token;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::time::timeout;

use crate::admin::places::Places;
use crate::admin::routes::AppState;
use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::front::bind;
use crate::status::Handles;
use crate::status::live::Live;

/// A bound listener that does not answer yet, and for TCP the token.
pub(super) enum Bound {
    Tcp(std::net::TcpListener, String),
    Unix(std::os::unix::net::UnixListener),
}

/// The reason why there is no admin interface.
#[derive(Debug)]
pub enum AdminFault {
    /// The address of `admin.listen` cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// Something else, and the remedy.
    Other(String),
}

/// Binds, after the user was changed, and makes the token if there is none. `None`: the interface is off.
pub(super) fn bind(admin: &Admin) -> Result<Option<Bound>, AdminFault> {
    match &admin.listen {
        AdminListen::Off => Ok(None),
        AdminListen::Tcp(address) => {
            let listener = bind::bind(*address, false).map_err(|error| AdminFault::Bind(*address, error))?;
            let token = token::read_or_make(&admin.token_file).map_err(AdminFault::Other)?;
            Ok(Some(Bound::Tcp(listener, token)))
        }
        AdminListen::Unix(path) => {
            let told =
                |error| AdminFault::Other(format!("admin.listen: {}: {error}; write another path", path.display()));
            Ok(Some(Bound::Unix(listen_unix(path).map_err(told)?)))
        }
    }
}

/// Answers requests until the process ends.
pub(super) fn start(bound: Bound, handles: Handles) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("portcullis-admin".to_owned());
    thread.spawn(move || runtime.block_on(listen(bound, handles)))?;
    Ok(())
}

async fn listen(bound: Bound, handles: Handles) {
    let places = Arc::new(Places::default());
    match bound {
        Bound::Tcp(listener, token) => {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let router = routes::router(AppState { live: Live::new(handles.clone()), handles, token: Some(token) });
            loop {
                accept(listener.accept().await.map(|accepted| accepted.0), &router, &places).await;
            }
        }
        Bound::Unix(listener) => {
            let Ok(listener) = UnixListener::from_std(listener) else { return };
            let router = routes::router(AppState { live: Live::new(handles.clone()), handles, token: None });
            loop {
                accept(listener.accept().await.map(|accepted| accepted.0), &router, &places).await;
            }
        }
    }
}

async fn accept<S>(accepted: io::Result<S>, router: &Router, places: &Arc<Places>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else { return tokio::time::sleep(PAUSE).await };
    // All slots belong to requests with the token: the client has to try again.
    let Some(place) = places.take() else { return };
    let service = TowerToHyperService::new(router.clone().layer(Extension(place.visit())));
    tokio::spawn(async move {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER).keep_alive(false);
        let served = timeout(WHOLE, server.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = served => {}
            () = place.left() => {}
        }
    });
}

/// Binds the socket, replacing one that a killed process left behind, but neither one that answers nor a file of any other
/// kind.
fn listen_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(io::Error::other(TOO_LONG));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(io::Error::other(NOT_A_SOCKET)),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What keeps the interface from starting, as far as the files tell that it would bind: the key of the configuration, the
/// error, and the remedy. Nothing is connected to or changed.
pub(super) fn obstacle(admin: &Admin) -> Option<(&'static str, String)> {
    match &admin.listen {
        AdminListen::Off => None,
        AdminListen::Tcp(_) => {
            let metadata = fs::symlink_metadata(&admin.token_file).ok()?;
            let (what, remedy) = token::flaw(&metadata, &admin.token_file)?;
            Some(("admin.token_file", format!("{}: {what}; {remedy}", admin.token_file.display())))
        }
        AdminListen::Unix(path) => {
            let is_other = || fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket());
            let what = match () {
                () if path.as_os_str().len() > LONGEST_SOCKET => TOO_LONG,
                () if is_other() => NOT_A_SOCKET,
                () => return None,
            };
            Some(("admin.listen", format!("{}: {what}; write another path", path.display())))
        }
    }
}

/// Octets of a socket's path (unix(7), sun_path).
const LONGEST_SOCKET: usize = 107;
const TOO_LONG: &str = "the path of a socket has at most 107 octets";
const NOT_A_SOCKET: &str = "is a file, not a socket, and is left alone";
const HEADER: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_socket_that_nobody_answers_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        drop(listen_unix(&at("stale")).unwrap());
        fs::write(at("file"), "precious").unwrap();
        symlink(at("file"), at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let live = listen_unix(&at("stale")).unwrap();
        assert_eq!(listen_unix(&at("stale")).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        for name in ["file", "link", "folder"] {
            let error = listen_unix(&at(name)).unwrap_err().to_string();
            assert_eq!(error, "is a file, not a socket, and is left alone", "{name}");
        }
        assert_eq!(fs::metadata(at("link")).unwrap().len(), 8);
        let long = at(&"x".repeat(108));
        assert_eq!(listen_unix(&long).unwrap_err().to_string(), "the path of a socket has at most 107 octets");
    }
}
