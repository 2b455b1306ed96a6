//! The summary as JSON: the same words and numbers as the table, times in UTC. It must not count.

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::logs::summary::Count;
use crate::logs::summary::Queue;
use crate::logs::summary::Reasons;
use crate::logs::summary::Senders;
use crate::logs::summary::Summary;
use crate::logs::summary::Tally;

/// The summary as one object, with the most active `top` senders, most active first.
pub(super) fn json(summary: &Summary, top: usize) -> Value {
    let trouble =
        summary.last_trouble.as_ref().map(|(time, text)| json!({ "time": written(*time), "text": lossy(text) }));
    json!({
        "first": written(summary.span.first),
        "last": written(summary.span.last),
        "lines": summary.lines,
        "unknown_lines": summary.unknown,
        "lines_of_other_programs": summary.foreign,
        "untimed_lines": summary.untimed,
        "messages": tally(&summary.total),
        "refused_recipients": { "count": summary.recipients.sum(), "reasons": reasons(&summary.recipients) },
        "refused_commands": { "count": summary.commands.sum(), "reasons": reasons(&summary.commands) },
        "auth_failures": { "count": summary.auth_failures.sum(), "reasons": reasons(&summary.auth_failures) },
        "connections": { "count": summary.connections, "reasons": reasons(&summary.connection_reasons) },
        "warnings": summary.troubles,
        "last_warning": trouble,
        "senders": each(&summary.senders, top, tally),
        "queue": queue(&summary.queue_total),
        "queue_senders": each(&summary.queue, top, queue),
    })
}

/// One row for each sender; the null sender is `<>`. Senders left out are one row without a sender.
fn each<T: Count>(senders: &Senders<T>, top: usize, row: impl Fn(&T) -> Value) -> Vec<Value> {
    let sorted = senders.sorted();
    let (shown, rest) = sorted.split_at(if top == 0 { sorted.len() } else { top.min(sorted.len()) });
    let named = |sender: Value, count: &T| {
        let mut object = Map::from_iter([("sender".to_owned(), sender)]);
        if let Value::Object(row) = row(count) {
            object.extend(row);
        }
        Value::Object(object)
    };
    let name = |sender: &[u8]| if sender.is_empty() { "<>".into() } else { lossy(sender) };
    let mut rows: Vec<Value> = shown.iter().map(|(sender, count)| named(name(sender).into(), count)).collect();
    if !rest.is_empty() || senders.forgotten > 0 {
        let mut others = T::default();
        others.add(&senders.others);
        rest.iter().for_each(|(_, count)| others.add(count));
        rows.push(named(Value::Null, &others));
    }
    rows
}

fn tally(tally: &Tally) -> Value {
    json!({
        "accepted": tally.accepted,
        "absorbed": tally.absorbed,
        "deferred": tally.deferred,
        "refused": tally.refused,
        "bytes": tally.bytes,
        "first": written(tally.span.first),
        "last": written(tally.span.last),
        "last_accepted": written(tally.last_accepted),
        "refused_in_a_row": tally.run,
        "refused_since": written(tally.run_span.first),
        "reasons": reasons(&tally.reasons),
        "rule": tally.rule.as_deref().map(lossy),
    })
}

fn queue(queue: &Queue) -> Value {
    json!({
        "messages": queue.messages,
        "bytes": queue.bytes,
        "delivered": queue.delivered,
        "deferred": queue.deferred,
        "failed": queue.failed,
        "bounced": queue.bounced,
        "first": written(queue.span.first),
        "last": written(queue.span.last),
    })
}

fn reasons(reasons: &Reasons) -> Value {
    reasons.sorted().into_iter().map(|(reason, count)| (reason.as_str().to_owned(), json!(count))).collect()
}

fn written(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
