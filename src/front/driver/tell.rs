//! The events of the loop, told to the session. It must not wait for anything.

use std::io;

use crate::backend::AskingEnd;
use crate::backend::OpenFault;
use crate::front::condition::Condition;
use crate::front::condition::Stop;
use crate::front::driver::Backend;
use crate::front::driver::Driver;
use crate::front::driver::Event;
use crate::front::driver::Opened;
use crate::front::driver::SubmitFault;
use crate::front::driver::Submitted;
use crate::front::driver::Transfer;
use crate::front::exchange::Done;
use crate::front::exchange::Side;
use crate::front::linger::ClosePolicy;
use crate::front::tcp;
use crate::hold::Filled;
use crate::session::io::BackendEnd;
use crate::session::record::Span;

impl Driver {
    /// Tells the session of an event.
    pub(super) fn tell(&mut self, event: Event) {
        match event {
            Event::Alarm => self.session.handle_timeout(self.now),
            Event::Answer(ticket, since, answered) => {
                self.took(Span::Question, since);
                self.answered(ticket, answered);
            }
            Event::Backend(done) => self.backend_did(done),
            Event::BackendAsked(end) => self.backend_asked(end),
            Event::BackendOpen(result) => self.backend_opened(result),
            Event::BackendWanted => self.session.handle_backend_wanted(),
            Event::Client(done) => self.client_did(done),
            Event::Condition(condition) => self.is_under(condition),
            Event::BackendRoom => self.transfer = Transfer::Running,
            Event::Filled(Ok(filled)) => self.filled(filled),
            Event::Filled(Err(fault)) | Event::Flushed(Err(fault)) => self.hold_failed(&fault),
            Event::Flushed(Ok(())) => {}
            Event::PlaceWanted => {
                self.slot = None;
                self.session.handle_place_wanted(self.now);
                if self.session.is_over() {
                    self.close_policy = ClosePolicy::Displaced;
                }
            }
            Event::HoldWanted => self.session.handle_hold_wanted(self.now),
            Event::Submitted(result) => self.submitted(result),
        }
    }

    fn filled(&mut self, filled: Filled) {
        match filled {
            Filled::End => {
                self.transfer = Transfer::Idle;
                self.session.handle_body_sent(self.now);
            }
            // The backend's last reply may still have to be read.
            Filled::Lost => self.transfer = Transfer::Idle,
            Filled::Piece(octets) => {
                let octets = match &mut self.stuffer {
                    Some(stuffer) => stuffer.stuff(octets),
                    None => octets,
                };
                self.say_to_backend(octets);
            }
            Filled::Sent { full } => {
                self.transfer = if full { Transfer::Blocked } else { Transfer::Running };
                self.session.handle_backend_progress(self.now);
            }
        }
    }

    fn is_under(&mut self, condition: Condition) {
        self.session.handle_stress(condition.stress);
        self.session.handle_pressure(condition.pressure);
        match condition.stop {
            Stop::Run => {}
            Stop::Drain => self.session.handle_stop(self.now),
            Stop::Kill => self.session.handle_kill(self.now),
        }
    }

    fn client_did(&mut self, done: Done) {
        match done {
            Done::Read(Ok(0)) => self.client_ended = true,
            // Under TLS: many end TCP without a word of TLS about it.
            Done::Read(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.client_ended = true,
            Done::Read(Ok(octets)) => {
                self.heard = octets;
                if !self.session.takes_message() {
                    self.commanded = Some(self.now.monotonic);
                }
                self.note_heard();
            }
            Done::Written(Ok(())) => self.written(),
            Done::Read(Err(_)) | Done::Written(Err(_)) => {
                self.client = Side::default();
                self.client_ended = true;
                self.session.handle_client_reset(self.now);
            }
        }
    }

    /// Input shows that the reply before it was taken, unless it was sent before that reply had come.
    fn note_heard(&mut self) {
        let acknowledges = || self.client.stream.tcp().is_none_or(tcp::is_acknowledged);
        if self.session.acknowledgement().is_open() && acknowledges() {
            self.session.handle_client_heard();
        }
    }

    /// Octets were written: all that the client is owed may be in the system's hands now.
    fn written(&mut self) {
        if self.client.is_written() && !self.client_ended {
            self.session.handle_client_written();
        }
    }

    fn backend_did(&mut self, done: Done) {
        let Backend::Open(side) = &mut self.backend else { return };
        match done {
            Done::Read(Ok(1..)) => {
                let written = side.is_written() && self.transfer == Transfer::Idle;
                if self.session.handle_backend(&mut side.input, written, self.now) {
                    side.stream.acknowledge();
                }
            }
            Done::Written(Ok(())) => self.session.handle_backend_progress(self.now),
            Done::Read(Ok(0) | Err(_)) => self.backend_ended(BackendEnd::Lost),
            // The backend's last reply may still have to be read.
            Done::Written(Err(_)) => {}
        }
    }

    /// Another session has asked for the offer. If that came to nothing because its client left, this one asks.
    fn backend_asked(&mut self, end: AskingEnd) {
        let Backend::Waiting(_, opening) = self.take_backend() else { return };
        match self.services.backends.offer(self.session.environment()) {
            Some((offer, true)) => self.session.handle_offer_heard(offer, self.now),
            _ if end == AskingEnd::Failed => self.backend_ended(BackendEnd::Lost),
            _ => self.begin_backend(opening),
        }
    }

    fn backend_opened(&mut self, result: Opened) {
        match result {
            Ok((connection, login)) => {
                // AUTH may have begun meanwhile, in one that was not opened for it.
                self.login = login.or(self.login.take());
                let greeted = connection.is_greeted();
                self.backend = Backend::Open(Box::new(Side::new(connection)));
                self.session.handle_backend_open(greeted, self.now);
            }
            Err(OpenFault::Busy) => self.backend_ended(BackendEnd::Busy),
            Err(OpenFault::Unavailable(why)) => {
                self.backend_is_missing(why);
                self.backend_ended(BackendEnd::Lost);
            }
        }
    }

    fn backend_is_missing(&self, why: String) {
        tracing::warn!(error = %why, "backend");
        self.services.health.missing(why);
    }

    fn submitted(&mut self, result: Submitted) {
        drop(self.take_backend());
        self.services.note_pressure();
        let result = match result {
            Ok(reply) => Ok(reply),
            Err(SubmitFault::Hold(fault)) => return self.hold_failed(&fault),
            Err(SubmitFault::Backend(OpenFault::Busy)) => Err(BackendEnd::Busy),
            Err(SubmitFault::Backend(OpenFault::Unavailable(why))) => {
                self.backend_is_missing(why);
                Err(BackendEnd::Lost)
            }
        };
        self.session.handle_submission(result, self.now);
    }

    pub(super) fn backend_ended(&mut self, end: BackendEnd) {
        drop(self.take_backend());
        self.session.handle_backend_end(end, self.now);
    }
}
