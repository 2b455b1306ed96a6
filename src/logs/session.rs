//! One session of smtpfront-qmail, from its lines: which reply belongs to which command, and how each transaction
//! ended. DATA is not logged; a refusal of the message is told by its text. It must not judge an address.

use crate::logs::fold::fold;
use crate::logs::smtpfront;
use crate::logs::smtpfront::Event;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Kind;

/// One session as far as it is known.
#[derive(Debug)]
pub(super) struct Session {
    /// The session's number among all sessions and messages.
    pub(super) case: u64,
    /// The sender of the transaction, folded.
    sender: Vec<u8>,
    /// Recipients that were not refused, folded, a LF behind each.
    recipients: Vec<u8>,
    /// Sender and recipients of the last step.
    told: (Vec<u8>, Vec<u8>),
    last: Last,
    in_transaction: bool,
    had_transaction: bool,
    /// The last refusal of a recipient, or of a command.
    refusal: Option<(Verdict, Reason)>,
    over: bool,
}

/// The end of a transaction, a recipient, a command or the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) verdict: Option<Verdict>,
    pub(super) reason: Option<Reason>,
    pub(super) bytes: u64,
}

/// The last command, as long as it may have been refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Mail,
    /// The octet of `recipients` at which the recipient stands.
    Rcpt(usize),
    Other,
}

impl Session {
    pub(super) fn new(case: u64) -> Self {
        Self {
            case,
            sender: Vec::new(),
            recipients: Vec::new(),
            told: (Vec::new(), Vec::new()),
            last: Last::Other,
            in_transaction: false,
            had_transaction: false,
            refusal: None,
            over: false,
        }
    }

    /// Whether its last line was seen.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The sender of the last step.
    pub(super) fn told_sender(&self) -> &[u8] {
        &self.told.0
    }

    /// The recipients of the last step; of a refused recipient that one.
    pub(super) fn told_recipients(&self) -> &[u8] {
        &self.told.1
    }

    pub(super) fn push(&mut self, event: Event<'_>) -> Option<Step> {
        match event {
            Event::Mail { sender, .. } => {
                let step = self.give_up();
                self.begin(sender);
                step
            }
            Event::Rcpt { recipient } => {
                self.rcpt(recipient);
                None
            }
            Event::Accepted { bytes, .. } if self.in_transaction => Some(self.end(Verdict::Accept, None, bytes)),
            Event::Reply { code, text } => self.reply(code, text),
            Event::Dropped => self.lose(Reason::ClientGone),
            Event::TimedOut => self.lose(Reason::Timeout),
            Event::Bytes => self.close(),
            Event::Accepted { .. } | Event::Other => {
                self.last = Last::Other;
                None
            }
        }
    }

    fn begin(&mut self, sender: &[u8]) {
        self.sender.clear();
        fold(sender, &mut self.sender);
        self.recipients.clear();
        self.refusal = None;
        self.last = Last::Mail;
        self.in_transaction = true;
        self.had_transaction = true;
    }

    fn rcpt(&mut self, recipient: &[u8]) {
        self.last = Last::Other;
        if self.in_transaction && self.recipients.len() < MOST_RECIPIENTS {
            self.last = Last::Rcpt(self.recipients.len());
            fold(recipient, &mut self.recipients);
            self.recipients.push(b'\n');
        }
    }

    fn reply(&mut self, code: u16, text: &[u8]) -> Option<Step> {
        let (verdict, reason) = (Verdict::of_code(code), smtpfront::reason(code, text));
        match std::mem::replace(&mut self.last, Last::Other) {
            Last::Mail => Some(self.end(verdict, Some(reason), 0)),
            Last::Rcpt(_) if smtpfront::is_about_the_message(text) => Some(self.end(verdict, Some(reason), 0)),
            Last::Rcpt(start) => {
                self.refusal = Some((verdict, reason));
                self.told.0.clone_from(&self.sender);
                self.told.1 = self.recipients.split_off(start);
                Some(Step { kind: Kind::Rcpt, verdict: Some(verdict), reason: Some(reason), bytes: 0 })
            }
            Last::Other => {
                self.refusal.get_or_insert((verdict, reason));
                None
            }
        }
    }

    fn lose(&mut self, reason: Reason) -> Option<Step> {
        self.in_transaction.then(|| self.end(Verdict::Defer, Some(reason), 0))
    }

    /// A transaction that came to nothing: with every recipient refused it was refused, else the client went away.
    fn give_up(&mut self) -> Option<Step> {
        let refusal = self.refusal.filter(|_| self.recipients.is_empty());
        let (verdict, reason) = refusal.unwrap_or((Verdict::Defer, Reason::ClientGone));
        self.in_transaction.then(|| self.end(verdict, Some(reason), 0))
    }

