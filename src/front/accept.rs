//! The acceptor: one task for each listener, on the first of the workers, and one for each connection, on the worker with
//! the fewest sessions. A connection that panics harms no other. It must not drive a session.

use std::io;
use std::net;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use ipnet::IpNet;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpNoDelay;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::front::clock;
use crate::front::condition::Condition;
use crate::front::condition::Stop;
use crate::front::displace;
use crate::front::driver::Driver;
use crate::front::following::Follower;
use crate::front::following::Refused;
use crate::front::inquiry;
use crate::front::limits::ConnectionGuard;
use crate::front::limits::ConnectionLimits;
use crate::front::proxy_header;
use crate::front::services::Services;
use crate::front::sessions::Order;
use crate::front::sessions::SessionView;
use crate::front::settings::Settings;
use crate::front::stream::ClientStream;
use crate::front::tcp;
use crate::front::tls;
use crate::front::workers::Workers;
use crate::policy::net::canonical;
use crate::session::Session;
use crate::session::io::Admission;
use crate::session::io::Peer;

/// The acceptor of all listeners.
pub struct Acceptor {
    workers: Workers,
    services: Arc<Services>,
    settings: watch::Receiver<Arc<Settings>>,
    tls: watch::Receiver<Option<TlsAcceptor>>,
    limits: Arc<ConnectionLimits>,
    sequence: AtomicU16,
}

impl Acceptor {
    /// An acceptor without a listener.
    pub(super) fn new(
        workers: Workers,
        services: Arc<Services>,
        settings: watch::Receiver<Arc<Settings>>,
        tls: watch::Receiver<Option<TlsAcceptor>>,
    ) -> Arc<Self> {
        let limits = ConnectionLimits::new(Some(services.conditions.clone()));
        Arc::new(Self { workers, services, settings, tls, limits, sequence: AtomicU16::new(0) })
    }

    /// Serves the connections of `listener`, which must be non-blocking, until the end. A client that connects after a
    /// stop has begun is told 421, so that it comes again later. With `is_kept_open`, by a supervisor, it waits in the
    /// listener for the next process. The task ends with the listener's last client.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn listen(
        self: &Arc<Self>,
        listener: net::TcpListener,
        implicit_tls: bool,
        is_kept_open: bool,
    ) -> io::Result<JoinHandle<()>> {
        let accepting = self.workers.accepting();
        let listener = {
            let _entered = accepting.enter();
            // Inherited by what it accepts: SMTP's short replies must not wait for the client's acknowledgements.
            setsockopt(&listener, TcpNoDelay, &true)?;
            TcpListener::from_std(listener)?
        };
        Ok(accepting.spawn(self.clone().accept(listener, implicit_tls, is_kept_open)))
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, implicit_tls: bool, is_kept_open: bool) {
        let last = if is_kept_open { Stop::Run } else { Stop::Drain };
        let mut shortage = Shortage::default();
        let mut closed = pin!(self.services.conditions.reached(|condition| condition.stop > last));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut closed => return,
            };
            match accepted {
                Ok((stream, client)) => {
                    shortage.is_over();
                    self.serve(stream, client, implicit_tls);
                }
                Err(error) => {
                    // Out of descriptors, or a client that was gone before it was accepted: neither ends the listener.
                    shortage.note(&error, clock::now().monotonic);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Resolves when the last connection that was granted is closed.
    pub async fn none_granted(&self) {
        self.limits.none_granted().await;
    }

    /// Resolves when every connection is closed, refused ones included.
    pub async fn none_left(&self) {
        self.limits.none_left().await;
    }

    /// Connections of each client network that has any.
    pub fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.limits.by_network()
    }

    /// What the first `most` sessions in this order do now, and the number of all.
    pub fn sessions(&self, most: usize, order: Order) -> (Vec<SessionView>, usize) {
        self.limits.sessions(most, order)
    }

    /// What the session with this id does; `None`: none that is open has it.
    pub fn open_session(&self, id: &str) -> Option<SessionView> {
        self.limits.session(id)
    }

    /// A follower of the session with this id: what is said in it from its next event on.
    ///
    /// # Errors
    /// There is no such session, or too many are followed.
    pub fn follow(&self, id: &str) -> Result<Follower, Refused> {
        self.limits.follow(id)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.limits.total()
    }

    /// Starts the task of a connection, on its worker.
    fn serve(self: &Arc<Self>, stream: TcpStream, client: SocketAddr, implicit_tls: bool) {
        let (acceptor, guard, slot) = (self.clone(), self.limits.arrive(), self.workers.assign());
        let accepted = match slot.is_accepting() {
            true => Ok(Accepted::Here(stream)),
            false => stream.into_std().map(Accepted::Elsewhere),
        };
        let Ok(accepted) = accepted else { return };
        let services = self.services.clone();
        // Boxed: the room that only a beginning needs is given back before the session, which may last.
        let beginning = Box::pin(async move {
            acceptor.begin(accepted, client, implicit_tls, guard).await.unwrap_or_else(|error| {
                tracing::debug!(%client, %error, "connection");
                None
            })
        });
        slot.handle().clone().spawn(async move {
            if let Some((driver, guard)) = beginning.await {
                if let Some(environment) = driver.run().await {
                    inquiry::renew(&services, &environment);
                }
                drop(guard);
            }
            drop(slot);
        });
    }

    /// The session of a connection. In this order: PROXY header, limits, TLS; tcprules are the session's. `None`: it is
    /// closed without one.
    async fn begin(
        &self,
        accepted: Accepted,
        client: SocketAddr,
        implicit_tls: bool,
        mut guard: ConnectionGuard,
    ) -> io::Result<Option<(Box<Driver>, ConnectionGuard)>> {
        let settings = self.settings.borrow().clone();
        let mut stream = accepted.stream()?;
        let peer = peer(&mut stream, client, &settings).await?;
        let Some(admission) = self.admit(&mut guard, &peer, &settings) else { return Ok(None) };
        // No SMTP client speaks first (RFC 5321 section 3.1). One that did is noted; with `greet_delay` it is refused.
        let early = !implicit_tls && tcp::has_input(&stream);
        let mut stream = ClientStream::Plain(stream);
        if implicit_tls {
            let Some(secured) = self.secure(stream, &peer, &guard, &settings).await? else { return Ok(None) };
            stream = secured;
        }
        let session = self.session(&stream, peer, admission, &settings);
        if early {
            tracing::info!(session = session.id(), client = %session.peer().client.ip(), "talked before the greeting");
        }
        let driver = Driver::new(session, stream, self.tls.clone(), self.services.clone());
        let driver = match guard.slot_handle() {
            Some(slot) => driver.with_slot(slot),
            None => driver.refused(),
        };
        Ok(Some((driver, guard)))
    }

    /// While stopping, nobody is admitted; a new client only hears 421. `None`: not even that.
    fn admit(&self, guard: &mut ConnectionGuard, peer: &Peer, settings: &Settings) -> Option<Admission> {
        let is_stopping = self.services.conditions.current().is_stopping();
        let max = if is_stopping { 0 } else { settings.max_connections };
        let admission = guard.admit(peer.client.ip(), max, settings.max_connections_per_client);
        let granted = admission == Some(Admission::Granted);
        self.services.reports.connected(granted, self.services.state.tables().clock.now());
        if is_stopping { admission.and(Some(Admission::Stopping)) } else { admission }
    }

    /// Does TLS from the first octet. `None`: a stop, or another client needs the slot.
    async fn secure(
        &self,
        stream: ClientStream,
        peer: &Peer,
        guard: &ConnectionGuard,
        settings: &Settings,
    ) -> io::Result<Option<ClientStream>> {
        let acceptor = self.tls.borrow().clone().ok_or(io::ErrorKind::Unsupported)?;
        let _handshake = self.services.handshakes.enter(peer.client.ip()).ok_or(io::ErrorKind::QuotaExceeded)?;
        let mut slot = guard.slot_handle();
        tokio::select! {
            // Boxed: many begin at once, and few of them so.
            secured = Box::pin(tls::accept(stream, &acceptor, settings.handshake)) => {
                Ok(Some(secured.ok_or(io::ErrorKind::InvalidData)?))
            }
            // A client that is silent in the handshake does not hold up a stop.
            () = self.services.conditions.reached(Condition::is_stopping) => Ok(None),
            () = displace::left(slot.as_mut()) => Ok(None),
        }
    }

    fn session(&self, stream: &ClientStream, peer: Peer, admission: Admission, settings: &Settings) -> Session {
        let now = clock::now();
        let seconds = now.wall.as_second();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let id = format!("{seconds:08x}{sequence:04x}").into();
        let snapshot = self.services.snapshot.borrow().clone();
        let mut session = Session::new(id, snapshot, self.services.state.tables().seed.clone(), peer, now);
        let Services { backends, .. } = &*self.services;
        let known = backends.offer(session.environment()).or_else(|| {
            self.services.recall_offer(session.environment());
            backends.offer(session.environment())
        });
        if let Some((offer, is_fresh)) = known {
            session.handle_offer(offer, is_fresh);
            if !is_fresh && !backends.has_heard(session.environment()) {
                inquiry::renew(&self.services, session.environment());
            }
        }
        let tls = matches!(stream, ClientStream::Tls(_)).then(|| tls::version(stream));
        session.start(admission, settings.greet_delay, tls, now);
        session
    }
}

