//! Asking the running proxy, for the commands: one request over its socket or port.

mod events;
pub mod following;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::admin::answer::Failure;
use crate::admin::guard::TOKEN;
use crate::admin::guard::TOO_MANY;
use crate::admin::token;
use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::rehearsal::message::Message;
use crate::text::bounded;
use crate::text::readable;
use crate::text::sockets::TABLES;
use crate::text::sockets::listening;

/// What is wanted of the running proxy.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A block of this key for so many seconds, whatever it hits.
    Block(String, u64, String),
    /// All blocks.
    Blocks,
    /// What would happen to this message: the body of `POST /api/v1/explain`.
    Explain(Value),
    /// What happened in each minute of the last hour.
    History,
    /// What a block of this key would hit.
    Preview(String),
    /// Whether the proxy should get mail.
    Ready,
    /// The last records in which these words stand.
    Records(String),
    /// The answers to the session of this message, whose octets go over the wire like this.
    Rehearsal(Message, Bytes),
    /// What one session does, by its id.
    Session(String),
    /// The sessions that are open, so many at most, in this order.
    Sessions(usize, &'static str),
    /// What happens now.
    Status,
    /// An end of the block of this key.
    Unblock(String),
}

/// A request, as it goes out.
struct Asked {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Bytes,
    /// Whether it needs the token.
    with_token: bool,
}

/// Its answer, as JSON text and as what that says.
///
/// # Errors
/// It is not there, or says no: in its own words. Or something else answers there.
pub fn ask(admin: &Admin, wish: &Wish) -> Result<(String, Value), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let text = runtime.block_on(answer(admin, wish))?;
    match serde_json::from_str(&text) {
        Ok(value) if wish.is_answered_by(&value) => Ok((text, value)),
        _ => Err("what answers there (admin.listen) is not the proxy; its answer is not shown".to_owned()),
    }
}

/// What an operator should know of the token before it is sent: somebody else may have it.
pub fn doubt(admin: &Admin) -> Option<String> {
    if !matches!(admin.listen, AdminListen::Tcp(_)) {
        return None;
    }
    let (what, remedy) = token::flaw(&std::fs::metadata(&admin.token_file).ok()?, &admin.token_file)?;
    Some(format!("{} (admin.token_file): {what}; {remedy}", admin.token_file.display()))
}

async fn answer(admin: &Admin, wish: &Wish) -> Result<String, String> {
    let tries = async {
        loop {
            match exchange(admin, wish).await {
                Err(what) if what.starts_with(TOO_MANY) => sleep(PAUSE).await,
                answer => return answer,
            }
        }
    };
    timeout(PATIENCE, tries).await.map_err(|_| silence(admin, wish))?
}

/// What is said of a proxy that takes the connection and no more. It may read the request later.
fn silence(admin: &Admin, wish: &Wish) -> String {
    let place = match &admin.listen {
        AdminListen::Off => String::new(),
        AdminListen::Tcp(address) => address.to_string(),
        AdminListen::Unix(path) => path.display().to_string(),
    };
    let later = match wish {
        Wish::Block(..) | Wish::Unblock(_) => "; it may still carry this out: look with portcullis blocks",
        _ => "",
    };
    let seconds = PATIENCE.as_secs();
    format!("no answer on {place} (admin.listen) within {seconds} s: if the proxy hangs, restart it{later}")
}

async fn exchange(admin: &Admin, wish: &Wish) -> Result<String, String> {
    let response = send(admin, &wish.asked()).await?;
    text(response.into_body()).await
}

/// Sends a request; the answer is one that says yes.
async fn send(admin: &Admin, asked: &Asked) -> Result<Response<Incoming>, String> {
    let absent = |place: &dyn std::fmt::Display, error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => AS_ROOT,
            _ => "is it running with this configuration?",
        };
        format!("the proxy does not answer on {place} (admin.listen): {error}; {remedy}")
    };
    match &admin.listen {
        AdminListen::Off => Err("admin.listen is \"\", so the running proxy is not reachable; set it".to_owned()),
        AdminListen::Tcp(address) => {
            let token = bounded::read_text(&admin.token_file, token::LARGEST);
            let stream = TcpStream::connect(address).await.map_err(|error| absent(address, error))?;
            if let Some(uid) = stranger(address.port(), &admin.token_file) {
                return Err(format!(
                    "{address} (admin.listen) is not the proxy's: a process of uid {uid} listens there"
                ));
            }
            let token_or_none = token.as_deref().unwrap_or_default().trim();
            let answer = request(stream, &address.to_string(), token_or_none, asked).await;
            answer.map_err(|what| match (what.contains(TOKEN), token) {
                (false, _) => what,
                (true, Err(error)) => {
                    let file = admin.token_file.display();
                    let remedy = match error.kind() {
                        std::io::ErrorKind::NotFound => {
                            "restart the proxy, which makes it, or name its configuration, -c"
                        }
                        _ => AS_ROOT,
                    };
                    format!("{file} (admin.token_file) cannot be read: {error}; {remedy}")
                }
                (true, Ok(_)) => {
                    let file = admin.token_file.display();
                    format!("the token in {file} is not the running proxy's: is it this configuration?")
                }
            })
        }
        AdminListen::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| absent(&path.display(), error))?;
            request(stream, "localhost", "", asked).await
        }
    }
}

