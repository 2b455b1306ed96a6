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

/// A command of the client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoryStep)]
struct Told {
    /// The command.
    command: String,
    /// The verdict on it.
    verdict: &'static str,
    #[serde(flatten)]
    reply: Option<Reply>,
    /// Whether the connection is closed after it.
    closes: bool,
}

/// A reply that is not a simple yes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoryReply)]
struct Reply {
    /// Its code.
    code: u16,
    /// Its last line.
    reply: String,
    /// The reason, as the log names it.
    reason: Option<&'static str>,
    /// The rule that decides.
    rule: Option<String>,
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
    let Step { command, closes, .. } = step;
    let told =
        |verdict: Verdict, reply| Told { command: command.clone(), verdict: verdict.as_str(), reply, closes: *closes };
    let refusals: Vec<Told> = step.news().map(|said| told(said.verdict, Some(Reply::of(said)))).collect();
    if refusals.is_empty() { vec![told(Verdict::Accept, None)] } else { refusals }
}

impl Reply {
    fn of(said: &Said) -> Self {
        let Said { code, line, reason, rule, .. } = said;
        Self { code: *code, reply: line.clone(), reason: reason.map(Reason::as_str), rule: rule.clone() }
    }
}
