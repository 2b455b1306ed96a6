//! What `check` finds, by the files as they are now. It must not put them in force.

use std::sync::Arc;
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
        return Ok(shown(&**checked));
    }
    let checked = Arc::new(app.of_daemon(|daemon| daemon.check()).await?);
    *last = Some((now, checked.clone()));
    Ok(shown(&*checked))
}

/// What was found last, at once. When that is long ago, it is looked again meanwhile. To be called on a runtime.
pub(in crate::admin) fn lately(app: &App) -> Option<Arc<Checked>> {
    let last = app.checked.try_lock().ok()?;
    let found = last.as_ref().map(|(_, checked)| checked.clone());
    let is_old = last.as_ref().is_none_or(|(at, _)| app.now().since(*at) >= OLD);
    // One at a time: the lock is taken by the one that runs.
    if is_old && app.reads.try_lock().is_ok() {
        let app = app.clone();
        tokio::spawn(async move {
            if let Ok(checked) = app.of_daemon(|daemon| daemon.check()).await {
                *app.checked.lock().await = Some((app.now(), Arc::new(checked)));
            }
        });
    }
    found
}

/// Reading all lists takes a while: no one may have it done over and over.
const FRESH: Duration = Duration::from_secs(10);
/// How often the page has it done.
const OLD: Duration = Duration::from_secs(300);
