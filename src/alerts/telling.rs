//! The loop of the alerts: looks at the problems, tells what is due, sends it, and tries again. Each alert has events of its
//! own, so that one that does not answer holds up no other. It must not wait for a receiver.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::alerts;
use crate::alerts::Outcome;
use crate::alerts::due::Due;
use crate::alerts::due::Kept;
use crate::alerts::event::Event;
use crate::alerts::event::What;
use crate::alerts::memory::Memory;
use crate::alerts::outbox::Fate;
use crate::alerts::outbox::Outbox;
use crate::config::checked::alert::Alert;
use crate::status::Handles;

/// Tells of the problems until the process ends, to the alerts that are configured.
pub(super) async fn tell(handles: Handles, mut alerts: watch::Receiver<Vec<Alert>>, memory: Option<PathBuf>) {
    let mut desk = Desk { handles, posts: Vec::new(), sending: JoinSet::new(), memory: Memory::open(memory) };
    desk.adopt(alerts.borrow_and_update().clone());
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = alerts.changed() => match changed {
                Ok(()) => desk.adopt(alerts.borrow_and_update().clone()),
                // The daemon has ended.
                Err(_) => return,
            },
            _ = look.tick(), if !desk.posts.is_empty() => desk.look(),
            Some(done) = desk.sending.join_next() => done.into_iter().for_each(|(name, event, outcome)| {
                desk.done(&name, &event, &outcome);
            }),
        }
        desk.send();
        desk.memory.keep(desk.posts.iter().map(|post| (post.alert.name.as_str(), post.kept())));
    }
}

struct Desk {
    handles: Handles,
    posts: Vec<Post>,
    /// One of each alert at most.
    sending: JoinSet<(String, Event, Outcome)>,
    memory: Memory,
}

/// One alert.
struct Post {
    alert: Alert,
    due: Due,
    outbox: Outbox,
}

impl Desk {
    /// Other alerts are configured. One that has its name still goes on where it was.
    fn adopt(&mut self, alerts: Vec<Alert>) {
        let mut before = std::mem::take(&mut self.posts);
        for alert in alerts {
            let known = before.iter().position(|post| post.alert.name == alert.name);
            let post = match known.map(|at| before.swap_remove(at)) {
                Some(post) => Post { alert, ..post },
                None => Post { due: self.memory.take(&alert.name), alert, outbox: Outbox::default() },
            };
            self.posts.push(post);
        }
        for post in &before {
            post.outbox
                .waiting()
                .for_each(|event| self.drop(&post.alert, event, "the alert is not configured any more"));
        }
    }

    fn look(&mut self) {
        let problems = self.handles.problems.look(&self.handles);
        let (now, host) = (self.now(), self.handles.in_force.borrow().host.clone());
        let mut posts = std::mem::take(&mut self.posts);
        for Post { alert, due, outbox } in &mut posts {
            for news in due.next(alert, &problems, now) {
                let event = Event::new(news.what, &news.problem, news.ended, &host, now);
                let dropped = outbox.push(event);
                dropped.iter().for_each(|event| self.drop(alert, event, "too many events wait"));
            }
        }
        self.posts = posts;
    }

    fn send(&mut self) {
        let now = self.now();
        for post in &mut self.posts {
            if let Some(event) = post.outbox.take(now) {
                let alert = post.alert.clone();
                self.sending.spawn(async move {
                    let name = alert.name.clone();
                    let sent = tokio::spawn({
                        let event = event.clone();
                        async move { alerts::send(&alert, &event).await }
                    });
                    // The event must come back even from a fault in sending it, or its alert would wait for good.
                    let outcome = sent.await.unwrap_or_else(|error| Outcome::Later(error.to_string(), None));
                    (name, event, outcome)
                });
            }
        }
    }

    fn done(&mut self, name: &str, event: &Event, outcome: &Outcome) {
        let now = self.now();
        let Some(post) = self.posts.iter_mut().find(|post| post.alert.name == name) else { return };
        if !post.outbox.is_sending(event) {
            // It was of an alert that had this name before.
            return;
        }
        let fate = post.outbox.done(outcome, now);
        let (alert, to) = (name, post.alert.channel.target());
        let Event { kind, subject, .. } = event;
        let what = event.what.as_str();
        let metrics = &self.handles.services.reports.metrics;
        match (fate, outcome) {
            (Fate::Sent, _) if event.what == What::GoesOn => {
                metrics.alert_sent();
                tracing::debug!(alert, to, kind, subject, "alert sent again");
            }
            (Fate::Sent, _) | (_, Outcome::Sent(_)) => {
                metrics.alert_sent();
                tracing::info!(alert, to, event = what, kind, subject, "alert sent");
            }
            (Fate::Later { seconds, tries }, Outcome::Later(error, _) | Outcome::Never(error)) => {
                metrics.alert_failed();
                match tries {
                    1 => tracing::warn!(alert, to, event = what, kind, subject, error, seconds, "alert not sent"),
                    _ => {
                        tracing::debug!(alert, to, event = what, kind, subject, error, seconds, "alert still not sent")
                    }
                }
            }
            (Fate::GivenUp, Outcome::Later(error, _) | Outcome::Never(error)) => {
                metrics.alert_failed();
                metrics.alert_dropped();
                tracing::error!(alert, to, event = what, kind, subject, error, "alert given up");
            }
        }
    }

    fn drop(&self, alert: &Alert, event: &Event, why: &str) {
        self.handles.services.reports.metrics.alert_dropped();
        let (name, to) = (alert.name.as_str(), alert.channel.target());
        let Event { kind, subject, .. } = event;
        tracing::warn!(alert = name, to, event = event.what.as_str(), kind, subject, why, "alert dropped");
    }

    fn now(&self) -> u32 {
        self.handles.services.state.tables().clock.now().seconds()
    }
}

impl Post {
    /// What the next process has to know: what was told has to be sent as well.
    fn kept(&self) -> Vec<Kept> {
        let waits =
            |what: What, kept: &Kept| self.outbox.waiting().any(|event| event.what == what && kept.is_of(event));
        let ended = self.outbox.waiting().filter(|event| event.is_resolved()).filter_map(Kept::of_event);
        self.due.kept().into_iter().chain(ended).filter(|kept| !waits(What::Began, kept)).collect()
    }
}

/// Between two looks at the problems.
const EVERY: Duration = Duration::from_secs(2);
