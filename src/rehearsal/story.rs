//! An explanation as JSON: the same from `explain --json` and from the API. It must not rehearse.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::verdict::Reason;
use crate::policy::verdict::Verdict;
use crate::rehearsal::explanation::Explanation;
use crate::rehearsal::message::Message;
use crate::rehearsal::rehearse::Said;
use crate::rehearsal::rehearse::Step;

/// What would happen to a message, and what decides.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story {
    /// `accept`, `absorb`, `reject`, `defer` or `disconnect`.
    verdict: &'static str,
    /// The client's address.
    client: String,
    /// The name that it gives in EHLO.
    helo: String,
    /// The rule of tcprules that counts for the client.
    tcprules: Option<String>,
    /// The variables that it sets.
    variables: BTreeMap<String, String>,
    /// The limit of its size in octets, before the backend has said its own.
    size_limit: Option<u64>,
    /// The key, control file or variable that sets it.
    size_rule: Option<String>,
    /// The recipients that `recipients.known` was asked about and knows, each with what says so.
    known: BTreeMap<String, String>,
    /// The configuration that it goes by: `files`, `running proxy`, or `files without what has errors`.
    configuration: &'static str,
    /// Whether the running proxy's blocks and throttles are included.
    proxy_asked: bool,
    /// The keywords that the backend offers; `null` if it has not said yet.
    backend_offer: Option<Vec<String>>,
    /// The keys by which `unblock` lifts the throttles that refuse.
    throttled: Vec<String>,
    /// The commands, each with its reply where it is not a simple yes.
    steps: Vec<Told>,
}

/// A command of the client, and its reply where that is not a simple yes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoryStep)]
struct Told {
    /// The command.
    command: String,
    /// The verdict on it.
    verdict: &'static str,
    /// The code of the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<u16>,
    /// The last line of the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reply: Option<String>,
    /// The reason, as the log names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
    /// The rule that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rule: Option<String>,
    /// Whether the connection is closed after it.
    closes: bool,
}

impl Story {
    /// The story of a message, by a configuration of this name.
    pub fn of(message: &Message, explanation: &Explanation, configuration: &'static str, proxy_asked: bool) -> Self {
        let limit = explanation.limit.as_ref();
        Self {
            verdict: explanation.verdict().as_str(),
            client: message.client.to_string(),
            helo: message.helo.clone(),
            tcprules: explanation.rule.clone(),
            variables: explanation.variables.iter().cloned().collect(),
            size_limit: limit.map(|limit| limit.octets),
            size_rule: limit.map(|limit| limit.rule.clone()),
            known: explanation.known.iter().cloned().collect(),
            configuration,
            proxy_asked,
            backend_offer: explanation.offer.clone(),
            throttled: explanation.throttled.clone(),
            steps: explanation.steps.iter().flat_map(steps).collect(),
        }
    }
}

/// A step, or each refusal where there is one.
fn steps(step: &Step) -> Vec<Told> {
    let refusals: Vec<Told> = step.news().map(|said| Told::of(step, Some(said))).collect();
    if refusals.is_empty() { vec![Told::of(step, None)] } else { refusals }
}

impl Told {
    fn of(Step { command, closes, .. }: &Step, said: Option<&Said>) -> Self {
        Self {
            command: command.clone(),
            verdict: said.map_or(Verdict::Accept, |said| said.verdict).as_str(),
            code: said.map(|said| said.code),
            reply: said.map(|said| said.line.clone()),
            reason: said.and_then(|said| said.reason).map(Reason::as_str),
            rule: said.and_then(|said| said.rule.clone()),
            closes: *closes,
        }
    }
}
