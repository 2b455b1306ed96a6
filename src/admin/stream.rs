//! Answers that go on: server-sent events (HTML, section 9.2). A stream has one of a bounded number of places, and sends
//! what others send too, but for the few that follow a session. It must not know what the events are about.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::admin::answer::Fault;
use crate::admin::limits::Limits;
use crate::admin::limits::MOST_STREAMS;
use crate::admin::places::Visit;

/// Where a stream's events come from.
pub(super) trait Source: Send + 'static {
    /// The next events; `None` when there are no more. It is dropped and called again when nothing came for a while.
    fn next(&mut self) -> impl Future<Output = Option<Vec<Event>>> + Send;
}

/// An event with its data, which has no line ends.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) data: Bytes,
}

/// A stream that is being sent.
struct Sending<S> {
    source: S,
    /// What is to be sent before the next events.
    pieces: VecDeque<Bytes>,
    _place: Taken,
}

/// A stream's place, free again when it is dropped.
struct Taken {
    visit: Arc<Visit>,
    _permit: OwnedSemaphorePermit,
}

/// The answer with all events of a source.
///
/// # Errors
/// There are too many streams.
pub(super) fn answer(limits: &Limits, visit: Arc<Visit>, source: impl Source) -> Result<Response, Fault> {
    let Some(permit) = limits.stream(visit.has_token()) else {
        let told = format!("all {MOST_STREAMS} streams are in use");
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, told)
            .remedy("close a page, or try again later")
            .wait(10));
    };
    visit.streams(true);
    let pieces = VecDeque::from([Bytes::from_static(RETRY)]);
    let sending = Sending { source, pieces, _place: Taken { visit, _permit: permit } };
    let body = Body::from_stream(stream::unfold(sending, async |mut sending| {
        let piece = sending.next().await?;
        Some((Ok::<_, Infallible>(piece), sending))
    }));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

impl<S: Source> Sending<S> {
    async fn next(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            match timeout(HEARTBEAT, self.source.next()).await {
                Ok(events) => events?.into_iter().for_each(|event| self.add(event)),
                Err(_) => self.pieces.push_back(Bytes::from_static(b":\n\n")),
            }
        }
        // A source may have nothing to say; an empty piece says so.
        Some(self.pieces.pop_front().unwrap_or_default())
    }

    fn add(&mut self, Event { name, data }: Event) {
        let name = [b"event: ", name.as_bytes(), b"\ndata: "].concat();
        self.pieces.extend([Bytes::from(name), data, Bytes::from_static(b"\n\n")]);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.visit.streams(false);
    }
}

/// Milliseconds until a browser connects again.
const RETRY: &[u8] = b"retry: 2000\n\n";
/// Silence after which a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
