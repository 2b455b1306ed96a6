//! What the admin interface answers. A browser on this host may be anybody's: Host and Origin are checked, and every
//! change over TCP needs the token.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
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
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::front::Services;
use crate::front::Stop;
use crate::front::accept::Door;
use crate::policy::block::BlockKey;
use crate::report::storms::Storm;

/// What is looked at.
#[derive(Clone)]
pub(in crate::ops) struct Parts {
    pub(in crate::ops) services: Arc<Services>,
    pub(in crate::ops) door: Arc<Door>,
}

/// One listener's.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) parts: Parts,
    /// `None`: the socket's mode is enough.
    pub(super) token: Option<String>,
}

/// What happens now.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    connections: usize,
    held_octets: u64,
    blocks: usize,
    throttle_keys: usize,
    ledger_entries: usize,
    unacknowledged: usize,
    /// `ok`, `degraded` when the last write failed, `memory`.
    state: &'static str,
    stopping: bool,
    storms: Vec<Storm>,
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

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/status", get(async |State(desk): State<Desk>| Json(desk.status())))
        .route("/api/blocks", get(blocks).post(block).delete(unblock))
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(desk)
}

async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if let Some(token) = &desk.token {
        let headers = request.headers();
        // A name that leads here from outside (DNS rebinding), or another page's script.
        if !is_our_host(headers) || !is_our_origin(headers) {
            return (StatusCode::FORBIDDEN, "this interface is for this host only\n").into_response();
        }
        if request.method() != Method::GET && !has_token(headers, token) {
            return (StatusCode::UNAUTHORIZED, "a change needs the token of admin.token_file\n").into_response();
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn ready(State(desk): State<Desk>) -> Response {
    let status = desk.status();
    match status.stopping || status.state == "degraded" {
        true => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
        false => "ready\n".into_response(),
    }
}

async fn blocks(State(desk): State<Desk>) -> Response {
    Json(desk.parts.services.state.blocks.list()).into_response()
}

/// Durable before it is answered.
async fn block(State(desk): State<Desk>, Json(new): Json<NewBlock>) -> Response {
    let key: BlockKey = match new.key.parse() {
        Ok(key) => key,
        Err(what) => return (StatusCode::BAD_REQUEST, format!("{:?}: {what}\n", new.key)).into_response(),
    };
    if new.seconds == 0 || new.why.len() > LONGEST_WHY || new.why.contains(char::is_control) {
        return (StatusCode::BAD_REQUEST, "a block needs a time, and a short why\n").into_response();
    }
    let state = &desk.parts.services.state;
    let Ok(block) = state.blocks.add(&key, Duration::from_secs(new.seconds), &new.why) else {
        return (StatusCode::INSUFFICIENT_STORAGE, "too many blocks; unblock some, or use badmailfrom\n")
            .into_response();
    };
    tracing::info!(key = block.key, seconds = new.seconds, why = new.why, "block");
    match state.flush().await {
        true => Json(block).into_response(),
        false => {
            (StatusCode::INTERNAL_SERVER_ERROR, "blocked, but not written: a restart forgets it\n").into_response()
        }
    }
}

async fn unblock(State(desk): State<Desk>, Query(old): Query<OldBlock>) -> Response {
    let state = &desk.parts.services.state;
    let key = BlockKey::spelling(&old.key);
    let Some(block) = state.blocks.remove(&key) else {
        return (StatusCode::NOT_FOUND, format!("{key} is not blocked\n")).into_response();
    };
    tracing::info!(key, "unblock");
    match state.flush().await {
        true => Json(block).into_response(),
        false => (StatusCode::INTERNAL_SERVER_ERROR, "unblocked, but not written\n").into_response(),
    }
}

/// Until there is a better one: the status as a table.
async fn page(State(desk): State<Desk>) -> Html<String> {
    let mut rows = String::new();
    if let Ok(serde_json::Value::Object(status)) = serde_json::to_value(desk.status()) {
        for (name, value) in status {
            let _ = write!(rows, "<tr><th>{}<td>{}", escaped(&name), escaped(&value.to_string()));
        }
    }
    for block in desk.parts.services.state.blocks.list() {
        let _ = write!(rows, "<tr><th>block<td>{} {}", escaped(&block.key), escaped(&block.why));
    }
    Html(format!(
        "<!doctype html><meta charset=utf-8><title>Portcullis</title><h1>Portcullis</h1><table>{rows}</table>"
    ))
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let status = desk.status();
    let mut text = desk.parts.services.metrics.encode();
    let gauges = [
        ("connections", "Connections that are open.", status.connections as u64),
        ("held_bytes", "Octets of messages on hold.", status.held_octets),
        ("blocks", "Blocks, ended ones that are not forgotten included.", status.blocks as u64),
        ("throttle_keys", "Keys of throttles.", status.throttle_keys as u64),
        ("ledger_entries", "Entries of the ledger.", status.ledger_entries as u64),
        ("ledger_unacknowledged", "Messages that were delivered and not acknowledged.", status.unacknowledged as u64),
        ("storms", "Storms that run.", status.storms.len() as u64),
        ("state_degraded", "1 while the state cannot be written.", u64::from(status.state == "degraded")),
    ];
    for (name, help, value) in gauges {
        let _ = write!(
            text,
            "# HELP portcullis_{name} {help}\n# TYPE portcullis_{name} gauge\nportcullis_{name} {value}\n"
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

impl Desk {
    fn status(&self) -> Status {
        let Parts { services, door } = &self.parts;
        let state = &services.state;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            connections: door.connections(),
            held_octets: services.holds.used(),
            blocks: state.blocks.len(),
            throttle_keys: state.throttles.len(),
            ledger_entries: state.ledger.len(),
            unacknowledged: state.ledger.unacknowledged(),
            state: match state.health() {
                None => "memory",
                Some(health) if health.is_failing() => "degraded",
                Some(_) => "ok",
            },
            stopping: *services.stop.borrow() > Stop::Run,
            storms: services.storms.running(),
        }
    }
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A body of a request, and a reason, in octets.
const LARGEST_BODY: usize = 16 * 1024;
const LONGEST_WHY: usize = 500;

/// The body of a request for a block.
pub(super) fn new_block(key: &str, seconds: u64, why: &str) -> String {
    json!({ "key": key, "seconds": seconds, "why": why }).to_string()
}
