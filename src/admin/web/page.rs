//! The page, complete without a script: the status as tables and forms; and what of it changes each second, by which
//! `page.js` keeps it up to date. It must not change anything, nor show a stranger's text unescaped.

use std::sync::Arc;

use askama::Template;

use crate::admin::daemon::Checked;
use crate::admin::web::ask::Ask;
use crate::admin::web::assets;
use crate::admin::web::chart;
use crate::admin::web::chart::Chart;
use crate::admin::web::facts;
use crate::admin::web::facts::Fact;
use crate::admin::web::human;
use crate::admin::web::record::Detail;
use crate::admin::web::rows;
use crate::admin::web::table::Row;
use crate::admin::web::table::Sort;
use crate::admin::web::table::Table;
use crate::report::history::Point;
use crate::report::history::Range;
use crate::report::recent::Entry;
use crate::report::storms::Storm;
use crate::status::Status;
use crate::status::live::Published;
use crate::status::problems::Problem;
use crate::status::sentence::Tone;
use crate::status::words;
use crate::store::blocks::Block;
use crate::store::clock::Time;
use crate::text::number;

/// What the page shows.
pub(super) struct Shown<'a> {
    /// Whether it is the whole page, and not what changes each second.
    pub(super) whole: bool,
    pub(super) published: &'a Published,
    pub(super) blocks: Vec<Block>,
    pub(super) points: Vec<Point>,
    pub(super) range: Range,
    pub(super) sort: Option<Sort>,
    /// What `check` found last, if it has been asked.
    pub(super) checked: Option<Arc<Checked>>,
    pub(super) records: Vec<Entry>,
    /// The record whose details are shown.
    pub(super) record: Option<Detail>,
    /// What the records are searched for.
    pub(super) search: String,
    /// A question before a change, or what was done.
    pub(super) ask: Option<Ask>,
    /// The word that proves a form to be of this page.
    pub(super) csrf: String,
    /// The file with the token; empty where none is needed.
    pub(super) token_file: String,
}

/// The page of what is shown.
///
/// # Errors
/// The template cannot be written.
pub(super) fn page(shown: Shown<'_>) -> Result<String, askama::Error> {
    let html = View::of(shown).render()?;
    Ok(html)
}

/// Rows of the table of records, by themselves.
///
/// # Errors
/// The template cannot be written.
pub(super) fn rows(rows: Vec<Row>) -> Result<String, askama::Error> {
    Rows { rows }.render()
}

#[derive(Template)]
#[template(path = "rows.html")]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "page.html")]
struct View {
    whole: bool,
    css: &'static str,
    js: &'static str,
    title: String,
    tone: &'static str,
    verdict: &'static str,
    lead: String,
    sentence: String,
    /// What is the matter, for the script to tell when that changes.
    kinds: String,
    problems: Vec<Trouble>,
    more_problems: String,
    /// The key that the button under the sentence blocks, or unblocks where `lifts` says what that lifts.
    press: String,
    lifts: String,
    ask: Option<Ask>,
    chart: Chart,
    storms: Vec<Stormy>,
    more_storms: String,
    facts: Vec<Fact>,
    senders: Table,
    clients: Table,
    sessions: Table,
    /// The number of open sessions.
    open: String,
    records: Table,
    record: Option<Detail>,
    search: String,
    blocks: Table,
    more_blocks: String,
    certificates: Table,
    warnings: Vec<Warning>,
    loaded: String,
    host: String,
    zone: String,
    clock: String,
    version: &'static str,
    up: String,
    csrf: String,
    token_file: String,
}

/// A problem in the list under the sentence.
struct Trouble {
    key: String,
    since: String,
    at: String,
    text: String,
}

struct Stormy {
    key: String,
    who: String,
    path: String,
    copies: String,
    what: String,
    spared: String,
    /// The copies of each ten minutes, as the `d` of an SVG path, and in words.
    spark: String,
    trend: String,
    /// The key that its button blocks, or unblocks where that is blocked.
    block: String,
    blocked: bool,
}

struct Warning {
    kind: &'static str,
    text: String,
}

