//! Listeners: one task each, on the first of the workers, and one task a connection, on the worker with the fewest. A
//! connection that panics harms no other.

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
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::front::clock;
use crate::front::condition::Condition;
use crate::front::condition::Stop;
use crate::front::driver::Driver;
use crate::front::limits::Counted;
use crate::front::limits::Counts;
use crate::front::proxy_header;
use crate::front::services::Services;
use crate::front::settings::Settings;
use crate::front::stream::ClientStream;
use crate::front::tcp;
use crate::front::tls;
use crate::front::workers::Workers;
use crate::session::Session;
use crate::session::io::Admission;
use crate::session::io::Peer;

/// Where connections come in.
pub struct Door {
    workers: Workers,
    services: Arc<Services>,
    settings: watch::Receiver<Arc<Settings>>,
    tls: watch::Receiver<Option<TlsAcceptor>>,
    counts: Arc<Counts>,
    /// Connections from their accept to their close, those that are only told that there is no place included.
    open: watch::Sender<usize>,
    sequence: AtomicU16,
}

impl Door {
    /// Nothing is open yet.
    pub fn new(
        workers: Workers,
        services: Arc<Services>,
        settings: watch::Receiver<Arc<Settings>>,
        tls: watch::Receiver<Option<TlsAcceptor>>,
    ) -> Arc<Self> {
        let counts = Counts::new(Some(services.conditions.clone()));
        Arc::new(Self {
            workers,
            services,
            settings,
            tls,
            counts,
            open: watch::Sender::new(0),
            sequence: AtomicU16::new(0),
        })
    }

