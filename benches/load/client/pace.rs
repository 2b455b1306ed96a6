//! The times at which acts are due. In a closed loop that is at once, until the time is over. An open loop follows a
//! fixed schedule: delays count from the time when an act was due, so that a stall shows in all acts it delayed.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;

/// Length, number of acts and rate of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) time: Duration,
    /// Most acts of the run.
    pub(crate) most: usize,
    /// Acts a second; `None` is as many as possible.
    pub(crate) rate: Option<f64>,
}

/// Hands out the acts of one run to the tasks of a thread.
pub(crate) struct Pace {
    extent: Extent,
    begin: Instant,
    dealt: Cell<usize>,
    due: RefCell<VecDeque<Instant>>,
    changed: Notify,
    over: Cell<bool>,
}

impl Pace {
    pub(crate) fn new(extent: Extent) -> Self {
        let (due, changed) = (RefCell::default(), Notify::new());
        Self { extent, begin: Instant::now(), dealt: Cell::new(0), due, changed, over: Cell::new(false) }
    }

    /// The time at which the next act was due; `None` when there are no more.
    pub(crate) async fn next(&self) -> Option<Instant> {
        if self.extent.rate.is_none() {
            let now = Instant::now();
            let goes_on = self.dealt.get() < self.extent.most && now - self.begin < self.extent.time;
            self.dealt.set(self.dealt.get() + 1);
            return goes_on.then_some(now);
        }
        loop {
            if let Some(due) = self.due.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.over.get() {
                return None;
            }
            self.changed.notified().await;
        }
    }

    /// Makes acts due in an open loop, beside the tasks that ask for them.
    pub(crate) async fn schedule(&self) -> io::Result<()> {
        let Some(rate) = self.extent.rate else { return Ok(()) };
        let (mut clock, ticks) = UnixStream::pair()?;
        let ticks = ticks.into_std()?;
        let (begin, extent) = (self.begin, self.extent);
        std::thread::spawn(move || tick(ticks, begin, extent, rate));
        let (mut octets, mut number) = ([0; 1024], 0);
        loop {
            let due = clock.read(&mut octets).await?;
            if due == 0 {
                self.over.set(true);
                self.changed.notify_waiters();
                return Ok(());
            }
            for _ in 0..due {
                self.due.borrow_mut().push_back(begin + after(number, rate));
                self.changed.notify_one();
                number += 1;
            }
        }
    }
}

/// Writes an octet for each act when it is due, and closes when the time is over. On a thread, because tokio's timers
/// are only exact to a millisecond, which is as long as an act takes.
fn tick(mut ticks: std::os::unix::net::UnixStream, begin: Instant, extent: Extent, rate: f64) {
    drop(ticks.set_nonblocking(false));
    let all = (0..extent.most).map(|number| after(number, rate)).take_while(|after| *after < extent.time);
    for after in all {
        let wait = (begin + after).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        // The reader is gone.
        if ticks.write_all(&[0]).is_err() {
            return;
        }
    }
}

fn after(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}
