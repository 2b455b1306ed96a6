//! What happened to mail, as a chart has it. It must not count.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Query;
use crate::admin::answer::shown;
use crate::report::history::Point;
use crate::report::history::Range;

/// The length of the chart.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `hour`, which is the default, `day`, `week` or `year`.
    #[serde(default)]
    #[param(inline)]
    range: Range,
}

/// The steps of a chart.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    range: Range,
    /// The length of a step in seconds.
    step: u32,
    /// The steps in which something happened, the oldest first; the last one is not over.
    points: Vec<Point>,
}

/// What happened in the last hour, day, week or year
#[utoipa::path(get, path = "/api/v1/history", tag = "status", params(Asked),
    responses((status = 200, body = History)))]
pub(super) async fn history(State(app): State<App>, Query(Asked { range }): Query<Asked>) -> Response {
    let points = app.handles.services.reports.history.points(range, app.now());
    shown(&History { range, step: range.step(), points })
}
