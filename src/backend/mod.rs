//! The SMTP server or UCSPI program behind us: tcp, spawn, maildir.
//!
//! A session asks [`Backends`] for a [`Connection`] and speaks SMTP over it. What is said is no business of this
//! folder: it opens, limits, and cleans up, and must not read or write a word of SMTP itself, but for the QUIT with which
//! a session ends (the maildir's own small server is the exception: it is a backend).

mod connection;
mod maildir;
mod offers;
mod permits;
mod pool;
mod spawn;
mod tcp;
mod tls;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::backend::connection::Terms;
use crate::backend::offers::Offers;
use crate::backend::permits::Place;
use crate::backend::permits::Places;
use crate::backend::permits::of_logins;
use crate::backend::pool::Kept;
use crate::backend::tls::Secure;
use crate::policy::environment::Environment;
use crate::smtp::reply::Offer;

pub use crate::backend::connection::Connection;

/// What stands behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Our own delivery into this Maildir.
    Maildir(PathBuf),
    /// One process a session: program and arguments.
    Spawn(Vec<OsString>),
    /// An SMTP server: `host:port`.
    Tcp(String),
}

impl fmt::Display for Target {
    /// As `--backend` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Spawn(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "spawn:{}", words.join(" "))
            }
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// How a tcp backend hears of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// It does not; a Received line tells it.
    #[default]
    None,
    /// By a PROXY header before the first octet.
    Proxy,
    /// By XCLIENT behind its EHLO.
    Xclient,
}

/// TLS to a tcp backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// From the first octet.
    Implicit,
    /// None.
    #[default]
    Off,
    /// After STARTTLS.
    Starttls,
}

/// `[backend]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What stands behind us.
    pub target: Target,
    /// How a tcp backend hears of the client.
    pub identity: Identity,
    /// TLS to a tcp backend.
    pub tls: Tls,
    /// Its certificate has to be good.
    pub verify: bool,
    /// Our own name, for the Maildir's Received line and TCPLOCALHOST.
    pub hostname: String,
    /// Sessions with it at a time.
    pub max: usize,
    /// Sessions of a tcp backend that are kept for the next client; 0 for none.
    pub keepalive: usize,
    /// Time limit of a free place, and again of the connection, and again of the greeting.
    pub connect: Duration,
}

/// The client on whose behalf a backend is opened.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The address and port that the client connected to.
    pub local: SocketAddr,
    /// The client's name, when it was looked up and found: TCPREMOTEHOST.
    pub host: Option<String>,
    /// What the client called itself.
    pub helo: String,
    /// The variables a program is started with.
    pub environment: Environment,
}

/// All sessions with the backend: at most `max` at a time.
pub struct Backends {
    settings: Mutex<Arc<Settings>>,
    /// Made once for each settings: the system's certificates are many.
    secure: Mutex<Option<Result<Secure, String>>>,
    places: Places,
    logins: Places,
    kept: Kept,
    offers: Offers,
    /// Programs that are being started.
    starting: Arc<Semaphore>,
}

/// A place among the logins, while an AUTH exchange runs.
#[derive(Debug)]
pub struct Login {
    _place: Place,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// No place became free in time.
    Busy,
    /// The backend cannot be reached or started; the text names it and says why.
    Unavailable(String),
}

impl Backends {
    /// Nothing is opened yet.
    pub fn new(settings: Settings) -> Self {
        let (places, logins) = (Places::new(settings.max), Places::new(of_logins(settings.max)));
        let secure = Mutex::new(secure(&settings));
        let settings = Mutex::new(Arc::new(settings));
        let starting = Arc::new(Semaphore::new(STARTED_AT_ONCE));
        Self { settings, secure, places, logins, kept: Kept::new(KEPT_FOR), offers: Offers::default(), starting }
    }

