//! The log's own thread: under load many lines leave in one write, and no session waits for a disk. It must not change or
//! reorder lines, nor keep more than a bounded number of octets.
//!
//! At the bound two rules conflict: no line may be lost without a trace, and honest mail must not be held up. The line of
//! a message is worth a moment of its session's time, as a full pipe would take it: a logger that rotates, or a busy disk,
//! recovers by then. A stopped reader does not, and a proxy that waits for it takes no mail, which is worse than a gap in
//! the log. So all callers wait one second, together; then lines are counted and thrown away until the stream takes some
//! again, and their number is logged in their place.

use std::io;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Gives lines to a thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signal to the thread: lines wait, or it shall end.
    work: Condvar,
    /// Signal to callers: something was written, there is room again, or lines were given up.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines to be written.
    waiting: Vec<u8>,
    /// Whether the thread waits to be woken.
    is_asleep: bool,
    /// Whether the thread has taken lines and not written them yet.
    is_writing: bool,
    /// Whether a caller waits until everything is written.
    hurry: bool,
    /// Whether a caller waits for room; the others wait no longer than it.
    is_awaited: bool,
    /// Whether all have waited long enough: lines are thrown away until there is room.
    is_stalled: bool,
    /// Lines lost since there was room.
    lost_now: u64,
    /// Lines lost in all.
    lost: u64,
    /// Whether unwritten lines were given up: no caller waits for them any more.
    is_abandoned: bool,
    /// Whether no more lines come.
    is_over: bool,
}

impl Writer {
    /// Starts the thread. `write` is called with whole lines, `lost` with the number of those that were thrown away behind
    /// them.
    ///
    /// # Errors
    /// The system has no thread for us.
    pub(crate) fn start(
        mut write: impl FnMut(&[u8]) + Send + 'static,
        lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("portcullis-log".to_owned());
        thread.spawn(move || while ours.write_once(&mut write, &lost) {})?;
        Ok(Self { shared })
    }

    /// Queues `line` behind all earlier ones; it is lost where nobody reads the log.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        while state.is_full_for(line) {
            if state.is_stalled || state.is_abandoned {
                state.lost_now += 1;
                state.lost += 1;
                return;
            }
            state = self.shared.wait_for_room(state, line);
        }
        state.waiting.extend_from_slice(line);
        if std::mem::take(&mut state.is_asleep) {
            self.shared.work.notify_one();
        }
    }

    /// Waits until all earlier lines are written, abandoned, or `limit` is over; `true` if they are written.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let state = self.shared.lock();
        self.shared.work.notify_one();
        let pending = |state: &mut State| {
            state.hurry = true;
            state.is_pending() && !state.is_abandoned
        };
        let waited = self.shared.done.wait_timeout_while(state, limit, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_pending()
    }

    /// Gives up unwritten lines: no caller waits for them any more.
    pub(crate) fn abandon(&self) {
        self.shared.lock().is_abandoned = true;
        self.shared.done.notify_all();
    }

    /// Ends the thread, once everything is written.
    pub(crate) fn end(&self) {
        self.shared.lock().is_over = true;
        self.shared.work.notify_one();
    }

    /// Lines that were thrown away.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Whether lines are being thrown away because nobody reads the log.
    pub(crate) fn is_stalled(&self) -> bool {
        self.shared.lock().is_stalled
    }
}

impl State {
    fn is_full_for(&self, line: &[u8]) -> bool {
        !self.waiting.is_empty() && self.waiting.len() + line.len() > MOST_WAITING
    }

    fn is_pending(&self) -> bool {
        !self.waiting.is_empty() || self.is_writing
    }
}

