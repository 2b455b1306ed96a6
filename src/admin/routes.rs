//! What the admin interface answers. A browser on this host may be anybody's: Host and Origin are checked, and every
//! change over TCP needs the token.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::Query;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware;
use axum::middleware::Next;
use axum::response::Html;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::admin::metrics;
use crate::admin::page;
use crate::admin::places::Visit;
use crate::policy::block::BlockKey;
use crate::policy::throttle::Throttle;
use crate::rehearsal::message::Message;
use crate::rehearsal::told::Teller;
use crate::report::metrics::families::Format;
use crate::status::Handles;
use crate::status::Status;
use crate::status::live::Live;
use crate::store::blocks::Block;
use crate::text::readable;

/// What the handlers of one listener's requests share.
#[derive(Clone)]
pub(super) struct AppState {
    pub(super) handles: Handles,
    pub(super) live: Arc<Live>,
    /// `None`: the socket's mode is enough.
    pub(super) token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NewBlock {
    key: String,
    seconds: u64,
    #[serde(default)]
    why: String,
}

#[derive(Debug, Deserialize)]
struct OldBlock {
    key: String,
}

/// A [`Message`], as JSON.
#[derive(Debug, Deserialize)]
struct Asked {
    message: String,
}

/// A new block, and when the one with its key would have ended whose place it took.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    block: Block,
    before: Option<u32>,
}

