//! `[[throttle]]`: limits, their keys and actions. It must not count.

use std::fmt::Debug;
use std::time::Duration;

use crate::config::faults::At;
use crate::config::reader::Section;
use crate::config::sections::time_limit;
use crate::config::units;
use crate::config::units::Rate;
use crate::policy::throttle::Action;
use crate::policy::throttle::BlockLength;
use crate::policy::throttle::Count;
use crate::policy::throttle::Group;
use crate::policy::throttle::Throttle;
use crate::policy::throttle::part::Part;

/// One throttle and where its name stands. `None` when what it needs is missing or wrong, which was then reported.
pub(crate) fn read(section: &mut Section<'_>) -> Option<(Throttle, At)> {
    let name = section.parsed("name", name);
    let count = section.choice("count", &COUNTS);
    let per = names(section, "per", r#""client-net", "sender""#, &PARTS);
    let only = names(section, "only", r#""null-sender""#, &GROUPS).unwrap_or_default();
    let except = names(section, "except", r#""null-sender""#, &GROUPS).unwrap_or_default();
    let of_bytes = count.as_ref().is_some_and(|count| count.value == Count::Bytes);
    let limit = section.parsed("limit", |text| limit(text, of_bytes));
    let burst = section.quantity("burst", |text| burst(text, of_bytes));
    let action = section.choice("action", &ACTIONS);
    let shadow = section.flag("shadow").is_some_and(|shadow| shadow.value);
    let escalate = section.number("escalate", 0..=1_000_000).map_or(0, |escalate| escalate.value);
    let escalate = u32::try_from(escalate).unwrap_or(u32::MAX);
    let block = block(section, action.as_ref().map(|action| action.value));
    missing(section);
    groups_disagree(section, &only, &except);
    if section.is_empty_list("per") {
        section
            .findings()
            .fault(section.key_at("per"), "throttle.per is empty; write per = [\"client-net\", \"sender\"]");
    }
    let (name, count, per) = (name?, count?, per?);
    // A limit that cannot be read must not hide what else is wrong.
    let readable = limit.is_some();
    let limit = limit.map_or(Rate { amount: 1, period: DAY }, |limit| limit.value);
    let throttle = Throttle {
        name: name.value.into(),
        count: count.value,
        per,
        only,
        except,
        cells: limit.amount,
        period: limit.period,
        burst: burst.map_or(limit.amount, |burst| burst.value),
        action: action.map_or_else(|| default_action(count.value), |action| action.value),
        block,
        escalate,
        shadow,
    };
    if let Some(what) = throttle.faults() {
        section.findings().fault(section.key_at("per"), what);
    }
    readable.then_some((throttle, name.at))
}

/// A refusal that is due cannot be deferred: the connection ends behind it.
fn default_action(count: Count) -> Action {
    if count.is_of_refusals() { Action::Disconnect } else { Action::Defer }
}

const DAY: Duration = Duration::from_secs(86_400);

/// A throttle's name, which log lines have as `rule=`: one word.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("write one word of letters, digits and hyphens, such as \"retrying-sender\"".to_owned()),
    }
}

fn limit(text: &str, of_bytes: bool) -> Result<Rate, String> {
    let rate = if of_bytes { units::size_rate(text)? } else { units::number_rate(text)? };
    match rate.amount {
        0 if of_bytes => Err("write a limit above zero, such as \"200MB/day\"".to_owned()),
        0 => Err("write a limit above zero, such as \"12/day\"".to_owned()),
        _ => Ok(rate),
    }
}

fn burst(text: &str, of_bytes: bool) -> Result<u64, String> {
    match if of_bytes { units::size(text)? } else { units::number(text)? } {
        0 => Err("nothing would ever pass: write a burst above zero, such as \"5\"".to_owned()),
        burst => Ok(burst),
    }
}

/// A list of names; one that is there twice is a slip.
fn names<T: Copy + PartialEq + Debug>(
    section: &mut Section<'_>,
    key: &'static str,
    example: &str,
    choices: &[(&'static str, T)],
) -> Option<Vec<T>> {
    let written = section.choices(key, example, choices)?;
    for (index, name) in written.iter().enumerate() {
        if written[..index].iter().any(|earlier| earlier.value == name.value) {
            section.findings().fault(name.at, format!("throttle.{key} has this twice; write it once"));
        }
    }
    Some(written.into_iter().map(|name| name.value).collect())
}

fn missing(section: &Section<'_>) {
    let examples = [
        ("name", "name = \"retrying-sender\""),
        ("count", "count = \"retries\""),
        ("per", "per = [\"client-net\", \"sender\"]"),
        ("limit", "limit = \"12/day\""),
    ];
    for (key, example) in examples {
        if section.is_written() && !section.has(&[key]) {
            section.findings().missing(section.at(), format!("this throttle has no {key}; write {example}"));
        }
    }
}

fn groups_disagree(section: &Section<'_>, only: &[Group], except: &[Group]) {
    if except.iter().any(|group| only.contains(group)) {
        let what = "throttle.only and throttle.except name the same group; write it in one of them";
        section.findings().fault(section.key_at("except"), what);
    }
}

/// `block = { first, longest }`, which only means something where something is blocked.
fn block(section: &mut Section<'_>, action: Option<Action>) -> BlockLength {
    let default = BlockLength::default();
    section.table("block", |block| {
        let first = block.parsed("first", time_limit);
        let longest = block.parsed("longest", time_limit);
        if block.is_written() && action != Some(Action::Block) {
            block.findings().fault(block.at(), "throttle.block is for action = \"block\"; leave it out");
        }
        let at = longest.as_ref().or(first.as_ref()).map(|written| written.at);
        let longest = longest.map_or(default.longest, |longest| longest.value);
        let first = first.map_or(default.first.min(longest), |first| first.value);
        if let Some(at) = at.filter(|_| first > longest) {
            block.findings().fault(at, "the first block is longer than the longest; write a shorter first");
        }
        BlockLength { first, longest }
    })
}

const COUNTS: [(&str, Count); 9] = [
    ("connections", Count::Connections),
    ("mails", Count::Mails),
    ("recipients", Count::Recipients),
    ("messages", Count::Messages),
    ("bytes", Count::Bytes),
    ("rejections", Count::Rejections),
    ("retries", Count::Retries),
    ("auth_failures", Count::AuthFailures),
    ("unknown_recipients", Count::UnknownRecipients),
];

const PARTS: [(&str, Part); 8] = [
    ("client", Part::Client),
    ("client-net", Part::ClientNet),
    ("helo", Part::Helo),
    ("sender", Part::Sender),
    ("sender-domain", Part::SenderDomain),
    ("recipient", Part::Recipient),
    ("recipient-domain", Part::RecipientDomain),
    ("user", Part::User),
];

const GROUPS: [(&str, Group); 3] =
    [("null-sender", Group::NullSender), ("relayclient", Group::RelayClient), ("authenticated", Group::Authenticated)];

const ACTIONS: [(&str, Action); 3] =
    [("defer", Action::Defer), ("disconnect", Action::Disconnect), ("block", Action::Block)];