    /// Accepts until the end. A client that comes when a stop has begun is told 421: it comes again, and finds the port
    /// open. With `is_kept_open`, by a supervisor, it waits there for the next process. `listener` must not block.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn open(
        self: &Arc<Self>,
        listener: net::TcpListener,
        implicit_tls: bool,
        is_kept_open: bool,
    ) -> io::Result<()> {
        let accepting = self.workers.accepting();
        let listener = {
            let _entered = accepting.enter();
            // What it accepts has that from it. SMTP's short replies must not wait for the client's acknowledgements.
            setsockopt(&listener, TcpNoDelay, &true)?;
            TcpListener::from_std(listener)?
        };
        accepting.spawn(self.clone().listen(listener, implicit_tls, is_kept_open));
        Ok(())
    }

    async fn listen(self: Arc<Self>, listener: TcpListener, implicit_tls: bool, is_kept_open: bool) {
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
                    self.receive(stream, client, implicit_tls);
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
    pub async fn empty(&self) {
        self.counts.none_left().await;
    }

    /// Resolves when nobody is left that is told that there is no place.
    pub async fn all_told(&self) {
        // The sender lives as long as `self`.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Connections of each client network that has any.
    pub fn by_network(&self) -> Vec<(IpNet, usize)> {
        self.counts.by_network()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.counts.total()
    }

    fn receive(self: &Arc<Self>, stream: TcpStream, client: SocketAddr, implicit_tls: bool) {
        let door = self.clone();
        let open = Open::new(self.clone());
        let seat = self.workers.seat();
        let arrived = match seat.is_accepting() {
            true => Ok(Arrived::Here(stream)),
            false => stream.into_std().map(Arrived::Elsewhere),
        };
        let Ok(arrived) = arrived else { return };
        // Boxed: what only a beginning needs is given back before the session, which may last.
        let beginning = Box::pin(door.let_in(arrived, client, implicit_tls));
        seat.handle().clone().spawn(async move {
            let Some((driver, counted)) = beginning.await else { return drop((open, seat)) };
            driver.run().await;
            drop((counted, open, seat));
        });
    }

    async fn let_in(
        self: Arc<Self>,
        arrived: Arrived,
        client: SocketAddr,
        implicit_tls: bool,
    ) -> Option<(Box<Driver>, Counted)> {
        self.begin(arrived, client, implicit_tls).await.unwrap_or_else(|error| {
            tracing::debug!(%client, %error, "connection");
            None
        })
    }

    /// In this order: PROXY header, limits, TLS; tcprules are the session's.
    async fn begin(
        &self,
        arrived: Arrived,
        client: SocketAddr,
        implicit_tls: bool,
    ) -> io::Result<Option<(Box<Driver>, Counted)>> {
        let settings = self.settings.borrow().clone();
        let mut stream = arrived.stream()?;
        let mut addresses = (client, stream.local_addr()?);
        let is_proxied =
            settings.proxy_protocol_from.iter().any(|network| network.contains(&client.ip().to_canonical()));
        if is_proxied {
            let header = timeout(settings.handshake, proxy_header::read(&mut stream)).await??;
            addresses = header.unwrap_or(addresses);
        }
        let (client, local) = (canonical(addresses.0), canonical(addresses.1));
        let stopping = self.services.conditions.current().is_stopping();
        // While we stop no client has a place: it only hears 421.
        let max = if stopping { 0 } else { settings.max_connections };
        let entered = self.counts.enter(client.ip(), max, settings.max_connections_per_client);
        let granted = matches!(entered, Some((_, Admission::Granted)));
        self.services.reports.connected(granted, self.services.state.tables().clock.now());
        let Some((counted, admission)) = entered else { return Ok(None) };
        let admission = if stopping { Admission::Stopping } else { admission };
        // No SMTP client speaks first (RFC 5321 section 3.1). One that did is noted; with `greet_delay` it is refused.
        let early = !implicit_tls && tcp::has_input(&stream);
        let mut stream = ClientStream::Plain(stream);
        if implicit_tls {
            let acceptor = self.tls.borrow().clone().ok_or(io::ErrorKind::Unsupported)?;
            let _place = self.services.handshakes.enter(client.ip()).ok_or(io::ErrorKind::QuotaExceeded)?;
            let mut place = counted.place();
            let left = async {
                match &mut place {
                    Some(place) => place.left().await,
                    None => std::future::pending().await,
                }
            };
            let secured = tokio::select! {
                // Boxed: many begin at once, and few of them so.
                secured = Box::pin(tls::accept(stream, &acceptor, settings.handshake)) => secured,
                // A client that is silent in the handshake does not hold up a stop.
                () = self.services.conditions.reached(Condition::is_stopping) => return Ok(None),
                () = left => return Ok(None),
            };
            stream = secured.ok_or(io::ErrorKind::InvalidData)?;
        }
        let peer = Peer { client, local, host: None, is_proxied };
        let driver = self.greet(stream, peer, admission, settings.greet_delay).in_place(counted.place());
        if early {
            tracing::info!(session = driver.id(), client = %client.ip(), "talked before the greeting");
        }
        Ok(Some((driver, counted)))
    }

    fn greet(&self, stream: ClientStream, peer: Peer, admission: Admission, greet_delay: Duration) -> Box<Driver> {
        let now = clock::now();
        let seconds = now.wall.as_second();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let id = format!("{seconds:08x}{sequence:04x}").into();
        let snapshot = self.services.snapshot.borrow().clone();
        let mut session = Session::new(id, snapshot, self.services.state.tables().seed.clone(), peer, now);
        if let Some((offer, fresh)) = self.services.backends.offer(session.environment()) {
            session.handle_offer(offer, fresh);
        }
        let tls = matches!(stream, ClientStream::Tls(_)).then(|| tls::version(&stream));
        session.start(admission, greet_delay, tls, now);
        Driver::new(session, stream, self.tls.clone(), self.services.clone())
    }
}

/// A connection that was accepted, on its way to its worker.
enum Arrived {
    /// The worker that accepted it.
    Here(TcpStream),
    /// Another one, which has to watch it.
    Elsewhere(net::TcpStream),
}

impl Arrived {
    /// On the worker where it stays.
    fn stream(self) -> io::Result<TcpStream> {
        match self {
            Self::Here(stream) => Ok(stream),
            Self::Elsewhere(stream) => TcpStream::from_std(stream),
        }
    }
}

/// Accepts that fail: a line when it begins, one a minute while it lasts, and one when it is over.
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

/// One connection, counted where it is accepted: a stop must not overlook one whose task has not run yet.
struct Open(Arc<Door>);

impl Open {
    fn new(door: Arc<Door>) -> Self {
        door.open.send_modify(|open| *open += 1);
        Self(door)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// A listener on `[::]` sees IPv4 clients as mapped addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);
/// While accepts go on failing.
const SAY_AGAIN: Duration = Duration::from_secs(60);
