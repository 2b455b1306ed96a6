//! The meaning of lines together: tcpserver's pid is smtpfront-qmail's, its `qp` is qmail-send's. Lines go in as they
//! were written; out come outcomes of transactions and of the queue, and to which session or message a line belongs. It
//! keeps a bounded number of each and forgets the oldest. It must not decide which lines are wanted.

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::logs::bounded::Bounded;
use crate::logs::fold::fold;
use crate::logs::fold::fold_list;
use crate::logs::line::Line;
use crate::logs::line::Parsed;
use crate::logs::line::of_backend;
use crate::logs::ours;
use crate::logs::qmail_send;
use crate::logs::qmail_send::Delivery;
use crate::logs::session::Session;
use crate::logs::session::Step;
use crate::logs::smtpfront;
use crate::logs::tcpserver;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Key;
use crate::session::record::Kind;

/// The memory between lines.
#[derive(Debug)]
pub struct Join {
    next_case: u64,
    /// Sessions of smtpfront-qmail by pid.
    sessions: Bounded<u32, Session>,
    /// The cases that put messages into the queue, by qp: sessions of smtpfront-qmail, or transactions of ours.
    senders: Bounded<u32, u64>,
    /// Messages of qmail-send by qp, with their time. qmail-send may be faster than smtpfront-qmail.
    queued: Bounded<u32, (u64, Option<Timestamp>)>,
    /// Messages in the queue by number.
    messages: Bounded<u64, Message>,
    /// Messages by the number of a delivery.
    deliveries: Bounded<u64, u64>,
    sender: Vec<u8>,
    recipients: Vec<u8>,
}

#[derive(Debug)]
struct Message {
    case: u64,
    sender: Vec<u8>,
}

/// The case that a line is part of, and its meaning.
#[derive(Debug, Default)]
pub struct Joined<'a> {
    /// The session or the message of the queue, numbered by us.
    pub case: Option<u64>,
    /// Others that this line shows to be about the same message.
    pub links: [Option<u64>; 2],
    /// The pid of the SMTP session.
    pub pid: Option<u32>,
    /// The process of qmail-queue.
    pub qp: Option<u32>,
    /// The number of the message in the queue.
    pub message: Option<u64>,
    /// The meaning, where the line ends or begins something.
    pub meaning: Option<Meaning<'a>>,
}

/// The meaning of a line. Addresses are folded.
#[derive(Clone, Copy, Debug)]
pub enum Meaning<'a> {
    /// The end of a transaction, a recipient or a connection.
    Outcome(Outcome<'a>),
    /// A message is in the queue.
    Queued {
        /// The message's sender.
        sender: &'a [u8],
        /// Octets.
        bytes: u64,
    },
    /// A delivery of it begins.
    Starting {
        /// The message's sender, if its beginning was seen.
        sender: Option<&'a [u8]>,
        /// The recipient of the delivery.
        recipient: &'a [u8],
    },
    /// A delivery ended.
    Delivered {
        /// The sender of its message, if the message's beginning was seen.
        sender: Option<&'a [u8]>,
        /// The outcome of the delivery.
        end: Delivery,
    },
    /// The sender of a message is told that it could not be delivered.
    Bounced {
        /// The sender, if the message's beginning was seen.
        sender: Option<&'a [u8]>,
    },
}

/// The end of something in SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The kind of what ended.
    pub kind: Kind,
    /// The sender, folded; the null sender is empty. `None` before MAIL.
    pub sender: Option<&'a [u8]>,
    /// The recipients, folded, a LF behind each.
    pub recipients: &'a [u8],
    /// The verdict; a connection that nobody refused has none.
    pub verdict: Option<Verdict>,
    /// The reason, unless it simply passed.
    pub reason: Option<Reason>,
    /// The rule that decided: a list's `file:line`, a throttle's name, a key of the configuration.
    pub rule: Option<&'a [u8]>,
    /// Octets of the message; of smtpfront-qmail's with LF line ends.
    pub bytes: u64,
    /// Counts of lines that were not written.
    pub folded: &'a [u8],
}

impl Default for Join {
    fn default() -> Self {
        Self {
            next_case: 0,
            sessions: Bounded::new(MOST_SESSIONS),
            senders: Bounded::new(MOST_SESSIONS),
            queued: Bounded::new(MOST_SESSIONS),
            messages: Bounded::new(MOST_MESSAGES),
            deliveries: Bounded::new(MOST_SESSIONS),
            sender: Vec::new(),
            recipients: Vec::new(),
        }
    }
}

