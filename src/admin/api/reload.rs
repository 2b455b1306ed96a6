//! Reloads, as by HUP, but with an answer. It must not read anything itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::oneshot;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::shown;
use crate::admin::daemon::Reload;
use crate::admin::daemon::Reloaded;

/// Reload the configuration and the lists
///
/// With errors nothing changes, and they are in the answer.
#[utoipa::path(post, path = "/api/v1/reload", tag = "configuration", security(("token" = [])),
    responses((status = 200, body = Reloaded)))]
pub(super) async fn reload(State(app): State<App>) -> Result<Response, Fault> {
    let (sender, outcome) = oneshot::channel();
    app.desk.reloads.try_send(Reload(sender)).map_err(|_| busy("reloads are under way, or the proxy is stopping"))?;
    let reloaded = outcome.await.map_err(|_| busy("the reload did not come to its end"))?;
    Ok(shown(&reloaded))
}

fn busy(what: &str) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, what).remedy("try again in 1 second").wait(1)
}
