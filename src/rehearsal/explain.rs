//! What would happen to a message: a session rehearsed by the files that are named, with what the running proxy told of its
//! state. It must not rule by itself.

use std::sync::Arc;

use crate::backend;
use crate::backend::Backends;
use crate::policy::throttle::key::Seed;
use crate::rehearsal::backend::Backend;
use crate::rehearsal::backend::keywords;
use crate::rehearsal::explanation::Explanation;
use crate::rehearsal::message::Message;
use crate::rehearsal::message::Script;
use crate::rehearsal::rehearse::rehearse;
use crate::rehearsal::told::Hearer;
use crate::rehearsal::told::Told;
use crate::session::snapshot::Snapshot;

/// Rehearses the session of `script`, whose message's octets are `body`, as they go over the wire.
pub(crate) fn explain(
    (snapshot, backend): (&Arc<Snapshot>, &backend::Settings),
    script: &Script,
    body: &[u8],
    told: Told,
) -> Explanation {
    let environment = snapshot.policy.client(script.message.client, script.message.host.as_deref());
    // That of our own server is always known.
    let offer = told.offer.or_else(|| Some(keywords(&Backends::new(backend.clone()).offer(&environment)?.0)));
    let backend = Backend::of(offer.as_deref());
    let seed = Seed::new([0; 16]);
    let outside = Hearer::new(seed.clone(), told.answers);
    let (steps, outside) = rehearse(snapshot, &seed, script, backend, body, outside);
    let explanation = Explanation::of(&snapshot.policy, &script.message, offer, steps);
    Explanation { throttled: outside.throttled(), ..explanation }
}

/// Octets of the largest message that is played for this client: more than may pass.
pub fn largest(snapshot: &Snapshot, message: &Message) -> u64 {
    let environment = snapshot.policy.client(message.client, message.host.as_deref());
    let limit = snapshot.policy.size.ours(&environment).announced();
    limit.map_or(0, |limit| limit.octets).saturating_add(BEYOND)
}

/// Octets over the limit.
const BEYOND: u64 = 64 << 20;
