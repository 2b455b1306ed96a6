//! A message kept until it has been ruled on: in memory while it is small, then in a temporary file without a name.
//!
//! It knows octets only: meaning, origin and ruling are known elsewhere. It must not keep a message past the life of
//! its [`Hold`], neither in memory nor on disk.

mod chunks;
mod file;
mod message;
mod shares;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::hold::chunks::Chunks;
pub use crate::hold::message::Filled;
pub use crate::hold::message::Hold;
use crate::hold::shares::Shares;

/// `[message]`: limits of held messages, and their folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets of one message that stay in memory before it goes to a file.
    pub memory: u64,
    /// Octets of all messages together; one client network may have a quarter.
    pub total: u64,
    /// Slowest upload tolerated, in octets a second; higher while `total` is nearly used up.
    pub min_rate: u64,
    /// Folder of the temporary files.
    pub spool: PathBuf,
    /// Octets that must stay free on the spool's file system, and on `queue`'s.
    pub min_free: u64,
    /// The qmail queue, if it is known.
    pub queue: Option<PathBuf>,
}

/// All held messages together: their limits and their shared free memory. A clone is the same one.
#[derive(Clone)]
pub struct Holds {
    shared: Arc<Shared>,
}

/// The reason why a message cannot be kept.
#[derive(Debug)]
pub enum HoldFault {
    /// `total` is used up, the disk is full, or less than `min_free` is left on it.
    NoRoom,
    /// The spool failed in another way.
    Io(io::Error),
}

impl Holds {
    /// A new set of held messages, empty, that has not touched the disk yet.
    pub fn new(settings: Settings) -> Self {
        let settings = Mutex::new(Arc::new(settings));
        let shared = Shared { settings, shares: Shares::default(), chunks: Chunks::default(), room: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the settings, for messages that begin from now on.
    pub fn update(&self, settings: Settings) {
        *self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        *self.shared.room.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether `min_free` is left on the spool's and the queue's file system. The answer is up to a second old.
    ///
    /// # Errors
    ///
    /// `NoRoom` when it is not, `Io` when a file system cannot be asked.
    pub fn room(&self) -> Result<(), HoldFault> {
        let now = now();
        let known = *self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = match known {
            Some((asked, enough)) if now.duration_since(asked) < ROOM_IS_KNOWN_FOR => enough,
            _ => self.ask_room(now)?,
        };
        if enough { Ok(()) } else { Err(HoldFault::NoRoom) }
    }

    /// An empty hold for a message of `owner`, of about `expected` octets (0: unknown). Nothing is reserved yet.
    ///
    /// # Errors
    ///
    /// `NoRoom` when `expected` octets do not fit into what is left of `total`, or of the owner's share.
    pub fn begin(&self, owner: IpNet, expected: u64) -> Result<Hold, HoldFault> {
        let settings = self.shared.settings();
        if !self.shared.shares.fits(owner, expected, &settings) {
            return Err(HoldFault::NoRoom);
        }
        let account = self.shared.shares.account(owner, settings.clone());
        Ok(Hold::new(account, self.shared.chunks.clone(), settings))
    }

    /// Whether a message of `owner` with so many octets would have room now. Nobody is asked to leave for it.
    pub fn has_room(&self, owner: IpNet, octets: u64) -> bool {
        self.room().is_ok() && self.shared.shares.has_room(owner, octets, &self.shared.settings())
    }

    /// Octets of all held messages.
    pub fn used(&self) -> u64 {
        self.shared.shares.used()
    }

    /// Octets held for each network that has any.
    pub fn by_network(&self) -> Vec<(IpNet, u64)> {
        self.shared.shares.by_network()
    }

    /// Pressure on `total`: 0 below three quarters, up to 4 where uploads are asked to make room.
    pub fn pressure(&self) -> u8 {
        self.shared.shares.pressure()
    }

    /// The pressure, once after each change; else `None`.
    pub fn news_of_pressure(&self) -> Option<u8> {
        self.shared.shares.news()
    }

    /// Returns memory that was not needed since the last sweep to the system.
    pub fn sweep(&self) {
        self.shared.chunks.sweep();
    }

    fn ask_room(&self, now: Instant) -> Result<bool, HoldFault> {
        let settings = self.shared.settings();
        let mut enough = file::free_octets(&settings.spool)? >= settings.min_free;
        if let Some(queue) = &settings.queue {
            enough &= file::free_octets(queue)? >= settings.min_free;
        }
        *self.shared.room.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, enough));
        Ok(enough)
    }
}

impl std::fmt::Debug for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holds").field("used", &self.used()).finish_non_exhaustive()
    }
}

