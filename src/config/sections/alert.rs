//! `[[alert]]`: who is told of problems. What is secret must not be repeated in an error: the address of a webhook and the
//! values of headers.

use std::time::Duration;

use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::config::checked::alert::KINDS;
use crate::config::checked::alert::Template;
use crate::config::checked::alert::Url;
use crate::config::faults::At;
use crate::config::faults::Written;
use crate::config::reader::Section;
use crate::config::sections::path;
use crate::config::sections::throttle;
use crate::config::units;

/// `[[alert]]`, as written.
pub(crate) struct Alert {
    pub(crate) name: Option<Written<String>>,
    pub(crate) target: Target,
    pub(crate) token_file: Option<Written<std::path::PathBuf>>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) lasting: Duration,
    pub(crate) repeat: Duration,
}

/// `webhook` or `command`, as written.
pub(crate) enum Target {
    Webhook(Url, Template),
    /// At least the program.
    Command(Vec<String>, At),
}

/// `None` when what it needs is missing or wrong, which was then reported.
pub(crate) fn read(section: &mut Section<'_>) -> Option<Alert> {
    let name = section.parsed("name", throttle::name);
    let (webhook, command) = (webhook(section), command(section));
    let template = section.choice("template", &TEMPLATES);
    let kinds = section.choices("kinds", "\"storm\"", &KINDS.map(|name| (name, name))).unwrap_or_default();
    let lasting = section.parsed("for", units::duration).map_or(Duration::ZERO, |it| it.value);
    let repeat = section.parsed("repeat", repeat);
    let headers = headers(section);
    let token_file = section.optional_text("token_file").map(|file| Written { value: file.value.into(), at: file.at });
    if !section.is_written() {
        return None;
    }
    one_target(section);
    let template = template.map_or(Template::Json, |it| it.value);
    if template == Template::PagerDuty && !section.has(&["token_file"]) && !section.has(&["command"]) {
        let what = "PagerDuty needs an integration key; write token_file = \"/etc/portcullis/pagerduty-key\"";
        section.findings().missing(section.key_at("template"), what);
    }
    let target = match (webhook, command) {
        (Some(url), None) => {
            warn_of_url(section, &url, template);
            Target::Webhook(url.value, template)
        }
        (None, Some((words, at))) => Target::Command(words, at),
        _ => return None,
    };
    let repeat = repeat.map_or_else(|| usual_repeat(template), |it| it.value);
    Some(Alert {
        name,
        target,
        token_file,
        headers,
        kinds: kinds.into_iter().map(|it| it.value).collect(),
        lasting,
        repeat,
    })
}

/// The address, which an error does not repeat.
fn webhook(section: &mut Section<'_>) -> Option<Written<Url>> {
    let Some(text) = section.text_at("webhook") else { return section.parsed("webhook", Url::parse) };
    let written = section.optional_text("webhook")?;
    match Url::parse(text) {
        Ok(value) => Some(Written { value, at: written.at }),
        Err(instead) => {
            section.findings().fault(written.at, format!("alert.webhook is not a valid URL; {instead}"));
            None
        }
    }
}

fn command(section: &mut Section<'_>) -> Option<(Vec<String>, At)> {
    let words = section.list_of_words("command", EXAMPLE)?;
    let Some(first) = words.first() else {
        // As good as not written.
        return None;
    };
    let at = first.at;
    if path(&first.value).is_err() || !first.value.contains('/') {
        let what =
            format!("alert.command cannot be {:?}; write the program's whole path, such as {EXAMPLE}", first.value);
        section.findings().fault(at, what);
        return None;
    }
    Some((words.into_iter().map(|word| word.value).collect(), at))
}

/// Exactly one of the two, and nothing for the other.
fn one_target(section: &Section<'_>) {
    let is_written = |key| section.has(&[key]) && !section.is_empty_list(key) && section.text_at(key) != Some("");
    let findings = section.findings();
    match (is_written("webhook"), is_written("command")) {
        (true, true) => {
            let what = "an alert has a webhook or a command, and there can be several alerts; leave one of them out";
            findings.fault(section.key_at("command"), what);
        }
        (false, false) => {
            let what = "this alert goes nowhere; write webhook = \"https://example.org/hook\", or a command";
            findings.missing(section.at(), what);
        }
        (false, true) => {
            for key in ["template", "headers", "token_file"].into_iter().filter(|key| is_written(key)) {
                let what = format!("alert.{key} is for a webhook, a command gets JSON; leave it out");
                findings.fault(section.key_at(key), what);
            }
        }
        (true, false) => {}
    }
}

fn warn_of_url(section: &Section<'_>, url: &Written<Url>, template: Template) {
    if !url.value.is_secure && !url.value.is_loopback() {
        let what = "alerts and their secrets go over the network unencrypted; write https:// if the server has it";
        section.findings().warn(url.at, what);
    }
    if template == Template::Alertmanager && !url.value.path.ends_with("/api/v2/alerts") {
        section
            .findings()
            .warn(url.at, "an Alertmanager takes alerts at /api/v2/alerts, which this URL does not end in");
    }
}

/// An Alertmanager forgets what it is not told again, and repeats by itself.
fn usual_repeat(template: Template) -> Duration {
    if template == Template::Alertmanager { SHORTEST } else { Duration::from_secs(4 * 3600) }
}

fn repeat(text: &str) -> Result<Duration, String> {
    match if text == "0" { Duration::ZERO } else { units::duration(text)? } {
        repeat if repeat > Duration::ZERO && repeat < SHORTEST => {
            Err("write at least \"1m\", or \"0\" for never".to_owned())
        }
        repeat => Ok(repeat),
    }
}

fn headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in section.pairs("headers") {
        let (shown, findings) = (name.value.escape_debug(), section.findings());
        let parsed = name.value.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&value).ok());
        let Some((header, mut value)) = parsed else {
            let what =
                format!("alert.headers has no valid {shown}; write a name without blanks, and one line of ASCII");
            findings.fault(name.at, what);
            continue;
        };
        if OURS.contains(&header.as_str()) {
            findings.fault(name.at, format!("the header {shown} is written by Portcullis; leave it out"));
            continue;
        }
        value.set_sensitive(true);
        headers.push((header, value));
    }
    headers
}

const EXAMPLE: &str = "\"/usr/local/bin/page\"";
/// What the request and its body need.
const OURS: [&str; 6] = ["connection", "content-length", "content-type", "host", "te", "transfer-encoding"];
const SHORTEST: Duration = Duration::from_secs(60);

const TEMPLATES: [(&str, Template); 6] = [
    ("json", Template::Json),
    ("slack", Template::Slack),
    ("mattermost", Template::Mattermost),
    ("ntfy", Template::Ntfy),
    ("pagerduty", Template::PagerDuty),
    ("alertmanager", Template::Alertmanager),
];
