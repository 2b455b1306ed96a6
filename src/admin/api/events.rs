//! The status of each second and the records since the last, for the page. It must not make them for each stream.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::watch;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::json;
use crate::admin::api::records::Records;
use crate::admin::api::records::USUAL;
use crate::admin::places::Visit;
use crate::admin::stream;
use crate::admin::stream::Event;
use crate::admin::stream::Source;
use crate::report::recent::Entry;
use crate::report::recent::Recent;
use crate::status::live::Published;

/// What happens, as server-sent events
///
/// `status` has the same as `/api/v1/status`, at once and then every second; `records` has the records since the last, as
/// `/api/v1/records`, at most 100. A reader that is slow misses some; one that reads nothing for 10 seconds is dropped.
#[utoipa::path(get, path = "/api/v1/events", tag = "status",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(State(app): State<App>, Extension(visit): Extension<Arc<Visit>>) -> Result<Response, Fault> {
    let last = app.handles.services.reports.recent.last();
    let seconds = Seconds { first: Some(app.live.latest()), status: app.live.subscribe(), last, app: app.clone() };
    stream::answer(&app.limits, visit, seconds)
}

struct Seconds {
    first: Option<Arc<Published>>,
    status: watch::Receiver<Option<Arc<Published>>>,
    /// The number of the last record that was sent.
    last: u64,
    app: App,
}

impl Source for Seconds {
    async fn next(&mut self) -> Option<Vec<Event>> {
        let published = match self.first.take() {
            Some(first) => first,
            None => {
                self.status.changed().await.ok()?;
                self.status.borrow_and_update().clone()?
            }
        };
        let recent = &self.app.handles.services.reports.recent;
        let (last, records) = self.app.news.since(self.last, &published, recent);
        self.last = last;
        let status = Event { name: "status", data: published.json.clone() };
        Some(std::iter::once(status).chain(records.map(|data| Event { name: "records", data })).collect())
    }
}

/// The records of the last second in one form, for all streams.
pub(in crate::admin) struct News {
    /// What is made of records.
    form: fn(&[Entry]) -> Option<Bytes>,
    second: Mutex<Second>,
}

#[derive(Default)]
struct Second {
    /// What was published at its end.
    published: Option<Arc<Published>>,
    /// The number of its last record.
    last: u64,
    /// What was made of it: the records after such a number.
    made: Vec<(u64, Option<Bytes>)>,
}

impl News {
    pub(in crate::admin) fn of(form: fn(&[Entry]) -> Option<Bytes>) -> Self {
        Self { form, second: Mutex::default() }
    }

    /// Records as JSON.
    pub(in crate::admin) fn json() -> Self {
        Self::of(|records| json(&Records { records: records.to_vec() }).map(Bytes::from))
    }

    /// The number of the last record of the second that ended with `published`, and the records up to it after number `from`.
    pub(in crate::admin) fn since(
        &self,
        from: u64,
        published: &Arc<Published>,
        recent: &Recent,
    ) -> (u64, Option<Bytes>) {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if !second.published.as_ref().is_some_and(|it| Arc::ptr_eq(it, published)) {
            *second = Second { published: Some(published.clone()), last: recent.last(), made: Vec::new() };
        }
        let last = second.last;
        if let Some((_, made)) = second.made.iter().find(|(it, _)| *it == from) {
            return (last.max(from), made.clone());
        }
        let mut records = if last > from { recent.since(from, USUAL) } else { Vec::new() };
        records.retain(|record| record.number <= last);
        let made = if records.is_empty() { None } else { (self.form)(&records) };
        if second.made.len() < MOST_MADE {
            second.made.push((from, made.clone()));
        }
        (last.max(from), made)
    }
}

/// Streams that begin in the same second begin at different records.
const MOST_MADE: usize = 8;
