//! What `check` finds, by the files as they are now. It must not put them in force.

use axum::extract::State;
use axum::response::Response;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::shown;
use crate::admin::daemon::Checked;

/// Check the configuration, the lists and this host
///
/// The files are read as they are now, which may be later than those in force.
#[utoipa::path(get, path = "/api/v1/check", tag = "configuration", responses((status = 200, body = Checked)))]
pub(super) async fn check(State(app): State<App>) -> Result<Response, Fault> {
    let checked = app.of_daemon(|daemon| daemon.check()).await?;
    Ok(shown(&checked))
}
