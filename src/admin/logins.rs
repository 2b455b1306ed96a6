//! Logins of the page: random session ids for cookies, kept in memory and never the token itself. A restart, 12 hours
//! without a request, or too many others end one. It must not know the token.

use std::fs::File;
use std::io;
use std::io::Read;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blake3::Hash;
use governor::DefaultDirectRateLimiter;
use governor::Quota;
use governor::RateLimiter;

use crate::store::clock::Time;

/// All logins.
#[derive(Debug)]
pub(super) struct Logins {
    /// Made at the start; ids are derived from it.
    secret: [u8; 32],
    made: AtomicU64,
    open: Mutex<Vec<Login>>,
    tries: DefaultDirectRateLimiter,
}

#[derive(Debug)]
struct Login {
    /// The hash of its id, which is compared in constant time.
    id: Hash,
    last: Time,
}

impl Logins {
    /// None yet.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new() -> io::Result<Self> {
        let mut secret = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let tries = RateLimiter::direct(Quota::per_minute(TRIES_A_MINUTE).allow_burst(TRIES));
        Ok(Self { secret, made: AtomicU64::new(0), open: Mutex::default(), tries })
    }

    /// Whether one more try is allowed now. Each is counted, a good one too.
    pub(super) fn may_try(&self) -> bool {
        self.tries.check().is_ok()
    }

    /// A new login; its id.
    pub(super) fn open(&self, now: Time) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let id = blake3::keyed_hash(&self.secret, &number).to_hex().to_string();
        let mut open = self.lock();
        if open.len() >= MOST
            && let Some(oldest) = (0..open.len()).min_by_key(|at| open[*at].last)
        {
            open.swap_remove(oldest);
        }
        open.push(Login { id: blake3::hash(id.as_bytes()), last: now });
        id
    }

    /// Whether the login with this id is open; it stays so for 12 hours more.
    pub(super) fn is_open(&self, id: &str, now: Time) -> bool {
        let id = blake3::hash(id.as_bytes());
        let mut open = self.lock();
        open.retain(|login| now.since(login.last) < IDLE);
        let found = open.iter_mut().find(|login| login.id == id);
        found.map(|login| login.last = now).is_some()
    }

    /// Ends a login.
    pub(super) fn close(&self, id: &str) {
        let id = blake3::hash(id.as_bytes());
        self.lock().retain(|login| login.id != id);
    }

    /// The word that a form of this login's page carries: no other page can know it.
    pub(super) fn form_word(&self, id: &str) -> String {
        blake3::keyed_hash(&self.secret, format!("form {id}").as_bytes()).to_hex().to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Login>> {
        // No code under this lock panics.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logins at one time.
const MOST: usize = 64;
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Tries at once, and each minute after that.
const TRIES: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const TRIES_A_MINUTE: NonZeroU32 = NonZeroU32::new(6).expect("not zero");
/// Seconds until there is one try more.
pub(super) const NEXT_TRY: u64 = 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_login_ends_by_itself_and_when_it_is_closed() {
        let logins = Logins::new().unwrap();
        let at = |hours: u32| Time::from_seconds(1_795_395_540 + hours * 3600);
        let [one, two] = [logins.open(at(0)), logins.open(at(0))];
        assert!(one.len() == 64 && one != two);
        assert!(!logins.is_open("", at(0)) && !logins.is_open(&one[..63], at(0)));
        assert!(logins.is_open(&one, at(11)) && logins.is_open(&one, at(22)));
        assert!(!logins.is_open(&two, at(22)), "nothing came of it for 12 hours");
        assert!(logins.form_word(&one) != logins.form_word(&two) && logins.form_word(&one) != one);
        logins.close(&one);
        assert!(!logins.is_open(&one, at(22)));
    }

    #[test]
    fn the_one_that_was_idle_longest_makes_room() {
        let logins = Logins::new().unwrap();
        let at = |seconds: usize| Time::from_seconds(1_795_395_540 + seconds as u32);
        let ids: Vec<String> = (0..MOST).map(|second| logins.open(at(second))).collect();
        assert!(logins.is_open(&ids[0], at(MOST)));
        logins.open(at(MOST + 1));
        assert!(logins.is_open(&ids[0], at(MOST + 2)) && !logins.is_open(&ids[1], at(MOST + 2)));
    }

    #[test]
    fn guessing_is_slow() {
        let logins = Logins::new().unwrap();
        let tries = (0..1000).filter(|_| logins.may_try()).count();
        assert!((10..20).contains(&tries), "{tries}");
    }
}
