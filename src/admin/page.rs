//! The status as plain HTML tables, until there is a better page. It must not show a stranger's text unescaped.

use std::fmt::Display;
use std::fmt::Write;

use crate::report::storms::Storm;
use crate::report::traffic::Counts;
use crate::report::traffic::Sums;
use crate::report::traffic::TopSender;
use crate::status::Handles;
use crate::status::Status;
use crate::store::blocks::Block;

/// The whole page.
pub(super) fn page(handles: &Handles) -> String {
    let status = Status::of(handles);
    let mut body = String::from("<h1>Portcullis</h1>");
    let now: [(&str, &dyn Display); 8] = [
        ("version", &status.version),
        ("state", &status.state),
        ("connections", &status.connections),
        ("octets on hold", &status.held_octets),
        ("throttle keys", &status.throttle_keys),
        ("ledger entries", &status.ledger_entries),
        ("unacknowledged", &status.unacknowledged),
        ("stopping", &status.stopping),
    ];
    table(&mut body, "Now", &[], now.map(|(name, value)| vec![name.to_owned(), value.to_string()]));
    let storms = status.storms.iter().map(storm);
    let heads = [
        "storm",
        "for",
        "copies",
        "absorbed",
        "refused",
        "deferred",
        "delivered",
        "similar",
        "octets spared",
        "of the wire",
        "last by",
    ];
    table(&mut body, "Storms", &heads, storms);
    let rates = [("last minute", &status.rates.minute), ("last hour", &status.rates.hour)];
    let heads = ["", "connections", "accepted", "absorbed", "deferred", "refused", "bytes"];
    table(&mut body, "Rates", &heads, rates.map(|(name, sums)| rate(name, sums)));
    let tops = [
        ("Senders by accepted", &status.senders.accepted),
        ("Senders by bytes", &status.senders.bytes),
        ("Senders by not accepted", &status.senders.not_accepted),
    ];
    for (title, list) in tops {
        table(
            &mut body,
            title,
            &["sender", "accepted", "absorbed", "deferred", "refused", "bytes"],
            list.iter().map(sender),
        );
    }
    let blocks = handles.services.state.tables().blocks.list().into_iter();
    let row = |block: Block| vec![block.key, block.by.as_str().to_owned(), block.why];
    table(&mut body, "Blocks", &["key", "by", "why"], blocks.map(row));
    format!("<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=10><title>Portcullis</title>{body}")
}

fn storm(storm: &Storm) -> Vec<String> {
    let Storm { key, recipients, copies, absorbed, refused, deferred, delivered, similar, .. } = storm;
    let Storm { bytes_spared, wire_spared, reason, .. } = storm;
    let numbers =
        [copies, absorbed, refused, deferred, delivered, similar, bytes_spared, wire_spared].map(u64::to_string);
    let mut row = vec![key.clone(), recipients.clone()];
    row.extend(numbers);
    row.push((*reason).to_owned());
    row
}

fn rate(name: &str, sums: &Sums) -> Vec<String> {
    let Sums { connections, accepted, absorbed, deferred, refused, bytes } = sums;
    let numbers = [connections, accepted, absorbed, deferred, refused, bytes].map(u64::to_string);
    std::iter::once(name.to_owned()).chain(numbers).collect()
}

fn sender(top: &TopSender) -> Vec<String> {
    let Counts { accepted, absorbed, deferred, refused, bytes } = &top.counts;
    let numbers = [accepted, absorbed, deferred, refused, bytes].map(u64::to_string);
    std::iter::once(top.sender.clone()).chain(numbers).collect()
}

/// Writes a table, or nothing where there are no rows.
fn table(body: &mut String, title: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(body, "<h2>{title}</h2><table><tr>");
    heads.iter().for_each(|head| _ = write!(body, "<th>{head}"));
    for row in rows {
        body.push_str("<tr>");
        row.iter().for_each(|cell| _ = write!(body, "<td>{}", escaped(cell)));
    }
    body.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_writes_no_markup() {
        let mut body = String::new();
        table(&mut body, "t", &["a"], [vec!["<script>&".to_owned()]]);
        assert_eq!(body, "<h2>t</h2><table><tr><th>a<tr><td>&lt;script&gt;&amp;</table>");
    }
}
