//! The log's own thread: under load lines leave many at a time, and nobody who serves mail waits for a disk. What waits
//! is bounded; past the bound who logs waits for it, as he would for a pipe that is full: a line of what became of a
//! message is not thrown away. It must not change or reorder lines.

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
    /// There is something to write.
    work: Condvar,
    /// Something was written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// The thread waits to be woken.
    is_asleep: bool,
    /// It has taken lines and not yet written them.
    is_writing: bool,
    /// Somebody waits until all is written.
    hurry: bool,
    /// Nothing comes any more.
    is_over: bool,
}

impl Writer {
    /// Starts the thread. `write` is called with whole lines; it ends with the writer.
    ///
    /// # Errors
    /// The system has no thread for us.
    pub(crate) fn start(mut write: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("portcullis-log".to_owned());
        thread.spawn(move || while ours.write_once(&mut write) {})?;
        Ok(Self { shared })
    }

    /// `line` is written soon, behind all that came before it.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        while !state.waiting.is_empty() && state.waiting.len() + line.len() > MOST_WAITING {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.extend_from_slice(line);
        if std::mem::take(&mut state.is_asleep) {
            self.shared.work.notify_one();
        }
    }

    /// Returns when all that was pushed before is written.
    pub(crate) fn flush(&self) {
        let mut state = self.shared.lock();
        while !state.waiting.is_empty() || state.is_writing {
            state.hurry = true;
            self.shared.work.notify_one();
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().is_over = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    /// Waits for lines and writes them. False: there will be none.
    fn write_once(&self, write: &mut impl FnMut(&[u8])) -> bool {
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
        let lines = std::mem::take(&mut state.waiting);
        drop(state);
        write(&lines);
        let mut state = self.lock();
        state.is_writing = false;
        state.hurry = false;
        self.done.notify_all();
        // Under load the next line comes at once: it need not wake anybody, and leaves with those behind it.
        let nap = |state: &mut State| !state.hurry && !state.is_over && state.waiting.len() < MOST_WAITING / 4;
        drop(self.work.wait_timeout_while(state, NAP, nap));
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way: the lines stay whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets of lines that wait.
const MOST_WAITING: usize = 1 << 20;
/// A line waits no longer than this for others.
const NAP: Duration = Duration::from_millis(2);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn lines_leave_whole_and_in_their_order() {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let writer = Writer::start(move |lines| sender.send(lines.to_vec()).unwrap()).unwrap();
        let expected: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &expected {
            writer.push(line.as_bytes());
        }
        writer.flush();
        let batches: Vec<Vec<u8>> = receiver.try_iter().collect();
        assert!(batches.iter().all(|batch| batch.ends_with(b"\n")));
        assert_eq!(String::from_utf8(batches.concat()).unwrap(), expected.concat());
        drop(writer);
        assert_eq!(receiver.recv(), Err(mpsc::RecvError), "the thread has ended");
    }

    #[test]
    fn what_waits_is_bounded() {
        let (taken, is_taken) = mpsc::sync_channel(10);
        let (go, may_go) = mpsc::sync_channel::<()>(1);
        let mut octets = 0;
        let writer = Writer::start(move |lines| {
            octets += lines.len();
            taken.send(octets).unwrap();
            let _ = may_go.recv();
        });
        let writer = Arc::new(writer.unwrap());
        writer.push(b"first\n");
        assert_eq!(is_taken.recv(), Ok(6));
        // The thread is held: this one fills what may wait, the next waits for it.
        writer.push(&[b'x'; MOST_WAITING]);
        let pusher = std::thread::spawn({
            let writer = writer.clone();
            move || writer.push(b"last\n")
        });
        assert!(writer.shared.lock().waiting.len() <= MOST_WAITING);
        drop(go);
        pusher.join().unwrap();
        writer.flush();
        assert_eq!(is_taken.iter().take(2).last(), Some(6 + MOST_WAITING + 5));
    }
}
