//! The sessions that are open now, all or one. It must not hold any of them up.

use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Query;
use crate::admin::answer::shown;
use crate::front::sessions::Order;
use crate::front::sessions::SessionView;
use crate::text::readable;

/// Which sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Which come first: those with the largest message on its way, or those that have lasted longest.
    #[serde(default)]
    #[param(inline)]
    order: First,
    /// Sessions at most: 100 if it is left out.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 500)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum First {
    #[default]
    Largest,
    Longest,
}

/// Sessions, and the number of all that are open.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<SessionView>,
    total: usize,
}

/// The sessions that are open now
///
/// Connections that are being refused are not among them.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "status", params(Asked),
    responses((status = 200, body = Sessions)))]
pub(super) async fn sessions(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    if !(1..=MOST).contains(&asked.limit) {
        return Err(Fault::bad(format!("limit: write a number from 1 to {MOST}")));
    }
    let order = match asked.order {
        First::Largest => Order::Largest,
        First::Longest => Order::Longest,
    };
    let (sessions, total) = app.handles.acceptor.sessions(asked.limit, order);
    Ok(shown(&Sessions { sessions, total }))
}

/// One session that is open now
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "status",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, body = SessionView),
        (status = 404, body = crate::admin::answer::Failure, description = "No session with this id is open")))]
pub(super) async fn session(State(app): State<App>, Id(id): Id) -> Result<Response, Fault> {
    let session = app.handles.acceptor.open_session(&id).ok_or_else(|| not_open(&id))?;
    Ok(shown(&session))
}

/// The session's id in the path.
pub(super) struct Id(pub(super) String);

impl<S: Sync + Send> FromRequestParts<S> for Id {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| Fault::bad("the session's id is not UTF-8"))
    }
}

/// The fault where no session has this id.
pub(super) fn not_open(id: &str) -> Fault {
    let told = format!("no session {} is open", readable::shown(id));
    let fault = Fault::new(StatusCode::NOT_FOUND, told);
    fault.remedy("portcullis status --sessions lists those that are; the log has those that have ended")
}

fn usual() -> usize {
    USUAL
}

/// Sessions of one answer.
const USUAL: usize = 100;
const MOST: usize = 500;
