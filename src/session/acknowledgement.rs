//! The client's acknowledgement of our 250. Where it is lost the sender sends again (RFC 1047), so a copy is absorbed
//! only where the 250 was not taken. It must not ask the ledger.

use std::time::Instant;

use crate::session::io::ClientEnd;
use crate::session::io::Delivery;
use crate::session::io::Farewell;

/// The acknowledgement that is due for accepted messages, and the evidence that the client took it.
#[derive(Debug, Default)]
pub struct Acknowledgement {
    stage: Stage,
    /// The time at which a message was accepted last; `None`: never.
    accepted: Option<Instant>,
    /// Whether QUIT was heard.
    has_quit: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No acknowledgement is open.
    #[default]
    Settled,
    /// The 250 is said, but not written yet.
    Owed,
    /// The 250 is written; the client's next octet shows that it was taken.
    Written,
}

impl Acknowledgement {
    /// Notes that a message was accepted and its 250 said.
    pub(super) fn owe(&mut self, now: Instant) {
        self.stage = Stage::Owed;
        self.accepted = Some(now);
    }

    /// Notes that everything said to the client is written.
    pub(super) fn written(&mut self) {
        if self.stage == Stage::Owed {
            self.stage = Stage::Written;
        }
    }

    /// Settles a written acknowledgement: the client speaks, so it has read everything before. `None`: none was
    /// written.
    pub(super) fn heard(&mut self) -> Option<Delivery> {
        (self.stage == Stage::Written).then(|| self.settle(Delivery::Acknowledged))
    }

    /// Notes that the client has said QUIT.
    pub(super) fn quit(&mut self) {
        self.has_quit = true;
    }

    /// Settles an open acknowledgement as lost: the client is gone without it. `None`: none was open.
    pub(super) fn lost(&mut self) -> Option<Delivery> {
        self.is_open().then(|| self.settle(Delivery::Unacknowledged))
    }

    /// Settles an open acknowledgement after the close, by the client's TCP. A program that closes with our 250 unread
    /// sends a reset. Some say QUIT behind the dot and read only then (Postfix, and Exim, which ends its side too): if
    /// such a client were gone by then, its TCP would have answered the 250 by a reset instead of an acknowledgement,
    /// and a later reset is about our 221. The same holds for a 421 to a client that keeps its connection for the next
    /// message: it closes some time later, with the 421 unread. `is_proxied`: TCP ends at the load balancer.
    pub(super) fn farewell(&mut self, farewell: Farewell, is_proxied: bool) -> Option<Delivery> {
        let Farewell { acknowledged, heard, waited, end } = farewell;
        // A client that is still there, but says nothing, has it too.
        let is_in_order = (waited || end != ClientEnd::Reset) && !is_proxied;
        match acknowledged && (heard || self.has_quit || is_in_order) {
            true => self.is_open().then(|| self.settle(Delivery::Acknowledged)),
            false => self.lost(),
        }
    }

    /// Whether an acknowledgement is open, so that the client's TCP decides whether it was taken.
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Settled
    }

    /// Whether an open acknowledgement is written: anything still owed to the client is something else.
    pub fn is_written(&self) -> bool {
        self.stage == Stage::Written
    }

    /// Whether the client has said QUIT.
    pub fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// The time at which a message was accepted last; `None`: never.
    pub(super) fn accepted(&self) -> Option<Instant> {
        self.accepted
    }

    fn settle(&mut self, delivery: Delivery) -> Delivery {
        self.stage = Stage::Settled;
        delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::io::ClientEnd::Fin;
    use crate::session::io::ClientEnd::Open;
    use crate::session::io::ClientEnd::Reset;
    use crate::session::io::Delivery::Acknowledged;
    use crate::session::io::Delivery::Unacknowledged;

    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn owed() -> Acknowledgement {
        let mut acknowledgement = Acknowledgement::default();
        acknowledgement.owe(Instant::now());
        acknowledgement
    }

    #[test]
    fn how_the_client_ends_decides() {
        let farewell = |acknowledged, heard, waited, end| Farewell { acknowledged, heard, waited, end };
        let table = [
            ("in order", farewell(true, false, false, Fin), false, false, Acknowledged),
            ("closed with the 250 unread", farewell(true, false, false, Reset), false, false, Unacknowledged),
            ("the same behind its QUIT", farewell(true, false, false, Reset), true, false, Acknowledged),
            ("never acknowledged", farewell(false, false, false, Fin), true, false, Unacknowledged),
            ("still there, and silent", farewell(true, false, false, Open), false, false, Acknowledged),
            ("said something", farewell(true, true, false, Reset), false, false, Acknowledged),
            ("reset by our 421 unread", farewell(true, false, true, Reset), false, false, Acknowledged),
            ("behind a load balancer", farewell(true, false, false, Fin), false, true, Unacknowledged),
            ("with QUIT behind one", farewell(true, false, false, Fin), true, true, Acknowledged),
        ];
        for (what, farewell, quits, is_proxied, expected) in table {
            let mut acknowledgement = owed();
            if quits {
                acknowledgement.quit();
            }
            assert_eq!(acknowledgement.farewell(farewell, is_proxied), Some(expected), "{what}");
            assert_eq!(acknowledgement.farewell(farewell, is_proxied), None, "{what}: told once");
        }
    }

    #[test]
    fn only_what_was_written_is_heard() {
        let mut acknowledgement = owed();
        assert_eq!(acknowledgement.heard(), None);
        acknowledgement.written();
        assert!(acknowledgement.is_written());
        assert_eq!(acknowledgement.heard(), Some(Acknowledged));
        assert_eq!((acknowledgement.heard(), acknowledgement.lost()), (None, None));
    }
}
