//! Problems: what an operator has to know of, each with the time when it began. The sentence of the status, the page and
//! the alerts speak of the same ones. It must not change what it looks at.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::report::storms::Storm;
use crate::status::Handles;
use crate::status::in_force::InForce;
use crate::status::words;
use crate::store::clock::Time;
use crate::store::disk::Health;

/// One problem, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The kind of the problem.
    pub(crate) kind: ProblemKind,
    /// Its subject, by which it is known again: a storm's key, the backend, a certificate's file.
    pub(crate) subject: String,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// When it began, in seconds since the epoch.
    pub(crate) since: u32,
    /// A sentence about it, with what to do where that helps.
    pub(crate) text: String,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// It has time until the next working day.
    Notice,
    /// The proxy deals with it, and somebody should look.
    Warning,
    /// Mail waits, or what the proxy learns is lost.
    Critical,
}

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// The backend cannot be reached or started.
    BackendDown,
    /// The state cannot be written.
    StateDegraded,
    /// The log is not read, and its lines are thrown away.
    LogUnread,
    /// Held messages have nearly used up `message.hold_total`.
    HoldNearlyFull,
    /// A changed configuration or list has errors.
    ReloadFailed,
    /// A sender's copies come over and over.
    Storm,
    /// A client network guesses passwords.
    AuthGuessing,
    /// The qmail queue grows.
    QueueGrowing,
    /// A certificate ends within 14 days.
    CertificateExpires,
}

impl ProblemKind {
    /// Every kind, the most urgent first.
    pub(crate) const ALL: [Self; 9] = [
        Self::BackendDown,
        Self::StateDegraded,
        Self::LogUnread,
        Self::HoldNearlyFull,
        Self::ReloadFailed,
        Self::Storm,
        Self::AuthGuessing,
        Self::QueueGrowing,
        Self::CertificateExpires,
    ];

    /// How much a problem of the kind matters, unless it says otherwise itself.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::BackendDown | Self::StateDegraded | Self::LogUnread => Severity::Critical,
            Self::CertificateExpires => Severity::Notice,
            Self::HoldNearlyFull | Self::ReloadFailed | Self::Storm | Self::AuthGuessing | Self::QueueGrowing => {
                Severity::Warning
            }
        }
    }

    /// Its word in JSON, in `alert.kinds` and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BackendDown => "backend_down",
            Self::StateDegraded => "state_degraded",
            Self::LogUnread => "log_unread",
            Self::HoldNearlyFull => "hold_nearly_full",
            Self::ReloadFailed => "reload_failed",
            Self::Storm => "storm",
            Self::AuthGuessing => "auth_guessing",
            Self::QueueGrowing => "queue_growing",
            Self::CertificateExpires => "certificate_expires",
        }
    }
}

/// When each problem that lasts was first seen.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    began: Mutex<HashMap<(ProblemKind, String), u32>>,
    /// The sentence about the queue, while it grows.
    queue: Mutex<Option<String>>,
}

impl Problems {
    /// The problems of this moment, the most urgent first.
    pub(crate) fn look(&self, handles: &Handles) -> Vec<Problem> {
        let now = handles.services.state.tables().clock.now();
        let mut found = Vec::new();
        let in_force = handles.in_force.borrow().clone();
        found.extend(of_backend(handles));
        found.extend(of_state(handles));
        found.extend(of_log(handles));
        found.extend(of_hold(handles, &in_force));
        found.extend(of_reload(&in_force));
        found.extend(of_storms(handles, now));
        found.extend(self.of_queue());
        found.extend(of_certificates(&in_force, now));
        self.date(&mut found, now);
        found.sort_by_key(|problem| (Reverse(problem.severity), problem.kind, problem.since));
        found
    }

    /// The qmail queue grows, in a sentence, or does not.
    pub(crate) fn note_queue(&self, grows: Option<String>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = grows;
    }