    /// Rules from the next [`Self::open`] on. Open connections stay, also above a smaller `max`.
    pub fn update(&self, settings: Settings) {
        self.places.limit(settings.max);
        self.logins.limit(of_logins(settings.max));
        *self.secure.lock().unwrap_or_else(PoisonError::into_inner) = secure(&settings);
        let before = std::mem::replace(&mut *self.lock(), Arc::new(settings));
        if before.target != self.settings().target {
            self.offers.forget();
        }
        self.kept.clear();
    }

    /// A session that another client has left, or a new one. Waits at most `connect` for a free place (one client network
    /// holds at most a quarter of `max`), then connects or starts the program within `connect`. A caller that is dropped
    /// while waiting leaves the queue. Needs a tokio runtime. `anew`: one that was kept would not do, and those that are
    /// left are suspect.
    ///
    /// # Errors
    /// No place in time, or no backend.
    pub async fn open(&self, visitor: &Visitor, anew: bool) -> Result<Connection, OpenFault> {
        let waiting = self.places.take(visitor.client.ip());
        let place = timeout(self.settings().connect, waiting).await.map_err(|_| OpenFault::Busy)?;
        // Read after the wait: a reload may have moved the backend meanwhile.
        let settings = self.settings();
        if anew {
            self.kept.clear();
        } else if let Some(mut connection) = self.take_kept(&settings) {
            connection.enter(place);
            return Ok(connection);
        }
        let secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secure = secure.transpose().map_err(OpenFault::Unavailable)?;
        connect(&self.starting, &settings, secure, visitor, place).await.map_err(OpenFault::Unavailable)
    }

    /// The same for a session that begins with AUTH: it waits for a place among the logins first, and holds none that mail
    /// could have meanwhile.
    ///
    /// # Errors
    /// No place in time, or no backend.
    pub async fn open_for_login(&self, visitor: &Visitor, anew: bool) -> Result<(Connection, Login), OpenFault> {
        let waiting = self.logins.take(visitor.client.ip());
        let login = timeout(self.settings().connect, waiting).await.map_err(|_| OpenFault::Busy)?;
        Ok((self.open(visitor, anew).await?, Login { _place: login }))
    }

    /// AUTH begins in a session that is open already.
    pub fn begin_login(&self, client: IpAddr) -> Option<Login> {
        Some(Login { _place: self.logins.try_take(client)? })
    }

    /// Takes a session back whose client has left it, greeted, idle and in order. It is kept for the next one, if that is
    /// wanted, else it ends. Needs a tokio runtime.
    pub fn take_back(&self, mut connection: Connection) {
        let (settings, now) = (self.settings(), now());
        if settings.keepalive == 0 || !may_serve(&connection, &settings, now) {
            return connection.end();
        }
        // In this order: a session that gets the place must find this connection kept, not open one more.
        let place = connection.leave();
        self.kept.put(connection, settings.keepalive, now);
        drop(place);
    }

    /// A reload may have come between the look at the settings and the keeping: they are looked at once more.
    fn take_kept(&self, settings: &Arc<Settings>) -> Option<Connection> {
        loop {
            let connection = self.kept.take()?;
            if may_serve(&connection, settings, now()) {
                return Some(connection);
            }
            connection.end();
        }
    }

    /// Ends the sessions that are kept.
    pub fn end_kept(&self) {
        self.kept.clear();
    }

    /// Resolves when `client`'s session should give its place up, because that would help another that waits. Each
    /// that waits asks one session only, so the caller must then drop its [`Connection`].
    pub async fn wanted(&self, client: IpAddr) {
        self.places.wanted(client).await;
    }

    /// Whether somebody waits for a place.
    pub fn crowded(&self) -> bool {
        self.places.crowded()
    }

    /// Places taken: connections, kept ones too, and children that have not ended yet.
    pub fn taken(&self) -> usize {
        self.places.taken() + self.kept.len()
    }

    /// Sessions of each client network that has any.
    pub fn by_network(&self) -> HashMap<IpNet, usize> {
        self.places.by_network()
    }

