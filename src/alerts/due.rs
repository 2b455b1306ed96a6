//! What is due to be told: problems have a beginning and an end, and neither is told twice. Pure: problems and the time in,
//! events out. A problem that comes and goes must not flood anybody: each return within an hour doubles the time that it
//! has to stay away before its end is told.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::alerts;
use crate::alerts::event::Event;
use crate::alerts::event::What;
use crate::config::checked::alert::Alert;
use crate::status::problems::Problem;
use crate::status::problems::ProblemKind;
use crate::status::problems::Severity;

/// What one alert was told of, and has not forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    entries: HashMap<(ProblemKind, String), Entry>,
}

/// A problem that is told, and when it was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) what: What,
    pub(crate) problem: Problem,
    /// Seconds since the epoch.
    pub(crate) ended: Option<u32>,
}

/// A problem that was told of, kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    kind: ProblemKind,
    subject: String,
    #[serde(with = "SeverityWord")]
    severity: Severity,
    text: String,
    since: u32,
    told: u32,
}

/// How a severity stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Severity", rename_all = "snake_case")]
enum SeverityWord {
    Notice,
    Warning,
    Critical,
}

#[derive(Clone, Debug)]
struct Entry {
    problem: Problem,
    stage: Stage,
    /// How often it came back within [`MEMORY`] of its end.
    returns: u32,
}

/// Times are seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is there, and was not told of.
    New,
    /// It was told of, last at `told`; `gone` is since when it is not there any more.
    Told { told: u32, gone: Option<u32> },
    /// Its end was told at this time, or it went without being told.
    Over(u32),
}

impl Due {
    /// What is to be told at `now` of the problems that there are.
    pub(crate) fn next(&mut self, alert: &Alert, problems: &[Problem], now: u32) -> Vec<News> {
        let is_wanted = |kind: ProblemKind| alert.kinds.is_empty() || alert.kinds.contains(&kind.as_str());
        self.entries.retain(|key, _| is_wanted(key.0));
        self.entries.values_mut().for_each(|entry| entry.not_after(now));
        let wanted: Vec<&Problem> = problems.iter().filter(|problem| is_wanted(problem.kind)).collect();
        let mut news = self.ended(&wanted, now);
        for problem in wanted {
            news.extend(self.seen(alert, problem, now));
        }
        news
    }

