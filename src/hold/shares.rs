//! The shares of `message.hold_total`. One client network has a quarter at most, unless it is one message alone; an
//! eighth is reserved for small messages, so that large ones cannot crowd them out. Nearly full, the slowest uploads
//! are asked to leave. It must not touch octets or files: it only counts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use ipnet::IpNet;
use slab::Slab;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hold::HoldFault;
use crate::hold::Settings;
use crate::hold::now;

/// All shares. A clone counts together with the original.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    pressure: AtomicU8,
    /// The pressure reported last.
    told: AtomicU8,
}

#[derive(Default)]
struct State {
    all: Octets,
    /// Octets of each network that has any.
    networks: HashMap<IpNet, Octets>,
    /// Messages still coming in that are not in the reserve of small ones.
    uploads: Slab<Upload>,
    /// The last time at which uploads were asked to leave.
    looked: Option<Instant>,
}

/// Octets in the reserve of small messages, and in the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Octets {
    small: u64,
    large: u64,
}

struct Upload {
    octets: u64,
    began: Instant,
    /// Number of the current window, its octets, and those of the window before.
    window: u64,
    lately: u64,
    before: u64,
    /// The sender that asks the upload to leave; `None` once it was asked.
    leave: Option<oneshot::Sender<()>>,
}

/// One message's share, released when it is dropped.
pub(super) struct Account {
    shares: Shares,
    settings: Arc<Settings>,
    owner: IpNet,
    octets: u64,
    is_large: bool,
    /// The upload's index, and the receiver of the request to leave.
    upload: Option<(usize, oneshot::Receiver<()>)>,
}

impl Shares {
    pub(super) fn account(&self, owner: IpNet, settings: Arc<Settings>) -> Account {
        Account { shares: self.clone(), settings, owner, octets: 0, is_large: false, upload: None }
    }

    /// Octets of all messages.
    pub(super) fn used(&self) -> u64 {
        self.lock().all.sum()
    }

    /// Octets of each network that has any.
    pub(super) fn by_network(&self) -> Vec<(IpNet, u64)> {
        self.lock().networks.iter().map(|(owner, octets)| (*owner, octets.sum())).collect()
    }

    /// Whether a message of so many octets would have room now.
    pub(super) fn has_room(&self, owner: IpNet, octets: u64, settings: &Settings) -> bool {
        self.lock().place(owner, Octets::default(), octets, settings).is_some()
    }

    /// Whether a message of so many octets would have room now. Where it has none because all is used up, the slowest are
    /// asked to leave.
    pub(super) fn fits(&self, owner: IpNet, octets: u64, settings: &Settings) -> bool {
        let mut state = self.lock();
        let fits = state.place(owner, Octets::default(), octets, settings).is_some();
        if !fits {
            state.make_room(octets, settings, now());
        }
        fits
    }

    /// Pressure on the room of large messages: 0 below three quarters, then one more for each sixteenth.
    pub(super) fn pressure(&self) -> u8 {
        self.0.pressure.load(Ordering::Relaxed)
    }

    /// The pressure, if it has changed since the last report.
    pub(super) fn news(&self) -> Option<u8> {
        let pressure = self.pressure();
        if self.0.told.load(Ordering::Relaxed) == pressure {
            return None;
        }
        (self.0.told.swap(pressure, Ordering::Relaxed) != pressure).then_some(pressure)
    }

