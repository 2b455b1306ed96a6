//! Idle sessions with a tcp backend, greeted, for the next client: it needs no connection of its own then. A session in the
//! pool has no permit: its last client gives the permit back after the check-in, the next one has one before the check-out,
//! so that pool and permits together stay within `max`. It must not keep more sessions than it was told, nor any for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::ThreadId;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::backend::Connection;

/// The idle sessions. A clone is the same pool.
#[derive(Clone)]
pub(super) struct IdlePool {
    state: Arc<Mutex<State>>,
    /// Time that each session is kept.
    time: Duration,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    sessions: VecDeque<Session>,
    /// A task runs that ends sessions when their time is over.
    is_watched: bool,
}

struct Session {
    connection: Connection,
    /// The thread whose runtime watches its socket: used elsewhere, each reply wakes two threads.
    thread: ThreadId,
    until: Instant,
}

impl IdlePool {
    pub(super) fn new(time: Duration) -> Self {
        Self { state: Arc::default(), time }
    }

    /// Keeps `connection`, evicting the oldest when there are `most` already. Needs a tokio runtime.
    pub(super) fn put(&self, connection: Connection, most: usize, now: Instant) {
        let thread = std::thread::current().id();
        let mut state = self.lock();
        let mut evicted = Vec::new();
        while state.sessions.len() >= most.max(1) {
            evicted.extend(state.sessions.pop_front());
        }
        state.sessions.push_back(Session { connection, thread, until: now + self.time });
        let watch = !std::mem::replace(&mut state.is_watched, true);
        drop(state);
        end(evicted);
        if watch {
            tokio::spawn(self.clone().watch());
        }
    }

    /// The session that was used last, of this thread's if there is one. The backend has not ended it, as far as is known.
    pub(super) fn take(&self) -> Option<Connection> {
        let here = std::thread::current().id();
        loop {
            let mut state = self.lock();
            let at = state.sessions.iter().rposition(|session| session.thread == here);
            let last = state.sessions.len().checked_sub(1)?;
            let session = state.sessions.remove(at.unwrap_or(last))?;
            drop(state);
            if session.connection.is_quiet() {
                return Some(session.connection);
            }
        }
    }

    /// Ends all sessions.
    pub(super) fn clear(&self) {
        let sessions = std::mem::take(&mut self.lock().sessions);
        end(sessions);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Ends each session when its time is over, until there are none.
    async fn watch(self) {
        loop {
            let Some(next) = self.next_end() else { return };
            sleep_until(next).await;
            let mut state = self.lock();
            let over = state.sessions.partition_point(|session| session.until <= next);
            let over: Vec<Session> = state.sessions.drain(..over).collect();
            drop(state);
            end(over);
        }
    }

    /// The end of the oldest session's time. `None`: there is no session, and the next `put` has to start the watch again.
    fn next_end(&self) -> Option<Instant> {
        let mut state = self.lock();
        let next = state.sessions.front().map(|session| session.until);
        state.is_watched = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A session is put in or taken out whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(sessions: impl IntoIterator<Item = Session>) {
    for session in sessions {
        session.connection.end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::backend::permits::Permits;

    async fn session(listener: &TcpListener) -> (Connection, TcpStream) {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let permit = Permits::new(1).acquire([192, 0, 2, 1].into()).await;
        let mut connection = Connection::tcp(stream, None, permit);
        assert!(connection.check_in().is_some() && connection.check_in().is_none());
        (connection, listener.accept().await.unwrap().0)
    }

    async fn said(mut end: TcpStream) -> String {
        let mut text = String::new();
        end.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_last_one_that_lives_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = IdlePool::new(LONG);
        assert!(pool.take().is_none());
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (connection, end) = session(&listener).await;
            pool.put(connection, 2, Instant::now());
            ends.push(end);
        }
        assert_eq!(pool.len(), 2);
        assert_eq!(said(ends.remove(0)).await, "QUIT\r\n", "the oldest is one too many");
        // The backend ends the last session, and its end of file has arrived.
        let ended = pool.lock().sessions.pop_back().unwrap();
        drop(ends.pop());
        let mut socket = [0];
        let mut connection = ended.connection;
        assert_eq!(connection.read(&mut socket).await.unwrap(), 0);
        pool.put(connection, 2, Instant::now());
        let mut taken = pool.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut taken, b"EHLO a\r\n").await.unwrap();
        drop(taken);
        assert_eq!(said(ends.remove(0)).await, "EHLO a\r\n", "the first that was left");
        assert!(pool.take().is_none() && pool.len() == 0);
    }

    #[tokio::test]
    async fn each_ends_when_its_time_is_over_or_all_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = IdlePool::new(Duration::from_millis(20));
        // The second comes when nobody watches any more.
        for _ in 0..2 {
            let (connection, end) = session(&listener).await;
            pool.put(connection, 9, Instant::now());
            assert_eq!(said(end).await, "QUIT\r\n");
            tokio::task::yield_now().await;
            assert_eq!(pool.len(), 0);
        }
        let pool = IdlePool::new(LONG);
        let (connection, end) = session(&listener).await;
        pool.put(connection, 9, Instant::now());
        pool.clear();
        assert_eq!((said(end).await.as_str(), pool.len()), ("QUIT\r\n", 0));
    }

    const LONG: Duration = Duration::from_secs(60);
}
