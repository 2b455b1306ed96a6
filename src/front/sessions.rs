//! What every session does now, as a list for the operator. Each session keeps its own entry, under a lock that only it
//! and a listing take. It must not hold more than one entry's lock at a time, nor keep anything of a session that has
//! ended.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;
use utoipa::ToSchema;

use crate::session::activity::Activity;
use crate::session::activity::Phase;
use crate::session::activity::Sender;
use crate::store::clock::Time;

/// One session as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionView {
    /// The session's id, as replies and log lines show it.
    pub id: String,
    /// The client's address.
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// The client's name for itself.
    pub helo: Option<String>,
    /// The protocol version of TLS.
    pub tls: Option<&'static str>,
    /// The user, once AUTH has succeeded.
    pub user: Option<String>,
    /// `connected`, `handshake`, `auth`, `idle`, `mail`, `rcpt`, `data`, `ruling`, `backend` or `closing`.
    pub phase: &'static str,
    /// The sender of the transaction that runs, in angle brackets.
    pub sender: Option<String>,
    /// Recipients that were accepted in it.
    pub recipients: u32,
    /// Octets of its message so far.
    pub octets: u64,
    /// When the session began, in seconds since the epoch.
    pub since: u32,
}

/// Which sessions come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those with the largest message on its way.
    Largest,
    /// Those that have lasted longest.
    Longest,
}

/// What one session does, kept by itself. Empty until the session has begun.
#[derive(Debug, Default)]
pub(super) struct Entry(Mutex<Option<Doing>>);

#[derive(Debug)]
struct Doing {
    id: Arc<str>,
    helo: Option<Arc<str>>,
    tls: Option<&'static str>,
    user: Option<Arc<str>>,
    sender: Option<Sender>,
    octets: u64,
    recipients: u32,
    since: Time,
    client: IpAddr,
    phase: Phase,
}

impl Entry {
    /// The session of `client` begins.
    pub(super) fn begin(&self, activity: &Activity<'_>, client: IpAddr, since: Time) {
        let (id, phase) = (activity.id.clone(), activity.phase);
        let (helo, tls, user, sender) = (None, None, None, None);
        let doing = Doing { id, helo, tls, user, sender, octets: 0, recipients: 0, since, client, phase };
        *self.lock() = Some(doing);
        self.note(activity);
    }

    /// Notes what the session does now. Only what has changed is written.
    pub(super) fn note(&self, activity: &Activity<'_>) {
        let mut entry = self.lock();
        let Some(doing) = &mut *entry else { return };
        doing.phase = activity.phase;
        doing.octets = activity.octets;
        doing.recipients = u32::try_from(activity.recipients).unwrap_or(u32::MAX);
        doing.tls = activity.tls;
        renew(&mut doing.helo, activity.helo);
        doing.sender.clone_from(&activity.sender);
        if doing.user.as_deref() != activity.user {
            doing.user = activity.user.map(Arc::from);
        }
    }

    pub(super) fn has_id(&self, id: &str) -> bool {
        self.lock().as_ref().is_some_and(|doing| *doing.id == *id)
    }

    pub(super) fn view(&self) -> Option<SessionView> {
        let entry = self.lock();
        let doing = entry.as_ref()?;
        Some(SessionView {
            id: doing.id.to_string(),
            client: doing.client,
            helo: doing.helo.as_deref().map(str::to_owned),
            tls: doing.tls,
            user: doing.user.as_deref().map(str::to_owned),
            phase: doing.phase.word(),
            sender: doing.sender.as_ref().map(Sender::to_string),
            recipients: doing.recipients,
            octets: doing.octets,
            since: doing.since.seconds(),
        })
    }

    /// What the entry is sorted by.
    fn rank(&self, order: Order) -> Option<(Reverse<u64>, Time)> {
        let entry = self.lock();
        let doing = entry.as_ref()?;
        let octets = if order == Order::Largest { doing.octets } else { 0 };
        Some((Reverse(octets), doing.since))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Doing>> {
        // Each field is replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first `most` sessions in this order, and the number of all.
pub(super) fn first<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    most: usize,
    order: Order,
) -> (Vec<SessionView>, usize) {
    let ranked = entries.filter_map(|entry| Some((entry.rank(order)?, entry)));
    let mut ranked: Vec<_> = ranked.collect();
    let total = ranked.len();
    ranked.sort_by_key(|(rank, _)| *rank);
    (ranked.into_iter().take(most).filter_map(|(_, entry)| entry.view()).collect(), total)
}

/// The same value is mostly the same allocation.
fn renew<T: ?Sized>(kept: &mut Option<Arc<T>>, now: Option<&Arc<T>>) {
    let is_same = match (&*kept, now) {
        (Some(kept), Some(now)) => Arc::ptr_eq(kept, now),
        (None, None) => true,
        _ => false,
    };
    if !is_same {
        *kept = now.cloned();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_or_the_longest_come_first_and_all_are_counted() {
        let entries = [("a", 3, 0), ("b", 1, 700), ("c", 2, 34_000), ("d", 4, 0)].map(entry);
        let not_begun = Entry::default();
        let table = [
            ("largest", Order::Largest, 3, "c b a"),
            ("longest", Order::Longest, 3, "b c a"),
            ("all", Order::Largest, 9, "c b a d"),
            ("none", Order::Longest, 0, ""),
        ];
        for (what, order, most, expected) in table {
            let (sessions, total) = first(entries.iter().chain([&not_begun]), most, order);
            let ids: Vec<_> = sessions.iter().map(|session| session.id.as_str()).collect();
            assert_eq!((ids.join(" ").as_str(), total), (expected, 4), "{what}");
        }
    }

    #[test]
    fn what_has_changed_is_shown_and_what_is_over_goes() {
        let (entry, helo, id) = (entry(("a", 7, 0)), Arc::from("mx.example"), Arc::from("a"));
        assert_eq!(entry.view().unwrap().phase, "connected");
        let heard = Activity { helo: Some(&helo), user: Some("joe"), phase: Phase::Data, recipients: 2, ..quiet(&id) };
        entry.note(&Activity { octets: 5, ..heard });
        let view = entry.view().unwrap();
        assert_eq!((view.helo.as_deref(), view.user.as_deref()), (Some("mx.example"), Some("joe")));
        assert_eq!((view.phase, view.recipients, view.octets, view.since), ("data", 2, 5, 7));
        entry.note(&quiet(&id));
        let view = entry.view().unwrap();
        assert_eq!((view.helo, view.user, view.recipients, view.octets), (None, None, 0, 0));
    }

    #[test]
    fn an_idle_session_pays_little_for_it() {
        assert_eq!(size_of::<Entry>(), 120, "octets beside the session");
    }

    fn entry((id, since, octets): (&str, u32, u64)) -> Entry {
        let (entry, id) = (Entry::default(), Arc::from(id));
        let activity = Activity { octets, ..quiet(&id) };
        entry.begin(&activity, IpAddr::from([192, 0, 2, 1]), Time::from_seconds(since));
        entry
    }

    fn quiet(id: &Arc<str>) -> Activity<'_> {
        let (helo, tls, user, sender) = (None, None, None, None);
        Activity { id, helo, tls, user, phase: Phase::Connected, sender, recipients: 0, octets: 0 }
    }
}
