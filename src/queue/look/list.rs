//! Reads the messages that a filter means, on several threads, and hands them on by number, while the next are read. Memory
//! is that of a few batches a thread.

use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::sched::CloneFlags;
use nix::sched::unshare;

use crate::queue::look::Message;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::Queue;
use crate::queue::look::read::Reader;
use crate::queue::look::read::Want;
use crate::queue::look::scan::Entry;
use crate::queue::look::scan::threads;

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
    let look = &Look { queue, filter, wanted: filter.want(want), want, now };
    let batches = || entries.chunks(BATCH);
    // The threads have the batches in turn, and are asked for them in turn: that keeps the order.
    let count = threads().min(batches().len());
    thread::scope(|scope| {
        let channels: Vec<Receiver<Vec<Message>>> = (0..count)
            .map(|first| {
                let (sender, receiver) = sync_channel(AHEAD);
                scope.spawn(move || look.read(batches().skip(first).step_by(count), &sender));
                receiver
            })
            .collect();
        for (batch, channel) in batches().zip(channels.iter().cycle()) {
            // A thread that panicked; the scope passes that on.
            let Ok(messages) = channel.recv() else { return };
            progress(batch.len());
            for message in messages {
                if sink(message).is_break() {
                    return;
                }
            }
        }
    });
}

/// What is looked for, and where.
struct Look<'a> {
    queue: &'a Queue,
    filter: &'a Filter,
    /// What the filter has to see.
    wanted: Want,
    /// What is kept.
    want: &'a Want,
    /// Seconds since 1970.
    now: i64,
}

impl Look<'_> {
    /// Until there are no more, or nobody takes them.
    fn read<'e>(&self, batches: impl Iterator<Item = &'e [Entry]>, sender: &SyncSender<Vec<Message>>) {
        // A table of descriptors of its own needs no locks; where that is forbidden it only takes longer.
        let _ = unshare(CloneFlags::CLONE_FILES);
        let mut reader = Reader::new(self.queue);
        for batch in batches {
            let messages = batch.iter().filter_map(|entry| self.find(&mut reader, *entry)).collect();
            if sender.send(messages).is_err() {
                return;
            }
        }
    }

    fn find(&self, reader: &mut Reader<'_>, entry: Entry) -> Option<Message> {
        let mut message = reader.read(entry, &self.wanted).filter(|message| self.filter.matches(message, self.now))?;
        let keep = self.want.recipients.unwrap_or(0);
        for list in [&mut message.queued, &mut message.local, &mut message.remote].into_iter().flatten() {
            list.kept.truncate(keep);
            list.kept.shrink_to_fit();
        }
        Some(message)
    }
}

/// Messages that are handed on at a time.
const BATCH: usize = 256;
/// Batches that a thread has read before they are asked for, besides the one it reads.
const AHEAD: usize = 4;
