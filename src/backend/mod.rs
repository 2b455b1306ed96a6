//! The server or program behind us: tcp, lmtp, spawn, queue, maildir.
//!
//! A session asks [`Backends`] for a [`Connection`] and speaks SMTP over it. This folder opens, limits and cleans up. It must
//! not read or write a word of SMTP itself, but for the QUIT with which a session ends (the maildir's own small server is
//! the exception: it is a backend).

mod asking;
mod connection;
mod environment;
mod lmtp;
mod log;
mod maildir;
mod obstacle;
mod offers;
mod permits;
mod pool;
mod queue;
mod settings;
mod spawn;
mod tcp;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::backend::connection::ReusePolicy;
use crate::backend::offers::Offers;
use crate::backend::permits::Permit;
use crate::backend::permits::Permits;
use crate::backend::permits::for_logins;
use crate::backend::pool::IdlePool;
use crate::backend::tls::Secure;
use crate::policy::environment::Environment;
use crate::smtp::reply::Offer;
use crate::smtp::reply_reader::BackendReply;

pub use crate::backend::asking::Asking;
pub use crate::backend::asking::AskingEnd;
pub use crate::backend::asking::Turn;
pub use crate::backend::connection::Connection;
pub use crate::backend::obstacle::obstacle;
pub use crate::backend::offers::News;
pub use crate::backend::queue::Envelope;
pub use crate::backend::queue::chosen as chosen_queue;
pub use crate::backend::queue::qmail_home;
pub use crate::backend::settings::Endpoint;
pub use crate::backend::settings::Identity;
pub use crate::backend::settings::Settings;
pub use crate::backend::settings::Target;
pub use crate::backend::settings::Tls;

/// The client on whose behalf a backend is opened.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's address and port.
    pub address: SocketAddr,
    /// The address and port that the client connected to.
    pub local: SocketAddr,
    /// The client's name, when it was looked up and found: TCPREMOTEHOST.
    pub host: Option<String>,
    /// The name by which the client called itself in EHLO or HELO.
    pub helo: String,
    /// The variables a program is started with.
    pub environment: Environment,
}

/// The sessions with the backend: at most `max` at one time.
pub struct Backends {
    settings: Mutex<Arc<Settings>>,
    /// TLS to a tcp backend, made once for each settings: the system's certificates are many.
    secure: Mutex<Option<Result<Secure, String>>>,
    permits: Permits,
    logins: Permits,
    idle: IdlePool,
    offers: Offers,
    /// Programs that are being started.
    starting: Arc<Semaphore>,
}

/// The use of `backend.max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Sessions that a client's session has, or whose program has not ended yet.
    pub places_taken: usize,
    /// `backend.max`
    pub places_max: usize,
    /// Client sessions that wait for a place.
    pub waiting: usize,
    /// Sessions that are kept open for the next client.
    pub idle: usize,
}

/// A permit among the logins, while an AUTH exchange runs.
#[derive(Debug)]
pub struct Login {
    _permit: Permit,
}

/// The reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// No permit was free in time.
    Busy,
    /// The backend cannot be reached or started; the text names it and says why.
    Unavailable(String),
}

impl Backends {
    /// Nothing is opened yet.
    pub fn new(settings: Settings) -> Self {
        let (permits, logins) = (Permits::new(settings.max), Permits::new(for_logins(settings.max)));
        let secure = Mutex::new(secure(&settings));
        let offers = Offers::new(&settings);
        let settings = Mutex::new(Arc::new(settings));
        let starting = Arc::new(Semaphore::new(STARTED_AT_ONCE));
        Self { settings, secure, permits, logins, idle: IdlePool::new(IDLE_FOR), offers, starting }
    }

    /// New settings, from the next [`Self::open`] on. Open connections stay, also above a smaller `max`.
    pub fn update(&self, settings: Settings) {
        self.permits.limit(settings.max);
        self.logins.limit(for_logins(settings.max));
        *self.secure.lock().unwrap_or_else(PoisonError::into_inner) = secure(&settings);
        let settings = Arc::new(settings);
        *self.lock() = settings.clone();
        self.offers.update(&settings);
        self.idle.clear();
    }

