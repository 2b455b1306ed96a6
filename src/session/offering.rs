//! The backend's offer, as far as it is known, and the session that has to ask for it. It must not keep a client waiting
//! for longer than `backend.timeout.connect`.

use std::sync::Arc;

use crate::policy::environment::Environment;
use crate::session::Session;
use crate::session::client::Helo;
use crate::session::io::Now;
use crate::session::state::State;
use crate::smtp::reply::Offer;

/// The last known offer of a backend in this client's environment.
#[derive(Debug, Default)]
pub(super) struct LearnedOffer {
    /// The offer; `None`: it was never heard.
    pub(super) offer: Option<Arc<Offer>>,
    /// Whether the offer is fresh enough to refuse by.
    pub(super) is_fresh: bool,
}

/// The shell's part in it.
impl Session {
    /// Tells the last known offer of a backend with this environment, and whether it is fresh enough to refuse by.
    pub fn handle_offer(&mut self, offer: Arc<Offer>, is_fresh: bool) {
        self.offer = LearnedOffer { offer: Some(offer), is_fresh };
    }

    /// Tells the offer that another session has heard and this one waits for: its own backend session is not needed for
    /// that any more.
    pub fn handle_offer_heard(&mut self, offer: Arc<Offer>, now: Now) {
        self.handle_offer(offer, true);
        if self.awaits_offer() {
            self.close_backend();
        }
        match self.state {
            State::Hello { .. } => self.say_extensions(now),
            State::Inquiry { .. } => self.close(now),
            _ => {}
        }
    }

    /// Asks the backend, in place of `start`, for its offer to clients with these variables. Nothing is counted and there
    /// is no record; where it fails, the reply to the client says why.
    pub fn inquire(&mut self, environment: Environment, now: Now) {
        self.trace.recorded = true;
        self.client.environment = environment;
        let name = self.snapshot.settings.hostname.as_str().into();
        self.client.helo = Some(Helo { name, extended: true, smtputf8: false });
        self.ask_for_offer(now);
        self.state = State::Inquiry { until: now.monotonic + self.snapshot.settings.backend_connect };
    }

    /// Whether a newer offer would make a difference: none is known, or an old one, and the client has not heard of it.
    pub fn wants_offer(&self) -> bool {
        self.lacks_offer() || (!self.offer.is_fresh && self.client.helo.is_none())
    }

    /// Whether all that the session waits for is the backend's offer.
    pub fn awaits_offer(&self) -> bool {
        matches!(self.state, State::Hello { .. } | State::Inquiry { .. })
    }

    /// Whether the offer was fresh when it was told, or has come from the backend since.
    pub fn has_fresh_offer(&self) -> bool {
        self.offer.is_fresh
    }
}

impl Session {
    /// The backend's offer; an empty one while it is unknown.
    pub(super) fn offer(&self) -> &Offer {
        self.offer.offer.as_deref().unwrap_or(&Offer::NONE)
    }

    /// Whether the offer of a backend with this environment is still unknown.
    pub(super) fn lacks_offer(&self) -> bool {
        self.offer.offer.is_none()
    }

    /// Whether the client may make the backend work: not when it is refused, or told to go.
    pub(super) fn may_ask_for_offer(&self) -> bool {
        !self.stopping && !self.client_gone && self.client.refusal().is_none()
    }

    /// Asks for the backend's offer, which has to be known before EHLO is answered: a client that needs AUTH, 8BITMIME
    /// or DSN looks for it once. The backend session serves the MAIL or AUTH that follows.
    pub(super) fn ask_for_offer(&mut self, now: Now) {
        if self.relay.is_none() {
            self.relay = Some(self.new_backend(false, now));
        }
        self.state = State::Hello { until: now.monotonic + self.snapshot.settings.backend_connect };
    }
}