impl View {
    fn of(shown: Shown<'_>) -> Self {
        let Shown { whole, published, blocks, points, range, sort, checked, records, record, search, ask, .. } = shown;
        let status = &published.status;
        let now = Time::from_seconds(status.now);
        let (tone, verdict, mark) = toned(&status.sentence.tone);
        let (press, lifts) = press(status, &blocks, now);
        let (open, total) = &published.sessions;
        Self {
            whole,
            css: assets::css(),
            js: assets::js(),
            title: format!("{mark}{} · Portcullis", human::seen(&status.host)),
            tone,
            verdict,
            lead: lead(status, now),
            sentence: human::seen(&status.sentence.text),
            kinds: status.problems.iter().take(MOST).map(key).collect::<Vec<_>>().join(", "),
            problems: problems(status, now),
            more_problems: more(status.problems.len(), MOST_PROBLEMS + 1, "problem", "/api/v1/status"),
            press,
            lifts,
            ask,
            chart: Chart::of(&points, range, status.now),
            storms: status.storms.iter().take(MOST_STORMS).map(|storm| stormy(storm, &blocks, now)).collect(),
            more_storms: more(status.storms.len(), MOST_STORMS, "storm", "/api/v1/storms"),
            facts: facts::of(status),
            senders: Table::sorted("senders", rows::senders(status, sort), sort),
            clients: Table::sorted("clients", rows::clients(status, sort), sort),
            sessions: Table::of("sessions", rows::sessions(open, status.now)),
            open: match *total > rows::MOST {
                true => format!("{} of {}", rows::MOST, human::number(*total as u64)),
                false => String::new(),
            },
            records: Table::of("records", rows::records(&records, &search)),
            record,
            search,
            more_blocks: more(blocks.len(), rows::MOST_BLOCKS, "block", "/api/v1/blocks"),
            blocks: Table::of("blocks", rows::blocks(&blocks, status.now)),
            certificates: Table::of("certificates", rows::certificates(status)),
            warnings: warnings(status, checked.as_deref()),
            loaded: loaded(status, now),
            host: human::seen(&status.host),
            zone: status.zone.clone(),
            clock: human::clock(status.now),
            version: status.version,
            up: format!("running since {}", words::since(status.started, now)),
            csrf: shown.csrf,
            token_file: shown.token_file,
        }
    }
}

/// The tone's name for the style, its words, and its mark in the title.
fn toned(tone: &Tone) -> (&'static str, &'static str, &'static str) {
    match tone {
        Tone::Quiet => ("quiet", "Nothing needs you", ""),
        Tone::Storm => ("storm", "Under control", "▲ Storm · "),
        Tone::Trouble => ("trouble", "Needs you", "■ Trouble · "),
    }
}

/// What is not shown for want of room, and where it is.
fn more(all: usize, shown: usize, noun: &str, path: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("And {} more; {path} has all.", number::count(more as u64, noun)),
    }
}

/// The key that the button under the sentence is for, and when its block ends. In worse trouble a block is not what helps.
fn press(status: &Status, blocks: &[Block], now: Time) -> (String, String) {
    let storm = status.storms.first().filter(|_| status.sentence.tone == Tone::Storm);
    let key = storm.map(blocked_by).unwrap_or_default();
    let ends = |block: &Block| format!("Its mail is refused with 554 until {}.", words::since(block.until, now));
    let lifts = block_of(blocks, &key, now).map(ends).unwrap_or_default();
    (human::seen(&key), lifts)
}

fn block_of<'a>(blocks: &'a [Block], key: &str, now: Time) -> Option<&'a Block> {
    blocks.iter().find(|block| block.key.eq_ignore_ascii_case(key) && block.until > now.seconds())
}

/// Since when it is so, and how long that is.
fn lead(status: &Status, now: Time) -> String {
    match status.problems.first() {
        None => format!("running for {}", human::span(status.now.saturating_sub(status.started))),
        Some(first) => {
            let length = human::span(status.now.saturating_sub(first.since));
            format!("since {}, for {length}", words::since(first.since, now))
        }
    }
}

