//! All commands but MAIL, RCPT and DATA. A handler replies through `Session::reply`; it must not count errors or close
//! by itself: `errors` and `closing` do.

use bytes::Bytes;
use bytes::BytesMut;

use crate::policy::replies;
use crate::policy::verdict::Reason;
use crate::session::Session;
use crate::session::client::Helo;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::question::Question;
use crate::session::state::Pending;
use crate::session::state::State;
use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::command::CommandFault;
use crate::smtp::data::BareNewline;
use crate::smtp::line::LineEnd;
use crate::smtp::line::LineFault;
use crate::smtp::line::LineReader;
use crate::smtp::line::MAX_COMMAND_LINE;
use crate::smtp::reply::Offer;
use crate::smtp::reply::Reply;
use crate::smtp::reply::ehlo;

/// Commands that have come and are not obeyed yet.
#[derive(Debug, Default)]
pub(super) struct CommandInput {
    pub(super) lines: LineReader,
    /// A command that has to wait until all replies before it are known, with its line.
    pub(super) parked: Option<Box<(Result<Command, CommandFault>, Bytes)>>,
}

impl CommandInput {
    /// Whether a command waits for the replies before it.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }
}

impl Session {
    /// Takes one command from the buffer. RCPT may overtake replies that are still outstanding, every other waits for
    /// them: it could not be ruled on, or its reply would come too early.
    pub(super) fn command(&mut self, input: &mut BytesMut, now: Now) -> bool {
        if !self.wants_input() {
            return false;
        }
        // A TLS hello may have no line end at all.
        if command::is_tls_hello(input) {
            self.tell_command(command::TLS_HELLO);
            self.trace.begin(Bytes::from_static(command::TLS_HELLO));
            self.refuse_and_close(&replies::tls_hello(), Reason::Protocol, now);
            return false;
        }
        let Some(line) = self.input.lines.next(input, MAX_COMMAND_LINE, self.line_end()) else { return false };
        self.patience.note_command(now.monotonic);
        match line {
            Ok(line) => {
                self.tell_command(&line);
                match command::parse(&line) {
                    command if self.replies.is_settled() || matches!(command, Ok(Command::Rcpt(_))) => {
                        self.obey(command, line, now);
                    }
                    command => self.input.parked = Some(Box::new((command, line))),
                }
            }
            Err(fault) => self.refuse_line(fault, now),
        }
        true
    }

    /// Obeys the command that waited, if the replies before it are known.
    pub(super) fn resume_parked(&mut self, now: Now) {
        if self.replies.is_settled()
            && let Some(command) = self.input.parked.take()
        {
            let (command, line) = *command;
            self.obey(command, line, now);
        }
    }

    fn refuse_line(&mut self, fault: LineFault, now: Now) {
        let (LineFault::TooLong(head) | LineFault::BareLf(head)) = &fault;
        self.tell_command(head);
        match fault {
            LineFault::TooLong(head) => {
                self.trace.begin(head.into());
                self.error(&replies::line_too_long(), now);
            }
            LineFault::BareLf(head) => {
                self.trace.begin(head.into());
                self.refuse_and_close(&replies::bare_newline_in_command(), Reason::BareNewline, now);
            }
        }
        self.trace.end();
    }

    /// Obeys a command. Its line is at hand for as long as it may be refused; nothing is made of it otherwise.
    fn obey(&mut self, command: Result<Command, CommandFault>, line: Bytes, now: Now) {
        self.trace.begin(line);
        match command {
            Ok(command) => self.obey_command(command, now),
            Err(fault) => self.error(&syntax_reply(&fault), now),
        }
        self.trace.end();
    }