    /// An idle session from the pool, or a new one. Waits at most `connect` for a permit (one client network holds at most a
    /// quarter of `max`), then connects or starts the program within `connect`. A caller that is dropped while waiting
    /// leaves the queue. Needs a tokio runtime. With `fresh` the session is a new one, and those in the pool are suspect:
    /// they end.
    ///
    /// # Errors
    /// No permit in time, or no backend.
    pub async fn open(&self, client: &ClientInfo, fresh: bool) -> Result<Connection, OpenFault> {
        let permit = self.in_time(&self.permits, client).await?;
        // Read after the wait: a reload may have moved the backend meanwhile.
        let settings = self.settings();
        if fresh {
            self.idle.clear();
        } else if let Some(connection) = self.take_idle(&settings) {
            return Ok(connection.check_out(permit));
        }
        let secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secure = secure.transpose().map_err(OpenFault::Unavailable)?;
        connect(&self.starting, &settings, secure, client, permit).await.map_err(OpenFault::Unavailable)
    }

    /// Opens a session that begins with AUTH, as by [`Self::open`], after a permit among the logins: while waiting for that it
    /// holds none that mail could use.
    ///
    /// # Errors
    /// No permit in time, or no backend.
    pub async fn open_for_login(&self, client: &ClientInfo, fresh: bool) -> Result<(Connection, Login), OpenFault> {
        let login = self.in_time(&self.logins, client).await?;
        Ok((self.open(client, fresh).await?, Login { _permit: login }))
    }

    /// Hands a whole message over, with its envelope, to a process of its own: waits for a permit as [`Self::open`] does, then
    /// for the program, which has `reply` for its work. Dropped after the program was started, the program still comes to
    /// its end. Needs a tokio runtime.
    ///
    /// # Errors
    /// No permit in time, or the backend takes no whole messages.
    pub async fn submit(
        &self,
        client: &ClientInfo,
        envelope: &Envelope,
        message: File,
    ) -> Result<BackendReply, OpenFault> {
        let permit = self.in_time(&self.permits, client).await?;
        let settings = self.settings();
        let Target::Queue(program) = &settings.target else {
            return Err(OpenFault::Unavailable(format!("{} takes no whole messages", settings.target)));
        };
        // The semaphore is never closed.
        let starting = self.starting.clone().acquire_owned().await;
        let job = queue::Job::new(program, &settings, client, envelope, message);
        queue::run(job, starting.ok(), permit).await
    }

    /// A permit of these for the client, within `connect`.
    async fn in_time(&self, permits: &Permits, client: &ClientInfo) -> Result<Permit, OpenFault> {
        let waiting = permits.acquire(client.address.ip());
        timeout(self.settings().connect, waiting).await.map_err(|_| OpenFault::Busy)
    }

    /// A permit for AUTH in a session that is open already; `None`: there is none at once.
    pub fn begin_login(&self, client: IpAddr) -> Option<Login> {
        Some(Login { _permit: self.logins.try_acquire(client)? })
    }

    /// Takes back a session that its client has left greeted, idle and in order. It is kept for the next client, or ends, as
    /// the settings say. Needs a tokio runtime.
    pub fn take_back(&self, mut connection: Connection) {
        let (settings, now) = (self.settings(), now());
        if settings.keepalive == 0 || !connection.may_serve(&settings, now) {
            return connection.end();
        }
        // In this order: the next holder of the permit must find this connection in the pool, not open one more.
        let permit = connection.check_in();
        self.idle.put(connection, settings.keepalive, now);
        drop(permit);
    }

    /// A reload may have come between the look at the settings and the check-in: they are looked at once more.
    fn take_idle(&self, settings: &Arc<Settings>) -> Option<Connection> {
        loop {
            let connection = self.idle.take()?;
            if connection.may_serve(settings, now()) {
                return Some(connection);
            }
            connection.end();
        }
    }

    /// Ends the idle sessions.
    pub fn end_idle(&self) {
        self.idle.clear();
    }

    /// Resolves when the session of `client` is asked to yield its permit to one that waits for it. Each waiter asks one
    /// session only, so the caller must then drop its [`Connection`].
    pub async fn wanted(&self, client: IpAddr) {
        self.permits.wanted(client).await;
    }

    /// Whether a session waits for a permit.
    pub fn crowded(&self) -> bool {
        self.permits.crowded()
    }

    /// Connections, idle ones too, and children that have not ended yet.
    pub fn taken(&self) -> usize {
        self.permits.taken() + self.idle.len()
    }

    /// The use of `backend.max` now.
    pub fn usage(&self) -> Usage {
        let (places_taken, places_max, waiting) = self.permits.usage();
        Usage { places_taken, places_max, waiting, idle: self.idle.len() }
    }

