//! `queue list --summary`: messages and octets by sender. It must not keep more than `MAX_SENDERS` senders.

use std::cmp::Reverse;
use std::collections::HashMap;

use clap::ValueEnum;
use serde_json::Value;
use serde_json::json;

use crate::cli::print;
use crate::cli::queue::table::age;
use crate::cli::queue::table::counted;
use crate::cli::queue::table::size;
use crate::queue::look::Message;
use crate::text::readable;

/// The sum that --summary sorts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// The number of messages
    Messages,
    /// Their octets
    Bytes,
}

/// One sender's sums.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    messages: usize,
    bytes: u64,
    oldest: Option<i64>,
    /// Messages in quarantine already, which qmail-send will remove.
    taken: usize,
}

/// The sums of all senders, by sender in lower case.
#[derive(Debug, Default)]
pub(super) struct Summary {
    senders: HashMap<Box<[u8]>, Sum>,
    /// Sums of S2, S3 and orphans.
    unknown: Sum,
    /// Sums of senders past the bound.
    others: Sum,
    whole: Sum,
}

impl Summary {
    pub(super) fn add(&mut self, message: &Message) {
        self.whole.add(message);
        let Some(sender) = &message.sender else { return self.unknown.add(message) };
        // Most senders are in lower case already, and known.
        let mut folded = sender.clone();
        folded.make_ascii_lowercase();
        let has_room = self.senders.len() < MAX_SENDERS;
        match self.senders.get_mut(&folded) {
            Some(sum) => sum.add(message),
            None if has_room => self.senders.entry(folded).or_default().add(message),
            None => self.others.add(message),
        }
    }

    /// Prints `top` senders, largest first; 0 is all.
    pub(super) fn print(self, by: By, top: usize, json: bool, now: i64) {
        let mut rows: Vec<(Option<String>, Sum)> =
            self.senders.iter().map(|(sender, sum)| (Some(readable::text(sender)), *sum)).collect();
        let unnamed = [self.unknown, self.others].into_iter().filter(|sum| sum.messages > 0);
        rows.extend(unnamed.map(|sum| (None, sum)));
        rows.sort_by_cached_key(|(sender, sum)| {
            let (messages, bytes) = (sum.messages as u64, sum.bytes);
            let keys = if by == By::Messages { (messages, bytes) } else { (bytes, messages) };
            (Reverse(keys), sender.clone())
        });
        let shown = if top == 0 { rows.len() } else { rows.len().min(top) };
        match json {
            true => print(&self.json(&rows[..shown], now).to_string()),
            false => self.print_table(by, &rows[..shown], rows.len() - shown, now),
        }
    }

    fn print_table(&self, by: By, rows: &[(Option<String>, Sum)], left: usize, now: i64) {
        print(&format!("{:>9} {:>11} {:>6} {:>8}  sender", "messages", "bytes", "share", "oldest"));
        let of = |sum: &Sum| if by == By::Messages { sum.messages as u64 } else { sum.bytes };
        let whole = of(&self.whole).max(1);
        for (sender, sum) in rows {
            let share = of(sum) * 100 / whole;
            let sender = sender
                .as_ref()
                .map_or("(not known: see list --state S2 --state S3)".to_owned(), |sender| format!("<{sender}>"));
            let oldest = sum.oldest.map_or("-".to_owned(), |birth| age(now - birth));
            let taken = if sum.taken > 0 { format!("  ({} quarantined)", sum.taken) } else { String::new() };
            print(&format!("{:>9} {:>11} {share:>5}% {oldest:>8}  {sender}{taken}", sum.messages, size(sum.bytes)));
        }
        if left > 0 {
            print(&format!("and {left} more senders: --top 0 shows all"));
        }
        print(&counted(self.whole.messages, self.whole.bytes));
    }

    fn json(&self, rows: &[(Option<String>, Sum)], now: i64) -> Value {
        let row = |(sender, sum): &(Option<String>, Sum)| {
            let oldest = sum.oldest.map(|birth| (now - birth).max(0));
            json!({ "sender": sender, "messages": sum.messages, "bytes": sum.bytes, "oldest": oldest, "taken": sum.taken })
        };
        let senders: Vec<Value> = rows.iter().map(row).collect();
        json!({ "messages": self.whole.messages, "bytes": self.whole.bytes, "senders": senders })
    }
}

impl Sum {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.size.unwrap_or(0);
        self.taken += usize::from(message.quarantined);
        self.oldest = match (self.oldest, message.birth) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// Senders kept apart; a storm with forged senders may have a new one in each message.
const MAX_SENDERS: usize = 500_000;