impl Join {
    /// Takes the next line.
    pub fn push<'a>(&'a mut self, line: &'a Line<'_>) -> Joined<'a> {
        match &line.parsed {
            Parsed::Smtpfront(pid, event) => self.smtpfront(*pid, *event, line.time),
            Parsed::Tcpserver(event) => self.tcpserver(*event),
            Parsed::QmailSend(event) => self.qmail_send(*event, line.time),
            Parsed::Ours(ours::Event::Record(record)) => self.record(record, line.time),
            // How it ended is told by our own line.
            Parsed::Ours(ours::Event::Backend { line: text, .. }) => match of_backend(text) {
                Some((pid, event)) => Joined { meaning: None, ..self.smtpfront(pid, event, line.time) },
                None => Joined::default(),
            },
            Parsed::Ours(_) | Parsed::Foreign(..) | Parsed::Text => Joined::default(),
        }
    }

    fn case(&mut self) -> u64 {
        self.next_case += 1;
        self.next_case
    }

    fn tcpserver(&mut self, event: tcpserver::Event<'_>) -> Joined<'_> {
        use tcpserver::Event::Deny;
        use tcpserver::Event::End;
        use tcpserver::Event::Ok;
        use tcpserver::Event::Other;
        use tcpserver::Event::Pid;
        use tcpserver::Event::Status;
        use tcpserver::Event::Trouble;
        let (pid, meaning) = match event {
            Pid { pid, .. } => {
                let case = self.case();
                self.sessions.insert(pid, Session::new(case));
                (pid, None)
            }
            Ok { pid } => (pid, None),
            Deny { pid } => {
                (pid, Some(Meaning::Outcome(Outcome::of_connection(Verdict::Reject, Reason::BlockedClient))))
            }
            End { pid } => {
                let case = self.sessions.remove(pid).map(|session| session.case);
                return Joined { case, pid: Some(pid), ..Joined::default() };
            }
            Status | Trouble | Other => return Joined::default(),
        };
        let case = self.session(pid).case;
        Joined { case: Some(case), pid: Some(pid), meaning, ..Joined::default() }
    }

    /// The session of a pid, also one whose beginning was not seen.
    fn session(&mut self, pid: u32) -> &mut Session {
        if self.sessions.get(pid).is_none() {
            let case = self.case();
            self.sessions.insert(pid, Session::new(case));
        }
        self.sessions.get_mut(pid).expect("it was there or was inserted")
    }

    fn smtpfront(&mut self, pid: u32, event: smtpfront::Event<'_>, time: Option<Timestamp>) -> Joined<'_> {
        if self.sessions.get(pid).is_some_and(|session| session.is_over() && event != smtpfront::Event::Bytes) {
            self.sessions.remove(pid);
        }
        let (case, step) = {
            let session = self.session(pid);
            (session.case, session.push(event))
        };
        let mut joined = Joined { case: Some(case), pid: Some(pid), ..Joined::default() };
        if let smtpfront::Event::Accepted { qp, .. } = event {
            self.senders.insert(qp, case);
            joined.qp = Some(qp);
            joined.links[1] = self.queued_just_now(qp, time);
        }
        let Some(step) = step else { return joined };
        let Step { kind, verdict, reason, bytes } = step;
        let session = self.sessions.get(pid).expect("it took the step");
        let sender = (kind != Kind::Session).then_some(session.told_sender());
        let recipients = session.told_recipients();
        let outcome = Outcome { kind, sender, recipients, verdict, reason, rule: None, bytes, folded: b"" };
        joined.meaning = Some(Meaning::Outcome(outcome));
        joined
    }

    fn queued_just_now(&self, qp: u32, time: Option<Timestamp>) -> Option<u64> {
        let (case, told) = *self.queued.get(qp)?;
        let is_near = match (told, time) {
            (Some(told), Some(time)) => time.duration_since(told).abs() < NEAR,
            _ => true,
        };
        is_near.then_some(case)
    }

    fn record<'a>(&'a mut self, record: &'a ours::Record<'_>, time: Option<Timestamp>) -> Joined<'a> {
        let case = self.case();
        let qp = record.text(Key::Backend).and_then(smtpfront::queued);
        let links = qp.map_or([None; 2], |qp| [self.senders.get(qp).copied(), self.queued_just_now(qp, time)]);
        if let Some(qp) = qp.filter(|_| links[0].is_none()) {
            self.senders.insert(qp, case);
        }
        self.sender.clear();
        fold(record.text(Key::Sender).unwrap_or_default(), &mut self.sender);
        self.recipients.clear();
        fold_list(record.text(Key::Recipients).unwrap_or_default(), b'\n', &mut self.recipients);
        let outcome = Outcome {
            kind: record.kind,
            sender: record.text(Key::Sender).map(|_| &*self.sender),
            recipients: &self.recipients,
            // Once a connection without a transaction was called accepted.
            verdict: record
                .text(Key::Verdict)
                .and_then(verdict)
                .filter(|verdict| record.kind != Kind::Session || *verdict != Verdict::Accept),
            reason: record.text(Key::Reason).and_then(reason),
            rule: record.text(Key::Rule),
            bytes: record.number(Key::Size).unwrap_or(0),
            folded: record.text(Key::Folded).unwrap_or_default(),
        };
        let is_known = outcome.verdict.is_some() || matches!(record.kind, Kind::Session | Kind::Folded);
        let meaning = is_known.then_some(Meaning::Outcome(outcome));
        Joined { case: Some(case), links, qp, meaning, ..Joined::default() }
    }

    fn qmail_send(&mut self, event: qmail_send::Event<'_>, time: Option<Timestamp>) -> Joined<'_> {
        use qmail_send::Event::Bounce;
        use qmail_send::Event::Delivery;
        use qmail_send::Event::End;
        use qmail_send::Event::Info;
        use qmail_send::Event::New;
        use qmail_send::Event::Starting;
        use qmail_send::Event::Status;
        use qmail_send::Event::Trouble;
        match event {
            New { message } => {
                let case = self.case();
                self.messages.insert(message, Message { case, sender: Vec::new() });
                Joined { case: Some(case), message: Some(message), ..Joined::default() }
            }
            Info { message, bytes, sender, qp } => self.info(message, bytes, sender, qp, time),
            Starting { delivery, message, recipient } => {
                self.deliveries.insert(delivery, message);
                self.recipients.clear();
                fold(recipient, &mut self.recipients);
                let found = self.messages.get(message);
                let sender = found.map(|message| &*message.sender);
                let meaning = Some(Meaning::Starting { sender, recipient: &self.recipients });
                Joined { case: found.map(|it| it.case), message: Some(message), meaning, ..Joined::default() }
            }
            Delivery { delivery, end } => {
                let message = self.deliveries.remove(delivery);
                self.about(message, |sender| Meaning::Delivered { sender, end })
            }
            Bounce { message } => self.about(Some(message), |sender| Meaning::Bounced { sender }),
            End { message } => {
                let case = self.messages.remove(message).map(|message| message.case);
                Joined { case, message: Some(message), ..Joined::default() }
            }
            Status | Trouble => Joined::default(),
        }
    }

    fn info(&mut self, message: u64, bytes: u64, sender: &[u8], qp: u32, time: Option<Timestamp>) -> Joined<'_> {
        if self.messages.get(message).is_none() {
            let case = self.case();
            self.messages.insert(message, Message { case, sender: Vec::new() });
        }
        // A pid is used again: this one has its message.
        let link = self.senders.remove(qp);
        let entry = self.messages.get_mut(message).expect("it was there or was inserted");
        entry.sender.clear();
        fold(sender, &mut entry.sender);
        let case = entry.case;
        self.queued.insert(qp, (case, time));
        let sender = self.messages.get(message).map_or(&b""[..], |message| &message.sender);
        let meaning = Some(Meaning::Queued { sender, bytes });
        Joined {
            case: Some(case),
            links: [link, None],
            qp: Some(qp),
            message: Some(message),
            meaning,
            ..Joined::default()
        }
    }

    fn about<'a>(&'a self, message: Option<u64>, meaning: impl FnOnce(Option<&'a [u8]>) -> Meaning<'a>) -> Joined<'a> {
        let found = message.and_then(|message| self.messages.get(message));
        let meaning = Some(meaning(found.map(|message| &*message.sender)));
        Joined { case: found.map(|message| message.case), message, meaning, ..Joined::default() }
    }
}

