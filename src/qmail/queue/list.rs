//! Reads the messages that a filter means, several at a time, and hands them on by number, while the next are read. Memory
//! is that of two batches.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread;
use std::thread::ScopedJoinHandle;

use nix::sched::CloneFlags;
use nix::sched::unshare;

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
    thread::scope(|scope| {
        let spawn = |part| scope.spawn(move || read(queue, part, filter, wanted, want, now));
        let mut batches = entries.chunks(BATCH).map(|batch| {
            let handles: Vec<_> = batch.chunks(batch.len().div_ceil(threads())).map(spawn).collect();
            (batch.len(), handles)
        });
        let mut reading = batches.next();
        while let Some((count, handles)) = reading {
            let join = |handle: ScopedJoinHandle<'_, _>| handle.join().unwrap_or_else(|panic| resume_unwind(panic));
            let parts: Vec<Vec<Message>> = handles.into_iter().map(join).collect();
            reading = batches.next();
            progress(count);
            for message in parts.into_iter().flatten() {
                if sink(message).is_break() {
                    return;
                }
            }
        }
    });
}

/// `wanted` is what the filter has to see, `want` what is kept.
fn read(queue: &Queue, entries: &[Entry], filter: &Filter, wanted: &Want, want: &Want, now: i64) -> Vec<Message> {
    // A table of descriptors of its own needs no locks; where that is forbidden it only takes longer.
    let _ = unshare(CloneFlags::CLONE_FILES);
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

/// Messages that are read at a time; two of these are in memory.
const BATCH: usize = 4096;
