//! The explanation of a message: what its session would be, and which rules decide, as plain values that a proxy can tell a
//! command. It must not rehearse.

use serde::Deserialize;
use serde::Serialize;

use crate::policy::Policy;
use crate::policy::verdict::Verdict;
use crate::rehearsal::message::At;
use crate::rehearsal::message::Message;
use crate::rehearsal::rehearse::Step;
use crate::smtp::address::parse_address;
use crate::text::readable;

/// The explanation of a message: the session that it would have.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The rule of tcprules that counts for the client.
    pub rule: Option<String>,
    /// The variables that it sets, in its order.
    pub variables: Vec<(String, String)>,
    /// Our limit of its size in octets, before the backend has said its own.
    pub limit: Option<SizeLimit>,
    /// The recipients that `recipients.known` was asked about and knows, each with what says so.
    pub known: Vec<(String, String)>,
    /// The keywords that the backend offers; `None`: nobody has heard, and all of them are taken to be offered.
    pub offer: Option<Vec<String>>,
    /// The steps, up to the one that ends the session.
    pub steps: Vec<Step>,
    /// The keys by which `unblock` lifts the throttles that refuse, each once.
    pub throttled: Vec<String>,
}

/// A limit of a message's size, and what sets it.
#[derive(Debug, Serialize, Deserialize)]
pub struct SizeLimit {
    /// Octets.
    pub octets: u64,
    /// The key, control file or variable.
    pub rule: String,
}

impl Explanation {
    /// The explanation by `policy` of a session that had these steps.
    pub(crate) fn of(policy: &Policy, message: &Message, offer: Option<Vec<String>>, steps: Vec<Step>) -> Self {
        let Message { client, host, .. } = message;
        let environment = policy.client(*client, host.as_deref());
        let rule = policy.clients.find(*client, host.as_deref(), None);
        let rule = rule.map(|(key, rule)| format!("{}, key {:?}", rule.location, String::from_utf8_lossy(key)));
        let variables = environment.of_rule().map(|(name, value)| (readable::text(name), readable::text(value)));
        let limit = policy.size.ours(&environment).announced();
        let limit = limit.map(|limit| SizeLimit { octets: limit.octets, rule: limit.rule.to_owned() });
        let known = message.recipients.iter().filter_map(|recipient| {
            let address = parse_address(recipient.trim_matches(['<', '>']).as_bytes()).ok()?;
            Some((address.to_string(), policy.known_by(&address)?))
        });
        let known = known.collect();
        // The name of the client is no news, unless it is refused.
        let steps = steps.into_iter().filter(|step| step.at != At::Hello || !step.passes()).collect();
        Self { rule, variables: variables.collect(), limit, known, offer, steps, throttled: Vec::new() }
    }

    /// The verdict: accept only if every command passes, because of several recipients the refused one is the news.
    pub fn verdict(&self) -> Verdict {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Accept => 0,
            Verdict::Absorb => 1,
            Verdict::Defer | Verdict::Disconnect => 2,
            Verdict::Reject => 3,
        };
        let said = self.steps.iter().flat_map(|step| &step.said);
        said.map(|said| said.verdict).max_by_key(rank).unwrap_or(Verdict::Accept)
    }
}
