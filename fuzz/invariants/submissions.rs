//! Whole messages that are handed over (`backend.queue`), and what must hold of them: one a transaction at most, behind
//! its final dot, of a sender and to recipients that have passed, and no acknowledgement before the program has ended well.

use portcullis::policy::verdict::Verdict;
use portcullis::session::io::Submission;
use portcullis::session::question::Answer;
use portcullis::session::question::Copy;
use portcullis::session::question::Question;
use portcullis::session::record::Kind;
use portcullis::session::record::Record;
use portcullis::smtp::reply_reader::BackendReply;

/// What was handed over in the transaction, and what had passed before.
#[derive(Default)]
pub(super) struct Submissions {
    /// The octets that the session took of its client since the message began.
    taken: Option<Vec<u8>>,
    /// The trace line is at the message's head.
    has_trace: bool,
    passed: usize,
    /// Recipients that have the message already.
    served: usize,
    submitted: Option<Submission>,
    /// A program has the message.
    open: bool,
    accepted: bool,
}

impl Submissions {
    /// The end of a program as a reply: what the shell makes of it is 250, 451 or 554.
    pub(super) fn reply(line: &[u8]) -> BackendReply {
        let code = match line.first() {
            Some(b'2') => 250,
            Some(b'5') => 554,
            _ => 451,
        };
        BackendReply { code, lines: vec!["ok 1 qp 2".to_owned()] }
    }

    /// What is not answered in time passes.
    pub(super) fn asked(&mut self, question: &Question) {
        match question {
            Question::Mail { .. } => self.passed = 0,
            Question::Recipient { .. } => self.passed += 1,
            _ => {}
        }
    }

    pub(super) fn answered(&mut self, answer: &Answer) {
        match answer {
            // It may come when the transaction is over.
            Answer::Recipient { oversize: Some(_), .. } => self.passed = self.passed.saturating_sub(1),
            Answer::Copy(Copy::Deliver { served, .. }) => self.served = served.len(),
            _ => {}
        }
    }

    pub(super) fn message_begins(&mut self) {
        (self.taken, self.has_trace) = (Some(Vec::new()), false);
    }

    /// The first octets of a message are our trace line, one header field with LF line ends.
    pub(super) fn is_trace(&mut self, octets: &[u8]) -> bool {
        if std::mem::replace(&mut self.has_trace, true) {
            return false;
        }
        let lines = octets.strip_suffix(b"\n").expect("a whole line").split(|octet| *octet == b'\n');
        let folded = lines.skip(1).all(|line| line.starts_with(b"  "));
        let clean = !octets.contains(&b'\r') && !octets.contains(&0);
        assert!(octets.starts_with(b"Received: ") && folded && clean, "a trace line: {}", octets.escape_ascii());
        true
    }

    pub(super) fn take(&mut self, octets: &[u8]) {
        self.taken.iter_mut().for_each(|taken| taken.extend_from_slice(octets));
    }

    pub(super) fn begin(&mut self, submission: &Submission, held: &[u8]) {
        assert!(self.submitted.is_none(), "two submissions in a transaction");
        let taken = self.taken.take().expect("a message");
        let has_end = taken.starts_with(b".\r\n") || taken.windows(5).any(|octets| octets == b"\r\n.\r\n");
        assert!(has_end, "before the final dot: {}", taken.escape_ascii());
        let count = |wanted| held.iter().filter(|octet| **octet == wanted).count();
        assert_eq!(count(b'\r'), count(b'\n'), "a CR in a line: {}", held.escape_ascii());
        assert!(held.is_empty() || held.ends_with(b"\r\n"), "the last line is not whole: {}", held.escape_ascii());
        assert!(std::mem::take(&mut self.has_trace), "no trace line");
        let Submission { sender, recipients, .. } = submission;
        assert!((1..=self.passed).contains(&recipients.len()), "{recipients:?}, and {} have passed", self.passed);
        let domain = sender.rsplit(|octet| *octet == b'@').next().unwrap_or_default();
        assert!(!domain.eq_ignore_ascii_case(b"sillyplace.com"), "a blocked sender: {}", sender.escape_ascii());
        assert!(recipients.iter().chain([sender]).all(|address| !address.contains(&0)), "a NUL in an address");
        (self.submitted, self.open) = (Some(submission.clone()), true);
    }

    /// The program that has the message has ended, or is not heard any more; whether there was one.
    pub(super) fn end(&mut self, success: bool) -> bool {
        self.accepted = self.open && success;
        std::mem::take(&mut self.open)
    }

    /// Nothing is acknowledged while a program has the message.
    pub(super) fn client_hears(&self, octets: &[u8]) {
        assert!(!self.open || !octets.starts_with(b"2"), "{} before the program's end", octets.escape_ascii());
    }

    /// A transaction ends with its record.
    pub(super) fn note(&mut self, record: &Record) {
        if record.kind != Kind::Mail {
            return;
        }
        if record.verdict == Some(Verdict::Accept) {
            let submitted = self.submitted.as_ref().expect("a submission of an accepted message");
            assert!(self.accepted, "accepted, and no program has: {record:?}");
            assert_eq!(submitted.recipients.len() + self.served, record.recipients.len(), "{record:?}");
        }
        *self = Self::default();
    }
}