    fn close(&mut self) -> Option<Step> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        if self.had_transaction {
            return self.give_up();
        }
        self.told = (Vec::new(), Vec::new());
        let (verdict, reason) = self.refusal.unzip();
        Some(Step { kind: Kind::Session, verdict, reason, bytes: 0 })
    }

    fn end(&mut self, verdict: Verdict, reason: Option<Reason>, bytes: u64) -> Step {
        self.in_transaction = false;
        self.last = Last::Other;
        self.refusal = None;
        self.told = (std::mem::take(&mut self.sender), std::mem::take(&mut self.recipients));
        Step { kind: Kind::Mail, verdict: Some(verdict), reason, bytes }
    }
}

/// Octets of all recipients of a transaction.
const MOST_RECIPIENTS: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_transactions_end() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("accepted", &[MAIL, RCPT, TAKEN, BYE], &["mail a@b.example r@x.example accept 263"]),
            ("badmailfrom", &[MAIL, BAD, RCPT, FIRST, BYE], &["mail a@b.example  reject blocked_sender"]),
            (
                "one of two recipients",
                &[MAIL, RCPT, ELSE, NOT_LOCAL, TAKEN, BYE],
                &["rcpt a@b.example e@y.example reject not_local", "mail a@b.example r@x.example accept 263"],
            ),
            (
                "every recipient",
                &[MAIL, ELSE, NOT_LOCAL, "503 5.5.1 You must send RCPT TO: first", BYE],
                &["rcpt a@b.example e@y.example reject not_local", "mail a@b.example  reject not_local"],
            ),
            ("too large", &[MAIL, RCPT, LARGE, BYE], &["mail a@b.example r@x.example reject oversize_data"]),
            ("declared too large", &[MAIL, DECLARED], &["mail a@b.example  reject oversize_declared"]),
            ("dropped", &[MAIL, RCPT, "Connection dropped", BYE], &["mail a@b.example r@x.example defer client_gone"]),
            ("timed out", &[MAIL, RCPT, "Timed out", BYE], &["mail a@b.example r@x.example defer timeout"]),
            ("given up", &[MAIL, RCPT, BYE], &["mail a@b.example r@x.example defer client_gone"]),
            (
                "MAIL again",
                &[MAIL, MAIL, RCPT, TAKEN, BYE],
                &["mail a@b.example  defer client_gone", "mail a@b.example r@x.example accept 263"],
            ),
            ("nothing", &[BYE], &["session   none"]),
            ("twice over", &[BYE, BYE], &["session   none"]),
            ("HTTP", &["GET / HTTP/1.0", NO, "Host: x", NO, BYE], &["session   reject protocol"]),
            ("a forged acceptance", &[TAKEN, BYE], &["session   none"]),
        ];
        for (what, lines, expected) in table {
            let mut session = Session::new(1);
            let mut told = Vec::new();
            for line in *lines {
                if let Some(step) = session.push(smtpfront::read(line.as_bytes())) {
                    told.push(describe(&session, step));
                }
            }
            assert_eq!(told, *expected, "{what}");
        }
    }

    fn describe(session: &Session, step: Step) -> String {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end().to_owned();
        let reason = step.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        let bytes = if step.bytes > 0 { format!(" {}", step.bytes) } else { String::new() };
        let (sender, recipients) = (text(session.told_sender()), text(session.told_recipients()));
        let verdict = step.verdict.map_or("none", Verdict::as_str);
        format!("{} {sender} {recipients} {verdict}{reason}{bytes}", step.kind.as_str())
    }

    const MAIL: &str = "MAIL FROM:<A@B.example>";
    const RCPT: &str = "RCPT TO:<r@x.example>";
    const ELSE: &str = "RCPT TO:<e@y.example>";
    const BAD: &str = "553 5.1.0 Sorry, your envelope sender is in my badmailfrom list.";
    const FIRST: &str = "503 5.5.1 You must send MAIL FROM: first";
    const NOT_LOCAL: &str = "550 5.1.0 Mail system is not configured to accept that recipient";
    const LARGE: &str = "552 5.2.3 Sorry, that message exceeds the maximum message length.";
    const DECLARED: &str = "552 5.2.3 The message would exceed the maximum message size.";
    const NO: &str = "500 5.5.1 Not implemented.";
    const TAKEN: &str = "2.6.0 Accepted message qp 17294 bytes 263";
    const BYE: &str = "bytes in: 410 bytes out: 452";
}
