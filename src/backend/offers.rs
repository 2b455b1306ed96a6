//! The backend's answers to EHLO, per distinct set of variables: DATABYTES and CVM_… change the offer of mailfront. It must
//! not grow with what strangers send: sets come from tcprules, and the oldest of a thousand is evicted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Backends;
use crate::backend::Settings;
use crate::backend::asking::Asked;
use crate::backend::asking::Turn;
use crate::backend::now;
use crate::policy::environment::Environment;
use crate::smtp::reply::Offer;

/// Offers by [`Environment::key`].
#[derive(Debug)]
pub(super) struct Offers {
    known: Mutex<Known>,
}

/// An offer that is to be kept over a restart.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// The backend that made it, as [`Backends::server`] has it.
    pub server: Arc<str>,
    /// Its keywords, each with its parameters.
    pub keywords: Vec<String>,
}

#[derive(Debug)]
struct Known {
    /// The backend that is there now.
    server: Arc<str>,
    /// The number of other backends before this one.
    generation: u64,
    learned: HashMap<u64, Learned>,
    /// The sets that are asked for.
    asked: HashMap<u64, Asked>,
}

#[derive(Debug)]
struct Learned {
    offer: Arc<Offer>,
    /// The time at which it was heard; `None`: before the start.
    heard: Option<Instant>,
    /// The time at which it was news.
    kept: Option<Instant>,
    /// The time at which it was asked for again without a client that needs it.
    renewed: Option<Instant>,
}

/// Offers as sessions need them.
impl Backends {
    /// The server or program behind us and the way to it, in words of no fixed form: the same words after a restart mean
    /// the same. With them, the number of the backend that a session is with when it is opened now, or later.
    pub fn server(&self) -> (Arc<str>, u64) {
        let known = self.offers.lock();
        (known.server.clone(), known.generation)
    }

    /// Remembers the offer that a backend of this generation made under these variables. It is news when it was not known,
    /// and once an hour.
    pub fn learn(&self, environment: &Environment, offer: Arc<Offer>, generation: u64) -> Option<News> {
        self.offers.learn(environment.key(), offer, generation, now())
    }

    /// Takes in an offer from before the start, unless the backend was heard since: it is not fresh.
    pub fn recall(&self, environment: &Environment, keywords: &[String], generation: u64) {
        let offer = Offer::of(keywords.iter().map(String::as_str));
        self.offers.recall(environment.key(), offer, generation);
    }

    /// Whether the backend has made an offer under these variables since the start.
    pub fn has_heard(&self, environment: &Environment) -> bool {
        self.offers.lock().learned.get(&environment.key()).is_some_and(|known| known.heard.is_some())
    }

    /// Whether an offer that is known, and not fresh, is to be asked for again. True once in a while.
    pub fn may_renew(&self, environment: &Environment) -> bool {
        self.offers.may_renew(environment.key(), now())
    }

    /// The turn of a session that needs the offer under these variables.
    pub fn turn(&self, environment: &Environment) -> Turn {
        self.offers.turn(environment.key())
    }
}

impl Offers {
    pub(super) fn new(settings: &Settings) -> Self {
        let (learned, asked) = (HashMap::new(), HashMap::new());
        Self { known: Mutex::new(Known { server: server(settings), generation: 0, learned, asked }) }
    }

    /// The last offer, and whether it is fresh.
    pub(super) fn find(&self, key: u64, now: Instant) -> Option<(Arc<Offer>, bool)> {
        let known = self.lock();
        let found = known.learned.get(&key)?;
        Some((found.offer.clone(), found.is_fresh(now)))
    }

    /// Forgets all offers, if another backend has taken the place of this one.
    pub(super) fn update(&self, settings: &Settings) {
        let (mut known, server) = (self.lock(), server(settings));
        if known.server != server {
            known.server = server;
            known.generation += 1;
            known.learned.clear();
            known.asked.clear();
        }
    }

