//! The status of each second, made once for everybody who looks: 100 open pages are one look a second, and none while
//! nobody looks. It must not be asked from a thread that serves mail.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::front::sessions::Order;
use crate::front::sessions::SessionView;
use crate::status::Handles;
use crate::status::Status;
use crate::store::clock::Time;
use crate::text::readable;

/// The last status that was made, and the way to the next ones.
pub(crate) struct Live {
    handles: Handles,
    made: Mutex<Made>,
    news: watch::Sender<Option<Arc<Published>>>,
}

#[derive(Default)]
struct Made {
    last: Option<(Time, Arc<Published>)>,
    /// Whether a task makes one each second.
    runs: bool,
}

/// A status, and its JSON, in which a terminal or a page shows strangers' words and does not obey them.
pub(crate) struct Published {
    pub(crate) status: Status,
    pub(crate) json: Bytes,
    /// The open sessions with the largest messages, and the number of all.
    pub(crate) sessions: (Vec<SessionView>, usize),
}

impl Live {
    /// Nothing was looked at yet.
    pub(crate) fn new(handles: Handles) -> Arc<Self> {
        Arc::new(Self { handles, made: Mutex::default(), news: watch::Sender::new(None) })
    }

    /// A status that is a second old at most.
    pub(crate) fn latest(&self) -> Arc<Published> {
        let now = self.handles.services.state.tables().clock.now();
        let mut made = self.lock();
        if let Some((at, last)) = &made.last
            && now.since(*at) < EVERY
        {
            return last.clone();
        }
        made.make(&self.handles, now)
    }

    /// The status of this moment.
    pub(crate) fn fresh(&self) -> Arc<Published> {
        let now = self.handles.services.state.tables().clock.now();
        self.lock().make(&self.handles, now)
    }

    /// The status of each second from now on, as long as the receiver is kept. To be called on a runtime, which makes them.
    pub(crate) fn subscribe(self: &Arc<Self>) -> watch::Receiver<Option<Arc<Published>>> {
        let receiver = self.news.subscribe();
        let runs = std::mem::replace(&mut self.lock().runs, true);
        if !runs {
            tokio::spawn(self.clone().publish());
        }
        receiver
    }

    /// Until nobody looks any more.
    async fn publish(self: Arc<Self>) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            {
                let mut made = self.lock();
                if self.news.receiver_count() == 0 {
                    made.runs = false;
                    return;
                }
            }
            self.news.send_replace(Some(self.latest()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    fn make(&mut self, handles: &Handles, now: Time) -> Arc<Published> {
        let published = Arc::new(Published::of(handles));
        self.last = Some((now, published.clone()));
        published
    }
}

impl Published {
    fn of(handles: &Handles) -> Self {
        let status = Status::of(handles);
        let mut text = String::new();
        // A status holds nothing that JSON has no form for.
        readable::write_json(&mut text, &serde_json::to_string(&status).unwrap_or_default());
        Self { status, json: text.into(), sessions: handles.acceptor.sessions(MOST_SESSIONS, Order::Largest) }
    }
}

const EVERY: Duration = Duration::from_secs(1);
const MOST_SESSIONS: usize = 20;