    /// Sessions of each client network that has any.
    pub fn by_network(&self) -> HashMap<IpNet, usize> {
        self.permits.by_network()
    }

    /// Resolves when no connection is open and every child has ended.
    pub async fn drained(&self) {
        self.permits.drained().await;
    }

    /// The server or program behind us now.
    pub fn target(&self) -> Target {
        self.settings().target.clone()
    }

    /// The backend's last offer under these variables, and whether that was within the last minute.
    pub fn offer(&self, environment: &Environment) -> Option<(Arc<Offer>, bool)> {
        // The offer of our own server need not be learned.
        match self.settings().target {
            Target::Maildir(_) => return Some((maildir::offer(), true)),
            Target::Queue(_) => return Some((queue::offer(), true)),
            Target::Lmtp(_) | Target::Spawn(_) | Target::Tcp(_) => {}
        }
        self.offers.find(environment.key(), now())
    }

    fn settings(&self) -> Arc<Settings> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Settings>> {
        // The value is only ever replaced whole: a panic cannot leave it half changed.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backends").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("all backend sessions are busy"),
            Self::Unavailable(why) => write!(f, "backend unavailable: {why}"),
        }
    }
}

impl std::error::Error for OpenFault {}

fn secure(settings: &Settings) -> Option<Result<Secure, String>> {
    match &settings.target {
        Target::Tcp(server) | Target::Lmtp(Endpoint::Tcp(server)) if settings.tls != Tls::Off => {
            Some(Secure::new(server, settings.verify, settings.connect))
        }
        _ => None,
    }
}

async fn connect(
    starting: &Arc<Semaphore>,
    settings: &Arc<Settings>,
    secure: Option<Secure>,
    client: &ClientInfo,
    permit: Permit,
) -> Result<Connection, String> {
    match &settings.target {
        Target::Maildir(maildir) => Ok(Connection::maildir(maildir.clone(), &settings.hostname, client, permit)),
        Target::Queue(_) => Err(format!("{} takes whole messages only", settings.target)),
        Target::Spawn(program) => {
            // The semaphore is never closed.
            let starting = starting.clone().acquire_owned().await;
            let (settings, client, program) = (settings.clone(), client.clone(), program.clone());
            // Starting a process waits for its exec: that must not be the thread of all sessions. It counts until it has
            // ended, also when the session has given up on it.
            let start = move || {
                let _starting = starting;
                spawn::start(&program, &settings.hostname, &client, spawn::Grace::default(), permit)
            };
            let (stream, open) = spawn_blocking(start).await.map_err(|error| error.to_string())??;
            Ok(Connection::spawn(stream, open))
        }
        Target::Tcp(server) | Target::Lmtp(Endpoint::Tcp(server)) => {
            let mut stream = tcp::connect(server, settings.connect).await?;
            if settings.identity == Identity::Proxy {
                let header = tcp::proxy_header(client.address, client.local);
                tcp::write_first(&mut stream, &header, settings.connect)
                    .await
                    .map_err(|why| format!("{server}: {why}"))?;
            }
            let connection = match secure {
                Some(secure) if settings.tls == Tls::Implicit => {
                    let stream = secure.connect(stream).await.map_err(|why| format!("{server}: {why}"))?;
                    Connection::tls(stream, permit)
                }
                secure => Connection::tcp(stream, secure, permit),
            };
            Ok(shared(connection, settings))
        }
        Target::Lmtp(Endpoint::Unix(path)) => {
            let stream = lmtp::connect(path, settings.connect).await?;
            Ok(shared(Connection::unix(stream, permit), settings))
        }
    }
}

/// The session as one that may serve other clients too, unless it was opened for one client's address.
fn shared(connection: Connection, settings: &Arc<Settings>) -> Connection {
    match settings.identity {
        Identity::None => connection.reusable(ReusePolicy { settings: settings.clone(), until: now() + REUSED_FOR }),
        Identity::Proxy | Identity::Xclient => connection,
    }
}

#[expect(clippy::disallowed_methods, reason = "how fresh an offer is, is no matter of a session's clock")]
fn now() -> Instant {
    Instant::now()
}

/// Programs that are started at one time. Each has a thread of its own meanwhile, and more of them would not be faster than
/// the machine.
const STARTED_AT_ONCE: usize = 2;

/// Time of an idle session in the pool: as long as a client's session keeps an idle backend for itself.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Time from the connection on in which a session serves clients (Postfix: smtp_connection_reuse_time_limit).
const REUSED_FOR: Duration = Duration::from_secs(300);
