//! A webhook: one POST over HTTP or HTTPS, within a time limit. Redirects are not followed, an answer is read as far as it
//! is shown. It must not show the URL, a header or the token: they are secrets.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::alerts::Outcome;
use crate::alerts::event::Event;
use crate::alerts::templates;
use crate::config::checked::alert::Template;
use crate::config::checked::alert::Url;
use crate::config::checked::alert::Webhook;
use crate::text::bounded;
use crate::text::readable;
use crate::text::version;

/// Sends an event, and says what became of it. `repeat` as [`templates::form`] takes it.
pub(crate) async fn send(webhook: &Webhook, event: &Event, repeat: u32) -> Outcome {
    let answered = async {
        // Somebody may write the token file by and by.
        let token = match &webhook.token_file {
            Some(file) => token(file.clone()).await?,
            None => String::new(),
        };
        let request = request(webhook, event, &token, repeat)?;
        Ok((exchange(&webhook.url, request).await?, token))
    };
    match timeout(LIMIT, answered).await {
        // From here on the status decides: what comes after it, or does not, changes nothing.
        Ok(Ok(((response, _connection), token))) => judged(response, &secrets(webhook, &token)).await,
        Ok(Err(what)) => Outcome::Later(what, None),
        Err(_) => Outcome::Later(format!("no answer within {} s", LIMIT.as_secs()), None),
    }
}

fn request(webhook: &Webhook, event: &Event, token: &str, repeat: u32) -> Result<Request<Full<Bytes>>, String> {
    let form = templates::form(webhook.template, event, token, repeat);
    let mut request = Request::new(Full::new(Bytes::from(form.body)));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = webhook.url.path.parse().map_err(|_| "the path of the URL cannot be sent".to_owned())?;
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&webhook.url.authority).map_err(|_| "the host cannot be sent".to_owned())?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type));
    let agent = HeaderValue::from_str(&format!("portcullis/{}", version::SHORT));
    headers.extend(agent.ok().map(|agent| (header::USER_AGENT, agent)));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.extend(form.headers);
    if !token.is_empty() && webhook.template != Template::PagerDuty {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        headers.insert(header::AUTHORIZATION, value.map_err(|_| "alert.token_file: not a line of ASCII".to_owned())?);
    }
    // The operator's take precedence: a title, a priority, an Authorization of another scheme.
    webhook.headers.iter().for_each(|(name, value)| _ = headers.insert(name, value.clone()));
    Ok(request)
}

/// Read each time, so that a new one needs no reload; on another thread, because a file system may not answer. As few
/// threads as there are permits can be lost to one.
async fn token(file: PathBuf) -> Result<String, String> {
    let permit = READERS.acquire().await.map_err(|error| error.to_string())?;
    let read = spawn_blocking(move || {
        let _permit = permit;
        token_in(&file)
    });
    read.await.map_err(|error| error.to_string())?
}

fn token_in(file: &Path) -> Result<String, String> {
    let text = bounded::read_text(file, LARGEST_TOKEN);
    let text = text.map_err(|error| format!("alert.token_file {}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("alert.token_file {}: the file is empty", file.display())),
        token => Ok(token.to_owned()),
    }
}

/// An answer, and its connection, which ends when this is dropped.
type Answer = (Response<Incoming>, JoinSet<()>);

async fn exchange(url: &Url, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let connected = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
    match url.is_secure {
        false => post(stream, request).await,
        true => {
            let name = ServerName::try_from(url.host.clone()).map_err(|error| format!("TLS: {error}"))?;
            let secured = TlsConnector::from(Arc::new(tls()?)).connect(name, stream).await;
            post(secured.map_err(|error| format!("TLS: {error}"))?, request).await
        }
    }
}

async fn post<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, traffic) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("HTTP: {error}"))?;
    let mut connection = JoinSet::new();
    connection.spawn(async move { _ = traffic.await });
    let response = sender.send_request(request).await.map_err(|error| format!("HTTP: {error}"))?;
    Ok((response, connection))
}

/// By its status: 2xx is sent; what another try may change is tried again.
async fn judged(response: Response<Incoming>, secrets: &[String]) -> Outcome {
    let status = response.status();
    let wish = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let words = masked(beginning(response.into_body()).await, secrets);
    let told = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    match status.as_u16() {
        200..=299 => Outcome::Sent(told),
        408 | 425 | 429 | 500..=599 => Outcome::Later(told, wish),
        300..=399 => Outcome::Never(format!("{told} (a redirect, which is not followed: write the URL it leads to)")),
        _ => Outcome::Never(told),
    }
}

/// The first octets of an answer, as far as they come.
async fn beginning(mut body: Incoming) -> String {
    let mut octets = Vec::new();
    let read = async {
        while octets.len() < READ {
            let Some(Ok(frame)) = body.frame().await else { break };
            octets.extend(frame.data_ref().into_iter().flatten().take(READ - octets.len()));
        }
    };
    _ = timeout(LAST_WORDS, read).await;
    readable::text(octets.trim_ascii())
}

/// What an answer may repeat of the request and must not be shown, the longest first.
fn secrets(webhook: &Webhook, token: &str) -> Vec<String> {
    let path = webhook.url.path.as_str();
    let parts = path.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET);
    let values = webhook.headers.iter().filter_map(|(_, value)| value.to_str().ok());
    let words = values.clone().flat_map(str::split_whitespace).filter(|word| word.len() >= SECRET);
    let whole = path.split('?').chain([path, token]).chain(values).filter(|text| text.len() > 1);
    let mut secrets: Vec<String> = whole.chain(parts).chain(words).map(str::to_owned).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The beginning of `words` without the secrets.
fn masked(words: String, secrets: &[String]) -> String {
    let words = secrets.iter().fold(words, |words, secret| words.replace(secret.as_str(), "***"));
    words.chars().take(SHOWN).collect()
}

/// Made for each event: the system's certificates may have changed since.
fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no certificates to verify by; install ca-certificates".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

const LIMIT: Duration = Duration::from_secs(10);
/// For the body of an answer whose status is known.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Octets of an answer that are read: more than are shown, or a secret could be cut and not be found.
const READ: usize = 4096;
/// Characters of an answer that are shown.
const SHOWN: usize = 200;
/// Characters of a part of the path, or of a header, that may be a secret by itself.
const SECRET: usize = 5;
/// For the tokens' files.
static READERS: Semaphore = Semaphore::const_new(8);
/// Octets of a token's file.
const LARGEST_TOKEN: u64 = 4096;

#[cfg(test)]
#[path = "webhook/tests.rs"]
mod tests;
