//! Threads with a runtime each. A session stays on the one where it began: what happens to it wakes no other
//! thread, and no two of them look at the same queue. It must not know what runs there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// All of them.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Vec<Worker>>);

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Sessions that are here.
    seated: AtomicUsize,
}

/// What ends them.
#[derive(Debug)]
pub struct Threads {
    run: watch::Sender<()>,
    running: mpsc::Receiver<()>,
}

/// A session's place on one of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    workers: Workers,
    at: usize,
}

impl Workers {
    /// `number` of them (at least one), with threads of that name. They keep the privileges that the caller has now.
    ///
    /// # Errors
    /// The system has no thread or no descriptors left.
    pub fn start(number: usize, name: &str) -> io::Result<(Self, Threads)> {
        let (run, _) = watch::channel(());
        let (runs, running) = mpsc::sync_channel(1);
        let mut workers = Vec::new();
        for _ in 0..number.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread().thread_name(name).enable_all().build()?;
            workers.push(Worker { handle: runtime.handle().clone(), seated: AtomicUsize::new(0) });
            let (until, runs) = (run.subscribe(), runs.clone());
            std::thread::Builder::new().name(name.to_owned()).spawn(move || work(runtime, until, runs))?;
        }
        Ok((Self(workers.into()), Threads { run, running }))
    }

    /// How many when nobody said: one for every two cores that the system lets us use, because whoever stands behind us
    /// needs some too, and each thread that wakes another costs both (docs/performance.md).
    pub fn usual() -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    }

    /// Where listeners are: the first.
    pub fn accepting(&self) -> &Handle {
        &self.0[0].handle
    }

    /// The one with the fewest sessions; of several, the first: what is accepted there needs not move.
    pub(super) fn seat(&self) -> Seat {
        let seated = |at: &usize| self.0[*at].seated.load(Ordering::Relaxed);
        let at = (0..self.0.len()).min_by_key(seated).unwrap_or_default();
        self.0[at].seated.fetch_add(1, Ordering::Relaxed);
        Seat { workers: self.clone(), at }
    }
}

impl Threads {
    /// What still runs on them is dropped. Blocking jobs have `limit` to end; longer ones are left to themselves.
    pub fn stop(self, limit: Duration) {
        drop(self.run);
        // Nobody sends: it ends when the last thread has ended.
        let _ = self.running.recv_timeout(limit);
    }
}

impl Seat {
    pub(super) fn handle(&self) -> &Handle {
        &self.workers.0[self.at].handle
    }

    /// Whether it is on the worker that has the listeners.
    pub(super) fn is_accepting(&self) -> bool {
        self.at == 0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.workers.0[self.at].seated.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work(runtime: Runtime, mut until: watch::Receiver<()>, runs: mpsc::SyncSender<()>) {
    // An error: the sender is gone, which is the word to stop.
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
        let (workers, threads) = Workers::start(3, "seats").unwrap();
        let mut seats: Vec<_> = (0..5).map(|_| workers.seat()).collect();
        assert_eq!(seats.iter().map(|seat| seat.at).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        seats.remove(2);
        assert_eq!(workers.seat().at, 2, "the one that has none");
        seats.clear();
        assert_eq!(workers.seat().at, 0);
        threads.stop(LIMIT);
    }

    #[test]
    fn there_is_always_one() {
        assert!(Workers::usual() >= 1);
        let (workers, threads) = Workers::start(0, "none").unwrap();
        assert!(workers.seat().is_accepting());
        threads.stop(LIMIT);
    }

    #[test]
    fn a_seat_is_on_its_own_thread() {
        let (workers, threads) = Workers::start(2, "own").unwrap();
        let seats = [workers.seat(), workers.seat(), workers.seat()];
        let ran = seats.each_ref().map(|seat| {
            let (tell, told) = mpsc::sync_channel(1);
            seat.handle().spawn(async move { tell.send(std::thread::current().id()) });
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
        let seats = [workers.seat(), workers.seat()];
        for seat in &seats {
            let guard = Guard(tell.clone());
            seat.handle().spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        threads.stop(LIMIT);
        assert_eq!((told.try_recv(), told.try_recv()), (Ok(()), Ok(())));
    }

    const LIMIT: Duration = Duration::from_secs(10);
}
