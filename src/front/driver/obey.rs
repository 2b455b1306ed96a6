//! The outputs of the session, carried out. It must not tell the session more than their outcome.

use std::future::poll_fn;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::backend::ClientInfo;
use crate::backend::Envelope;
use crate::backend::OpenFault;
use crate::backend::Turn;
use crate::front::answers::Answered;
use crate::front::answers::Answering;
use crate::front::clock;
use crate::front::condition::Condition;
use crate::front::displace;
use crate::front::driver::Backend;
use crate::front::driver::Driver;
use crate::front::driver::Inquiry;
use crate::front::driver::Opening;
use crate::front::driver::SubmitFault;
use crate::front::driver::Transfer;
use crate::front::exchange::Side;
use crate::front::tls;
use crate::hold::HoldFault;
use crate::policy::environment::Environment;
use crate::report::metrics;
use crate::session::io::BackendEnd;
use crate::session::io::Delivery;
use crate::session::io::Form;
use crate::session::io::HoldEnd;
use crate::session::io::Peer;
use crate::session::io::Release;
use crate::session::io::Sending;
use crate::session::io::Submission;
use crate::session::question::Answer;
use crate::session::question::Question;
use crate::session::question::Ticket;
use crate::session::record::Span;
use crate::smtp::stuffing::Stuffer;

impl Driver {
    /// Takes the backend's connection away, with all that waited for it.
    pub(super) fn take_backend(&mut self) -> Backend {
        (self.transfer, self.login) = (Transfer::Idle, None);
        self.end_asking();
        std::mem::replace(&mut self.backend, Backend::Closed)
    }

    /// The offer was asked for in vain, or the client has left: those that wait for it are told.
    pub(super) fn end_asking(&mut self) {
        if let Some(asking) = self.offering.take()
            && !self.client_ended
            && !self.session.is_over()
        {
            asking.failed();
        }
    }

    /// Looks for an offer that another session has heard meanwhile.
    pub(super) fn refresh_offer(&mut self) {
        if self.session.wants_offer()
            && let Some((offer, fresh)) = self.services.backends.offer(self.session.environment())
        {
            self.session.handle_offer(offer, fresh);
        }
    }

    /// Hands over the newest settings and lists, for the next MAIL.
    pub(super) fn refresh_snapshot(&mut self) {
        if self.snapshot.has_changed().unwrap_or(false) {
            let snapshot = self.snapshot.borrow_and_update().clone();
            self.session.handle_snapshot(snapshot);
        }
    }

    pub(super) fn release_backend(&mut self, release: Release) {
        let Backend::Open(side) = self.take_backend() else { return };
        match release {
            Release::Reusable if side.input.is_empty() && side.is_written() => {
                self.services.backends.take_back(side.stream);
            }
            Release::Reusable | Release::Quit if side.outbox.is_empty() => side.stream.end(),
            Release::Reusable | Release::Quit | Release::Abort => {}
        }
    }

    /// The client, as a backend hears of it.
    pub(super) fn client_info(&self, helo: String, environment: Environment) -> ClientInfo {
        let Peer { client, local, host, .. } = self.session.peer().clone();
        ClientInfo { address: client, local, host, helo, environment }
    }

    /// Opens a session with the backend. Of the sessions that need only its offer one asks, and the others wait for the
    /// answer.
    pub(super) fn begin_backend(&mut self, opening: Box<Opening>) {
        self.commanded = None;
        if self.session.awaits_offer() {
            match self.services.backends.turn(&opening.client.environment) {
                Turn::Ask(asking) => self.offering = Some(asking),
                Turn::Wait(answer) => {
                    self.backend = Backend::Waiting(Box::pin(answer.ended()), opening);
                    return;
                }
            }
        }
        self.open_backend(opening);
    }