impl Shared {
    /// Waits for lines and writes them; `false` when there will be none.
    fn write_once(&self, write: &mut impl FnMut(&[u8]), lost: &impl Fn(u64)) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.is_over {
                return false;
            }
            state.is_asleep = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_asleep = false;
        state.is_writing = true;
        state.is_stalled = false;
        let lines = std::mem::take(&mut state.waiting);
        let lost_behind = std::mem::take(&mut state.lost_now);
        // There is room. To wake nobody is a system call too.
        if state.is_awaited {
            self.done.notify_all();
        }
        drop(state);
        write(&lines);
        if lost_behind > 0 {
            lost(lost_behind);
        }
        let mut state = self.lock();
        state.is_writing = false;
        if std::mem::take(&mut state.hurry) || state.is_awaited {
            self.done.notify_all();
        }
        // Under load the next line comes at once: it need not wake anybody, and leaves with those behind it.
        let nap = |state: &mut State| !state.hurry && !state.is_over && state.waiting.len() < MOST_WAITING / 4;
        drop(self.work.wait_timeout_while(state, NAP, nap));
        true
    }

    /// Waits for room, which there need not be then. The first thread waits for all: they have one second together.
    fn wait_for_room<'s>(&'s self, mut state: MutexGuard<'s, State>, line: &[u8]) -> MutexGuard<'s, State> {
        if state.is_awaited {
            return self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_awaited = true;
        let full = |state: &mut State| state.is_full_for(line) && !state.is_abandoned;
        let waited = self.done.wait_timeout_while(state, PATIENCE, full);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_awaited = false;
        state.is_stalled |= timeout.timed_out();
        // One of those that still wait takes the turn, or all give up.
        self.done.notify_all();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics with a line half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets of lines that wait.
const MOST_WAITING: usize = 1 << 20;
/// A line waits no longer than this for others.
const NAP: Duration = Duration::from_millis(10);
/// The longest time that a session waits for a log that is not read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn lines_leave_whole_and_in_their_order() {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let writer = Writer::start(move |lines| sender.send(lines.to_vec()).unwrap(), |_| {}).unwrap();
        let expected: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &expected {
            writer.push(line.as_bytes());
        }
        assert!(writer.flush(LONG));
        let batches: Vec<Vec<u8>> = receiver.try_iter().collect();
        assert!(batches.iter().all(|batch| batch.ends_with(b"\n")));
        assert_eq!(String::from_utf8(batches.concat()).unwrap(), expected.concat());
        writer.end();
        assert_eq!(receiver.recv(), Err(mpsc::RecvError), "the thread has ended");
    }

    /// A stream that takes a batch only when it is let, and what became of it.
    fn held() -> (Arc<Writer>, mpsc::Receiver<String>, mpsc::SyncSender<()>) {
        let (taken, is_taken) = mpsc::sync_channel(100);
        let told = taken.clone();
        let (go, may_go) = mpsc::sync_channel::<()>(100);
        let write = move |lines: &[u8]| {
            taken.send(String::from_utf8_lossy(lines).into_owned()).unwrap();
            let _ = may_go.recv();
        };
        let writer = Writer::start(write, move |lost| told.send(format!("lost {lost}")).unwrap()).unwrap();
        writer.push(b"first\n");
        assert_eq!(is_taken.recv().unwrap(), "first\n");
        (Arc::new(writer), is_taken, go)
    }

    #[test]
    fn a_line_waits_for_room() {
        let (writer, is_taken, go) = held();
        let full = "x".repeat(MOST_WAITING);
        writer.push(full.as_bytes());
        let pushers: Vec<_> = (0..4)
            .map(|_| {
                let writer = writer.clone();
                std::thread::spawn(move || writer.push(b"last\n"))
            })
            .collect();
        assert!(writer.shared.lock().waiting.len() <= MOST_WAITING);
        drop(go);
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        assert!(writer.flush(LONG));
        assert_eq!(is_taken.try_iter().collect::<String>(), full + &"last\n".repeat(4));
        assert_eq!((writer.lost(), writer.is_stalled()), (0, false));
    }

    #[test]
    fn a_log_that_nobody_reads_costs_a_moment_once_and_is_said() {
        let (writer, is_taken, go) = held();
        let full = "x".repeat(MOST_WAITING);
        writer.push(full.as_bytes());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| writer.push(b"lost\n")));
            }
        });
        assert!(writer.is_stalled());
        assert_eq!(writer.lost(), 4000);
        assert!(!writer.flush(Duration::ZERO), "nor does an end wait");
        go.send(()).unwrap();
        assert_eq!(is_taken.recv().unwrap(), full);
        writer.push(b"after\n");
        assert!(!writer.is_stalled());
        drop(go);
        assert!(writer.flush(LONG));
        assert_eq!(is_taken.try_iter().collect::<Vec<_>>(), ["lost 4000", "after\n"]);
        assert_eq!(writer.lost(), 4000);
    }

    #[test]
    fn one_who_waits_is_told_that_nobody_does_any_more() {
        let (writer, _is_taken, _go) = held();
        writer.push(&[b'x'; MOST_WAITING]);
        let waits = std::thread::spawn({
            let writer = writer.clone();
            move || writer.flush(LONG * 100)
        });
        writer.abandon();
        assert!(!waits.join().unwrap());
        writer.push(b"lost\n");
        assert_eq!(writer.lost(), 1);
    }
}
