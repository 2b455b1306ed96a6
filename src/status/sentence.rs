//! The status as one sentence, in the words of an operator: what is happening, since when, whether it is under control.
//! It must not look at anything but what it is given.

use serde::Serialize;

use crate::status::problems::Problem;
use crate::status::problems::ProblemKind;
use crate::text::number;

/// The sentence, and how grave it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sentence {
    /// How grave it is.
    pub(crate) tone: Tone,
    /// One sentence or two.
    pub(crate) text: String,
}

/// How grave a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
        let tone = if is_weather(first) { Tone::Storm } else { Tone::Trouble };
        let more = match rest.len() as u64 {
            0 => String::new(),
            more if is_weather(first) && rest.iter().all(is_weather) => {
                format!(" And {} more.", number::count(more, "storm"))
            }
            more => format!(" And {} more.", number::count(more, "problem")),
        };
        Self { tone, text: format!("{}{more}", first.text) }
    }
}