/// The client's address and ours: of the PROXY header, where one is due.
async fn peer(stream: &mut TcpStream, client: SocketAddr, settings: &Settings) -> io::Result<Peer> {
    let mut addresses = (client, stream.local_addr()?);
    let sends_header = |network: &IpNet| network.contains(&client.ip().to_canonical());
    let is_proxied = settings.proxy_protocol_from.iter().any(sends_header);
    if is_proxied {
        let header = timeout(settings.handshake, proxy_header::read(stream)).await??;
        addresses = header.unwrap_or(addresses);
    }
    Ok(Peer { client: canonical(addresses.0), local: canonical(addresses.1), host: None, is_proxied })
}

/// A connection that was accepted, on its way to its worker.
enum Accepted {
    /// To the worker that accepted it.
    Here(TcpStream),
    /// To another one, which has to watch it.
    Elsewhere(net::TcpStream),
}

impl Accepted {
    /// The connection, on the worker where it stays.
    fn stream(self) -> io::Result<TcpStream> {
        match self {
            Self::Here(stream) => Ok(stream),
            Self::Elsewhere(stream) => TcpStream::from_std(stream),
        }
    }
}

/// The log of accepts that fail: a line when that begins, one a minute while it lasts, and one when it is over.
#[derive(Debug, Default)]
struct Shortage {
    said: Option<Instant>,
    failed: u64,
}

impl Shortage {
    fn note(&mut self, error: &io::Error, now: Instant) {
        self.failed += 1;
        if self.said.is_none_or(|said| now.saturating_duration_since(said) >= SAY_AGAIN) {
            self.said = Some(now);
            tracing::warn!(%error, failed = self.failed, "accept");
        }
    }

    fn is_over(&mut self) {
        if self.said.take().is_some() {
            tracing::info!(failed = std::mem::take(&mut self.failed), "accepting again");
        }
    }
}

/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two lines while accepts go on failing.
const SAY_AGAIN: Duration = Duration::from_secs(60);
