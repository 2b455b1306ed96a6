//! A proxy put together: the services of its sessions, the acceptor, and the values that a reload replaces. It must not read
//! a configuration, nor open a listener by itself.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::backend;
use crate::front::accept::Acceptor;
use crate::front::services::Services;
use crate::front::settings::Settings;
use crate::front::workers::Workers;
use crate::hold;
use crate::session::snapshot::Snapshot;
use crate::store::state::State;

/// The values of a configuration: a reload replaces them all.
pub struct Values {
    /// Policy and settings of the sessions.
    pub snapshot: Arc<Snapshot>,
    /// Settings of connections.
    pub front: Settings,
    /// The certificates; without them there is no TLS.
    pub tls: Option<TlsAcceptor>,
    /// Settings of the backend.
    pub backend: backend::Settings,
    /// Settings of held messages.
    pub hold: hold::Settings,
}

/// A running proxy. Its listeners are the [`Acceptor`]'s.
pub struct Server {
    /// The services that all sessions share.
    pub services: Arc<Services>,
    /// The acceptor of its listeners.
    pub acceptor: Arc<Acceptor>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    front: watch::Sender<Arc<Settings>>,
    tls: watch::Sender<Option<TlsAcceptor>>,
}

impl Server {
    /// A proxy on these workers, without a listener.
    pub fn start(workers: Workers, state: Arc<State>, values: Values) -> Self {
        let (snapshot, snapshot_receiver) = watch::channel(values.snapshot);
        let (front, front_receiver) = watch::channel(Arc::new(values.front));
        let (tls, tls_receiver) = watch::channel(values.tls);
        let services = Arc::new(Services::new(values.backend, values.hold, state, snapshot_receiver));
        let acceptor = Acceptor::new(workers, services.clone(), front_receiver, tls_receiver);
        Self { services, acceptor, snapshot, front, tls }
    }

    /// Puts other values in force: for open sessions from their next transaction on.
    pub fn update(&self, values: Values) {
        let is_another = self.services.backends.target() != values.backend.target;
        self.services.backends.update(values.backend);
        if is_another {
            self.services.health.forget();
        }
        self.services.holds.update(values.hold);
        self.tls.send_replace(values.tls);
        self.front.send_replace(Arc::new(values.front));
        self.snapshot.send_replace(values.snapshot);
    }
}
