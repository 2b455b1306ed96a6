//! The lines and events that an operator asked for. A line of a session says little by itself, so the lines of a
//! session, or of a message in the queue, are held until one of them shows that it is wanted; then all of it is. It
//! must not count.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::logs::bounded::Bounded;
use crate::logs::join::Joined;
use crate::logs::join::Meaning;
use crate::logs::join::Outcome;
use crate::logs::line::Line;
use crate::logs::line::Parsed;
use crate::logs::ours;
use crate::policy::addresses::Addresses;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::session::record::Key;

/// The lines that are asked for. An empty list asks for nothing in particular; all that are not empty must fit.
#[derive(Debug, Default)]
pub struct Filter {
    /// Envelope senders.
    pub senders: Option<Addresses>,
    /// Envelope recipients.
    pub recipients: Option<Addresses>,
    /// Verdicts, of which one must be that of the outcome.
    pub verdicts: Vec<Verdict>,
    /// Reasons, of which one must be that of the outcome.
    pub reasons: Vec<Reason>,
    /// An id of ours, or a pid.
    pub session: Option<String>,
    /// A Message-ID, a number of the queue or a `qp`.
    pub message: Option<String>,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The time before which lines must be.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether all is asked for, as far as the time allows.
    pub fn is_empty(&self) -> bool {
        !self.is_about_outcomes() && self.senders.is_none() && self.recipients.is_none()
    }

    /// Whether one session or message is followed.
    pub fn is_about_one(&self) -> bool {
        self.session.is_some() || self.message.is_some()
    }

    fn is_about_outcomes(&self) -> bool {
        self.is_about_one() || !self.verdicts.is_empty() || !self.reasons.is_empty()
    }

    /// Whether a time is asked for. No time is in time, unless one is asked for.
    pub fn is_in_time(&self, time: Option<Timestamp>) -> bool {
        match time {
            Some(time) => self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until),
            None => self.since.is_none() && self.until.is_none(),
        }
    }

    fn has_meaning(&self, meaning: &Meaning<'_>) -> bool {
        let sender = |sender: Option<&[u8]>| {
            self.senders.as_ref().is_none_or(|senders| sender.is_some_and(|sender| senders.has(sender)))
        };
        match *meaning {
            Meaning::Outcome(outcome) => self.has_outcome(&outcome),
            Meaning::Queued { sender: by, .. } => {
                !self.is_about_outcomes() && self.recipients.is_none() && sender(Some(by))
            }
            Meaning::Delivered { sender: by, .. } | Meaning::Bounced { sender: by } => {
                !self.is_about_outcomes() && self.recipients.is_none() && sender(by)
            }
            Meaning::Starting { sender: by, recipient } => {
                let is_for = self.recipients.as_ref().is_none_or(|recipients| recipients.has(recipient));
                !self.is_about_outcomes() && is_for && sender(by)
            }
        }
    }

    fn has_outcome(&self, outcome: &Outcome<'_>) -> bool {
        let mut recipients = outcome.recipients.split(|octet| *octet == b'\n').filter(|one| !one.is_empty());
        let verdict = |verdict: &Verdict| Some(*verdict) == outcome.verdict;
        let reason = |reason: &Reason| Some(*reason) == outcome.reason;
        self.senders.as_ref().is_none_or(|senders| outcome.sender.is_some_and(|sender| senders.has(sender)))
            && self.recipients.as_ref().is_none_or(|wanted| recipients.any(|recipient| wanted.has(recipient)))
            && (self.verdicts.is_empty() || self.verdicts.iter().any(verdict))
            && (self.reasons.is_empty() || self.reasons.iter().any(reason))
    }

    /// Whether it is the session or the message itself that is followed.
    fn is_the_one(&self, line: &Line<'_>, joined: &Joined<'_>) -> bool {
        let record = match &line.parsed {
            Parsed::Ours(ours::Event::Record(record)) => Some(record),
            _ => None,
        };
        let session = self.session.as_deref().is_none_or(|session| {
            let id = record.and_then(|record| record.text(Key::Session));
            id == Some(session.as_bytes()) || is_number(session, joined.pid.map(u64::from))
        });
        let message = self.message.as_deref().is_none_or(|message| {
            let id = record.and_then(|record| record.text(Key::Id));
            id.is_some_and(|id| bare(id) == bare(message.as_bytes()))
                || is_number(message, joined.qp.map(u64::from))
                || is_number(message, joined.message)
        });
        self.is_about_one() && session && message
    }
}