    fn note_pressure(&self, state: &State, settings: &Settings) {
        let room = settings.total - reserve(settings);
        let before = self.pressure();
        let steps = |large: u64| pressure(large, room);
        // Hysteresis: the pressure falls only somewhat below the step at which it rose.
        let now = steps(state.all.large).max(before.min(steps(state.all.large.saturating_add(room / 32))));
        if now != before {
            self.0.pressure.store(now, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Octets of the message so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Adds so many octets to the share, or none of them.
    pub(super) fn reserve(&mut self, octets: u64) -> Result<(), HoldFault> {
        let shares = self.shares.clone();
        let mut state = shares.lock();
        let mine = self.mine();
        let sum = self.octets.saturating_add(octets);
        let Some(is_large) = state.place(self.owner, mine, sum, &self.settings) else {
            state.make_room(octets, &self.settings, now());
            return Err(HoldFault::NoRoom);
        };
        (self.octets, self.is_large) = (sum, is_large);
        state.change(self.owner, mine, self.mine());
        if is_large {
            let now = now();
            self.note_upload(&mut state, octets, now);
            state.make_room(0, &self.settings, now);
            shares.note_pressure(&state, &self.settings);
        }
        Ok(())
    }

    /// Marks the message as complete: it is not asked to leave any more.
    pub(super) fn complete(&mut self) {
        if let Some((place, _)) = self.upload.take() {
            self.shares.lock().uploads.remove(place);
        }
    }

    /// Ready when the message has to make room for others.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, leave)) = &mut self.upload else { return Poll::Pending };
        match Pin::new(leave).poll(cx) {
            Poll::Ready(Ok(())) => {
                self.complete();
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    fn mine(&self) -> Octets {
        if self.is_large { Octets { small: 0, large: self.octets } } else { Octets { small: self.octets, large: 0 } }
    }

    fn note_upload(&mut self, state: &mut State, octets: u64, now: Instant) {
        let place = match &self.upload {
            Some((place, _)) => *place,
            None => {
                let (leave, left) = oneshot::channel();
                let upload = Upload { octets: 0, began: now, window: 0, lately: 0, before: 0, leave: Some(leave) };
                let place = state.uploads.insert(upload);
                self.upload = Some((place, left));
                place
            }
        };
        let Some(upload) = state.uploads.get_mut(place) else { return };
        upload.note(octets, now);
        upload.octets = self.octets;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.octets == 0 {
            return;
        }
        let shares = self.shares.clone();
        let mut state = shares.lock();
        state.change(self.owner, self.mine(), Octets::default());
        if let Some((place, _)) = self.upload.take() {
            state.uploads.remove(place);
        }
        if self.is_large {
            shares.note_pressure(&state, &self.settings);
        }
    }
}

impl State {
    /// The class that a message with `mine` would be counted in at `sum` octets: `true` for large, `false` for small;
    /// `None` if it does not fit.
    fn place(&self, owner: IpNet, mine: Octets, sum: u64, settings: &Settings) -> Option<bool> {
        let network = self.networks.get(&owner).copied().unwrap_or_default();
        let (reserve, left) = (reserve(settings), settings.total.checked_sub((self.all - mine).sum() + sum));
        left?;
        let others = (self.all - mine, network - mine);
        let fits = |others: u64, of_network: u64, room: u64| {
            // A message that is alone has nobody to leave room for.
            (others == 0 || others + sum <= room) && (of_network == 0 || of_network + sum <= room / PARTS)
        };
        if mine.large == 0 && sum <= settings.memory && fits(others.0.small, others.1.small, reserve) {
            return Some(false);
        }
        fits(others.0.large, others.1.large, settings.total - reserve).then_some(true)
    }

    fn change(&mut self, owner: IpNet, before: Octets, after: Octets) {
        self.all = self.all - before + after;
        let network = self.networks.entry(owner).or_default();
        *network = *network - before + after;
        if network.sum() == 0 {
            self.networks.remove(&owner);
        }
    }

    /// Asks the slowest uploads to leave, until there is room for `wanted` more octets and a sixteenth besides; only
    /// uploads slower than the pressure allows.
    fn make_room(&mut self, wanted: u64, settings: &Settings, now: Instant) {
        let room = settings.total - reserve(settings);
        let enough = (room - room / 16).saturating_sub(wanted);
        if self.all.large <= enough || self.looked.is_some_and(|looked| now.duration_since(looked) < PAUSE) {
            return;
        }
        self.looked = Some(now);
        let leaving: u64 =
            self.uploads.iter().filter(|(_, upload)| upload.leave.is_none()).map(|(_, it)| it.octets).sum();
        let mut left = self.all.large.saturating_sub(leaving);
        let slowest_borne = settings.min_rate << HIGHEST_PRESSURE;
        let slow =
            |upload: &Upload| upload.leave.as_ref().and_then(|_| upload.rate(now)).filter(|it| *it < slowest_borne);
        let mut slow: Vec<_> = self.uploads.iter_mut().filter_map(|(_, it)| Some((slow(it)?, it))).collect();
        slow.sort_by_key(|(rate, upload)| (*rate, std::cmp::Reverse(upload.octets)));
        for (_, upload) in slow {
            if left <= enough {
                return;
            }
            // An upload that has ended meanwhile has left already.
            if upload.leave.take().is_some_and(|leave| leave.send(()).is_ok()) {
                left = left.saturating_sub(upload.octets);
            }
        }
    }
}

impl Upload {
    fn note(&mut self, octets: u64, now: Instant) {
        let window = self.window_at(now);
        if window != self.window {
            self.before = if window == self.window + 1 { self.lately } else { 0 };
            (self.window, self.lately) = (window, 0);
        }
        self.lately += octets;
    }

    /// Octets a second in the last whole window; `None` in the first.
    fn rate(&self, now: Instant) -> Option<u64> {
        let octets = match self.window_at(now).checked_sub(self.window)? {
            0 if self.window == 0 => return None,
            0 => self.before,
            1 => self.lately,
            _ => 0,
        };
        Some(octets / WINDOW.as_secs())
    }

    fn window_at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / WINDOW.as_secs()
    }
}

impl Octets {
    fn sum(self) -> u64 {
        self.small + self.large
    }
}

impl std::ops::Add for Octets {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { small: self.small + other.small, large: self.large + other.large }
    }
}

impl std::ops::Sub for Octets {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { small: self.small - other.small, large: self.large - other.large }
    }
}

/// Octets reserved for messages that stay in memory.
fn reserve(settings: &Settings) -> u64 {
    settings.total / 8
}

fn pressure(large: u64, room: u64) -> u8 {
    let sixteenths = (u128::from(large) * 16).checked_div(u128::from(room)).unwrap_or(0).min(16);
    u8::try_from(sixteenths.saturating_sub(11)).unwrap_or(0).min(HIGHEST_PRESSURE)
}

/// Part of `total` that one network may have: one in so many.
const PARTS: u64 = 4;
/// The highest pressure, at fifteen sixteenths and above.
const HIGHEST_PRESSURE: u8 = 4;
/// Time over which the rate of an upload is measured.
const WINDOW: Duration = Duration::from_secs(4);
/// Time between two searches for slow uploads.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::task::Waker;

    use super::*;

    const KIB: u64 = 1024;

    /// 64 KiB are kept for small ones, of 4 KiB each; of the rest one network has 112 KiB.
    fn settings() -> Arc<Settings> {
        let spool = std::env::temp_dir();
        Arc::new(Settings { memory: 4 * KIB, total: 512 * KIB, min_rate: 500, spool, min_free: 0, queue: None })
    }

    fn net(number: u8) -> IpNet {
        format!("192.0.{number}.0/24").parse().unwrap()
    }

    /// Messages of a network, each of so many octets, until there is no room.
    fn fill(shares: &Shares, number: u8, octets: u64) -> Vec<Account> {
        let full = |account: &mut Account| account.reserve(octets).is_err();
        let all = std::iter::repeat_with(|| shares.account(net(number), settings()));
        all.map_while(|mut account| (!full(&mut account)).then_some(account)).collect()
    }

    fn is_asked(account: &mut Account) -> bool {
        account.poll_leave(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn one_network_has_a_quarter_of_either_part() {
        let shares = Shares::default();
        let large = fill(&shares, 1, 8 * KIB);
        assert_eq!(shares.used(), 112 * KIB);
        let small = fill(&shares, 1, KIB);
        assert_eq!(shares.used(), 128 * KIB, "its small ones have their own");
        assert!(!shares.fits(net(1), 8 * KIB, &settings()) && shares.fits(net(2), 8 * KIB, &settings()));
        drop((large, small));
        assert_eq!((shares.used(), shares.lock().networks.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_network_may_always_have_one_message() {
        let shares = Shares::default();
        let mut only = shares.account(net(1), settings());
        only.reserve(500 * KIB).unwrap();
        assert!(only.reserve(13 * KIB).is_err(), "but no more than all");
        assert!(shares.account(net(1), settings()).reserve(8 * KIB).is_err());
        assert!(shares.account(net(2), settings()).reserve(8 * KIB).is_err());
        assert!(shares.account(net(2), settings()).reserve(4 * KIB).is_ok(), "a small one has room still");
    }

    #[tokio::test]
    async fn large_messages_leave_room_for_small_ones() {
        let shares = Shares::default();
        let large: Vec<_> = (1..=9).map(|number| fill(&shares, number, 8 * KIB)).collect();
        assert_eq!(shares.used(), 448 * KIB);
        let small: Vec<_> = (11..=19).map(|number| fill(&shares, number, KIB)).collect();
        assert_eq!((shares.used(), small.iter().map(Vec::len).sum::<usize>()), (512 * KIB, 64));
        drop(large);
        assert_eq!(shares.used(), 64 * KIB);
    }

    #[tokio::test]
    async fn one_that_grows_leaves_the_room_of_small_ones() {
        let shares = Shares::default();
        let mut grows = shares.account(net(1), settings());
        grows.reserve(3 * KIB).unwrap();
        assert_eq!(shares.lock().all, Octets { small: 3 * KIB, large: 0 });
        grows.reserve(2 * KIB).unwrap();
        assert_eq!(shares.lock().all, Octets { small: 0, large: 5 * KIB });
        grows.complete();
        assert_eq!(shares.lock().uploads.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_leave_when_it_is_nearly_full() {
        let shares = Shares::default();
        let mut dribbling = fill(&shares, 1, 27 * KIB);
        let mut complete = fill(&shares, 2, 28 * KIB);
        complete.iter_mut().for_each(Account::complete);
        let mut fast = fill(&shares, 3, 24 * KIB);
        assert_eq!((dribbling.len(), complete.len(), fast.len()), (4, 4, 4));
        for _ in 0..3 {
            tokio::time::advance(WINDOW).await;
            dribbling.iter_mut().for_each(|account| account.reserve(1).unwrap());
            fast.iter_mut().for_each(|account| account.reserve(KIB).unwrap());
        }
        assert_eq!(shares.pressure(), 0);
        tokio::time::advance(WINDOW).await;
        let _newcomers = fill(&shares, 4, 16 * KIB);
        assert_eq!(shares.pressure(), HIGHEST_PRESSURE);
        let asked =
            |accounts: &mut Vec<Account>| accounts.iter_mut().filter_map(|it| is_asked(it).then_some(())).count();
        let counts = [asked(&mut dribbling), asked(&mut complete), asked(&mut fast)];
        assert_eq!(counts, [1, 0, 0], "no more than there has to be room for");
        assert_eq!(shares.news(), Some(HIGHEST_PRESSURE));
        assert_eq!(shares.news(), None, "told once");
        drop(dribbling);
        drop(fast);
        assert_eq!((shares.pressure(), shares.news()), (0, Some(0)));
    }
}