    fn of_queue(&self) -> Option<Problem> {
        let text = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Problem::new(ProblemKind::QueueGrowing, "queue", text))
    }

    /// Gives each of them the time when it was first seen, unless it has one of its own, and forgets those that are over.
    fn date(&self, found: &mut [Problem], now: Time) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = HashMap::new();
        for problem in found {
            let key = (problem.kind, problem.subject.clone());
            if problem.since == UNKNOWN {
                problem.since = began.get(&key).copied().unwrap_or(now.seconds());
            }
            still.insert(key, problem.since);
        }
        *began = still;
    }
}

fn of_backend(handles: &Handles) -> Option<Problem> {
    let services = &handles.services;
    let (down, now) = (services.health.down()?, services.state.tables().clock.now());
    let since = words::since(down.since.seconds(), now);
    let error = words::backend_error(&services.backends.target().to_string(), &down.error);
    let text = format!("The backend is down since {since}: {error}. Senders are told to come again.");
    Some(Problem { since: down.since.seconds(), ..Problem::new(ProblemKind::BackendDown, "backend", text) })
}

fn of_state(handles: &Handles) -> Option<Problem> {
    let error = handles.services.state.health().and_then(Health::failing)?;
    let text = format!("The state cannot be written: {error}. Mail goes on; a restart forgets what happened since.");
    Some(Problem::new(ProblemKind::StateDegraded, "state", text))
}

fn of_log(handles: &Handles) -> Option<Problem> {
    let text = || format!("The log is not being read, and its lines are thrown away: {} so far.", handles.log.lost());
    handles.log.is_stalled().then(|| Problem::new(ProblemKind::LogUnread, "log", text()))
}

fn of_hold(handles: &Handles, in_force: &InForce) -> Option<Problem> {
    let holds = &handles.services.holds;
    let (used, total) = (holds.used(), in_force.hold_total);
    let text = || {
        format!(
            "Held messages have nearly used up message.hold_total: {} of {}. The slowest are deferred.",
            words::bytes(used),
            words::bytes(total)
        )
    };
    (holds.pressure() > 0).then(|| Problem::new(ProblemKind::HoldNearlyFull, "hold", text()))
}

fn of_reload(in_force: &InForce) -> Option<Problem> {
    let reload = &in_force.reload;
    let first = reload.faults.first()?;
    let more = match reload.faults.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let text = format!("A change was not put in force: {first}{more}. What was in force before still is.");
    let since = reload.failed_at.unwrap_or(UNKNOWN);
    Some(Problem { since, ..Problem::new(ProblemKind::ReloadFailed, "configuration", text) })
}

fn of_storms(handles: &Handles, now: Time) -> Vec<Problem> {
    let storms = handles.services.reports.storms.running(now);
    let told = |storm: &Storm| {
        let guesses = storm.key.ends_with(GUESSING);
        let kind = if guesses { ProblemKind::AuthGuessing } else { ProblemKind::Storm };
        let text = if guesses { words::guessing(storm, now) } else { words::storm(storm, now) };
        Problem { since: storm.since, ..Problem::new(kind, &storm.key, text) }
    };
    storms.iter().take(MOST_STORMS).map(told).collect()
}

fn of_certificates(in_force: &InForce, now: Time) -> Vec<Problem> {
    let soon = now.plus(EXPIRES_SOON).seconds();
    let ends = in_force.certificates.iter().filter(|certificate| certificate.until < soon);
    let told = ends.map(|certificate| {
        let is_over = certificate.until <= now.seconds();
        let (verb, severity) = if is_over { ("expired", Severity::Critical) } else { ("expires", Severity::Notice) };
        let text =
            format!("The certificate {} {verb} at {}; renew it.", certificate.file, words::moment(certificate.until));
        Problem { severity, ..Problem::new(ProblemKind::CertificateExpires, &certificate.file, text) }
    });
    told.collect()
}

impl Problem {
    /// A problem whose beginning is when it is first seen.
    fn new(kind: ProblemKind, subject: &str, text: String) -> Self {
        Self { kind, subject: subject.to_owned(), severity: kind.severity(), since: UNKNOWN, text }
    }
}

/// The time of a problem that does not know when it began.
const UNKNOWN: u32 = 0;
/// The end of the key of a storm of AUTH failures, where others have a sender.
const GUESSING: &str = " auth";
/// Storms that are told one by one.
const MOST_STORMS: usize = 20;
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
