//! The forms in which receivers take an event. Pure. What a stranger has written must not become markup, a link, a
//! mention or a header of any of them.

use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde_json::Value;
use serde_json::json;

use crate::alerts::event::Event;
use crate::alerts::event::What;
use crate::alerts::event::moment;
use crate::config::checked::alert::Template;
use crate::status::problems::Severity;
use crate::text::readable;

/// A request's body, and the headers that belong to it.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
}

/// The event as `template` has it. `token` is for a body that carries one; `repeat` is after how many seconds the event
/// of a problem that goes on follows, 0 for none.
pub(crate) fn form(template: Template, event: &Event, token: &str, repeat: u32) -> Form {
    match template {
        Template::Json => of_json(&event.json()),
        Template::Slack => of_json(&slack(event)),
        Template::Mattermost => of_json(&mattermost(event)),
        Template::Ntfy => ntfy(event),
        Template::PagerDuty => of_json(&pagerduty(event, token)),
        Template::Alertmanager => of_json(&alertmanager(event, repeat)),
    }
}

fn of_json(value: &Value) -> Form {
    let mut body = String::new();
    readable::write_json(&mut body, &value.to_string());
    Form { content_type: "application/json", headers: Vec::new(), body }
}

/// <https://docs.slack.dev/messaging/formatting-message-text>: three characters are markup, and escaped; the rest is
/// switched off.
fn slack(event: &Event) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = escaped(&event.title());
    json!({
        "text": title,
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "attachments": [{
            "color": colour(event),
            "fallback": format!("{title}: {}", escaped(&event.text)),
            "text": escaped(&event.text),
            "mrkdwn_in": [],
            "ts": event.at,
        }],
    })
}

/// <https://developers.mattermost.com/integrate/reference/message-attachments/>: all text is Markdown with mentions, but
/// for what is in a block of code.
fn mattermost(event: &Event) -> Value {
    let block = |text: &str| format!("```text\n{}\n```", text.replace('`', "'"));
    json!({
        "text": format!("#### {}", event.title().replace(['@', '`', '~', '#'], "'")),
        "attachments": [{ "color": colour(event), "fallback": event.title(), "text": block(&event.text) }],
    })
}

/// <https://docs.ntfy.sh/publish/>: the body is plain text.
fn ntfy(event: &Event) -> Form {
    let (priority, tag) = match (event.what, event.severity) {
        (What::Ended, _) => ("3", "white_check_mark"),
        (_, Severity::Critical) => ("5", "rotating_light"),
        (_, Severity::Warning) => ("4", "warning"),
        (_, Severity::Notice) => ("3", "information_source"),
    };
    let tags = format!("{tag},portcullis,{}", event.kind);
    let title: String = event.title().chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    let headers = [("title", title), ("priority", priority.to_owned()), ("tags", tags)];
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    let headers = headers.into_iter().filter_map(header).collect();
    Form { content_type: "text/plain; charset=utf-8", headers, body: event.text.clone() }
}

/// <https://developer.pagerduty.com/docs/send-alert-event>
fn pagerduty(event: &Event, key: &str) -> Value {
    let severity = match event.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Notice => "info",
    };
    let mut value = json!({
        "routing_key": key,
        "event_action": if event.is_resolved() { "resolve" } else { "trigger" },
        "dedup_key": event.id(),
    });
    if !event.is_resolved() {
        let summary: String = format!("{}: {}", event.title(), event.text).chars().take(LONGEST_SUMMARY).collect();
        value["client"] = "Portcullis".into();
        value["payload"] = json!({
            "summary": summary,
            "source": event.host,
            "severity": severity,
            "timestamp": moment(event.since),
            "component": "portcullis",
            "class": event.kind,
            "custom_details": event.json(),
        });
    }
    value
}

/// <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>, postableAlerts. An alert ends by itself at
/// `endsAt`, unless it is sent again before.
fn alertmanager(event: &Event, repeat: u32) -> Value {
    let lasts = match (event.what, repeat) {
        (What::Test, _) => TEST_LASTS,
        (_, 0) => FOR_GOOD,
        (_, repeat) => repeat.saturating_mul(3).max(SHORTEST),
    };
    let ends = event.ended.unwrap_or_else(|| event.at.saturating_add(lasts));
    let words = event.name().split(' ').map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    json!([{
        "labels": {
            "alertname": format!("Portcullis{}", words.collect::<String>()),
            "instance": event.host,
            "kind": event.kind,
            "severity": event.severity,
            "subject": event.subject,
        },
        "annotations": { "summary": event.title(), "description": event.text },
        "startsAt": moment(event.since),
        "endsAt": moment(ends),
    }])
}

fn colour(event: &Event) -> &'static str {
    match (event.what, event.severity) {
        (What::Ended, _) => "#2e7d32",
        (_, Severity::Critical) => "#c62828",
        (_, Severity::Warning) => "#ef6c00",
        (_, Severity::Notice) => "#1565c0",
    }
}

/// Characters.
const LONGEST_SUMMARY: usize = 1024;
/// Seconds until an alert ends in an Alertmanager.
const SHORTEST: u32 = 300;
const TEST_LASTS: u32 = 60;
const FOR_GOOD: u32 = 7 * 86_400;

#[cfg(test)]
#[path = "templates/tests.rs"]
mod tests;