/// A user who listens on `port` and is neither root nor the one whose token it is: while the proxy is down anybody may, and
/// would be told the token.
fn stranger(port: u16, token_file: &Path) -> Option<u32> {
    let owner = std::fs::metadata(token_file).ok()?.uid();
    let uid = |line: &str| listening(line).filter(|socket| socket.address.port() == port).map(|socket| socket.uid);
    let tables = TABLES.map(|table| bounded::read_text(table.as_ref(), LARGEST_TABLE));
    tables.iter().flatten().flat_map(|table| table.lines()).filter_map(uid).find(|uid| *uid != 0 && *uid != owner)
}

async fn request<S>(stream: S, host: &str, token: &str, asked: &Asked) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Asked { method, path, kind, body, with_token } = asked;
    let request = Request::builder().method(*method).uri(path).header("host", host).header("content-type", *kind);
    let request = match with_token {
        false => request,
        true => request.header("authorization", format!("Bearer {token}")),
    };
    let request = request.body(Full::new(body.clone())).map_err(|error| fault(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| fault(&error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| fault(&error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let text = text(response.into_body()).await?;
    match serde_json::from_str::<Failure>(&text) {
        Ok(failure) => Err(readable::text(failure.text().as_bytes())),
        Err(_) => Err(readable::text(text.trim_end().as_bytes())),
    }
}

fn fault(error: &dyn std::fmt::Display) -> String {
    format!("the proxy's answer: {error}")
}

async fn text(body: Incoming) -> Result<String, String> {
    let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| fault(&error))?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

impl Wish {
    fn is_answered_by(&self, answer: &Value) -> bool {
        match self {
            Self::Block(..) | Self::Unblock(_) => answer["key"].is_string(),
            Self::Blocks => answer["blocks"].is_array(),
            Self::Explain(_) => answer["steps"].is_array(),
            Self::History => answer["points"].is_array(),
            Self::Preview(_) => answer["messages"].is_number(),
            Self::Ready => answer["ready"].is_boolean(),
            Self::Records(_) => answer["records"].is_array(),
            Self::Rehearsal(..) => answer["answers"].is_array(),
            Self::Session(_) => answer["phase"].is_string(),
            Self::Sessions(..) => answer["sessions"].is_array(),
            Self::Status => answer["state"].is_string() && answer["senders"].is_object(),
        }
    }

    /// Whether it needs the token: whatever else listens there should not learn it.
    fn is_change(&self) -> bool {
        matches!(self, Self::Block(..) | Self::Unblock(_))
    }

    fn asked(&self) -> Asked {
        let get = |path: &str| ("GET", path.to_owned(), JSON, Bytes::new());
        let post = |path: &str, body: &Value| ("POST", path.to_owned(), JSON, body.to_string().into());
        let (method, path, kind, body) = match self {
            Self::Block(key, seconds, why) => {
                post("/api/v1/blocks", &json!({ "key": key, "seconds": seconds, "why": why, "force": true }))
            }
            Self::Blocks => get("/api/v1/blocks"),
            Self::Explain(message) => post("/api/v1/explain", message),
            Self::History => get("/api/v1/history?range=hour"),
            Self::Preview(key) => post("/api/v1/blocks/preview", &json!({ "key": key })),
            Self::Ready => get("/api/v1/ready"),
            Self::Records(words) => get(&format!("/api/v1/records?search={}", encoded(words))),
            Self::Rehearsal(message, body) => {
                let message = json!(message).to_string();
                ("POST", format!("/api/v1/rehearsal?message={}", encoded(&message)), MESSAGE, body.clone())
            }
            Self::Session(id) => get(&format!("/api/v1/sessions/{}", encoded(id))),
            Self::Sessions(most, order) => get(&format!("/api/v1/sessions?limit={most}&order={order}")),
            Self::Status => get("/api/v1/status"),
            Self::Unblock(key) => ("DELETE", format!("/api/v1/blocks?key={}", encoded(key)), JSON, Bytes::new()),
        };
        Asked { method, path, kind, body, with_token: self.is_change() }
    }
}

/// RFC 3986 section 2.1.
fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}

const JSON: &str = "application/json";
const MESSAGE: &str = "application/octet-stream";
const AS_ROOT: &str = "run this as root or as server.user";
/// Time until a next try where there are too many requests.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a table of the kernel.
const LARGEST_TABLE: u64 = 256 << 20;
const LARGEST_ANSWER: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_hangs_is_named_and_a_block_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let _hangs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let admin = Admin { listen: AdminListen::Unix(path.clone()), token_file: "token".into() };
        for (wish, may_come_later) in [
            (Wish::Block("a@b.example".to_owned(), 60, String::new()), true),
            (Wish::Unblock("a@b.example".to_owned()), true),
            (Wish::Blocks, false),
            (Wish::Status, false),
        ] {
            let told = answer(&admin, &wish).await.unwrap_err();
            assert!(told.contains(&path.display().to_string()) && told.contains("restart it"), "{told}");
            assert_eq!(told.contains("portcullis blocks"), may_come_later, "{told}");
        }
    }
}
