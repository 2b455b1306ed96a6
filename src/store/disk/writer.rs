//! The one thread that writes to the state's disk, once a second and when a flush is asked for. Every write is durable before the
//! flush is answered. It must not know what is written, nor hold up anybody but those who ask for a flush.

use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// The thread that writes, until it is dropped.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    orders: SyncSender<oneshot::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `write` writes the changes, and returns whether all of them are on the disk. It is told whether it
    /// was asked for, or is the last.
    pub(in crate::store) fn start(write: impl FnMut(bool) -> bool + Send + 'static) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(MOST_ORDERS);
        let thread = std::thread::Builder::new().name("portcullis-disk".to_owned());
        let thread = thread.spawn(move || {
            // Only a flush waits for this thread: sessions go first. On Linux niceness is a thread's own.
            let _ = rustix::process::nice(NICENESS);
            run(&received, write);
        })?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Resolves when all that has changed up to now is on the disk; to false when it could not be written.
    pub(in crate::store) fn flush(&self) -> oneshot::Receiver<bool> {
        let (done, wait) = oneshot::channel();
        // When it is full the sender is dropped, and the receiver resolves to an error.
        let _ = self.orders.try_send(done);
        wait
    }
}

impl Drop for Writer {
    /// Writes the changes before the thread ends.
    fn drop(&mut self) {
        let (closed, _) = sync_channel(1);
        self.orders = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(orders: &Receiver<oneshot::Sender<bool>>, mut write: impl FnMut(bool) -> bool) {
    loop {
        let first = orders.recv_timeout(EVERY);
        // One write answers all flushes that were asked for.
        let mut waiting: Vec<_> = orders.try_iter().collect();
        let ends = matches!(first, Err(RecvTimeoutError::Disconnected));
        waiting.extend(first);
        let durable = write(ends || !waiting.is_empty());
        for waiter in waiting {
            let _ = waiter.send(durable);
        }
        if ends {
            return;
        }
    }
}

const EVERY: Duration = Duration::from_secs(1);
const MOST_ORDERS: usize = 1000;
/// A third of the usual share, where the processor is not enough for all.
const NICENESS: i32 = 5;
