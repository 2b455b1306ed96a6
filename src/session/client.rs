//! The client: its connection, its words about itself, its rights. It must not decide about mail.

use std::sync::Arc;

use crate::policy::Policy;
use crate::policy::environment::Environment;
use crate::policy::throttle::subject::Subject;
use crate::policy::verdict::Ruling;
use crate::session::authenticating::Login;
use crate::session::io::Peer;
use crate::smtp::address::Address;
use crate::smtp::address::ReversePath;

/// The client of one session.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    /// The environment of the client's backend, by its rule in tcprules.
    pub(super) environment: Environment,
    /// The refusal of each MAIL, where the client was blocked at its connection.
    pub(super) blocked: Option<Box<Ruling>>,
    pub(super) helo: Option<Helo>,
    /// The protocol version of TLS; `None` in the clear.
    pub(super) tls: Option<&'static str>,
    /// Whether AUTH has succeeded.
    pub(super) authenticated: bool,
    /// The AUTH exchange that runs, or has succeeded.
    pub(super) login: Option<Box<Login>>,
}

/// The client's name for itself.
#[derive(Clone, Debug)]
pub(super) struct Helo {
    pub(super) name: Arc<str>,
    pub(super) extended: bool,
    /// Whether SMTPUTF8 was in the answer.
    pub(super) smtputf8: bool,
}

impl Client {
    pub(super) fn new(peer: Peer, environment: Environment) -> Self {
        Self { peer, environment, blocked: None, helo: None, tls: None, authenticated: false, login: None }
    }

    /// The refusal of this client's mail: by tcprules as they stand now, or by a block as it stood at the connection.
    pub(super) fn refusal(&self) -> Option<Ruling> {
        let denied = Policy::denied(&self.environment, self.peer.client.ip());
        denied.or_else(|| self.blocked.as_deref().cloned())
    }

    /// Whether the client may send anywhere: RELAYCLIENT is set, even if empty, or AUTH succeeded.
    pub(super) fn may_relay(&self) -> bool {
        self.authenticated || self.is_relay_client()
    }

    pub(super) fn is_relay_client(&self) -> bool {
        self.environment.get(b"RELAYCLIENT").is_some()
    }

    /// The subject of a throttle's key.
    pub(super) fn subject<'a>(
        &'a self,
        sender: Option<&'a ReversePath>,
        recipient: Option<&'a Address>,
    ) -> Subject<'a> {
        Subject {
            client: self.peer.client.ip(),
            helo: self.helo.as_ref().map_or(b"", |helo| helo.name.as_bytes()),
            sender,
            recipient,
            relay_client: self.is_relay_client(),
            authenticated: self.authenticated,
            user: self.login.as_ref().and_then(|login| login.user.as_deref()).map(str::as_bytes),
        }
    }
}
