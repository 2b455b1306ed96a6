//! What would happen to a message: a session rehearsed by the files that are named, with what the running proxy told of its
//! state. It must not rule by itself.

use std::sync::Arc;

use crate::backend;
use crate::backend::Backends;
use crate::policy::size::Bound;
use crate::policy::throttle::key::Seed;
use crate::policy::verdict::Verdict;
use crate::rehearsal::backend::Backend;
use crate::rehearsal::backend::keywords;
use crate::rehearsal::message::At;
use crate::rehearsal::message::Message;
use crate::rehearsal::message::Script;
use crate::rehearsal::rehearse::Step;
use crate::rehearsal::rehearse::rehearse;
use crate::rehearsal::told::Hearer;
use crate::rehearsal::told::Told;
use crate::session::snapshot::Snapshot;
use crate::text::readable;

/// The explanation of a message: the session that it would have.
#[derive(Debug)]
pub struct Explanation {
    /// The rule of tcprules that counts for the client.
    pub rule: Option<String>,
    /// The variables that it sets, in its order.
    pub variables: Vec<(String, String)>,
    /// Our limit of its size in octets, before the backend has said its own.
    pub limit: Option<Bound>,
    /// The keywords that the backend offers; `None`: nobody has heard, and all of them are taken to be offered.
    pub offer: Option<Vec<String>>,
    /// The steps, up to the one that ends the session.
    pub steps: Vec<Step>,
    /// The keys by which `unblock` lifts the throttles that refuse, each once.
    pub throttled: Vec<String>,
}

impl Explanation {
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

/// Rehearses the session of `script`, whose message's octets are `body`, as they go over the wire.
pub(crate) fn explain(
    (snapshot, backend): (&Arc<Snapshot>, &backend::Settings),
    script: &Script,
    body: &[u8],
    told: Told,
) -> Explanation {
    let (policy, Message { client, host, .. }) = (&snapshot.policy, &script.message);
    let environment = policy.client(*client, host.as_deref());
    let rule = policy.clients.find(*client, host.as_deref(), None);
    let rule = rule.map(|(key, rule)| format!("{}, key {:?}", rule.location, String::from_utf8_lossy(key)));
    let variables = environment.of_rule().map(|(name, value)| (readable::text(name), readable::text(value)));
    // That of our own server is always known.
    let offer = told.offer.or_else(|| Some(keywords(&Backends::new(backend.clone()).offer(&environment)?.0)));
    let backend = Backend::of(offer.as_deref());
    let seed = Seed::new([0; 16]);
    let outside = Hearer::new(seed.clone(), told.answers);
    let (mut steps, outside) = rehearse(snapshot, &seed, script, backend, body, outside);
    // The name of the client is no news, unless it is refused.
    steps.retain(|step| step.at != At::Hello || !step.passes());
    Explanation {
        rule,
        variables: variables.collect(),
        limit: policy.size.ours(&environment).announced(),
        offer,
        steps,
        throttled: outside.throttled(),
    }
}

/// Octets of the largest message that is played for this client: more than may pass.
pub fn largest(snapshot: &Snapshot, message: &Message) -> u64 {
    let environment = snapshot.policy.client(message.client, message.host.as_deref());
    let limit = snapshot.policy.size.ours(&environment).announced();
    limit.map_or(0, |limit| limit.octets).saturating_add(BEYOND)
}

/// Octets over the limit.
const BEYOND: u64 = 64 << 20;