    fn open_backend(&mut self, opening: Box<Opening>) {
        let services = self.services.clone();
        self.backend_generation = services.backends.server().1;
        self.backend = Backend::Opening(Box::pin(async move {
            let Opening { client, fresh, login } = *opening;
            let opened = match login {
                true => services.backends.open_for_login(&client, fresh).await.map(|(open, login)| (open, Some(login))),
                false => services.backends.open(&client, fresh).await.map(|connection| (connection, None)),
            };
            services.reports.metrics.opened(match &opened {
                Ok((connection, _)) if connection.is_greeted() => metrics::Opening::Reused,
                opened => outcome(opened),
            });
            opened
        }));
    }

    /// Hands the held message over. Its room counts until the program has done with it.
    pub(super) fn submit(&mut self, submission: Submission) {
        let Some(mut hold) = self.hold.take() else {
            return self.session.handle_submission(Err(BackendEnd::Lost), self.now);
        };
        let Submission { environment, helo, sender, recipients } = submission;
        let client = self.client_info(helo, environment);
        let services = self.services.clone();
        self.backend = Backend::Submitting(Box::pin(async move {
            let message = poll_fn(|cx| hold.poll_file(cx)).await.map_err(SubmitFault::Hold)?;
            let envelope = Envelope { sender, recipients };
            let submitted = services.backends.submit(&client, &envelope, message).await;
            services.reports.metrics.opened(outcome(&submitted));
            submitted.map_err(SubmitFault::Backend)
        }));
    }

    pub(super) fn secure_backend(&mut self) {
        let (login, offering) = (self.login.take(), self.offering.take());
        if let Backend::Open(side) = self.take_backend() {
            let secured = side.stream.secure();
            self.offering = offering;
            self.backend = Backend::Opening(Box::pin(async move { Ok((secured.await?, login)) }));
        }
    }

    /// AUTH begins or has ended in a backend session that was opened for something else: without a permit for logins that
    /// session is lost.
    pub(super) fn note_login(&mut self, begins: bool) {
        self.login = None;
        if begins {
            self.login = self.services.backends.begin_login(self.session.peer().client.ip());
            if self.login.is_none() {
                self.backend_ended(BackendEnd::Busy);
            }
        }
    }

