//! Reads the messages that a filter means, several at a time, and hands them on by number. Memory is that of one batch.

use std::ops::ControlFlow;
use std::thread;

use crate::qmail::queue::Message;
use crate::qmail::queue::filter::Filter;
use crate::qmail::queue::layout::Queue;
use crate::qmail::queue::read::Reader;
use crate::qmail::queue::read::Want;
use crate::qmail::queue::scan::Entry;
use crate::qmail::queue::scan::threads;

/// Reads `entries` and hands on what the filter means. `now` is in seconds since 1970; `progress` is told how many were
/// looked at. `sink` may break off.
pub fn each(
    queue: &Queue,
    entries: &[Entry],
    filter: &Filter,
    want: &Want,
    now: i64,
    progress: &dyn Fn(usize),
    sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
) {
    let named: Vec<Entry>;
    let entries = match filter.ids() {
        [] => entries,
        ids => {
            named = entries.iter().filter(|entry| ids.binary_search(&entry.id).is_ok()).copied().collect();
            &named
        }
    };
    let wanted = &filter.want(want);
    for batch in entries.chunks(BATCH) {
        let size = batch.len().div_ceil(threads());
        let parts: Vec<Vec<Message>> = thread::scope(|scope| {
            let spawn = |part| scope.spawn(move || read(queue, part, filter, wanted, want, now));
            let handles: Vec<_> = batch.chunks(size).map(spawn).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        progress(batch.len());
        for message in parts.into_iter().flatten() {
            if sink(message).is_break() {
                return;
            }
        }
    }
}

/// `wanted` is what the filter has to see, `want` what is kept.
fn read(queue: &Queue, entries: &[Entry], filter: &Filter, wanted: &Want, want: &Want, now: i64) -> Vec<Message> {
    let mut reader = Reader::new(queue);
    let keep = want.recipients.unwrap_or(0);
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(mut message) = reader.read(*entry, wanted) else { continue };
        if !filter.matches(&message, now) {
            continue;
        }
        for list in [&mut message.queued, &mut message.local, &mut message.remote].into_iter().flatten() {
            list.kept.truncate(keep);
            list.kept.shrink_to_fit();
        }
        found.push(message);
    }
    found
}

/// Messages that are in memory at a time.
const BATCH: usize = 8192;
