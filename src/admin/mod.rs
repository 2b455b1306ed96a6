//! The admin interface: HTTP on a thread and runtime of its own, so that neither a storm nor a slow reader of it holds
//! up the other. `server` has the connections, `guard` says who may ask, `routes` and `api` have the answers. It must not
//! be reachable from another host.

mod answer;
mod api;
pub mod client;
pub mod daemon;
mod guard;
mod limits;
mod login;
mod logins;
mod metrics;
mod places;
mod process;
mod routes;
mod server;
mod steady;
mod stream;
mod token;
mod web;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use blake3::Hash;
use tokio::sync::Mutex;

use crate::admin::answer::Fault;
use crate::admin::api::events::News;
use crate::admin::daemon::Checked;
use crate::admin::daemon::Daemon;
use crate::admin::daemon::Desk;
use crate::admin::guard::Who;
use crate::admin::limits::Limits;
use crate::admin::logins::Logins;
use crate::admin::web::live::Painted;
use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::front::bind;
use crate::status::Handles;
use crate::status::live::Live;
use crate::status::live::Published;
use crate::store::clock::Time;

/// What the handlers of all requests share.
#[derive(Clone)]
struct App {
    handles: Handles,
    live: Arc<Live>,
    /// The hash of the token. `None`: the socket's mode is enough.
    token: Option<Hash>,
    /// The file that has the token.
    token_file: Arc<Path>,
    logins: Arc<Logins>,
    limits: Arc<Limits>,
    desk: Arc<Desk>,
    news: Arc<News>,
    /// The same for open pages, and what of them changes each second.
    rows: Arc<News>,
    painted: Arc<Painted>,
    /// The last check, and when it was made.
    checked: Arc<Mutex<Option<(Time, Arc<Checked>)>>>,
    /// Held while the daemon reads files for a request: one at a time.
    reads: Arc<Mutex<()>>,
}

/// A bound listener that does not answer yet, and for TCP the token with its file.
pub(super) enum Bound {
    Tcp(std::net::TcpListener, String, Arc<Path>),
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
            let file = std::path::absolute(&admin.token_file).unwrap_or_else(|_| admin.token_file.clone());
            Ok(Some(Bound::Tcp(listener, token, file.into())))
        }
        AdminListen::Unix(path) => {
            let told =
                |error| AdminFault::Other(format!("admin.listen: {}: {error}; write another path", path.display()));
            Ok(Some(Bound::Unix(listen_unix(path).map_err(told)?)))
        }
    }
}

/// Answers requests until the process ends.
pub(super) fn start(bound: Bound, handles: Handles, desk: Desk) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (token, token_file) = match &bound {
        Bound::Tcp(_, token, file) => (Some(blake3::hash(token.as_bytes())), file.clone()),
        Bound::Unix(_) => (None, Path::new("").into()),
    };
    let app = App {
        live: Live::new(handles.clone()),
        handles,
        token,
        token_file,
        logins: Arc::new(Logins::new()?),
        limits: Arc::new(Limits::new()),
        desk: Arc::new(desk),
        news: Arc::new(News::json()),
        rows: Arc::new(web::live::news()),
        painted: Arc::default(),
        checked: Arc::default(),
        reads: Arc::default(),
    };
    let thread = std::thread::Builder::new().name("portcullis-admin".to_owned());
    thread.spawn(move || {
        let router = routes::router(app);
        match bound {
            Bound::Tcp(listener, ..) => runtime.block_on(server::serve_tcp(listener, router)),
            Bound::Unix(listener) => runtime.block_on(server::serve_unix(listener, router)),
        }
    })?;
    Ok(())
}

impl App {
    fn now(&self) -> Time {
        self.handles.services.state.tables().clock.now()
    }

    /// The status: of this moment for the operator, and else a second old at most, so that no one may have it made over
    /// and over.
    fn status(&self, who: &Who) -> Arc<Published> {
        if *who == Who::Operator { self.live.fresh() } else { self.live.latest() }
    }

    /// What the daemon says, which may read files for it.
    ///
    /// # Errors
    /// It panicked.
    async fn of_daemon<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Daemon) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let one = self.reads.clone().lock_owned().await;
        let desk = self.desk.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let _one = one;
            ask(&*desk.daemon)
        });
        asked.await.map_err(|_| Fault::broken("the files could not be looked at: see the log"))
    }
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
