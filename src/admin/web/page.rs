//! The page as it is first painted, complete without a script: the status as tables and forms. `page.js` takes over from
//! it with the same rows and words. It must not change anything, nor show a stranger's text unescaped.

use askama::Template;

use crate::admin::web::ask::Ask;
use crate::admin::web::assets;
use crate::admin::web::chart;
use crate::admin::web::chart::Chart;
use crate::admin::web::facts;
use crate::admin::web::facts::Fact;
use crate::admin::web::human;
use crate::admin::web::record::Detail;
use crate::admin::web::rows;
use crate::admin::web::table::Table;
use crate::report::history::Point;
use crate::report::history::Range;
use crate::report::recent::Entry;
use crate::report::storms::Storm;
use crate::status::Status;
use crate::status::problems::Problem;
use crate::status::sentence::Tone;
use crate::status::words;
use crate::store::blocks::Block;
use crate::store::clock::Time;

/// What the page shows.
pub(super) struct Shown<'a> {
    pub(super) status: &'a Status,
    pub(super) blocks: Vec<Block>,
    pub(super) points: Vec<Point>,
    pub(super) range: Range,
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

#[derive(Template)]
#[template(path = "page.html")]
struct View {
    css: &'static str,
    js: &'static str,
    title: String,
    tone: &'static str,
    verdict: &'static str,
    lead: String,
    sentence: String,
    problems: Vec<Trouble>,
    press: String,
    ask: Option<Ask>,
    chart: Chart,
    storms: Vec<Stormy>,
    facts: Vec<Fact>,
    senders: Table,
    clients: Table,
    records: Table,
    record: Option<Detail>,
    search: String,
    blocks: Table,
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
    /// The key that its button blocks.
    block: String,
}

struct Warning {
    kind: &'static str,
    text: String,
}

impl View {
    fn of(shown: Shown<'_>) -> Self {
        let Shown { status, blocks, points, range, records, record, search, ask, csrf, token_file } = shown;
        let now = Time::from_seconds(status.now);
        let (tone, verdict, mark) = match status.sentence.tone {
            Tone::Quiet => ("quiet", "Nothing needs you", ""),
            Tone::Storm => ("storm", "Under control", "▲ Storm · "),
            Tone::Trouble => ("trouble", "Needs you", "■ Trouble · "),
        };
        let is_blocked = |key: &str| blocks.iter().any(|block| block.key.eq_ignore_ascii_case(key));
        // In worse trouble a block is not what helps.
        let storm = status.storms.first().filter(|_| status.sentence.tone == Tone::Storm);
        let press = storm.map(blocked_by).filter(|key| !is_blocked(key)).unwrap_or_default();
        Self {
            css: assets::css(),
            js: assets::js(),
            title: format!("{mark}{} · Portcullis", status.host),
            tone,
            verdict,
            lead: lead(status, now),
            sentence: human::seen(&status.sentence.text),
            problems: problems(status, now),
            press,
            ask,
            chart: Chart::of(&points, range, status.now),
            storms: status.storms.iter().map(|storm| stormy(storm, now)).collect(),
            facts: facts::of(status),
            senders: Table::of("senders", rows::senders(status)),
            clients: Table::of("clients", rows::clients(status)),
            records: Table::of("records", rows::records(&records, &search)),
            record,
            search,
            blocks: Table::of("blocks", rows::blocks(blocks, status.now)),
            certificates: Table::of("certificates", rows::certificates(status)),
            warnings: warnings(status),
            loaded: loaded(status, now),
            host: human::seen(&status.host),
            zone: status.zone.clone(),
            clock: human::clock(status.now),
            version: status.version,
            up: format!("running since {}", words::since(status.started, now)),
            csrf,
            token_file,
        }
    }
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
        key: human::seen(&format!("{} {}", problem.kind.as_str(), problem.subject)),
        since: words::since(problem.since, now),
        at: human::exact(problem.since),
        text: human::seen(&problem.text),
    };
    status.problems.iter().skip(1).map(trouble).collect()
}

fn stormy(storm: &Storm, now: Time) -> Stormy {
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

fn warnings(status: &Status) -> Vec<Warning> {
    let errors = status.reload.faults.iter().map(|text| Warning { kind: "error", text: human::seen(text) });
    let warnings = status.reload.warnings.iter().map(|text| Warning { kind: "warning", text: human::seen(text) });
    errors.chain(warnings).collect()
}

fn loaded(status: &Status, now: Time) -> String {
    let file = status.configuration_file.as_deref().unwrap_or("Built-in configuration");
    format!("{file}, read {}", words::since(status.reload.at, now))
}

/// The word in place of a storm's sender where passwords are guessed.
const GUESSING: &str = "auth";