impl Outcome<'_> {
    fn of_connection(verdict: Verdict, reason: Reason) -> Self {
        let (verdict, reason) = (Some(verdict), Some(reason));
        Self { kind: Kind::Session, sender: None, recipients: b"", verdict, reason, rule: None, bytes: 0, folded: b"" }
    }
}

fn verdict(word: &[u8]) -> Option<Verdict> {
    Verdict::ALL.iter().copied().find(|verdict| verdict.as_str().as_bytes() == word)
}

pub(super) fn reason(word: &[u8]) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str().as_bytes() == word)
}

const MOST_SESSIONS: usize = 50_000;
const MOST_MESSAGES: usize = 100_000;
/// Between a line of qmail-send and one of smtpfront-qmail about the same message; a pid is not used again that soon.
const NEAR: SignedDuration = SignedDuration::from_secs(60);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::ZonedDateTime;

    use super::*;
    use crate::logs::stamp::Stamps;
    use crate::logs::stamp::Tai;

    /// The earlier lines that each line is linked to, by number.
    fn links(lines: &[&str]) -> Vec<Vec<usize>> {
        let (mut stamps, mut join) = (Stamps::new(Tai::Auto, &ZonedDateTime::default()), Join::default());
        let mut cases: Vec<Option<u64>> = Vec::new();
        let mut all = Vec::new();
        for text in lines {
            let line = Line::read(&mut stamps, text.as_bytes());
            let joined = join.push(&line);
            let first = |case: u64| cases.iter().position(|it| *it == Some(case));
            all.push(joined.links.iter().flatten().chain(&joined.case).filter_map(|case| first(*case)).collect());
            cases.push(joined.case);
        }
        all
    }

    #[test]
    fn one_message_through_all_logs() {
        let (mail, taken) = ("mailfront[1]: MAIL FROM:<a@b>", "mailfront[1]: 2.6.0 Accepted message qp 2 bytes 3");
        let info = "info msg 9: bytes 3 from <a@b> qp 2 uid 1";
        let ours = "mail session=a sender=<a@b> verdict=accept backend=\"250 2.6.0 Accepted message qp 2 bytes 3\"";
        let backend = |line: &str| format!("backend pid=1 line=\"{line}\"");
        let late = "2026-11-23T01:00:00Z info msg 9: bytes 3 from <a@b> qp 2 uid 1";
        let table: &[(&str, &[&str], &[&[usize]])] = &[
            (
                "in the order in which it went",
                &["tcpserver: pid 1 from x", mail, taken, info],
                &[&[], &[0], &[0], &[0]],
            ),
            ("qmail-send was faster", &[mail, info, taken], &[&[], &[], &[1, 0]]),
            ("the qp is used again", &[mail, taken, info, "end msg 9", info], &[&[], &[0], &[0], &[2], &[]]),
            ("an hour later", &[late, mail, &format!("2026-11-23T02:00:00Z {}", taken)], &[&[], &[], &[1]]),
            ("through us", &[&backend(mail), &backend(taken), ours, info], &[&[], &[0], &[0], &[0]]),
            ("through us to a backend elsewhere", &[ours, info], &[&[], &[0]]),
            ("through us, qmail-send faster", &[info, ours], &[&[], &[0]]),
            (
                "a new session with an old pid",
                &[mail, "mailfront[1]: bytes in: 1 bytes out: 2", mail],
                &[&[], &[0], &[]],
            ),
        ];
        for (what, lines, expected) in table {
            assert_eq!(links(lines), *expected, "{what}");
        }
    }

    #[test]
    fn deliveries_know_their_sender() {
        let lines = [
            "info msg 9: bytes 3 from <A@b> qp 2 uid 1",
            "starting delivery 4: msg 9 to local joe@x",
            "delivery 4: deferral: no",
            "delivery 4: deferral: its end was told already",
            "bounce msg 9 qp 5",
            "end msg 9",
            "starting delivery 5: msg 9 to local joe@x",
        ];
        let (mut stamps, mut join) = (Stamps::new(Tai::Auto, &ZonedDateTime::default()), Join::default());
        let told = lines.map(|text| {
            let line = Line::read(&mut stamps, text.as_bytes());
            let sender = match join.push(&line).meaning {
                Some(Meaning::Queued { sender, .. }) => Some(sender),
                Some(
                    Meaning::Starting { sender, .. } | Meaning::Delivered { sender, .. } | Meaning::Bounced { sender },
                ) => sender,
                Some(Meaning::Outcome(_)) | None => None,
            };
            sender.map(|sender| String::from_utf8(sender.to_vec()).unwrap())
        });
        let known = Some("a@b".to_owned());
        assert_eq!(told, [known.clone(), known.clone(), known.clone(), None, known, None, None]);
    }
}
