//! One record in all its parts, and what would happen to the same message now. It must not count or deliver anything.

use std::sync::Arc;

use crate::admin::web::human;
use crate::admin::web::rows;
use crate::front::Services;
use crate::policy::verdict::Verdict;
use crate::rehearsal::explanation::Explanation;
use crate::rehearsal::message::Message;
use crate::rehearsal::rehearse::Said;
use crate::rehearsal::rehearse::Step;
use crate::rehearsal::told::Teller;
use crate::report::recent::Entry;

/// A record's parts by their names.
pub(super) struct Detail {
    pub(super) parts: Vec<(&'static str, String)>,
    /// The verdict on the same message now, as far as its text does not matter; empty where no message can be made of the record.
    pub(super) verdict: &'static str,
    /// The steps of its session, each with its reply.
    pub(super) steps: Vec<(String, String)>,
}

impl Detail {
    /// The details of the record with this number, as long as it is kept.
    pub(super) fn of(services: &Arc<Services>, number: u64) -> Option<Self> {
        let found = services.reports.recent.search("", Some(number.checked_add(1)?), 1);
        let entry = found.into_iter().next().filter(|entry| entry.number == number)?;
        let explanation = rehearsed(services, &entry);
        Some(Self {
            parts: parts(&entry),
            verdict: explanation.as_ref().map_or("", |it| verdict(it.verdict())),
            steps: explanation.iter().flat_map(|it| &it.steps).map(step).collect(),
        })
    }
}

/// A record does not have the message's text.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accepted up to its text. A copy, and what is too large, is known by its text only.",
        verdict => rows::done(verdict),
    }
}

fn parts(entry: &Entry) -> Vec<(&'static str, String)> {
    let known = |text: &Option<String>| text.as_deref().map(human::seen).unwrap_or_default();
    let mut parts = vec![
        ("Time", human::exact(entry.at)),
        ("Session", entry.session.clone()),
        ("Client", entry.client.to_string()),
        ("Sender", known(&entry.sender)),
        ("EHLO", known(&entry.helo)),
        ("TLS", entry.tls.unwrap_or_default().to_owned()),
        ("User", known(&entry.user)),
        ("Message-ID", known(&entry.id)),
        ("Recipients", human::seen(&entry.recipients.join(", "))),
        ("Size", entry.size.map(human::bytes).unwrap_or_default()),
        ("Reply", entry.code.map(|code| code.to_string()).unwrap_or_default()),
        ("Reason", entry.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default()),
        ("Rule", known(&entry.rule)),
        ("Backend", known(&entry.backend)),
        ("Took", format!("{} ms", human::number(entry.ms))),
    ];
    parts.retain(|(_, value)| !value.is_empty());
    parts
}

/// The message of a record, as a rehearsal takes it.
fn rehearsed(services: &Arc<Services>, entry: &Entry) -> Option<Explanation> {
    let message = Message {
        client: entry.client,
        host: None,
        helo: entry.helo.clone().unwrap_or_else(|| "client.example".to_owned()),
        tls: entry.tls.is_some(),
        user: entry.user.clone(),
        sender: entry.sender.clone()?,
        recipients: entry.recipients.clone(),
        size: entry.size,
        eight_bit: None,
    };
    let script = message.script().ok()?;
    let (steps, teller) = Teller::rehearse(services.clone(), &script).end();
    teller.told(steps).explanation
}

fn step(step: &Step) -> (String, String) {
    let reply = |said: &Said| {
        let rule = said.rule.as_deref().map(|rule| format!(" ({})", human::seen(rule))).unwrap_or_default();
        format!("{} {}{rule}", said.code, human::seen(&said.line))
    };
    let replies: Vec<String> = step.news().map(reply).collect();
    (human::seen(&step.command), if replies.is_empty() { "accepted".to_owned() } else { replies.join("; ") })
}
