//! The wait for the next event. All sources are polled in place, at every turn: a future for each would be made and thrown
//! away as often, and an idle session would keep the room of all of them. It must not act on an event.

use std::future::poll_fn;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use crate::front::driver::Backend;
use crate::front::driver::Driver;
use crate::front::driver::Event;
use crate::front::driver::Inquiry;
use crate::front::driver::OUTBOX_LIMIT;
use crate::front::driver::Transfer;
use crate::front::exchange::Interest;
use crate::front::exchange::SHARED_ROOM;

/// The events that one turn waits for.
#[derive(Clone, Copy)]
struct Turn {
    alarm: bool,
    /// Octets to be read from the client at once.
    reads: usize,
    /// More of the held message goes to the backend.
    fills: bool,
    flushes: bool,
    writes: bool,
}

impl Driver {
    /// Waits for the first event.
    pub(super) async fn wait(&mut self) -> Event {
        if let Some(slot) = &self.slot {
            slot.is_needed_until(self.session.needed_until(self.now));
            slot.note(&self.session.activity());
        }
        let turn = self.turn();
        poll_fn(|cx| self.poll(turn, cx)).await
    }

    fn turn(&mut self) -> Turn {
        let fills = self.transfer == Transfer::Running && self.may_fill();
        let reads = !self.client_ended && self.client.input.len() < READ_AHEAD && !self.is_congested();
        let room = match self.session.takes_message() {
            true => body_room(self.heard),
            false => COMMAND_READ,
        };
        if self.offering.is_some() && !self.session.awaits_offer() {
            self.end_asking();
        }
        if !self.session.has_idle_backend() {
            self.wanted = None;
        } else if self.wanted.is_none() {
            let (services, client) = (self.services.clone(), self.session.peer().client.ip());
            self.wanted = Some(Box::pin(async move { services.backends.wanted(client).await }));
        }
        Turn {
            alarm: self.set_alarm(),
            reads: if reads { room } else { 0 },
            fills,
            flushes: self.transfer == Transfer::Idle && self.hold.as_ref().is_some_and(|hold| hold.needs_flush()),
            // A small message leaves with its dot, a large one in large pieces.
            writes: !fills,
        }
    }

    /// Time limits and stops are looked at first, so that a busy side cannot hold them up.
    fn poll(&mut self, turn: Turn, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(condition) = self.condition.poll(cx) {
            return Poll::Ready(Event::Condition(condition));
        }
        if turn.alarm && self.alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Alarm);
        }
        if let Some(slot) = &mut self.slot
            && slot.poll_leave(cx).is_ready()
        {
            return Poll::Ready(Event::PlaceWanted);
        }
        if let Some(hold) = &mut self.hold
            && hold.poll_leave(cx).is_ready()
        {
            return Poll::Ready(Event::HoldWanted);
        }
        if let Some(Inquiry { ticket, since, answering }) = &mut self.asking {
            let (ticket, since) = (*ticket, *since);
            if let Poll::Ready(answered) = answering.as_mut().poll(cx) {
                self.asking = None;
                return Poll::Ready(Event::Answer(ticket, since, answered));
            }
        }
        let event = self.poll_backend(turn, cx);
        let event = if event.is_pending() { self.poll_client(turn, cx) } else { event };
        if event.is_ready() {
            return event;
        }
        let event = match &mut self.hold {
            Some(hold) if turn.fills => hold.poll_fill(cx).map(Event::Filled),
            Some(hold) if turn.flushes => hold.poll_flush(cx).map(Event::Flushed),
            _ => Poll::Pending,
        };
        match &mut self.wanted {
            Some(wanted) if event.is_pending() => {
                ready!(wanted.as_mut().poll(cx));
                self.wanted = None;
                Poll::Ready(Event::BackendWanted)
            }
            _ => event,
        }
    }

    fn poll_backend(&mut self, turn: Turn, cx: &mut Context<'_>) -> Poll<Event> {
        let side = match &mut self.backend {
            Backend::Closed => return Poll::Pending,
            Backend::Waiting(asked, _) => return asked.as_mut().poll(cx).map(Event::BackendAsked),
            Backend::Opening(opening) => return opening.as_mut().poll(cx).map(Event::BackendOpen),
            Backend::Open(side) => side,
            Backend::Submitting(submitting) => return submitting.as_mut().poll(cx).map(Event::Submitted),
        };
        let interest = Interest { reads: COMMAND_READ, writes: turn.writes };
        match side.poll(interest, cx).map(Event::Backend) {
            Poll::Pending if self.transfer == Transfer::Blocked => {
                side.stream.poll_room(cx).map(|()| Event::BackendRoom)
            }
            event => event,
        }
    }

    fn poll_client(&mut self, turn: Turn, cx: &mut Context<'_>) -> Poll<Event> {
        self.client.poll(Interest { reads: turn.reads, writes: true }, cx).map(Event::Client)
    }

    /// Whether more of the held message may be on its way. Octets that go there from a file must not overtake the outbox.
    fn may_fill(&self) -> bool {
        match (&self.hold, &self.backend) {
            (Some(hold), Backend::Open(side)) if hold.sends() => side.outbox.is_empty(),
            _ => self.backend.outbox_len() < OUTBOX_LIMIT,
        }
    }

    /// Sets the alarm; false: there is no deadline. A deadline mostly moves away with each command: the alarm is not moved
    /// along, but set again when it rings too early.
    fn set_alarm(&mut self) -> bool {
        let Some(deadline) = self.session.deadline() else { return false };
        if self.alarm.is_elapsed() || self.alarm.deadline() > deadline.into() {
            self.alarm.as_mut().reset(deadline.into());
        }
        true
    }
}

/// Octets of a message to read at once. It grows with what comes: a read that filled its room is followed by a larger one.
fn body_room(heard: usize) -> usize {
    match heard {
        LONG_READ.. => LONGEST_READ,
        SHARED_ROOM.. => LONG_READ,
        _ => SHARED_ROOM,
    }
}

/// Octets read at once: of commands, and of a long message.
const COMMAND_READ: usize = 2 * 1024;
const LONG_READ: usize = 64 * 1024;
const LONGEST_READ: usize = 256 * 1024;
/// Octets that may wait while the session cannot use them: enough to see that the client is gone.
const READ_AHEAD: usize = 128 * 1024;
