//! What a block would hit, by the last hour and the last records: to be looked at before it is made. It must not make one.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::block::BlockKey;
use crate::policy::net;
use crate::policy::verdict::Verdict;
use crate::report::Reports;
use crate::report::traffic::Counts;
use crate::session::record::Kind;
use crate::store::clock::Time;

/// Mail that a block of a key would have refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Preview {
    /// The key in its one spelling.
    pub key: String,
    /// Messages of the last hour, or of the last records where these know of more.
    pub messages: u64,
    /// Of these, the ones that the backend accepted: mail that a block would have kept out.
    pub accepted: u64,
    /// Senders among the last records, at most five.
    pub senders: Vec<String>,
    /// Clients among the last records, at most five.
    pub clients: Vec<String>,
    /// All senders among the last records.
    pub sender_count: usize,
    /// All clients among the last records.
    pub client_count: usize,
}

impl Reports {
    /// What a block of this key would hit.
    pub fn preview(&self, key: &BlockKey, now: Time) -> Preview {
        let (mut messages, mut accepted) = (0, 0);
        let (mut senders, mut clients) = (BTreeSet::new(), BTreeSet::new());
        for (_, _, record) in self.recent.all() {
            if record.kind != Kind::Mail || !key.hits(record.client, record.sender.as_deref()) {
                continue;
            }
            messages += 1;
            accepted += u64::from(record.verdict == Some(Verdict::Accept));
            senders.extend(record.sender.as_ref().map(|sender| sender.to_ascii_lowercase()));
            clients.insert(net::client(record.client));
        }
        let hour = self.hour(key, now);
        Preview {
            key: key.to_string(),
            messages: hour.messages().max(messages),
            accepted: hour.accepted.max(accepted),
            sender_count: senders.len(),
            client_count: clients.len(),
            senders: senders.into_iter().take(MOST_NAMED).collect(),
            clients: clients.into_iter().take(MOST_NAMED).map(net::client_label).collect(),
        }
    }

    /// The last hour's counts of all that the key names.
    fn hour(&self, key: &BlockKey, now: Time) -> Counts {
        let mut sum = Counts::default();
        match key {
            BlockKey::Client(_) => {
                let clients = self.traffic.clients(now);
                clients.iter().filter(|(client, _)| key.hits(*client, None)).for_each(|(_, counts)| sum.add(counts));
            }
            _ => {
                let senders = self.traffic.senders(now);
                senders.iter().filter(|(sender, _)| key.hits_sender(sender)).for_each(|(_, counts)| sum.add(counts));
            }
        }
        sum
    }
}

const MOST_NAMED: usize = 5;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::verdict::Reason;
    use crate::report::tests::empty_state;
    use crate::report::tests::record;
    use crate::session::record::Record;

    const NOW: Time = Time::from_seconds(1_795_395_540);

    #[test]
    fn a_block_is_shown_before_it_is_made() {
        let reports = Reports::new(empty_state().tables().history.clone());
        let send = |client: &str, sender: &str, verdict, times| {
            let reason = (verdict == Verdict::Reject).then_some(Reason::BlockedSender);
            let sent = Record { client: client.parse().unwrap(), ..record(sender, verdict, reason) };
            (0..times).for_each(|_| reports.ended(Arc::new(sent.clone()), NOW));
        };
        send("192.0.2.7", "<News@x.example>", Verdict::Reject, 1500);
        send("192.0.2.7", "<News@x.example>", Verdict::Accept, 2);
        send("192.0.2.8", "<other@X.example>", Verdict::Accept, 3);
        send("198.51.100.1", "<ann@y.example>", Verdict::Accept, 4);
        send("192.0.2.9", "<>", Verdict::Accept, 1);
        let table = [
            ("news@x.example", (1502, 2), (1, 1), "<news@x.example>", "192.0.2.7"),
            ("@x.example", (1505, 5), (2, 2), "<news@x.example> <other@x.example>", "192.0.2.7 192.0.2.8"),
            (
                "192.0.2.0/24",
                (1506, 6),
                (3, 3),
                "<> <news@x.example> <other@x.example>",
                "192.0.2.7 192.0.2.8 192.0.2.9",
            ),
            ("198.51.100.1", (4, 4), (1, 1), "<ann@y.example>", "198.51.100.1"),
            ("@z.example", (0, 0), (0, 0), "", ""),
        ];
        for (key, (messages, accepted), counts, senders, clients) in table {
            let preview = reports.preview(&key.parse().unwrap(), NOW);
            assert_eq!((preview.messages, preview.accepted), (messages, accepted), "{key}");
            assert_eq!((preview.sender_count, preview.client_count), counts, "{key}");
            assert_eq!(
                (preview.senders.join(" ").as_str(), preview.clients.join(" ").as_str()),
                (senders, clients),
                "{key}"
            );
        }
    }
}