    /// What has to be kept for the next process.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let told = self.entries.values().filter_map(|Entry { problem, stage, .. }| match stage {
            Stage::Told { told, .. } => {
                let Problem { kind, subject, severity, text, since } = problem.clone();
                Some(Kept { kind, subject, severity, text, since, told: *told })
            }
            Stage::New | Stage::Over(_) => None,
        });
        let mut told: Vec<Kept> = told.collect();
        told.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
        told
    }

    /// What the process before was told to have told. Much looks as if it were over at a start, and returns.
    pub(crate) fn restore(kept: Vec<Kept>) -> Self {
        let entry = |Kept { kind, subject, severity, text, since, told }: Kept| {
            let problem = Problem { kind, subject: subject.clone(), severity, since, text };
            let returns = match kind {
                ProblemKind::Storm | ProblemKind::AuthGuessing => STORM_AFTER_START,
                _ => AFTER_START,
            };
            ((kind, subject), Entry { problem, stage: Stage::Told { told, gone: None }, returns })
        };
        Self { entries: kept.into_iter().take(MOST_ENTRIES).map(entry).collect() }
    }

    /// Notes which are not there any more, and gives those whose end is due.
    fn ended(&mut self, problems: &[&Problem], now: u32) -> Vec<News> {
        let mut news = Vec::new();
        let is_there = |key: &(ProblemKind, String)| {
            problems.iter().any(|problem| problem.kind == key.0 && problem.subject == key.1)
        };
        // Storms and guesses share a list that is cut there, and what is not on it may go on, but not for ever.
        let is_listed = |kind| matches!(kind, ProblemKind::Storm | ProblemKind::AuthGuessing);
        let is_cut = problems.iter().filter(|problem| is_listed(problem.kind)).count() >= MOST_TOLD;
        self.entries.retain(|key, entry| {
            if is_there(key) {
                return true;
            }
            match entry.stage {
                Stage::New if entry.returns == 0 => return false,
                Stage::New => entry.stage = Stage::Over(now),
                Stage::Told { told, gone } => {
                    let gone = gone.unwrap_or(now);
                    entry.stage = Stage::Told { told, gone: Some(gone) };
                    let least = if is_cut && is_listed(key.0) { OFF_THE_LIST } else { 0 };
                    if now.saturating_sub(gone) >= settle(entry.returns).max(least) {
                        entry.stage = Stage::Over(now);
                        news.push(News { what: What::Ended, problem: entry.problem.clone(), ended: Some(gone) });
                    }
                }
                Stage::Over(at) => return now.saturating_sub(at) < MEMORY,
            }
            true
        });
        news
    }

    /// A problem that is there.
    fn seen(&mut self, alert: &Alert, problem: &Problem, now: u32) -> Option<News> {
        let key = (problem.kind, problem.subject.clone());
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&key) {
            let over = self.entries.iter().filter_map(|(key, entry)| match entry.stage {
                Stage::Over(at) => Some((at, key)),
                Stage::New | Stage::Told { .. } => None,
            });
            let oldest = over.min_by_key(|(at, _)| *at).map(|(_, key)| key.clone())?;
            self.entries.remove(&oldest);
        }
        let has_told = |entry: &&Entry| entry.problem.kind == problem.kind && matches!(entry.stage, Stage::Told { .. });
        let told = self.entries.values().filter(has_told).count();
        let new = || Entry { problem: problem.clone(), stage: Stage::New, returns: 0 };
        let entry = self.entries.entry(key).or_insert_with(new);
        let rises = problem.severity > entry.problem.severity;
        let before = std::mem::replace(&mut entry.problem, problem.clone());
        if matches!(entry.stage, Stage::Told { .. }) {
            // As it was told: receivers know a problem again by that.
            (entry.problem.since, entry.problem.severity) = (before.since, before.severity.max(problem.severity));
        }
        if let Stage::Over(at) = entry.stage {
            entry.returns = if now.saturating_sub(at) < MEMORY { entry.returns.saturating_add(1) } else { 0 };
            entry.stage = Stage::New;
        }
        let what = match &mut entry.stage {
            Stage::New if now.saturating_sub(problem.since) >= alerts::seconds(alert.lasting) && told < MOST_TOLD => {
                What::Began
            }
            Stage::Told { told, gone } => {
                *gone = None;
                let repeat = alerts::seconds(alert.repeat);
                if !rises && (repeat == 0 || now.saturating_sub(*told) < repeat) {
                    return None;
                }
                What::GoesOn
            }
            Stage::New | Stage::Over(_) => return None,
        };
        entry.stage = Stage::Told { told: now, gone: None };
        Some(News { what, problem: entry.problem.clone(), ended: None })
    }
}

impl Entry {
    /// The clock may have gone back: nothing has happened after `now`.
    fn not_after(&mut self, now: u32) {
        self.stage = match self.stage {
            Stage::New => Stage::New,
            Stage::Told { told, gone } => Stage::Told { told: told.min(now), gone: gone.map(|gone| gone.min(now)) },
            Stage::Over(at) => Stage::Over(at.min(now)),
        };
    }
}

impl Kept {
    /// The problem of an event that was told before.
    pub(crate) fn of_event(event: &Event) -> Option<Self> {
        let kind = ProblemKind::ALL.into_iter().find(|kind| kind.as_str() == event.kind)?;
        let Event { subject, severity, since, at, .. } = event.clone();
        let text = event.sentence().to_owned();
        Some(Self { kind, subject, severity, text, since, told: at })
    }

    /// Whether the event is of this problem.
    pub(crate) fn is_of(&self, event: &Event) -> bool {
        self.kind.as_str() == event.kind && self.subject == event.subject
    }
}

/// Seconds that a problem has to stay away before its end is told.
fn settle(returns: u32) -> u32 {
    match returns {
        0 => 5,
        STORM_AFTER_START => OFF_THE_LIST,
        _ => 60 << (returns - 1).min(5),
    }
}

/// Seconds within which a problem that comes back has returned.
const MEMORY: u32 = 3600;
/// As if it had returned so often: eight minutes.
const AFTER_START: u32 = 4;
/// A restart forgets a storm's copies, and it is known again by five more.
const STORM_AFTER_START: u32 = u32::MAX;
/// Problems of one kind that are told one by one.
const MOST_TOLD: usize = 20;
/// Seconds after which what is not on a list that is cut is over: a storm without a copy for so long is.
const OFF_THE_LIST: u32 = 7200;
const MOST_ENTRIES: usize = 1000;

#[cfg(test)]
#[path = "due/tests.rs"]
mod tests;
