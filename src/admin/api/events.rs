//! The status of each second as it is made, for the page. It must not make one for each stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use tokio::sync::watch;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::places::Visit;
use crate::admin::stream;
use crate::admin::stream::Event;
use crate::admin::stream::Source;
use crate::status::live::Published;

/// What happens, as server-sent events
///
/// `status` has the same as `/api/v1/status`, once a second. A reader that is slow misses some; one that reads nothing for
/// 10 seconds is dropped.
#[utoipa::path(get, path = "/api/v1/events", tag = "status",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(State(app): State<App>, Extension(visit): Extension<Arc<Visit>>) -> Result<Response, Fault> {
    stream::answer(&app.limits, visit, Seconds { status: app.live.subscribe() })
}

struct Seconds {
    status: watch::Receiver<Option<Arc<Published>>>,
}

impl Source for Seconds {
    async fn next(&mut self) -> Option<Vec<Event>> {
        self.status.changed().await.ok()?;
        let published = self.status.borrow_and_update().clone();
        Some(published.map(|published| Event { name: "status", data: published.json.clone() }).into_iter().collect())
    }
}