pub(super) fn router(app: AppState) -> Router {
    Router::new()
        .route("/", get(async |State(app): State<AppState>| Html(page::page(&app.handles))))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/status", get(status))
        .route("/api/standing", get(rehearse))
        .route("/api/blocks", get(blocks).post(block).delete(unblock))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

async fn guard(
    State(app): State<AppState>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
    next: Next,
) -> Response {
    visit.has_asked(app.token.as_ref().is_none_or(|token| has_token(request.headers(), token)));
    if let Some(token) = &app.token {
        let headers = request.headers();
        // A name that leads here from outside (DNS rebinding), or another page's script.
        if !is_our_host(headers) || !is_our_origin(headers) {
            return (StatusCode::FORBIDDEN, "this interface is for this host only\n").into_response();
        }
        if request.method() != Method::GET && !has_token(headers, token) {
            return (StatusCode::UNAUTHORIZED, format!("{NEEDS_TOKEN}\n")).into_response();
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn ready(State(app): State<AppState>) -> Response {
    let status = Status::of(&app.handles);
    let reasons = status.not_ready();
    match reasons.is_empty() {
        true => format!("ready\n{}", status.remarks()).into_response(),
        false => {
            let text = format!("not ready: {}\n{}", reasons.join("; "), status.remarks());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn scrape(State(app): State<AppState>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match metrics::metrics(&app.handles, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn status(State(app): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.live.latest().json.clone()).into_response()
}

async fn blocks(State(app): State<AppState>) -> Response {
    shown(&app.handles.services.state.tables().blocks.list())
}

/// What the state answers to the session of a message that has not come, whose octets are the body.
async fn rehearse(State(app): State<AppState>, Query(asked): Query<Asked>, mut body: Body) -> Response {
    let message = serde_json::from_str(&asked.message).map_err(|error| error.to_string());
    let script = match message.and_then(Message::script) {
        Ok(script) => script,
        Err(what) => return (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response(),
    };
    let mut rehearsal = Teller::rehearse(app.handles.services, &script);
    // To its end: a client hears no answer while it writes.
    while let Some(Ok(frame)) = body.frame().await {
        frame.data_ref().into_iter().for_each(|octets| rehearsal.hear(octets));
    }
    let (steps, teller) = rehearsal.end();
    shown(&teller.told(steps))
}

/// Durable before it is answered.
async fn block(State(app): State<AppState>, Json(new): Json<NewBlock>) -> Response {
    let key: BlockKey = match new.key.parse() {
        Ok(key) => key,
        Err(what) => return (StatusCode::BAD_REQUEST, format!("{:?}: {what}\n", new.key)).into_response(),
    };
    if let Some(what) = key.doubt() {
        return (StatusCode::BAD_REQUEST, format!("{:?}: {what}\n", new.key)).into_response();
    }
    let fault = match () {
        () if new.seconds == 0 => Some("a block needs a time of a second or more"),
        () if new.why.len() > LONGEST_WHY => Some("why is too long: write 500 octets at most"),
        () if new.why.contains(char::is_control) => {
            Some("why has a control character in it: write one line without tabs")
        }
        () => None,
    };
    if let Some(fault) = fault {
        return (StatusCode::BAD_REQUEST, format!("{fault}\n")).into_response();
    }
    let state = &app.handles.services.state;
    let Ok((block, before)) = state.tables().blocks.add(&key, Duration::from_secs(new.seconds), &new.why) else {
        return (StatusCode::INSUFFICIENT_STORAGE, "too many blocks; unblock some, or use badmailfrom\n")
            .into_response();
    };
    tracing::info!(key = block.key, seconds = new.seconds, why = new.why, "block");
    match state.flush().await {
        true => Json(Made { block, before }).into_response(),
        false => {
            (StatusCode::INTERNAL_SERVER_ERROR, "blocked, but not written: a restart forgets it\n").into_response()
        }
    }
}

async fn unblock(State(app): State<AppState>, Query(old): Query<OldBlock>) -> Response {
    let state = &app.handles.services.state;
    let key = BlockKey::spelling(&old.key);
    let Some(block) = state.tables().blocks.remove(&key) else {
        return count_anew(&app, &old.key).await;
    };
    // Else its next try would be over the limit still, and blocked again for twice as long.
    if let Some(throttled) = block.throttled {
        state.tables().throttles.forget(throttled);
    }
    tracing::info!(key, "unblock");
    match state.flush().await {
        true => Json(block).into_response(),
        false => {
            (StatusCode::INTERNAL_SERVER_ERROR, "lifted, but not written: a restart brings it back\n").into_response()
        }
    }
}

/// What is not blocked may be counted: by the throttle whose name stands before a colon, else by any.
async fn count_anew(app: &AppState, key: &str) -> Response {
    let state = &app.handles.services.state;
    let snapshot = app.handles.services.snapshot.borrow().clone();
    let named = key.split_once(':');
    let of_label = |throttle: &Throttle| {
        let label = named.filter(|(name, _)| **name == *throttle.name).map_or(key, |(_, label)| label);
        let found = throttle.key_of_label(&state.tables().seed, label)?;
        state.tables().throttles.forget(found.exact).then(|| throttle.name.to_string())
    };
    let throttles: Vec<String> = snapshot.policy.throttles.iter().filter_map(of_label).collect();
    if throttles.is_empty() {
        let remedy = "see `blocks`; `explain --sender A --client IP` shows what refuses that mail";
        return (StatusCode::NOT_FOUND, format!("no block or throttle applies to {key}: {remedy}\n")).into_response();
    }
    tracing::info!(key, throttles = throttles.join(","), "unblock");
    match state.flush().await {
        true => Json(json!({ "key": key, "throttles": throttles })).into_response(),
        false => (StatusCode::INTERNAL_SERVER_ERROR, "lifted, but not written: a restart may bring it back\n")
            .into_response(),
    }
}

/// JSON that a terminal shows and does not obey, whatever strangers have written.
fn shown(value: &impl Serialize) -> Response {
    let mut text = String::new();
    match serde_json::to_string(value) {
        Ok(json) => readable::write_json(&mut text, &json),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn is_our_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_our_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    match (headers.get(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.as_bytes() == format!("http://{host}").as_bytes(),
        _ => false,
    }
}

/// Compared by their hashes, which takes as long whatever they have in common.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    given.is_some_and(|given| blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes()))
}

/// The answer to a change without the token.
pub(super) const NEEDS_TOKEN: &str = "a change needs the token of admin.token_file";
/// A body of a request, and a reason, in octets.
const LARGEST_BODY: usize = 16 * 1024;
const LONGEST_WHY: usize = 500;

/// The body of a request for a block.
pub(super) fn new_block(key: &str, seconds: u64, why: &str) -> String {
    json!({ "key": key, "seconds": seconds, "why": why }).to_string()
}
