//! All paths of the interface: the page, its login, what monitoring asks, and the API. It must not check who asks:
//! `guard` does.

use axum::Extension;
use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::api;
use crate::admin::guard::Who;
use crate::admin::guard::guard;
use crate::admin::login;
use crate::admin::metrics;
use crate::admin::web;
use crate::report::metrics::families::Format;
use crate::status::readiness::Readiness;
use crate::text::readable;

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(web::page))
        .route("/page", get(web::live::events))
        .route("/block", post(web::block))
        .route("/unblock", post(web::unblock))
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .merge(api::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn ready(State(app): State<App>, Extension(who): Extension<Who>) -> Response {
    let readiness = Readiness::of(&app.status(&who).status);
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, readiness.text()).into_response()
}

async fn scrape(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match metrics::metrics(&app.handles, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => Fault::broken(error.to_string()).into_response(),
    }
}

async fn not_found(request: Request) -> Fault {
    let path = readable::shown(request.uri().path()).into_owned();
    Fault::new(StatusCode::NOT_FOUND, format!("there is no {path}")).remedy("/api/v1/openapi.json names what there is")
}

/// The router adds Allow.
async fn not_allowed(request: Request) -> Fault {
    let told = format!("{} is not possible here", request.method());
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, told).remedy("see the header Allow")
}