/// The problems that the sentence only counts.
fn problems(status: &Status, now: Time) -> Vec<Trouble> {
    let trouble = |problem: &Problem| Trouble {
        key: key(problem),
        since: words::since(problem.since, now),
        at: human::exact(problem.since),
        text: human::seen(&problem.text),
    };
    status.problems.iter().skip(1).take(MOST_PROBLEMS).map(trouble).collect()
}

/// What a problem is known again by.
fn key(problem: &Problem) -> String {
    human::seen(&format!("{} {}", problem.kind.as_str(), problem.subject))
}

fn stormy(storm: &Storm, blocks: &[Block], now: Time) -> Stormy {
    let (network, sender) = parts(storm);
    let fates = [
        (storm.refused, "refused"),
        (storm.absorbed, "absorbed"),
        (storm.deferred, "deferred"),
        (storm.delivered, "delivered"),
    ];
    let mut what: Vec<String> = fates
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, fate)| format!("{} {fate}", human::number(*count)))
        .collect();
    what.push(format!("since {}", words::since(storm.since, now)));
    what.push(format!("last {} ago", human::span(now.seconds().saturating_sub(storm.last))));
    let guesses = sender == GUESSING;
    let wire = |octets| if octets > 0 { format!(", {} of it the wire", human::bytes(octets)) } else { String::new() };
    Stormy {
        key: human::seen(&storm.key),
        who: if guesses { "Password guessing".to_owned() } else { human::seen(human::sender(sender)) },
        path: match storm.recipients.is_empty() {
            true => format!("from {network}"),
            false => format!("from {network} to {}", human::seen(&storm.recipients)),
        },
        copies: match (guesses, storm.copies) {
            (true, _) => format!("{} failures", human::number(storm.refused + storm.deferred)),
            (false, 1) => "1 copy".to_owned(),
            (false, copies) => format!("{} copies", human::number(copies)),
        },
        what: what.join(", "),
        spared: match storm.bytes_spared {
            0 => String::new(),
            octets => format!("{} spared the queue{}", human::bytes(octets), wire(storm.wire_spared)),
        },
        spark: chart::spark(&storm.trend),
        trend: storm.trend.map(|copies| copies.to_string()).join(", "),
        blocked: block_of(blocks, &blocked_by(storm), now).is_some(),
        block: human::seen(&blocked_by(storm)),
    }
}

/// The key by which a storm is blocked: its sender, or the network where that has no address.
fn blocked_by(storm: &Storm) -> String {
    let (network, sender) = parts(storm);
    match human::bare(sender) {
        "" | GUESSING => network.to_owned(),
        address => address.to_owned(),
    }
}

/// Client network and sender.
fn parts(storm: &Storm) -> (&str, &str) {
    storm.key.split_once(' ').unwrap_or(("", &storm.key))
}

/// What is wrong with the configuration in force, and what `check` found since.
fn warnings(status: &Status, checked: Option<&Checked>) -> Vec<Warning> {
    let warning = |kind: &'static str, text: &str| Warning { kind, text: human::seen(text) };
    let errors = status.reload.faults.iter().map(|text| warning("error", text));
    let mut all: Vec<Warning> =
        errors.chain(status.reload.warnings.iter().map(|text| warning("warning", text))).collect();
    for (kind, findings) in checked.iter().flat_map(|it| [("error", &it.faults), ("warning", &it.warnings)]) {
        for text in findings.iter().map(ToString::to_string) {
            if !all.iter().any(|known| known.text.contains(&*human::seen(&text))) {
                all.push(warning(kind, &text));
            }
        }
    }
    all.truncate(MOST);
    all
}

fn loaded(status: &Status, now: Time) -> String {
    let file = status.configuration_file.as_deref().unwrap_or("Built-in configuration");
    format!("{file}, read {}", words::since(status.reload.at, now))
}

/// What a section shows; the API has the rest.
const MOST: usize = 10;
const MOST_PROBLEMS: usize = 5;
const MOST_STORMS: usize = 5;
/// The word in place of a storm's sender where passwords are guessed.
const GUESSING: &str = "auth";
