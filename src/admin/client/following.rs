//! Following a session of the running proxy, for the commands: its events, one after another, to its end. It must not take
//! more than a line of bounded length, nor wait for a proxy that is silent.

use std::ops::ControlFlow;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use crate::admin::client::Asked;
use crate::admin::client::JSON;
use crate::admin::client::encoded;
use crate::admin::client::fault;
use crate::admin::client::send;
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

/// Follows the session with this id to its end, or until `take` has had enough.
///
/// # Errors
/// As [`ask`](crate::admin::client::ask); or the proxy is silent, or ends before the session does.
pub fn follow(admin: &Admin, id: &str, take: impl FnMut(Heard<'_>) -> ControlFlow<()>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(until_its_end(admin, id, take))
}

async fn until_its_end(
    admin: &Admin,
    id: &str,
    mut take: impl FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    let path = format!("/api/v1/sessions/{}/events", encoded(id));
    let asked = Asked { method: "GET", path, kind: JSON, body: Bytes::new(), with_token: true };
    let response = timeout(PATIENCE, send(admin, &asked)).await.map_err(|_| SILENT.to_owned())??;
    let mut reader = Reader { body: response.into_body(), octets: Vec::new() };
    if take(Heard::Begun).is_break() {
        return Ok(());
    }
    let mut is_end = false;
    loop {
        let line = timeout(PATIENCE, reader.line()).await.map_err(|_| SILENT.to_owned())??;
        let flow = match line.split_once(": ") {
            Some(("event", name)) => {
                is_end = name == "end";
                continue;
            }
            Some(("data", _)) if is_end => return Ok(()),
            Some(("data", data)) => {
                let value = serde_json::from_str(data).map_err(|error| fault(&error))?;
                take(Heard::Line(data, &value))
            }
            // A comment shows that the connection lives.
            None if line.starts_with(':') => take(Heard::Silence),
            _ => continue,
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

/// The lines of a body that goes on.
struct Reader {
    body: Incoming,
    octets: Vec<u8>,
}

impl Reader {
    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.octets.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.octets.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.octets.len() > LONGEST {
                return Err("what answers there (admin.listen) is not the proxy; its answer is not shown".to_owned());
            }
            let frame = self.body.frame().await.ok_or("the proxy ended the connection")?;
            let frame = frame.map_err(|error| fault(&error))?;
            self.octets.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        }
    }
}

/// Octets of a line; one of a conversation has a few thousand when all of them are escaped.
const LONGEST: usize = 64 << 10;
/// Time in which the proxy says something, if only that it is there.
const PATIENCE: Duration = Duration::from_secs(45);
const SILENT: &str = "the proxy has said nothing for 45 seconds: if it hangs, restart it";
