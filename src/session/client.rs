//! The client: its connection, what it says of itself, what it may do. It must not decide about mail.

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
    /// Its backend's environment, as its rule in tcprules has it.
    pub(super) environment: Environment,
    /// What each MAIL hears: the client was blocked when it came.
    pub(super) blocked: Option<Box<Ruling>>,
    pub(super) helo: Option<Helo>,
    /// The protocol version, under TLS.
    pub(super) tls: Option<&'static str>,
    /// AUTH has succeeded.
    pub(super) authenticated: bool,
    /// The AUTH exchange that runs, or has succeeded.
    pub(super) login: Option<Box<Login>>,
}

/// The client's name for itself.
#[derive(Clone, Debug)]
pub(super) struct Helo {
    pub(super) name: Arc<str>,
    pub(super) extended: bool,
    /// SMTPUTF8 was in the answer.
    pub(super) smtputf8: bool,
}

impl Client {
    pub(super) fn new(peer: Peer, environment: Environment) -> Self {
        Self { peer, environment, blocked: None, helo: None, tls: None, authenticated: false, login: None }
    }

    /// What the block of this client says, by tcprules as they stand now, or by a block as it stood when it came.
    pub(super) fn refusal(&self) -> Option<Ruling> {
        let denied = Policy::denied(&self.environment, self.peer.client.ip());
        denied.or_else(|| self.blocked.as_deref().cloned())
    }

    /// The client may send anywhere: RELAYCLIENT is set, even if empty, or AUTH succeeded.
    pub(super) fn may_relay(&self) -> bool {
        self.authenticated || self.is_relay_client()
    }

    pub(super) fn is_relay_client(&self) -> bool {
        self.environment.get(b"RELAYCLIENT").is_some()
    }

    /// What a throttle's key is made of.
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
