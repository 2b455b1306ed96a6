//! The operators that follow a session: each has a bounded queue of lines. Who reads too slowly misses some, and is told
//! how many; a session never waits for it. It must not show what the session does not tell.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::session::io::Line;
use crate::session::io::Side;

/// All followers, of whatever session.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    each: Vec<Joined>,
    next: u64,
}

/// One follower, and the number of its session's slot.
#[derive(Debug)]
struct Joined {
    number: u64,
    session: u64,
    queue: Queue,
}

/// The session's end of a follower's queue.
#[derive(Clone, Debug)]
struct Queue {
    lines: mpsc::Sender<Numbered>,
    /// Lines that were told so far, whether there was room or not.
    told: Arc<AtomicU64>,
}

/// A line, and the number of those before it.
#[derive(Debug)]
struct Numbered {
    before: u64,
    spoken: Spoken,
}

/// A session's view of its followers.
#[derive(Debug)]
pub(super) struct Following(Vec<Queue>);

/// A line as a follower gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// When it was said, in milliseconds since the epoch.
    pub time: i64,
    /// Whose line it is: `client`, `backend`, or `proxy` for an event.
    pub side: &'static str,
    /// `from` that side, or `to` it; an event has none.
    pub direction: Option<&'static str>,
    /// Its text as it was: whoever shows it has to escape it.
    pub text: Box<[u8]>,
}

/// What a follower gets to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A line.
    Spoken(Spoken),
    /// So many lines had no room.
    Lost(u64),
}

/// One follower's end of its queue; dropping it ends the following.
#[derive(Debug)]
pub struct Follower {
    all: Arc<Followers>,
    number: u64,
    lines: mpsc::Receiver<Numbered>,
    told: Arc<AtomicU64>,
    /// Lines that this follower knows of.
    known: u64,
    /// The line behind those that were lost.
    behind: Option<Spoken>,
}

/// Why a session cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No session with this id is open.
    Unknown,
    /// There are [`MOST`] followers already.
    TooMany,
}

impl Followers {
    /// A follower of the session with this slot. The session has to be told to look.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn join(self: &Arc<Self>, session: u64) -> Result<Follower, Refused> {
        let mut state = self.lock();
        if state.each.len() >= MOST {
            return Err(Refused::TooMany);
        }
        let (lines, received) = mpsc::channel(ROOM);
        let (number, told) = (state.next, Arc::new(AtomicU64::new(0)));
        state.next += 1;
        state.each.push(Joined { number, session, queue: Queue { lines, told: told.clone() } });
        Ok(Follower { all: self.clone(), number, lines: received, told, known: 0, behind: None })
    }

    /// The followers that this session has now.
    pub(super) fn of(&self, session: u64) -> Following {
        let state = self.lock();
        let of = state.each.iter().filter(|joined| joined.session == session);
        Following(of.map(|joined| joined.queue.clone()).collect())
    }

    /// The session is over: its followers have heard all.
    pub(super) fn end(&self, session: u64) {
        self.lock().each.retain(|joined| joined.session != session);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Tells a line; false: nobody follows any more.
    pub(super) fn tell(&mut self, line: &Line, at: Timestamp) -> bool {
        let (side, direction) = words(line.side);
        self.0.retain(|queue| {
            let before = queue.told.fetch_add(1, Ordering::Relaxed);
            let spoken = Spoken { time: at.as_millisecond(), side, direction, text: line.text.clone() };
            let sent = queue.lines.try_send(Numbered { before, spoken });
            !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)))
        });
        !self.0.is_empty()
    }
}

impl Follower {
    /// What is next; `None` when the session is over. A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        match self.behind.take() {
            Some(spoken) => Some(News::Spoken(spoken)),
            None => {
                let numbered = self.lines.recv().await;
                self.take(numbered)
            }
        }
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<News> {
        match self.behind.take() {
            Some(spoken) => Some(News::Spoken(spoken)),
            None => {
                let numbered = self.lines.try_recv().ok()?;
                self.take(Some(numbered))
            }
        }
    }

    fn take(&mut self, numbered: Option<Numbered>) -> Option<News> {
        let (before, spoken) = match numbered {
            Some(Numbered { before, spoken }) => (before, Some(spoken)),
            None => (self.told.load(Ordering::Relaxed), None),
        };
        let lost = before.saturating_sub(self.known);
        self.known = before + u64::from(spoken.is_some());
        if lost > 0 {
            self.behind = spoken;
            return Some(News::Lost(lost));
        }
        spoken.map(News::Spoken)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.all.lock().each.retain(|joined| joined.number != self.number);
    }
}

fn words(side: Side) -> (&'static str, Option<&'static str>) {
    match side {
        Side::FromClient => ("client", Some("from")),
        Side::ToClient => ("client", Some("to")),
        Side::FromBackend => ("backend", Some("from")),
        Side::ToBackend => ("backend", Some("to")),
        Side::Event => ("proxy", None),
    }
}

/// Followers of all sessions together.
pub const MOST: usize = 16;
/// Lines that may wait for one follower.
const ROOM: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn line(number: usize) -> Line {
        Line { side: Side::FromClient, text: number.to_string().into_bytes().into() }
    }

    fn text(news: &News) -> String {
        match news {
            News::Spoken(spoken) => String::from_utf8(spoken.text.to_vec()).unwrap(),
            News::Lost(lost) => format!("{lost} lost"),
        }
    }

    #[tokio::test]
    async fn who_is_slow_hears_how_many_lines_were_lost_and_where() {
        let all = Arc::new(Followers::default());
        let (mut slow, mut other) = (all.join(7).unwrap(), all.join(8).unwrap());
        let mut following = all.of(7);
        (0..ROOM + 12).for_each(|number| assert!(following.tell(&line(number), Timestamp::UNIX_EPOCH)));
        let first: Vec<String> = std::iter::from_fn(|| slow.try_next()).map(|news| text(&news)).collect();
        assert_eq!((first.len(), first[ROOM - 1].as_str()), (ROOM, "255"));
        assert!(following.tell(&line(999), Timestamp::UNIX_EPOCH));
        assert_eq!(text(&slow.next().await.unwrap()), "12 lost");
        assert_eq!(text(&slow.next().await.unwrap()), "999");
        (0..=ROOM).for_each(|number| assert!(following.tell(&line(number), Timestamp::UNIX_EPOCH)));
        drop(following);
        all.end(7);
        let mut last = Vec::new();
        while let Some(news) = slow.next().await {
            last.push(text(&news));
        }
        assert_eq!((last.len(), last[ROOM].as_str()), (ROOM + 1, "1 lost"), "told at the end too");
        assert_eq!(other.try_next(), None, "another session's");
    }

    #[test]
    fn there_are_not_too_many_and_one_that_goes_makes_room() {
        let all = Arc::new(Followers::default());
        let mut followers: Vec<_> = (0..MOST).map(|session| all.join(session as u64).unwrap()).collect();
        assert_eq!(all.join(1).unwrap_err(), Refused::TooMany);
        let mut following = all.of(0);
        assert!(following.tell(&line(1), Timestamp::UNIX_EPOCH));
        drop(followers.remove(0));
        assert!(!following.tell(&line(2), Timestamp::UNIX_EPOCH), "nobody is there");
        drop(all.join(1).unwrap());
    }
}