    fn obey_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Mail(mail) => self.mail(mail, now),
            Command::Rcpt(rcpt) => self.rcpt(rcpt, now),
            Command::Data => self.data(now),
            Command::Ehlo(name) => self.hello(&name, true, now),
            Command::Helo(name) => self.hello(&name, false, now),
            Command::Rset => self.reset(now),
            Command::Noop => self.idle_command(&replies::noop(), now),
            Command::Vrfy => self.idle_command(&replies::cannot_verify(), now),
            Command::Help => self.idle_command(&replies::help(), now),
            Command::Expn => self.error(&replies::unsupported("EXPN"), now),
            Command::Quit => self.quit(now),
            Command::StartTls => self.start_tls(now),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial, now),
            // RFC 3030: the chunk that follows would be read as commands.
            Command::Bdat => self.refuse_and_close(&replies::unsupported("BDAT"), Reason::Protocol, now),
            Command::Http => self.refuse_and_close(&replies::http(), Reason::Protocol, now),
            Command::TlsHello => self.refuse_and_close(&replies::tls_hello(), Reason::Protocol, now),
            Command::Unsupported(verb @ "PROXY") => {
                self.refuse_and_close(&replies::unsupported(verb), Reason::Protocol, now);
            }
            Command::Unsupported(verb) => self.error(&replies::unsupported(verb), now),
            Command::Unknown => self.error(&replies::unknown_command(), now),
        }
    }

    fn hello(&mut self, name: &Bytes, extended: bool, now: Now) {
        self.adopt_snapshot();
        if !self.count_idle_command(now) {
            return;
        }
        self.end_transaction(Reason::ClientGone, now);
        let name = String::from_utf8_lossy(name);
        // The backend was told another name: its next session hears the new one.
        if self.client.helo.as_ref().is_none_or(|helo| *helo.name != *name) && !self.client.authenticated {
            self.close_backend();
        }
        self.client.helo = Some(Helo { name: name.as_ref().into(), extended, smtputf8: false });
        match extended {
            true if self.lacks_offer() && self.may_ask_for_offer() => self.ask_for_offer(now),
            true => self.say_extensions(now),
            false => {
                self.reply(&replies::hello(&self.snapshot.settings.hostname));
                self.stop_if_idle(now);
            }
        }
    }

    /// Answers EHLO, with what is known by now.
    pub(super) fn say_extensions(&mut self, now: Now) {
        self.state = State::Command;
        self.patience.wait_from(now.monotonic);
        let offer = self.extensions();
        if let Some(helo) = &mut self.client.helo {
            helo.smtputf8 = offer.smtputf8;
        }
        self.replies.write(|out| ehlo(&self.snapshot.settings.hostname, &offer, out));
        self.stop_if_idle(now);
    }

    /// The extensions that we and the backend both have; before its first answer, ours alone.
    fn extensions(&self) -> Offer {
        let settings = &self.snapshot.settings;
        let backend = self.offer();
        let limit = self.snapshot.policy.size.ours(&self.client.environment).with_backend(backend);
        Offer {
            size: Some(limit.announced().map_or(0, |limit| limit.octets)),
            pipelining: true,
            enhanced: true,
            eight_bit_mime: backend.eight_bit_mime,
            smtputf8: backend.smtputf8,
            dsn: backend.dsn,
            starttls: settings.starttls && self.client.tls.is_none(),
            auth: backend.auth.clone().filter(|_| self.may_authenticate() && !self.client.authenticated),
            chunking: false,
            xclient: None,
        }
    }

    fn reset(&mut self, now: Now) {
        if self.transaction.is_some() {
            self.end_transaction(Reason::ClientGone, now);
            self.reply(&replies::reset());
            self.stop_if_idle(now);
        } else {
            self.idle_command(&replies::reset(), now);
        }
    }

    fn quit(&mut self, now: Now) {
        self.acknowledgement.quit();
        self.end_transaction(Reason::ClientGone, now);
        self.reply(&replies::goodbye(&self.snapshot.settings.hostname));
        self.record_connection(None, now);
        self.close(now);
    }

    fn start_tls(&mut self, now: Now) {
        if self.client.tls.is_some() {
            self.error(&replies::already_tls(), now);
        } else if !self.snapshot.settings.starttls {
            self.error(&replies::unsupported("STARTTLS"), now);
        } else {
            self.ask(Question::Handshake, Pending::StartTls, now);
        }
    }

    pub(super) fn start_tls_answered(&mut self, granted: bool, now: Now) {
        if !granted {
            // RFC 3207 section 4: the client may go on without, or come again.
            if self.count_idle_command(now) {
                let reply = replies::tls_not_available();
                self.record_command(&Outcome::ours(&reply, Reason::TooManyConnections, &self.id), now);
                self.reply(&reply);
            }
        } else {
            // RFC 3207 section 4.2: octets that the client sent in the clear behind STARTTLS are not to be trusted
            // (CVE-2011-0411); the shell, which owns the buffer, discards them.
            self.reply(&replies::start_tls());
            self.end_transaction(Reason::ClientGone, now);
            self.close_backend();
            self.state = State::Handshake;
            self.after_replies(Output::StartTls);
        }
    }

    /// Starts the session anew inside TLS, where the client has said nothing yet; `None`: the handshake failed.
    pub(super) fn secured(&mut self, version: Option<&'static str>, now: Now) {
        match version {
            Some(version) => {
                self.tell_event(|| format!("TLS began: {version}"));
                self.client.tls = Some(version);
                self.client.helo = None;
                self.client.authenticated = false;
                self.client.login = None;
                self.state = State::Command;
            }
            None => {
                self.tell_event(|| "the TLS handshake failed".to_owned());
                self.record_connection(Some(&Outcome { reason: Some(Reason::Protocol), ..Outcome::default() }), now);
                self.record_folded(now);
                self.state = State::Over;
            }
        }
    }

    pub(super) fn line_end(&self) -> LineEnd {
        match self.snapshot.settings.bare_newline {
            BareNewline::Normalize => LineEnd::AnyLf,
            BareNewline::Reject => LineEnd::Crlf,
        }
    }
}

/// The reply to each fault of a command.
fn syntax_reply(fault: &CommandFault) -> Reply {
    match fault {
        CommandFault::Argument(form) => replies::argument(form),
        CommandFault::BadParameter(name) => replies::bad_parameter(name),
        CommandFault::ControlOctet => replies::control_octet(),
        CommandFault::NoArgumentAllowed => replies::no_argument_allowed(),
        CommandFault::NonAscii => replies::non_ascii(),
        CommandFault::RecipientSyntax => replies::recipient_syntax(),
        CommandFault::SenderSyntax => replies::sender_syntax(),
        CommandFault::Syntax => replies::syntax(),
        CommandFault::UnknownParameter(name) => replies::unknown_parameter(name),
    }
}
