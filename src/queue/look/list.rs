//! Reads the messages that a filter selects on several threads, and hands them on in order of number while the next are
//! read. It must not hold more than a few batches a thread.

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

/// Reads `entries` and passes the selected messages to `sink`, which may break off. `now` is in seconds since 1970;
/// `progress` gets the number examined so far.
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
    // Batches go round the threads and are received in the same order, which keeps the messages in order.
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
            // The thread panicked; the scope passes that on.
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

/// A listing under way: the filter and the parts to read.
struct Look<'a> {
    queue: &'a Queue,
    filter: &'a Filter,
    /// The parts of a message that the filter needs.
    wanted: Want,
    /// The parts of a message that the caller needs.
    want: &'a Want,
    /// Seconds since 1970.
    now: i64,
}

impl Look<'_> {
    /// Reads until no batch is left, or the receiver is gone.
    fn read<'e>(&self, batches: impl Iterator<Item = &'e [Entry]>, sender: &SyncSender<Vec<Message>>) {
        // A descriptor table of its own saves the thread locking; where that is forbidden, reading is only slower.
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

/// Messages in one batch.
const BATCH: usize = 256;
/// Batches that a thread reads ahead of the receiver.
const AHEAD: usize = 4;
