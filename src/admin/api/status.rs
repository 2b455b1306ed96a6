//! What happens now. It must not change anything.

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::shown;
use crate::admin::guard::Who;
use crate::report::storms::Storm;
use crate::report::traffic::TopClient;
use crate::report::traffic::TopSenders;
use crate::status::Status;
use crate::status::readiness::Readiness;

/// Storms in progress, the one that was spared most first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Storms<'a> {
    storms: &'a [Storm],
}

/// The senders and clients with the most, as the status has them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Top<'a> {
    senders: &'a TopSenders,
    clients: &'a [TopClient],
}

/// What happens now
///
/// Without the token it may be a second old.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(app): State<App>, Extension(who): Extension<Who>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.status(&who).json.clone()).into_response()
}

/// Whether this proxy should get mail, and why not
///
/// The code is 200 in both cases; `/ready`, beside this interface, answers 503 where it is not ready.
#[utoipa::path(get, path = "/api/v1/ready", tag = "status", responses((status = 200, body = Readiness)))]
pub(super) async fn ready(State(app): State<App>, Extension(who): Extension<Who>) -> Response {
    shown(&Readiness::of(&app.status(&who).status))
}

/// Storms in progress
#[utoipa::path(get, path = "/api/v1/storms", tag = "status", responses((status = 200, body = Storms<'_>)))]
pub(super) async fn storms(State(app): State<App>, Extension(who): Extension<Who>) -> Response {
    shown(&Storms { storms: &app.status(&who).status.storms })
}

/// The senders and clients of the last hour with the most
#[utoipa::path(get, path = "/api/v1/top", tag = "status", responses((status = 200, body = Top<'_>)))]
pub(super) async fn top(State(app): State<App>, Extension(who): Extension<Who>) -> Response {
    let published = app.status(&who);
    shown(&Top { senders: &published.status.senders, clients: &published.status.clients })
}