impl From<io::Error> for HoldFault {
    /// A full disk and a used-up quota are `NoRoom`; other errors are kept.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Io(error),
        }
    }
}

impl std::fmt::Display for HoldFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRoom => f.write_str("no room for held messages"),
            Self::Io(error) => write!(f, "spool: {error}"),
        }
    }
}

impl std::error::Error for HoldFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoRoom => None,
            Self::Io(error) => Some(error),
        }
    }
}

struct Shared {
    settings: Mutex<Arc<Settings>>,
    shares: Shares,
    chunks: Chunks,
    room: Mutex<Option<(Instant, bool)>>,
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "how old the last look at the disk is, and how fast an upload comes in")]
fn now() -> Instant {
    Instant::now()
}

/// Age limit of a free-space answer: asking costs a system call a file system, and a second of mail fits into any
/// sensible `min_free`.
const ROOM_IS_KNOWN_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NET: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, 24));

    fn settings(total: u64, min_free: u64) -> Settings {
        Settings { memory: 1024, total, min_rate: 500, spool: std::env::temp_dir(), min_free, queue: None }
    }

    #[tokio::test]
    async fn the_total_is_counted_to_the_octet() {
        let holds = Holds::new(settings(10, 0));
        assert!(matches!(holds.begin(NET, 11), Err(HoldFault::NoRoom)));
        let mut first = holds.begin(NET, 10).unwrap();
        let mut second = holds.begin(NET, 0).unwrap();
        first.push(b"123456").unwrap();
        assert!(matches!(second.push(b"12345"), Err(HoldFault::NoRoom)));
        assert_eq!((holds.used(), second.len()), (6, 0), "what does not fit leaves nothing behind");
        second.push(b"1234").unwrap();
        assert!(matches!(holds.begin(NET, 1), Err(HoldFault::NoRoom)));
        drop(first);
        assert_eq!(holds.used(), 4);
        assert_eq!([6, 7].map(|octets| holds.has_room(NET, octets)), [true, false], "and nothing is taken by asking");
        assert!(holds.begin(NET, 6).is_ok());
        drop(second);
        assert_eq!(holds.used(), 0);
    }

    #[test]
    fn room_is_asked_once_a_second_and_after_an_update() {
        let holds = Holds::new(settings(10, 0));
        holds.room().unwrap();
        holds.update(settings(10, u64::MAX));
        assert!(matches!(holds.room(), Err(HoldFault::NoRoom)), "an update is seen at once");
        assert!(!holds.has_room(NET, 0));
        let missing = Settings { spool: "/nonexistent/spool".into(), ..settings(10, 0) };
        *holds.shared.settings.lock().unwrap() = Arc::new(missing);
        assert!(matches!(holds.room(), Err(HoldFault::NoRoom)), "within the second the old answer stands");
        let (asked, enough) = holds.shared.room.lock().unwrap().unwrap();
        *holds.shared.room.lock().unwrap() = Some((asked - ROOM_IS_KNOWN_FOR, enough));
        assert!(matches!(holds.room(), Err(HoldFault::Io(_))));
    }

    #[test]
    fn the_queue_must_have_room_too() {
        let queue = Some(PathBuf::from("/nonexistent/queue"));
        let holds = Holds::new(Settings { queue, ..settings(10, 0) });
        assert!(matches!(holds.room(), Err(HoldFault::Io(_))));
    }

    #[test]
    fn a_full_disk_is_no_room() {
        // ENOSPC, EDQUOT, EIO
        for (errno, no_room) in [(28, true), (122, true), (5, false)] {
            let fault = HoldFault::from(io::Error::from_raw_os_error(errno));
            assert_eq!(matches!(fault, HoldFault::NoRoom), no_room, "errno {errno}");
        }
    }
}
