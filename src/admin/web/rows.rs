//! The rows of the page's tables: senders, clients, sessions, records, blocks, certificates. It must not decide which there are.

use std::cmp::Ordering;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::admin::web::human;
use crate::admin::web::table::Cell;
use crate::admin::web::table::Row;
use crate::admin::web::table::Sort;
use crate::front::sessions::SessionView;
use crate::front::tls::Certificate;
use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::report::recent::Entry;
use crate::report::traffic::Counts;
use crate::report::traffic::TopClient;
use crate::report::traffic::TopSender;
use crate::status::Status;
use crate::store::blocks::Block;

pub(super) fn senders(status: &Status, sort: Option<Sort>) -> Vec<Row> {
    let lists = [&status.senders.not_accepted, &status.senders.accepted, &status.senders.bytes];
    let by_name: BTreeMap<&str, &TopSender> =
        lists.into_iter().flatten().map(|sender| (&*sender.sender, sender)).collect();
    let mut senders: Vec<&TopSender> = by_name.into_values().collect();
    senders.sort_by(|a, b| order((&a.sender, &a.counts), (&b.sender, &b.counts), sort));
    senders.into_iter().take(MOST).map(sender).collect()
}

fn sender(top: &TopSender) -> Row {
    counted(&top.sender, human::sender(&top.sender), human::bare(&top.sender), &top.counts)
}

/// The clients with the most mail.
pub(super) fn clients(status: &Status, sort: Option<Sort>) -> Vec<Row> {
    let row = |top: &&TopClient| counted(&top.client, &top.client, &top.client, &top.counts);
    let mut clients: Vec<&TopClient> = status.clients.iter().collect();
    clients.sort_by(|a, b| order((&a.client, &a.counts), (&b.client, &b.counts), sort));
    clients.iter().take(MOST).map(row).collect()
}

/// Names from A to Z, numbers from the largest.
fn order(a: (&str, &Counts), b: (&str, &Counts), sort: Option<Sort>) -> Ordering {
    let value = |it: &Counts| match sort {
        Some(Sort::Name) => 0,
        Some(Sort::Accepted) => it.accepted,
        Some(Sort::Absorbed) => it.absorbed,
        Some(Sort::Deferred) => it.deferred,
        Some(Sort::Refused) => it.refused,
        Some(Sort::Bytes) => it.bytes,
        None => it.accepted + it.absorbed + it.deferred + it.refused,
    };
    value(b.1).cmp(&value(a.1)).then_with(|| a.0.cmp(b.0))
}

/// What is open now.
pub(super) fn sessions(open: &[SessionView], now: u32) -> Vec<Row> {
    open.iter().take(MOST).map(|it| session(it, now)).collect()
}

fn session(it: &SessionView, now: u32) -> Row {
    let cells = vec![
        Cell::text(it.client.to_string()),
        Cell::foreign(it.helo.as_deref().unwrap_or_default()),
        Cell::text(it.phase),
        Cell::foreign(it.sender.as_deref().map_or("", human::sender)),
        Cell::text(if it.sender.is_some() { human::number(it.recipients.into()) } else { String::new() }),
        if it.octets > 0 { Cell::bytes(it.octets) } else { Cell::default() },
        Cell::titled(format!("{} ago", human::span(now.saturating_sub(it.since))), human::exact(it.since)),
    ];
    Row { key: it.id.clone(), cells }
}

/// A name with its counts, and the button that blocks it.
fn counted(key: &str, name: &str, block: &str, counts: &Counts) -> Row {
    let Counts { accepted, absorbed, deferred, refused, bytes } = *counts;
    let mut cells = vec![Cell::foreign(name)];
    cells.extend([accepted, absorbed, deferred, refused].map(Cell::amount));
    cells.extend([Cell::bytes(bytes), Cell::block(block)]);
    Row { key: human::seen(key), cells }
}

/// The blocks that hold, those that were made last first.
pub(super) fn blocks(blocks: &[Block], now: u32) -> Vec<Row> {
    let mut blocks: Vec<&Block> = blocks.iter().collect();
    blocks.sort_by_key(|block| Reverse(block.since));
    blocks.into_iter().filter_map(|it| block(it, now)).take(MOST_BLOCKS).collect()
}

fn block(block: &Block, now: u32) -> Option<Row> {
    let left = block.until.checked_sub(now)?;
    let cells = vec![
        Cell::foreign(&block.key),
        Cell::titled(format!("in {}", human::span(left)), human::exact(block.until)),
        Cell::text(block.by.as_str()),
        Cell::foreign(&block.why),
        Cell::lift(&block.key),
    ];
    Some(Row { key: human::seen(&block.key), cells })
}

pub(super) fn certificates(status: &Status) -> Vec<Row> {
    let row = |certificate: &Certificate| {
        let ends = match certificate.until.checked_sub(status.now) {
            Some(left) => format!("in {}", human::span(left)),
            None => "expired".to_owned(),
        };
        let ends = Cell::titled(ends, human::exact(certificate.until));
        Row { key: certificate.file.clone(), cells: vec![Cell::foreign(&certificate.names.join(", ")), ends] }
    };
    status.certificates.iter().map(row).collect()
}

/// Records, each with the way to its details, which keeps what is searched for.
pub(super) fn records(records: &[Entry], search: &str) -> Vec<Row> {
    records.iter().map(|entry| record(entry, search)).collect()
}

fn record(entry: &Entry, search: &str) -> Row {
    let search = if search.is_empty() { String::new() } else { format!("search={}&", human::encoded(search)) };
    let link = format!("/?{search}record={}#record", entry.number);
    let sender = entry.sender.as_deref().map_or("", human::sender);
    let words: Vec<String> = entry
        .code
        .iter()
        .map(u16::to_string)
        .chain(entry.reason.iter().map(|reason| Reason::as_str(*reason).to_owned()))
        .collect();
    let cells = vec![
        Cell { link, ..Cell::titled(human::clock(entry.at), human::exact(entry.at)) },
        match entry.verdict {
            Some(verdict) => Cell { dot: done(verdict), ..Cell::text(done(verdict)) },
            None => Cell::text(entry.kind),
        },
        Cell::foreign(sender),
        Cell::foreign(&entry.recipients.join(", ")),
        Cell::text(entry.client.to_string()),
        entry.size.map_or_else(Cell::default, Cell::bytes),
        Cell::text(words.join(" ")),
    ];
    Row { key: entry.number.to_string(), cells }
}

/// A verdict as it is counted in the chart.
pub(super) fn done(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accepted",
        Verdict::Absorb => "absorbed",
        Verdict::Defer => "deferred",
        Verdict::Reject | Verdict::Disconnect => "refused",
    }
}

/// Rows of a table, and of that of blocks.
pub(super) const MOST: usize = 8;
pub(super) const MOST_BLOCKS: usize = 10;
