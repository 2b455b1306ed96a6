//! The resources that a session gives up for others when there are not enough for all: the room of its message, or its
//! place. A session with a message in our hands must not be asked for either.

use std::time::Duration;
use std::time::Instant;

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::state::Pending;
use crate::session::state::State;

impl Session {
    /// Gives up the room of a message that comes in too slowly. A complete message keeps it.
    pub(super) fn yield_room(&mut self, now: Now) {
        if matches!(&self.state, State::Body(body) if body.upload().takes_room) {
            self.refuse_and_close(&replies::too_slow(), Reason::NoRoom, now);
        }
    }

    /// The time up to which the session brings mail forward, as far as can be said now: in a message that comes in well
    /// above the least rate, behind its dot, and for a while after one was accepted.
    pub(super) fn is_needed_until(&self, now: Now) -> Option<Instant> {
        let accepted = self.acknowledgement.accepted().map(|accepted| accepted + DELIVERING);
        let message = match &self.state {
            State::Body(body) => {
                let rate = self.snapshot.settings.min_rate.saturating_mul(WORTH_A_PLACE).max(1);
                Some(body.began + START_OF_MESSAGE + Duration::from_secs(body.decoder.size() / rate))
            }
            State::Asking { pending: Pending::Copy(..), .. }
            | State::DataBegin
            | State::HoldBegin
            | State::Settle(_) => Some(now.monotonic + IN_OUR_HANDS),
            _ => None,
        };
        accepted.max(message)
    }

    /// Gives up the place for another client: all connections are used up. RFC 5321 section 3.8: 421 may come at any
    /// time, and the client comes again.
    pub(super) fn yield_place(&mut self, now: Now) {
        if self.is_over() || self.is_needed_until(now).is_some_and(|until| until > now.monotonic) {
            return;
        }
        self.refuse_and_close(&replies::too_busy(), Reason::TooManyConnections, now);
    }
}

/// The time for which a session keeps its place after its message was accepted.
const DELIVERING: Duration = Duration::from_secs(60);
/// The time for which it keeps its place at the beginning of a message, before that comes in.
const START_OF_MESSAGE: Duration = Duration::from_secs(10);
/// Times the least rate that a message must reach to keep a place, or its room in a full hold: at the least rate alone
/// a few networks could hold all places for hours, and pay next to nothing.
const WORTH_A_PLACE: u64 = 16;
/// The time for which it keeps its place while it waits for us.
const IN_OUR_HANDS: Duration = Duration::from_secs(3600);
