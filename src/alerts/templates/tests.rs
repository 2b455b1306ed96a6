//! The forms against what the receivers document, and strangers' words in them.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::status::problems::Problem;
use crate::status::problems::ProblemKind;

const NASTY: &str = "<!channel> @all `x` *b* <http://evil.example|click> \u{202e}gnp.\u{1b}[31m\r\nTitle: x \u{fc}";

fn storm(what: What, ended: Option<u32>) -> Event {
    let kind = ProblemKind::Storm;
    let text = format!("A storm: {NASTY} has sent 48 copies.");
    let problem = Problem {
        kind,
        subject: format!("192.0.2.0/24 {NASTY}"),
        severity: kind.severity(),
        since: 1_795_395_525,
        text,
    };
    Event::new(what, &problem, ended, "mx.example.org", 1_795_395_600)
}

fn body(template: Template, event: &Event) -> Value {
    let form = form(template, event, "R0UTING", 60);
    assert_eq!(form.content_type, "application/json");
    assert!(form.body.chars().all(readable::is_seen), "{}", form.body);
    serde_json::from_str(&form.body).unwrap()
}

#[test]
fn json_has_all_of_it() {
    let event = storm(What::Ended, Some(1_795_400_000));
    let json = body(Template::Json, &event);
    assert_eq!(json["event"], "ended");
    assert_eq!(json["kind"], "storm");
    assert_eq!(json["severity"], "warning");
    assert_eq!(json["since"], "2026-11-23T00:58:45Z");
    assert_eq!(json["ended"], moment(1_795_400_000));
    assert_eq!(json["host"], "mx.example.org");
    assert_eq!(json["id"].as_str().unwrap().len(), 32);
    assert!(json["text"].as_str().unwrap().starts_with("Over since "), "{json}");
    assert_eq!(body(Template::Json, &storm(What::Began, None))["id"], json["id"]);
    assert_eq!(body(Template::Json, &storm(What::Began, None))["ended"], Value::Null);
}

#[test]
fn slack_gets_no_markup_of_strangers() {
    let json = body(Template::Slack, &storm(What::Began, None));
    assert_eq!(json["text"], "Storm on mx.example.org");
    assert_eq!((&json["mrkdwn"], &json["parse"]), (&json!(false), &json!("none")));
    let attachment = &json["attachments"][0];
    let text = attachment["text"].as_str().unwrap();
    assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt;"), "{text}");
    assert_eq!(attachment["mrkdwn_in"], json!([]));
    assert_eq!(attachment["ts"], 1_795_395_600);
    assert_eq!(attachment["color"], "#ef6c00");
}

#[test]
fn mattermost_gets_strangers_words_as_code() {
    let json = body(Template::Mattermost, &storm(What::GoesOn, None));
    assert_eq!(json["text"], "#### Storm (goes on) on mx.example.org");
    let text = json["attachments"][0]["text"].as_str().unwrap();
    let inner = text.strip_prefix("```text\n").unwrap().strip_suffix("\n```").unwrap();
    assert!(!inner.contains(['`', '\n']) && inner.contains("@all"), "{inner}");
}

#[test]
fn ntfy_gets_headers_without_a_word_of_strangers() {
    for (what, ended, priority, tag) in
        [(What::Began, None, "4", "warning"), (What::Ended, Some(1_795_400_000), "3", "white_check_mark")]
    {
        let form = form(Template::Ntfy, &storm(what, ended), "", 0);
        let headers: Vec<(&str, &str)> =
            form.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let title = if ended.is_some() { "Storm (over) on mx.example.org" } else { "Storm on mx.example.org" };
        let tags = format!("{tag},portcullis,storm");
        assert_eq!(headers, [("title", title), ("priority", priority), ("tags", &*tags)]);
        assert!(!form.body.contains(['\r', '\n']) && form.body.contains("\u{fc}"), "{}", form.body);
    }
    let event = Event { host: "m\u{fc}".to_owned(), ..storm(What::Began, None) };
    assert_eq!(form(Template::Ntfy, &event, "", 0).headers[0].1, "Storm on m?");
}

#[test]
fn pagerduty_opens_and_resolves_one_incident() {
    let began = body(Template::PagerDuty, &storm(What::Began, None));
    assert_eq!((&began["routing_key"], &began["event_action"]), (&json!("R0UTING"), &json!("trigger")));
    let payload = &began["payload"];
    assert_eq!(payload["source"], "mx.example.org");
    assert_eq!(payload["severity"], "warning");
    assert_eq!(payload["timestamp"], "2026-11-23T00:58:45Z");
    assert_eq!(payload["custom_details"]["kind"], "storm");
    let over = body(Template::PagerDuty, &storm(What::Ended, Some(1_795_400_000)));
    let expected = json!({ "routing_key": "R0UTING", "event_action": "resolve", "dedup_key": began["dedup_key"] });
    assert_eq!(over, expected);
    let long = Event { text: "\u{fc}".repeat(5000), ..storm(What::Began, None) };
    let summary = body(Template::PagerDuty, &long)["payload"]["summary"].as_str().unwrap().chars().count();
    assert_eq!(summary, 1024);
}

#[test]
fn an_alertmanager_gets_the_same_labels_until_the_end() {
    let began = body(Template::Alertmanager, &storm(What::Began, None));
    let over = body(Template::Alertmanager, &storm(What::Ended, Some(1_795_395_590)));
    assert_eq!(began[0]["labels"], over[0]["labels"]);
    assert_eq!(began[0]["labels"]["alertname"], "PortcullisStorm");
    assert_eq!(began[0]["startsAt"], "2026-11-23T00:58:45Z");
    assert_eq!(began[0]["endsAt"], moment(1_795_395_600 + 300), "longer than until it is sent again");
    assert_eq!(over[0]["endsAt"], moment(1_795_395_590));
    let down = Event { kind: "backend_down", ..storm(What::Began, None) };
    assert_eq!(body(Template::Alertmanager, &down)[0]["labels"]["alertname"], "PortcullisBackendDown");
}