    /// Resolves when no connection is open and every child has ended.
    pub async fn drained(&self) {
        self.places.drained().await;
    }

    /// What stands behind us now.
    pub fn target(&self) -> Target {
        self.settings().target.clone()
    }

    /// What the backend offered last under these variables, and whether that was within the last minute.
    pub fn offer(&self, environment: &Environment) -> Option<(Arc<Offer>, bool)> {
        // Our own server's offer needs not be learned.
        if matches!(self.settings().target, Target::Maildir(_)) {
            return Some((maildir::offer(), true));
        }
        self.offers.find(environment.key(), now())
    }

    /// Which backend a session that is opened now, or later, is with.
    pub fn generation(&self) -> u64 {
        self.offers.generation()
    }

    /// Remembers what a backend of this generation offered under these variables.
    pub fn learn(&self, environment: &Environment, offer: Arc<Offer>, generation: u64) {
        self.offers.learn(environment.key(), offer, generation, now());
    }

    fn settings(&self) -> Arc<Settings> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Settings>> {
        // A value that is only ever replaced whole cannot be left half changed by a panic.
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
        Target::Tcp(server) if settings.tls != Tls::Off => Some(Secure::new(server, settings.verify, settings.connect)),
        _ => None,
    }
}

/// Whether it may serve another client, under `settings`.
fn may_serve(connection: &Connection, settings: &Arc<Settings>, now: Instant) -> bool {
    connection.terms().is_some_and(|terms| Arc::ptr_eq(&terms.settings, settings) && terms.until > now)
}

async fn connect(
    starting: &Arc<Semaphore>,
    settings: &Arc<Settings>,
    secure: Option<Secure>,
    visitor: &Visitor,
    place: Place,
) -> Result<Connection, String> {
    match &settings.target {
        Target::Maildir(maildir) => Ok(Connection::maildir(maildir.clone(), &settings.hostname, visitor, place)),
        Target::Spawn(program) => {
            // The semaphore is never closed.
            let starting = starting.clone().acquire_owned().await;
            let (settings, visitor, program) = (settings.clone(), visitor.clone(), program.clone());
            // Starting a process waits for its exec: that must not be the thread of all sessions. It counts until it has
            // ended, also when the session has given up on it.
            let start = move || {
                let _starting = starting;
                spawn::start(&program, &settings.hostname, &visitor, spawn::Grace::default(), place)
            };
            let (stream, open) = spawn_blocking(start).await.map_err(|error| error.to_string())??;
            Ok(Connection::spawn(stream, open))
        }
        Target::Tcp(server) => {
            let mut stream = tcp::connect(server, settings.connect).await?;
            if settings.identity == Identity::Proxy {
                let header = tcp::proxy_header(visitor.client, visitor.local);
                tcp::write_first(&mut stream, &header, settings.connect)
                    .await
                    .map_err(|why| format!("{server}: {why}"))?;
            }
            let connection = match secure {
                Some(secure) if settings.tls == Tls::Implicit => {
                    let stream = secure.connect(stream).await.map_err(|why| format!("{server}: {why}"))?;
                    Connection::tls(stream, place)
                }
                secure => Connection::tcp(stream, secure, place),
            };
            let terms = || Terms { settings: settings.clone(), until: now() + USED_FOR };
            // One that knows who the client is serves no other.
            Ok(if settings.identity == Identity::None { connection.on(terms()) } else { connection })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how fresh an offer is, is no matter of a session's clock")]
fn now() -> Instant {
    Instant::now()
}

/// Each has a thread of its own while it is started, and more of them would not be faster than the machine.
const STARTED_AT_ONCE: usize = 2;

/// As long as a session keeps an idle backend for itself.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// A session with the backend serves clients for so long, from its connection on (Postfix:
/// smtp_connection_reuse_time_limit).
const USED_FOR: Duration = Duration::from_secs(300);
