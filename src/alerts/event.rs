//! An event: a problem that began, goes on or is over, as it is told. Strangers' words in it are shown and not obeyed:
//! one line, nothing invisible. It must not know in which form it goes out.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::status::problems::Problem;
use crate::status::problems::ProblemKind;
use crate::status::problems::Severity;
use crate::status::words;
use crate::text::readable;
use crate::text::version;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What happened with the problem.
    pub(crate) what: What,
    /// The problem's kind, or `test`.
    pub(crate) kind: &'static str,
    /// The problem's subject: a storm's key, a file.
    pub(crate) subject: String,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// When the problem began, in seconds since the epoch.
    pub(crate) since: u32,
    /// When it was over.
    pub(crate) ended: Option<u32>,
    /// When the event was made.
    pub(crate) at: u32,
    /// One sentence or two.
    pub(crate) text: String,
    /// The name by which the proxy calls itself.
    pub(crate) host: String,
}

/// What happened with a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It began, and was not told of yet.
    Began,
    /// It was told of, and goes on.
    GoesOn,
    /// It is over.
    Ended,
    /// There is none: an operator tries out the way.
    Test,
}

impl What {
    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::GoesOn => "goes_on",
            Self::Ended => "ended",
            Self::Test => "test",
        }
    }
}

impl Event {
    /// The event of a problem at `host`, made at `at`; `ended` is when it was over.
    pub(crate) fn new(what: What, problem: &Problem, ended: Option<u32>, host: &str, at: u32) -> Self {
        let text = readable::shown(&problem.text);
        let text = match ended {
            Some(ended) => format!("{}{text}", over(ended)),
            None => text.into_owned(),
        };
        Self {
            what,
            kind: problem.kind.as_str(),
            subject: readable::shown(&problem.subject).into_owned(),
            severity: problem.severity,
            since: problem.since,
            ended,
            at,
            text,
            host: readable::shown(host).into_owned(),
        }
    }

    /// An event of no problem.
    pub(crate) fn test(host: &str, at: u32) -> Self {
        let text = "This is a test of Portcullis's alerts. Nothing is wrong.".to_owned();
        let (what, kind, subject) = (What::Test, "test", "alert test".to_owned());
        let host = readable::shown(host).into_owned();
        Self { what, kind, subject, severity: Severity::Notice, since: at, ended: None, at, text, host }
    }

    /// Whether a receiver that keeps a list of problems takes it off.
    pub(crate) fn is_resolved(&self) -> bool {
        matches!(self.what, What::Ended)
    }

    /// The problem's own text, also of an event of its end.
    pub(crate) fn sentence(&self) -> &str {
        self.ended.and_then(|ended| self.text.strip_prefix(&over(ended))).unwrap_or(&self.text)
    }

    /// A few words without any of a stranger: `Storm (over) on mx.example.org`.
    pub(crate) fn title(&self) -> String {
        let state = match self.what {
            What::Began | What::Test => "",
            What::GoesOn => " (goes on)",
            What::Ended => " (over)",
        };
        format!("{}{state} on {}", self.name(), self.host)
    }

    /// The kind in words.
    pub(crate) fn name(&self) -> &'static str {
        ProblemKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind).map_or("Test", name)
    }

    /// The same for all events of one problem, over a restart: by it receivers know what an event belongs to.
    pub(crate) fn id(&self) -> String {
        let Self { host, kind, subject, .. } = self;
        blake3::hash(format!("{host}\0{kind}\0{subject}").as_bytes()).to_hex()[..32].to_owned()
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "event": self.what,
            "kind": self.kind,
            "subject": self.subject,
            "severity": self.severity,
            "text": self.text,
            "since": moment(self.since),
            "ended": self.ended.map(moment),
            "at": moment(self.at),
            "host": self.host,
            "id": self.id(),
            "version": version::SHORT,
        })
    }
}

fn name(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::BackendDown => "Backend down",
        ProblemKind::StateDegraded => "State cannot be written",
        ProblemKind::LogUnread => "Log is not read",
        ProblemKind::HoldNearlyFull => "Hold nearly full",
        ProblemKind::ReloadFailed => "Reload failed",
        ProblemKind::Storm => "Storm",
        ProblemKind::AuthGuessing => "Password guessing",
        ProblemKind::QueueGrowing => "Queue is growing",
        ProblemKind::CertificateExpires => "Certificate expires",
    }
}

fn over(ended: u32) -> String {
    format!("Over since {}. It was: ", words::moment(ended))
}

/// RFC 3339, in UTC.
pub(crate) fn moment(seconds: u32) -> String {
    Timestamp::from_second(seconds.into()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::alert::KINDS;

    #[test]
    fn the_configuration_has_the_kinds_that_there_are() {
        assert_eq!(KINDS.to_vec(), ProblemKind::ALL.map(ProblemKind::as_str).to_vec());
    }
}