    pub(super) fn ask(&mut self, ticket: Ticket, question: &Question) {
        match self.services.ask(question, self.network) {
            Answering::Now(answered) => {
                self.took(Span::Question, self.now.monotonic);
                self.answered(ticket, answered);
            }
            Answering::Later(answering) => {
                self.asking = Some(Inquiry { ticket, since: self.now.monotonic, answering });
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket, (mut answer, claim): Answered) {
        if let Answer::Handshake { granted } = &mut answer {
            self.handshake = self.services.handshakes.enter(self.session.peer().client.ip());
            *granted = self.handshake.is_some();
        }
        self.claims.hold(claim);
        self.session.handle_answer(ticket, answer, self.now);
    }

    pub(super) fn stop_asking(&mut self) {
        if let Some(inquiry) = self.asking.take() {
            self.took(Span::Question, inquiry.since);
            tracing::warn!(session = self.session.id(), "no answer in time");
        }
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let settled = self.claims.deliver(delivery);
        match delivery {
            Delivery::Accepted => {
                if let Some(slot) = &self.slot {
                    slot.delivered(self.now.monotonic);
                }
            }
            Delivery::Acknowledged => self.services.reports.metrics.acknowledged(true),
            Delivery::Unacknowledged => {
                self.services.reports.metrics.acknowledged(false);
                if settled > 0 {
                    tracing::info!(session = self.session.id(), "unacknowledged");
                }
            }
        }
    }

    /// A reply for which the backend was not asked ends the time that its command took.
    pub(super) fn say_to_client(&mut self, octets: Bytes) {
        if let Some(commanded) = self.commanded.take() {
            self.took(Span::Command, commanded);
        }
        self.client.outbox.push(octets);
    }

    /// Measures what began then and ends now.
    pub(super) fn took(&self, span: Span, since: Instant) {
        let time = self.now.monotonic.saturating_duration_since(since);
        self.services.reports.metrics.took(span, time);
    }

    pub(super) fn say_to_backend(&mut self, octets: Bytes) {
        self.commanded = None;
        if let Backend::Open(side) = &mut self.backend {
            side.outbox.push(octets);
        }
    }

    pub(super) fn begin_sending(&mut self, sending: Sending) {
        let (Some(hold), Backend::Open(side)) = (&mut self.hold, &self.backend) else { return };
        self.stuffer = (sending == Sending::Stuffed).then(Stuffer::default);
        // Octets that are stuffed have to pass us.
        let goes_itself = hold.has_file() && self.stuffer.is_none();
        match goes_itself.then(|| side.stream.duplicate_socket()).flatten() {
            Some(socket) => hold.rewind_to(socket),
            None => hold.rewind(),
        }
        if let Sending::Chunk(octets) = sending {
            if hold.len() != octets {
                let fault = format!("{} octets are held, {octets} were announced", hold.len());
                return self.hold_failed(&HoldFault::Io(io::Error::other(fault)));
            }
            hold.leave_out(LINE_END);
        }
        self.transfer = Transfer::Running;
    }

    pub(super) fn begin_hold(&mut self, expected: u64, form: Form) {
        let result = self.services.holds.begin(self.network, expected);
        match result {
            Ok(hold) => {
                self.hold = Some(Box::new(match form {
                    Form::Stored => hold.stored(),
                    Form::Wire => hold,
                }));
                self.session.handle_hold(Ok(()), self.now);
            }
            Err(fault) => self.hold_failed(&fault),
        }
    }

    pub(super) fn keep(&mut self, octets: &[u8]) {
        let result = self.hold.as_mut().map_or(Ok(()), |hold| hold.push(octets));
        if let Err(fault) = result {
            self.hold_failed(&fault);
        }
        self.services.note_pressure();
    }

    pub(super) fn drop_hold(&mut self) {
        self.transfer = Transfer::Idle;
        let Some(hold) = self.hold.take() else { return };
        let has_file = hold.has_file();
        let services = self.services.clone();
        let end = move || {
            drop(hold);
            services.note_pressure();
        };
        // To give back the pages of a large file takes milliseconds, for which no other session shall wait.
        if has_file { drop(spawn_blocking(end)) } else { end() }
    }

    pub(super) fn hold_failed(&mut self, fault: &HoldFault) {
        self.drop_hold();
        let end = match fault {
            HoldFault::NoRoom => HoldEnd::NoRoom,
            HoldFault::Io(_) => HoldEnd::Broken,
        };
        tracing::warn!(error = %fault, "hold");
        self.session.handle_hold(Err(end), self.now);
    }

    /// STARTTLS, the one place where the stream is swapped. Octets that came before the handshake are thrown away with the side that
    /// it had (RFC 3207 section 4.2, CVE-2011-0411).
    pub(super) async fn start_tls(&mut self) {
        let client = std::mem::take(&mut self.client);
        let guard = self.handshake.take();
        // The newest: a reload may have brought it.
        let acceptor = self.tls.borrow().clone();
        let secured = match (&acceptor, guard) {
            (Some(acceptor), Some(_guard)) => tokio::select! {
                secured = tls::upgrade(client, acceptor) => secured,
                // A client that is silent in the handshake does not hold up a stop.
                () = self.services.conditions.reached(Condition::is_stopping) => None,
                () = displace::left(self.slot.as_mut()) => None,
            },
            _ => None,
        };
        let version = secured.as_ref().map(tls::version);
        self.client_ended = secured.is_none();
        self.client = secured.map(Side::new).unwrap_or_default();
        self.now = clock::now();
        self.session.handle_tls(version, self.now);
    }
}

/// What became of a session that the pool did not have.
fn outcome<T>(opened: &Result<T, OpenFault>) -> metrics::Opening {
    match opened {
        Ok(_) => metrics::Opening::Opened,
        Err(OpenFault::Busy) => metrics::Opening::Busy,
        Err(OpenFault::Unavailable(_)) => metrics::Opening::Failed,
    }
}

/// Octets of a line end.
const LINE_END: u64 = 2;
