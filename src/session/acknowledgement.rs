//! Whether the client took the 250 of what was accepted. RFC 1047: an acknowledgement that is lost makes the sender send
//! again, so a copy is only absorbed where this one was not taken. It must not ask the ledger.

use std::time::Instant;

use crate::session::io::ClientEnd;
use crate::session::io::Delivery;
use crate::session::io::Farewell;

/// The acknowledgement that is open, and what the client has said that bears on it.
#[derive(Debug, Default)]
pub struct Acknowledgement {
    stage: Stage,
    /// When a message was accepted last.
    accepted: Option<Instant>,
    /// QUIT was heard.
    has_quit: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing is owed.
    #[default]
    Settled,
    /// Said, but not written yet.
    Owed,
    /// Written; the next octet shows that it was taken.
    Written,
}

impl Acknowledgement {
    /// A message was accepted, and its 250 is said.
    pub(super) fn owe(&mut self, now: Instant) {
        self.stage = Stage::Owed;
        self.accepted = Some(now);
    }

    /// All that was said to the client is written.
    pub(super) fn written(&mut self) {
        if self.stage == Stage::Owed {
            self.stage = Stage::Written;
        }
    }

    /// The client speaks, so it has heard what was written before.
    pub(super) fn heard(&mut self) -> Option<Delivery> {
        (self.stage == Stage::Written).then(|| self.settle(Delivery::Acknowledged))
    }

    /// The client has said QUIT.
    pub(super) fn quit(&mut self) {
        self.has_quit = true;
    }

    /// The client is gone without it.
    pub(super) fn lost(&mut self) -> Option<Delivery> {
        self.is_open().then(|| self.settle(Delivery::Unacknowledged))
    }

    /// After the close: what the client's TCP says. A program that closes with our 250 unread sends a reset. Some say QUIT
    /// behind the dot and read then (Postfix, and Exim, which ends its side too): one that was gone by then would have answered
    /// the 250 by a reset instead of an acknowledgement, and a reset that comes later is about our 221. So it is with a 421 to
    /// a client that keeps its connection for the next message: it closes that some time, unread. `is_proxied`: TCP ends at
    /// the load balancer.
    pub(super) fn farewell(&mut self, farewell: Farewell, is_proxied: bool) -> Option<Delivery> {
        let Farewell { acknowledged, heard, waited, end } = farewell;
        // One that is still there, but says nothing, has it too.
        let is_in_order = (waited || end != ClientEnd::Reset) && !is_proxied;
        match acknowledged && (heard || self.has_quit || is_in_order) {
            true => self.is_open().then(|| self.settle(Delivery::Acknowledged)),
            false => self.lost(),
        }
    }

    /// Whether it is open, and how the client's TCP takes it decides.
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Settled
    }

    /// Whether it is open and written: what is still owed to the client is something else.
    pub fn is_written(&self) -> bool {
        self.stage == Stage::Written
    }

    /// Whether the client has said QUIT.
    pub fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// When a message was accepted last.
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
