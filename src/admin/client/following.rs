//! Following the running proxy, for commands that show it live: its status, or what is said in one session. It must not
//! connect again by itself.

use std::ops::ControlFlow;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;

use crate::admin::client::Asked;
use crate::admin::client::JSON;
use crate::admin::client::encoded;
use crate::admin::client::events::Told;
use crate::admin::client::events::listen;
use crate::admin::client::fault;
use crate::config::checked::Admin;

/// What comes while a session is followed.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// The proxy follows it from now on.
    Begun,
    /// A line, as JSON text and as what that says.
    Line(&'a str, &'a Value),
    /// Nothing was said for a while.
    Silence,
}

/// Tells the name and the data of each event of the proxy, until that returns false: then there is no error.
///
/// # Errors
/// The proxy is not there, refuses, falls silent, or ends the connection.
pub async fn proxy(admin: &Admin, mut tell: impl FnMut(&str, &str) -> bool) -> Result<(), String> {
    let asked = request("/api/v1/events".to_owned(), false);
    let take = |told: Told<'_>| match told {
        Told::Event(name, data) if !tell(name, data) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    listen(admin, &asked, LONGEST_OF_PROXY, take).await
}

/// Follows the session with this id to its end, or until `take` has had enough.
///
/// # Errors
/// As [`ask`](crate::admin::client::ask); or the proxy is silent, or ends before the session does.
pub fn session(admin: &Admin, id: &str, mut take: impl FnMut(Heard<'_>) -> ControlFlow<()>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let asked = request(format!("/api/v1/sessions/{}/events", encoded(id)), true);
    let mut broken = Ok(());
    let hear = |told: Told<'_>| match told {
        Told::Begun => take(Heard::Begun),
        Told::Comment => take(Heard::Silence),
        Told::Event("end", _) => ControlFlow::Break(()),
        Told::Event(_, data) => match serde_json::from_str(data) {
            Ok(value) => take(Heard::Line(data, &value)),
            Err(error) => {
                broken = Err(fault(&error));
                ControlFlow::Break(())
            }
        },
    };
    runtime.block_on(listen(admin, &asked, LONGEST_OF_SESSION, hear)).and(broken)
}

fn request(path: String, with_token: bool) -> Asked {
    Asked { method: "GET", path, kind: JSON, body: Bytes::new(), with_token }
}

/// Time without an event of the proxy, whose status comes every second.
const LONGEST_OF_PROXY: Duration = Duration::from_secs(5);
/// Time without a line or a comment of a session.
const LONGEST_OF_SESSION: Duration = Duration::from_secs(45);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::checked::AdminListen;

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_hangs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let _hangs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let admin = Admin { listen: AdminListen::Unix(path), token_file: "token".into() };
        let told = proxy(&admin, |_, _| true).await.unwrap_err();
        assert_eq!(told, "the proxy said nothing for 10 s: if it hangs, restart it");
    }
}
