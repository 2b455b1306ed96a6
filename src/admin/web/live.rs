//! What of the page changes each second, as server-sent events: `page` with HTML of all parts but the records, and `rows`
//! with those of new records. It must not make them for each stream.

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
use crate::admin::api::events::News;
use crate::admin::places::Visit;
use crate::admin::stream;
use crate::admin::stream::Event;
use crate::admin::stream::Source;
use crate::admin::web;
use crate::admin::web::page;
use crate::admin::web::rows;
use crate::report::recent::Entry;
use crate::status::live::Published;

/// The events of an open page.
pub(in crate::admin) async fn events(
    State(app): State<App>,
    Extension(visit): Extension<Arc<Visit>>,
) -> Result<Response, Fault> {
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
        let (last, rows) = self.app.rows.since(self.last, &published, &self.app.handles.services.reports.recent);
        self.last = last;
        let page = self.app.painted.of(&self.app, &published)?;
        let page = Event { name: "page", data: page };
        Some(std::iter::once(page).chain(rows.map(|data| Event { name: "rows", data })).collect())
    }
}

/// The page of the last second, for all streams.
#[derive(Default)]
pub(in crate::admin) struct Painted(Mutex<Option<(Arc<Published>, Bytes)>>);

impl Painted {
    /// The page of `published`; `None` when it cannot be made.
    fn of(&self, app: &App, published: &Arc<Published>) -> Option<Bytes> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, page)) = &*made
            && Arc::ptr_eq(of, published)
        {
            return Some(page.clone());
        }
        let html = page::page(web::shown(app, published, false)).ok()?;
        let page = line(&html);
        *made = Some((published.clone(), page.clone()));
        Some(page)
    }
}

/// New records as rows of their table.
pub(in crate::admin) fn news() -> News {
    News::of(|records: &[Entry]| page::rows(rows::records(records, "")).ok().map(|html| line(&html)))
}

/// HTML as the data of an event, which has no line ends. In HTML they are as good as blanks, and strangers' are written out.
fn line(html: &str) -> Bytes {
    html.replace('\n', " ").into()
}
