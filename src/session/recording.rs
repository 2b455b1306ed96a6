//! The records that a session leaves of each transaction, refusal and connection. It must not decide anything.

use std::sync::Arc;

use bytes::Bytes;

use crate::policy::repeat::Before;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::Session;
use crate::session::io::Now;
use crate::session::io::Output;
use crate::session::outcome::Outcome;
use crate::session::record::Folded;
use crate::session::record::Kind;
use crate::session::record::Record;
use crate::session::state::ReceivedMessage;
use crate::session::state::Transaction;
use crate::session::words;
use crate::smtp::command::Rcpt;

/// The data that records need beside the session's state.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The line that is being obeyed.
    line: Bytes,
    /// Whether a line began as AUTH does.
    after_auth: bool,
    /// Whether the connection has had a record that tells of it.
    pub(super) recorded: bool,
    /// Number of records about refused recipients and commands.
    refusals: u32,
    /// The refusals that have no lines.
    folded: Folded,
}

impl Trace {
    /// Begins with a line, which is obeyed now, or refused.
    pub(super) fn begin(&mut self, line: Bytes) {
        self.after_auth |= words::is_auth(&line);
        self.line = line;
    }

    /// Whether a line began as AUTH does.
    pub(super) fn after_auth(&self) -> bool {
        self.after_auth
    }

    /// Ends with the line.
    pub(super) fn end(&mut self) {
        self.line = Bytes::new();
    }
}

impl Session {
    /// The end of the transaction, where one runs: with its record.
    pub(super) fn end_recorded(
        &mut self,
        outcome: &Outcome,
        received: Option<&ReceivedMessage>,
        now: Now,
    ) -> Option<Box<Transaction>> {
        if !outcome.is_passed_on() {
            self.remember_served();
        }
        let transaction = self.transaction.as_ref()?;
        let accepted = transaction.accepted.iter().chain(&transaction.served);
        let accepted = accepted.map(|accepted| accepted.rcpt.recipient.as_str().to_owned());
        let answered = received.filter(|_| outcome.code.is_some());
        let record = Record {
            recipients: accepted.collect(),
            size: received.map(|received| received.size).or(transaction.mail.size),
            received: received.map_or(0, |received| received.size),
            id: received.and_then(|received| received.id.clone()),
            before: received.map(|received| received.before).unwrap_or_default(),
            shadow: transaction.shadow.clone(),
            answered: answered.map(|received| now.monotonic.saturating_duration_since(received.at)),
            ..self.record_within(Kind::Mail, outcome, now)
        };
        self.trace.recorded = true;
        self.put(record);
        self.transaction.take()
    }

    pub(super) fn record_rcpt(&mut self, rcpt: &Arc<Rcpt>, outcome: &Outcome, now: Now) {
        if let Some(transaction) = &mut self.transaction {
            transaction.last_refusal = Some(Outcome { line: Bytes::new(), ..outcome.clone() });
            transaction.may_come_again |= outcome.code.is_some_and(|code| code < 500);
        }
        let recipients = vec![rcpt.recipient.as_str().to_owned()];
        self.record_refusal(Record { recipients, ..self.record_within(Kind::Rcpt, outcome, now) });
    }

    /// Records a refused command that no other record tells of.
    pub(super) fn record_command(&mut self, outcome: &Outcome, now: Now) {
        self.record_refusal(self.record_within(Kind::Command, outcome, now));
    }

    /// A record with what is known of the transaction, where one runs.
    fn record_within(&self, kind: Kind, outcome: &Outcome, now: Now) -> Record {
        let record = self.record(kind, outcome, now);
        match &self.transaction {
            Some(transaction) => Record {
                sender: Some(transaction.mail.sender.text()),
                size: transaction.mail.size,
                took: now.monotonic.saturating_duration_since(transaction.began),
                ..record
            },
            None => record,
        }
    }

    /// Records a refusal. A session has twenty lines about refusals; the others are counted, and told when it ends.
    pub(super) fn record_refusal(&mut self, record: Record) {
        self.trace.refusals = self.trace.refusals.saturating_add(1);
        let counted_only = self.trace.refusals > MOST_LINES;
        if counted_only {
            self.trace.folded.add(record.kind, record.reason.unwrap_or(Reason::Protocol));
        }
        self.put(Record { counted_only, ..record });
    }

    fn put(&mut self, record: Record) {
        self.tell_verdict(&record);
        self.output.push_back(Output::Record(Arc::new(record)));
    }

    /// Records the refusals that were counted only, once.
    pub(super) fn record_folded(&mut self, now: Now) {
        if !self.trace.folded.is_empty() {
            let folded = std::mem::take(&mut self.trace.folded);
            self.put(Record { folded, ..self.record(Kind::Folded, &Outcome::default(), now) });
        }
    }

    /// Records a connection that had no transaction: one line an event is enough.
    pub(super) fn record_connection(&mut self, outcome: Option<&Outcome>, now: Now) {
        if !self.trace.recorded {
            let quit = Outcome { code: Some(221), ..Outcome::default() };
            let record = self.record(Kind::Session, outcome.unwrap_or(&quit), now);
            self.trace.recorded = true;
            self.put(record);
        }
    }

    /// Records that we end the connection, whatever it had.
    pub(super) fn record_end(&mut self, outcome: &Outcome, now: Now) {
        match self.trace.recorded {
            true => self.record_command(outcome, now),
            false => self.record_connection(Some(outcome), now),
        }
    }

    pub(super) fn record(&self, kind: Kind, outcome: &Outcome, now: Now) -> Record {
        let accepted_but_gone = outcome.reason.is_none() && self.client_gone;
        let refusal = outcome.code.filter(|code| *code >= 400);
        let verdict = match kind {
            // No mail was asked for, or the connection was refused.
            Kind::Session | Kind::Folded => refusal.map(Verdict::of_code),
            // The mail was given up without a reply: it may come again.
            _ => Some(outcome.verdict.or(outcome.code.map(Verdict::of_code)).unwrap_or(Verdict::Defer)),
        };
        // The line that is being obeyed, where the line itself was the fault.
        let is_told = match kind {
            Kind::Command | Kind::Session => refusal.is_some(),
            _ => refusal.is_some() && matches!(outcome.reason, Some(Reason::BareNewline | Reason::Protocol)),
        };
        Record {
            kind,
            session: self.id.session.clone(),
            client: self.client.peer.client.ip().to_canonical(),
            helo: self.client.helo.as_ref().map(|helo| helo.name.to_string()),
            tls: self.client.tls,
            sender: None,
            recipients: Vec::new(),
            size: None,
            received: 0,
            id: None,
            before: Before::default(),
            verdict,
            code: outcome.code,
            reason: outcome.reason.or(accepted_but_gone.then_some(Reason::ClientGone)),
            user: self.client.login.as_ref().and_then(|login| login.user.clone()),
            rule: outcome.rule.clone(),
            shadow: Vec::new(),
            backend: outcome.backend.clone(),
            words: is_told.then(|| words::words(&self.trace.line, self.trace.after_auth)).flatten(),
            folded: Folded::default(),
            counted_only: false,
            took: now.monotonic.saturating_duration_since(self.patience.began()),
            answered: None,
        }
    }
}

/// Lines of one session about refused recipients and commands.
const MOST_LINES: u32 = 20;
