//! `/api/v1`: the running proxy as JSON, for the commands, the page and programs. One file a resource. It must not check
//! who asks: `guard` does.

pub(super) mod blocks;
pub(super) mod check;
mod conversation;
pub(super) mod events;
mod explain;
mod history;
mod openapi;
mod records;
mod reload;
mod sessions;
mod status;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum::routing::post;

use crate::admin::App;
use crate::admin::answer::Fault;

/// The routes below `/api/v1`.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/ready", get(status::ready))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/history", get(history::history))
        .route("/api/v1/records", get(records::records))
        .route("/api/v1/sessions", get(sessions::sessions))
        .route("/api/v1/sessions/{id}", get(sessions::session))
        .route("/api/v1/sessions/{id}/events", get(conversation::events))
        .route("/api/v1/top", get(status::top))
        .route("/api/v1/storms", get(status::storms))
        .route("/api/v1/blocks", get(blocks::list).post(blocks::post).delete(blocks::delete))
        .route("/api/v1/blocks/preview", post(blocks::preview))
        .route("/api/v1/explain", get(explain::get).post(explain::post))
        .route("/api/v1/rehearsal", post(explain::rehearse))
        .route("/api/v1/check", get(check::check))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/openapi.json", get(openapi::document))
}

/// The fault where the state could not be written.
fn not_written(what: &str) -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, what).remedy("see state_error in /api/v1/status")
}
