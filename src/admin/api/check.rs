//! What `check` finds, by the files as they are now. It must not put them in force.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::shown;
use crate::admin::daemon::Checked;
use crate::admin::guard::Who;

/// Check the configuration, the lists and this host
///
/// The files are read as they are now, which may be later than those in force. Without the token the answer may be 10
/// seconds old.
#[utoipa::path(get, path = "/api/v1/check", tag = "configuration", responses((status = 200, body = Checked)))]
pub(super) async fn check(State(app): State<App>, Extension(who): Extension<Who>) -> Result<Response, Fault> {
    let now = app.now();
    let mut last = app.checked.lock().await;
    if let Some((at, checked)) = &*last
        && who == Who::Anyone
        && now.since(*at) < FRESH
    {
        return Ok(shown(checked));
    }
    let checked = app.of_daemon(|daemon| daemon.check()).await?;
    let answer = shown(&checked);
    *last = Some((now, checked));
    Ok(answer)
}

/// Reading all lists takes a while: no one may have it done over and over.
const FRESH: Duration = Duration::from_secs(10);
