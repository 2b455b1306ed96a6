//! When the next act is due. In a closed loop that is at once, until the time is over. In an open loop it is by a schedule
//! that waits for nobody: what the system under test keeps waiting is counted from when it was due, so that a stall is
//! seen by all it delayed.

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

/// How long, how much, how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) time: Duration,
    /// Acts at most.
    pub(crate) most: usize,
    /// Acts a second; none: as many as it can.
    pub(crate) rate: Option<f64>,
}

/// Deals out the acts of one run, to tasks of one thread.
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

    /// When the next act was due; none when there is no more.
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

    /// Makes acts due. For an open loop, beside the tasks that ask.
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

/// Writes an octet for each act when it is due, and closes when the time is over. A thread, because tokio's timers are
/// exact to a millisecond: as long as an act takes.
fn tick(mut ticks: std::os::unix::net::UnixStream, begin: Instant, extent: Extent, rate: f64) {
    drop(ticks.set_nonblocking(false));
    let all = (0..extent.most).map(|number| after(number, rate)).take_while(|after| *after < extent.time);
    for after in all {
        let wait = (begin + after).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        // Nobody listens any more.
        if ticks.write_all(&[0]).is_err() {
            return;
        }
    }
}

fn after(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}
