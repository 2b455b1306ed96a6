//! The status as one sentence, in the words of an operator: what is happening, since when, whether it is under control.
//! It must not look at anything but what it is given.

use serde::Serialize;
use utoipa::ToSchema;

use crate::status::problems::Problem;
use crate::status::problems::ProblemKind;
use crate::status::problems::Severity;
use crate::text::number;

/// The sentence, and how grave it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sentence {
    /// How grave it is.
    pub(crate) tone: Tone,
    /// One sentence or two.
    pub(crate) text: String,
}

/// How grave a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tone {
    /// Nothing needs anybody.
    Quiet,
    /// A storm runs; the proxy deals with it.
    Storm,
    /// Something needs an operator.
    Trouble,
}

impl Sentence {
    /// The sentence about these problems, the most urgent first.
    pub(crate) fn of(problems: &[Problem]) -> Self {
        let Some((first, rest)) = problems.split_first() else {
            return Self { tone: Tone::Quiet, text: "Quiet.".to_owned() };
        };
        let is_weather = |problem: &Problem| matches!(problem.kind, ProblemKind::Storm | ProblemKind::AuthGuessing);
        let (tone, opening) = match first.severity {
            Severity::Notice => (Tone::Quiet, "Quiet. "),
            _ if is_weather(first) => (Tone::Storm, ""),
            _ => (Tone::Trouble, ""),
        };
        let more = match rest.len() as u64 {
            0 => String::new(),
            more if is_weather(first) && rest.iter().all(is_weather) => {
                format!(" And {}.", number::count(more, "more storm"))
            }
            more => format!(" And {}.", number::count(more, "more problem")),
        };
        Self { tone, text: format!("{opening}{}{more}", first.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: ProblemKind, severity: Severity, text: &str) -> Problem {
        Problem { kind, subject: String::new(), severity, since: 1, text: text.to_owned() }
    }

    #[test]
    fn the_most_urgent_is_said_and_the_rest_counted() {
        let down = problem(ProblemKind::BackendDown, Severity::Critical, "The backend is down.");
        let storm = problem(ProblemKind::Storm, Severity::Warning, "A storm.");
        let guessing = problem(ProblemKind::AuthGuessing, Severity::Warning, "Guessing.");
        let soon = problem(ProblemKind::CertificateExpires, Severity::Notice, "It expires.");
        for (problems, tone, text) in [
            (vec![], Tone::Quiet, "Quiet."),
            (vec![storm.clone()], Tone::Storm, "A storm."),
            (vec![storm.clone(), storm.clone(), guessing], Tone::Storm, "A storm. And 2 more storms."),
            (vec![down, storm.clone()], Tone::Trouble, "The backend is down. And 1 more problem."),
            (vec![storm, soon.clone()], Tone::Storm, "A storm. And 1 more problem."),
            (vec![soon], Tone::Quiet, "Quiet. It expires."),
        ] {
            let sentence = Sentence::of(&problems);
            assert_eq!((sentence.tone, sentence.text.as_str()), (tone, text));
        }
    }
}