    fn learn(&self, key: u64, offer: Arc<Offer>, generation: u64, now: Instant) -> Option<News> {
        let mut known = self.lock();
        // It may be from a session with a backend before this one.
        if known.generation != generation {
            return None;
        }
        let before = known.learned.get(&key).filter(|before| before.offer == offer).and_then(|before| before.kept);
        let kept = before.filter(|kept| now.saturating_duration_since(*kept) < KEPT_AGAIN);
        let news = kept.is_none().then(|| News { server: known.server.clone(), keywords: words(&offer) });
        known.insert(key, Learned { offer, heard: Some(now), kept: kept.or(Some(now)), renewed: None });
        if !known.asked.is_empty()
            && let Some(asked) = known.asked.remove(&key)
        {
            asked.heard();
        }
        news
    }

    fn recall(&self, key: u64, offer: Offer, generation: u64) {
        let mut known = self.lock();
        if known.generation == generation && !known.learned.contains_key(&key) {
            known.insert(key, Learned { offer: Arc::new(offer), heard: None, kept: None, renewed: None });
        }
    }

    fn may_renew(&self, key: u64, now: Instant) -> bool {
        let mut known = self.lock();
        let Some(learned) = known.learned.get_mut(&key) else { return false };
        let is_tried = learned.renewed.is_some_and(|at| now.saturating_duration_since(at) < RENEWED_AGAIN);
        let is_due = !learned.is_fresh(now) && !is_tried;
        if is_due {
            learned.renewed = Some(now);
        }
        is_due
    }

    fn turn(&self, key: u64) -> Turn {
        let mut known = self.lock();
        if let Some(answer) = known.asked.get(&key).and_then(Asked::answer) {
            return Turn::Wait(answer);
        }
        known.asked.retain(|_, asked| !asked.is_over());
        let (asked, asking) = Asked::begin();
        known.asked.insert(key, asked);
        Turn::Ask(asking)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // An entry is inserted or removed whole; a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, key: u64, entry: Learned) {
        let learned = &mut self.learned;
        if learned.len() >= MAX_OFFERS && !learned.contains_key(&key) {
            let oldest = learned.iter().min_by_key(|(_, entry)| entry.heard).map(|(key, _)| *key);
            oldest.and_then(|key| learned.remove(&key));
        }
        learned.insert(key, entry);
    }
}

impl Learned {
    fn is_fresh(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < FRESH)
    }
}

/// Everything that decides which server answers, and how it sees us: behind TLS many offer AUTH, and nothing before.
fn server(settings: &Settings) -> Arc<str> {
    let Settings { target, identity, tls, .. } = settings;
    format!("{target:?} {identity:?} {tls:?}").into()
}

fn words(offer: &Offer) -> Vec<String> {
    let mut lines = Vec::new();
    offer.keywords(|keyword, rest| lines.push(format!("{keyword}{rest}")));
    lines
}

