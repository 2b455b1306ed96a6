//! What is said in one session, as it is said. It must not show what a terminal would obey, nor hold the session up.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::json;
use crate::admin::api::sessions::Id;
use crate::admin::api::sessions::not_open;
use crate::admin::places::Visit;
use crate::admin::stream;
use crate::admin::stream::Event;
use crate::admin::stream::Source;
use crate::front::following::Follower;
use crate::front::following::MOST;
use crate::front::following::News;
use crate::front::following::Refused;
use crate::front::following::Spoken;
use crate::text::number;
use crate::text::readable;

/// A line of a conversation: the data of an event `line`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Line {
    /// When it was said, in milliseconds since the epoch. One of the proxy about lines that were not shown has none.
    time: Option<i64>,
    /// Whose line it is: `client`, `backend`, or `proxy` for what happens.
    side: &'static str,
    /// `from` that side, or `to` it; an event of the proxy has none.
    direction: Option<&'static str>,
    /// The text. Secrets are masked, and of a message only its size is told.
    text: String,
}

/// The end of a conversation: the data of an event `end`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct End {
    /// The session's id.
    session: String,
}

/// What is said in a session, as server-sent events
///
/// `line` for each command and reply of client and backend, and what happens between them, from the session's next event
/// on; `end` when the session is over, and with it the answer. AUTH is masked, and of a message only its size is told.
/// A reader that is slow misses lines, and is told how many; one that reads nothing for 10 seconds is dropped.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/events", tag = "status", security(("token" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = 404, body = crate::admin::answer::Failure, description = "No session with this id is open")))]
pub(super) async fn events(
    State(app): State<App>,
    Extension(visit): Extension<Arc<Visit>>,
    Id(session): Id,
) -> Result<Response, Fault> {
    let follower = app.handles.acceptor.follow(&session).map_err(|refused| match refused {
        Refused::Unknown => not_open(&session),
        Refused::TooMany => {
            let told = format!("{MOST} conversations are followed already, which is the most");
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, told).remedy("end one, or try again later").wait(10)
        }
    })?;
    stream::answer(&app.limits, visit, Conversation { session, follower: Some(follower) })
}

struct Conversation {
    session: String,
    /// `None`: the end was told.
    follower: Option<Follower>,
}

impl Source for Conversation {
    async fn next(&mut self) -> Option<Vec<Event>> {
        let follower = self.follower.as_mut()?;
        let Some(first) = follower.next().await else {
            self.follower = None;
            let end = data(&End { session: self.session.clone() });
            return Some(vec![Event { name: "end", data: end }]);
        };
        // What is there already goes with it.
        let more = std::iter::from_fn(|| follower.try_next()).take(AT_ONCE);
        Some(std::iter::once(first).chain(more).map(|news| Event { name: "line", data: data(&line(news)) }).collect())
    }
}

fn line(news: News) -> Line {
    match news {
        News::Spoken(Spoken { time, side, direction, text }) => {
            Line { time: Some(time), side, direction, text: readable::text(&text) }
        }
        News::Lost(lost) => {
            let (lines, were) = (number::count(lost, "line"), if lost == 1 { "was" } else { "were" });
            let text = format!("{lines} {were} not shown: the reader is too slow");
            Line { time: None, side: "proxy", direction: None, text }
        }
    }
}

fn data(value: &impl Serialize) -> Bytes {
    json(value).unwrap_or_default().into()
}

/// Lines that are made into events together.
const AT_ONCE: usize = 32;