/// Lets through what is asked for.
#[derive(Debug)]
pub struct Select {
    filter: Filter,
    cases: Bounded<u64, Held>,
    /// The qp of messages that are followed, until qmail-send names them.
    expected: HashSet<u32>,
}

/// A session, or a message of the queue.
#[derive(Debug, Default)]
struct Held {
    wanted: bool,
    lines: Vec<(Option<Timestamp>, Box<[u8]>)>,
}

impl Select {
    /// A selection that holds no line yet.
    pub fn new(filter: Filter) -> Self {
        Self { filter, cases: Bounded::new(MOST_CASES), expected: HashSet::new() }
    }

    /// The lines that are asked for.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether the meaning of a line is asked for.
    pub fn has_meaning(&self, line: &Line<'_>, joined: &Joined<'_>) -> bool {
        self.filter.is_in_time(line.time) && joined.meaning.is_some_and(|meaning| self.filter.has_meaning(&meaning))
    }

    /// Gives each line that is asked for to `out`, those that were held first.
    pub fn push(&mut self, line: &Line<'_>, joined: &Joined<'_>, out: &mut impl FnMut(Option<Timestamp>, &[u8])) {
        let in_time = self.filter.is_in_time(line.time);
        if self.filter.is_empty() {
            if in_time {
                out(line.time, line.text);
            }
            return;
        }
        let Some(case) = joined.case else { return };
        if self.is_wanted(line, joined, in_time) {
            joined.links.iter().flatten().filter(|_| self.filter.is_about_one()).for_each(|link| {
                want(&mut self.cases, *link, out);
            });
            want(&mut self.cases, case, out);
        }
        if !in_time {
            return;
        }
        if self.cases.get(case).is_none() {
            self.cases.insert(case, Held::default());
        }
        match self.cases.get_mut(case) {
            Some(held) if held.wanted => out(line.time, line.text),
            Some(held) if held.lines.len() < MOST_LINES => {
                let text = &line.text[..line.text.len().min(MOST_TEXT)];
                held.lines.push((line.time, text.into()));
            }
            _ => {}
        }
    }

    fn is_wanted(&mut self, line: &Line<'_>, joined: &Joined<'_>, in_time: bool) -> bool {
        if !self.filter.is_about_one() {
            return in_time && joined.meaning.is_some_and(|meaning| self.filter.has_meaning(&meaning));
        }
        if self.filter.is_the_one(line, joined) {
            // A session is followed with all its messages, a Message-ID with one.
            if joined.message.is_none() && self.expected.len() < MOST_EXPECTED {
                self.expected.extend(joined.qp);
            }
            return true;
        }
        let is_wanted = |case: &u64| self.cases.get(*case).is_some_and(|held| held.wanted);
        if joined.message.is_none() && joined.links.iter().flatten().any(is_wanted) {
            return true;
        }
        joined.message.is_some() && joined.qp.is_some_and(|qp| self.expected.remove(&qp))
    }
}

fn want(cases: &mut Bounded<u64, Held>, case: u64, out: &mut impl FnMut(Option<Timestamp>, &[u8])) {
    if cases.get(case).is_none() {
        cases.insert(case, Held::default());
    }
    if let Some(held) = cases.get_mut(case) {
        held.wanted = true;
        std::mem::take(&mut held.lines).into_iter().for_each(|(time, text)| out(time, &text));
    }
}

fn is_number(text: &str, number: Option<u64>) -> bool {
    number.is_some_and(|number| text.parse() == Ok(number))
}

fn bare(id: &[u8]) -> &[u8] {
    let id = id.strip_prefix(b"<").unwrap_or(id);
    id.strip_suffix(b">").unwrap_or(id)
}

/// Sessions and messages whose lines are held.
const MOST_CASES: usize = 5_000;
/// Lines held of each, and octets of each line.
const MOST_LINES: usize = 32;
const MOST_TEXT: usize = 1024;
const MOST_EXPECTED: usize = 100_000;
