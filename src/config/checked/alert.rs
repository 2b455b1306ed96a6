//! `[[alert]]`: who is told of problems, when, and in which form. What is secret in it, the address of a webhook and its
//! headers, must not be shown: neither in a log line nor in an answer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

/// One `[[alert]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name in the log, and for `alert test`.
    pub name: String,
    /// Where an event goes.
    pub channel: Channel,
    /// The kinds of problems that it is told of, by their names; none means all.
    pub kinds: Vec<&'static str>,
    /// How long a problem has to last before it is told.
    pub lasting: Duration,
    /// The time after which a problem that goes on is told again; zero means never.
    pub repeat: Duration,
}

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A program, with its arguments, that gets the event as JSON.
    Command(Vec<String>),
    /// A server that gets it by HTTP POST.
    Webhook(Webhook),
}

/// An HTTP server, and what it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The server and the path, of which a part is often a secret.
    pub url: Url,
    /// The form of an event.
    pub template: Template,
    /// Further headers; their values are often secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The file with the token: of an Authorization header, or for PagerDuty the integration key.
    pub token_file: Option<PathBuf>,
}

/// An address of HTTP, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Over TLS: `https`.
    pub is_secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, written or of the scheme.
    pub port: u16,
    /// The path with its query.
    pub path: String,
    /// The host and the port as they were written, for the Host header.
    pub authority: String,
}

/// The form in which a webhook gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Portcullis's own.
    Json,
    /// An incoming webhook of Slack.
    Slack,
    /// An incoming webhook of Mattermost.
    Mattermost,
    /// A topic of ntfy.
    Ntfy,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// `/api/v2/alerts` of an Alertmanager.
    Alertmanager,
}

impl Url {
    /// Takes an address apart.
    ///
    /// # Errors
    /// What to write instead, without any part of the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "write a URL such as \"https://example.org/hook\"".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("write the password into token_file, and a URL such as \"https://example.org/hook\"".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        // A port that is no number is none for the parser.
        let has_port = authority.as_str().len() == authority.host().len() || authority.port_u16().is_some();
        if host.is_empty() || port == 0 || !has_port {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { is_secure, host: host.to_owned(), port, path, authority: authority.to_string() })
    }

    /// Whether it is on this host.
    pub fn is_loopback(&self) -> bool {
        let is_address = || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.host == "localhost" || self.host.ends_with(".localhost") || is_address()
    }
}

impl Channel {
    /// What may be shown of it: the webhook's host, or the program.
    pub fn target(&self) -> &str {
        match self {
            Self::Command(words) => words.first().map_or("", String::as_str),
            Self::Webhook(webhook) => &webhook.url.authority,
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", if self.is_secure { "https" } else { "http" }, self.authority)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, template, headers, token_file } = self;
        let headers: Vec<&HeaderName> = headers.iter().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("Webhook");
        shown.field("url", url).field("template", template).field("headers", &headers);
        shown.field("token_file", token_file).finish()
    }
}

/// The kinds of problems, as `alert.kinds` names them.
pub const KINDS: [&str; 9] = [
    "backend_down",
    "state_degraded",
    "log_unread",
    "hold_nearly_full",
    "reload_failed",
    "storm",
    "auth_guessing",
    "queue_growing",
    "certificate_expires",
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("https://example.org", Some((true, "example.org", 443, "/"))),
            ("https://example.org/a?b=c", Some((true, "example.org", 443, "/a?b=c"))),
            ("http://[::1]:9093/api", Some((false, "::1", 9093, "/api"))),
            ("http://127.0.0.1/", Some((false, "127.0.0.1", 80, "/"))),
            ("example.org/hook", None),
            ("ftp://example.org/", None),
            ("https://", None),
            ("https:///hook", None),
            ("https://user:secret@example.org/", None),
            ("https://example.org:0/", None),
            ("https://example.org:http/", None),
            ("https://example.org:99999/", None),
            ("https://exa mple.org/", None),
            ("", None),
        ];
        for (text, expected) in table {
            let url = Url::parse(text);
            let found = url.as_ref().ok().map(|url| (url.is_secure, &*url.host, url.port, &*url.path));
            assert_eq!(found, expected, "{text}");
            assert!(url.is_ok() || !url.unwrap_err().contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let webhook = Webhook {
            url: Url::parse("https://hooks.example/T0/secret").unwrap(),
            template: Template::Slack,
            headers: vec![(HeaderName::from_static("x-key"), HeaderValue::from_static("secret"))],
            token_file: Some("token".into()),
        };
        let shown = format!("{webhook:?}");
        assert!(shown.contains("hooks.example") && shown.contains("x-key") && !shown.contains("secret"), "{shown}");
    }
}
