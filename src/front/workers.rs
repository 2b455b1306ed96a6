//! Worker threads with a runtime each. A session stays on the worker where it began: its events wake no other thread, and no
//! two workers look at the same queue. This module must not know what runs there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The workers. A clone is the same.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Vec<Worker>>);

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Sessions that run on it.
    sessions: AtomicUsize,
}

/// The threads of the workers, to be ended.
#[derive(Debug)]
pub struct Threads {
    run: watch::Sender<()>,
    running: mpsc::Receiver<()>,
}

/// The slot of one session on a worker, free again when it is dropped.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    workers: Workers,
    at: usize,
}

impl Workers {
    /// Starts `number` workers (at least one), with threads of that name. They keep the privileges that the caller has now.
    ///
    /// # Errors
    /// The system has no thread or no descriptors left.
    pub fn start(number: usize, name: &str) -> io::Result<(Self, Threads)> {
        let (run, _) = watch::channel(());
        let (runs, running) = mpsc::sync_channel(1);
        let mut workers = Vec::new();
        for _ in 0..number.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread().thread_name(name).enable_all().build()?;
            workers.push(Worker { handle: runtime.handle().clone(), sessions: AtomicUsize::new(0) });
            let (until, runs) = (run.subscribe(), runs.clone());
            std::thread::Builder::new().name(name.to_owned()).spawn(move || work(runtime, until, runs))?;
        }
        Ok((Self(workers.into()), Threads { run, running }))
    }

    /// The usual number: one for every two cores that the system lets us use, because the server behind us needs some too,
    /// and each thread that wakes another costs both (docs/performance.md).
    pub fn usual() -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    }

    /// The worker that has the listeners: the first.
    pub fn accepting(&self) -> &Handle {
        &self.0[0].handle
    }

    /// Whether each worker runs a task that it is given now. Does not resolve while one hangs.
    pub async fn answer(&self) -> bool {
        for worker in self.0.iter() {
            // An error: its thread has ended.
            if worker.handle.spawn(async {}).await.is_err() {
                return false;
            }
        }
        true
    }

    /// A slot on the worker with the fewest sessions; of several, the first: a connection that is accepted there need not
    /// move.
    pub(super) fn assign(&self) -> WorkerSlot {
        let sessions = |at: &usize| self.0[*at].sessions.load(Ordering::Relaxed);
        let at = (0..self.0.len()).min_by_key(sessions).unwrap_or_default();
        self.0[at].sessions.fetch_add(1, Ordering::Relaxed);
        WorkerSlot { workers: self.clone(), at }
    }
}

impl Threads {
    /// Ends the workers: tasks that still run are dropped. Blocking jobs have `limit` to end; longer ones are left to
    /// themselves.
    pub fn stop(self, limit: Duration) {
        drop(self.run);
        // Nobody sends: it ends when the last thread has ended.
        let _ = self.running.recv_timeout(limit);
    }
}

impl WorkerSlot {
    pub(super) fn handle(&self) -> &Handle {
        &self.workers.0[self.at].handle
    }

    /// Whether it is on the worker that has the listeners.
    pub(super) fn is_accepting(&self) -> bool {
        self.at == 0
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        self.workers.0[self.at].sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work(runtime: Runtime, mut until: watch::Receiver<()>, runs: mpsc::SyncSender<()>) {
    // An error: the sender is gone, which is the signal to stop.
    while runtime.block_on(until.changed()).is_ok() {}
    drop(runtime);
    drop(runs);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_spread_and_the_first_is_preferred() {
        let (workers, threads) = Workers::start(3, "slots").unwrap();
        let mut slots: Vec<_> = (0..5).map(|_| workers.assign()).collect();
        assert_eq!(slots.iter().map(|slot| slot.at).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        slots.remove(2);
        assert_eq!(workers.assign().at, 2, "the one that has none");
        slots.clear();
        assert_eq!(workers.assign().at, 0);
        threads.stop(LIMIT);
    }

    #[test]
    fn there_is_always_one() {
        assert!(Workers::usual() >= 1);
        let (workers, threads) = Workers::start(0, "none").unwrap();
        assert!(workers.assign().is_accepting());
        threads.stop(LIMIT);
    }

    #[test]
    fn a_slot_is_on_its_own_thread() {
        let (workers, threads) = Workers::start(2, "own").unwrap();
        let slots = [workers.assign(), workers.assign(), workers.assign()];
        let ran = slots.each_ref().map(|slot| {
            let (tell, told) = mpsc::sync_channel(1);
            slot.handle().spawn(async move { tell.send(std::thread::current().id()) });
            told.recv_timeout(LIMIT).unwrap()
        });
        assert!(ran[0] == ran[2] && ran[0] != ran[1], "{ran:?}");
        threads.stop(LIMIT);
    }

    #[test]
    fn a_stop_drops_what_still_runs() {
        struct Guard(mpsc::SyncSender<()>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (workers, threads) = Workers::start(2, "stopped").unwrap();
        let (tell, told) = mpsc::sync_channel(2);
        let slots = [workers.assign(), workers.assign()];
        for slot in &slots {
            let guard = Guard(tell.clone());
            slot.handle().spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        threads.stop(LIMIT);
        assert_eq!((told.try_recv(), told.try_recv()), (Ok(()), Ok(())));
    }

    const LIMIT: Duration = Duration::from_secs(10);
}