/// Time in which an offer is good enough to refuse a client by.
const FRESH: Duration = Duration::from_secs(60);
/// Time after which an offer that is still the same is news again, so that it is not forgotten.
const KEPT_AGAIN: Duration = Duration::from_hours(1);
/// Time between two questions that no client waits for, while the backend does not answer.
const RENEWED_AGAIN: Duration = Duration::from_secs(10);
const MAX_OFFERS: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;
    use crate::backend::Identity;
    use crate::backend::Target;
    use crate::backend::Tls;

    #[test]
    fn an_offer_is_fresh_for_a_minute_and_kept_after_it() {
        let (offers, start) = (offers(), Instant::now());
        offers.learn(7, sized(1), 0, start);
        let table = [("at once", 0, true), ("just before", 59, true), ("a minute later", 60, false)];
        for (what, seconds, fresh) in table {
            assert_eq!(offers.find(7, start + Duration::from_secs(seconds)), Some((sized(1), fresh)), "{what}");
        }
        assert_eq!(offers.find(8, start), None, "another set of variables");
        offers.learn(7, sized(2), 0, start + FRESH);
        assert_eq!(offers.find(7, start + FRESH), Some((sized(2), true)), "learned again");
    }

    #[test]
    fn another_server_and_another_way_to_it_have_other_offers() {
        let tcp = settings();
        let others = [
            Settings { target: Target::Tcp("127.0.0.1:26".to_owned()), ..settings() },
            Settings { identity: Identity::Proxy, ..settings() },
            Settings { tls: Tls::Starttls, ..settings() },
        ];
        for other in others {
            let (offers, start) = (Offers::new(&tcp), Instant::now());
            offers.learn(7, sized(1), 0, start);
            let same = Settings { max: 1, hostname: "mx2.example.org".to_owned(), ..settings() };
            offers.update(&same);
            assert_eq!(offers.find(7, start), Some((sized(1), true)), "the same server");
            offers.update(&other);
            assert_eq!(offers.find(7, start), None, "{other:?}");
            assert_eq!(offers.learn(7, sized(1), 0, start), None, "a session with the backend before");
            offers.recall(7, Offer::NONE, 0);
            assert_eq!(offers.find(7, start), None, "{other:?}");
            assert!(offers.learn(7, sized(3), 1, start).is_some());
            assert_eq!(offers.find(7, start), Some((sized(3), true)));
        }
    }

    #[test]
    fn what_is_new_is_kept_and_what_stays_once_an_hour() {
        let (offers, start) = (offers(), Instant::now());
        let table = [
            ("new", 0, 1, true),
            ("the same", 1, 1, false),
            ("changed", 2, 2, true),
            ("the same again", 3, 2, false),
            ("just within the hour", 3601, 2, false),
            ("an hour later", 3602, 2, true),
            ("soon after it", 3603, 2, false),
        ];
        for (what, seconds, size, is_news) in table {
            let news = offers.learn(7, sized(size), 0, start + Duration::from_secs(seconds));
            let expected = News { server: server(&settings()), keywords: vec![format!("SIZE {size}")] };
            assert_eq!(news, is_news.then_some(expected), "{what}");
        }
    }

    #[test]
    fn an_offer_from_before_the_start_is_not_fresh_and_gives_way() {
        let (offers, start) = (offers(), Instant::now());
        assert!(!offers.may_renew(7, start), "nothing is known: a client asks");
        offers.recall(7, Offer::clone(&sized(1)), 0);
        assert_eq!(offers.find(7, start), Some((sized(1), false)));
        let due = |seconds| offers.may_renew(7, start + Duration::from_secs(seconds));
        assert_eq!([due(0), due(0), due(9), due(10), due(11)], [true, false, false, true, false]);
        assert!(offers.learn(7, sized(1), 0, start).is_some(), "its age is news");
        assert_eq!(offers.find(7, start), Some((sized(1), true)));
        offers.recall(7, Offer::NONE, 0);
        assert_eq!(offers.find(7, start), Some((sized(1), true)), "what was heard stands");
        assert_eq!([due(59), due(60), due(61)], [false, true, false]);
    }

    #[test]
    fn one_asks_and_the_others_wait() {
        let (offers, start) = (offers(), Instant::now());
        let Turn::Ask(asking) = offers.turn(7) else { panic!("the first asks") };
        assert!(matches!(offers.turn(7), Turn::Wait(_)));
        assert!(matches!(offers.turn(8), Turn::Ask(_)), "another set");
        drop(asking);
        let Turn::Ask(_asking) = offers.turn(7) else { panic!("the next one, when the first has left") };
        assert_eq!(offers.lock().asked.len(), 1, "what is over goes");
        offers.learn(7, sized(1), 0, start);
        assert!(offers.lock().asked.is_empty(), "any session may have heard it");
    }

    #[test]
    fn the_oldest_of_too_many_is_evicted() {
        let (offers, start) = (offers(), Instant::now());
        let at = |key: u64| start + Duration::from_millis(key);
        for key in 0..1000 {
            offers.learn(key, sized(key), 0, at(key));
        }
        offers.learn(0, sized(0), 0, at(1000));
        offers.learn(1001, sized(1001), 0, at(1001));
        assert_eq!(offers.lock().learned.len(), MAX_OFFERS);
        let known = |key| offers.find(key, at(1001)).is_some();
        assert_eq!([known(0), known(1), known(2), known(1001)], [true, false, true, true]);
    }

    fn sized(size: u64) -> Arc<Offer> {
        Arc::new(Offer { size: Some(size), ..Offer::NONE })
    }

    fn offers() -> Offers {
        Offers::new(&settings())
    }

    fn settings() -> Settings {
        Settings {
            target: Target::Tcp("127.0.0.1:25".to_owned()),
            identity: Identity::None,
            tls: Tls::Off,
            verify: true,
            hostname: "mx.example.org".to_owned(),
            max: 40,
            keepalive: 0,
            connect: Duration::from_secs(10),
            reply: Duration::from_secs(300),
        }
    }
}
