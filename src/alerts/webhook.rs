//! A webhook: one POST over HTTP or HTTPS, within a time limit. Redirects are not followed, an answer is read as far as it
//! is shown. It must not show the URL, a header or the token: they are secrets.

use std::path::Path;
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
    let request = match request(webhook, event, repeat) {
        Ok(request) => request,
        // Somebody may write the token file by and by.
        Err(what) => return Outcome::Later(what, None),
    };
    match timeout(LIMIT, exchange(&webhook.url, request)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(what)) => Outcome::Later(what, None),
        Err(_) => Outcome::Later(format!("no answer within {} s", LIMIT.as_secs()), None),
    }
}

fn request(webhook: &Webhook, event: &Event, repeat: u32) -> Result<Request<Full<Bytes>>, String> {
    let token = webhook.token_file.as_deref().map(token).transpose()?.unwrap_or_default();
    let form = templates::form(webhook.template, event, &token, repeat);
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

/// Read each time, so that a new one needs no reload.
fn token(file: &Path) -> Result<String, String> {
    let text = bounded::read_text(file, LARGEST_TOKEN);
    let text = text.map_err(|error| format!("alert.token_file {}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("alert.token_file {}: the file is empty", file.display())),
        token => Ok(token.to_owned()),
    }
}

async fn exchange(url: &Url, request: Request<Full<Bytes>>) -> Result<Outcome, String> {
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

async fn post<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Outcome, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("HTTP: {error}"))?;
    let connection = tokio::spawn(connection);
    let answered = sender.send_request(request).await.map_err(|error| format!("HTTP: {error}"));
    let outcome = match answered {
        Ok(response) => Ok(judged(response).await),
        Err(what) => Err(what),
    };
    // What it still has to say is not wanted.
    connection.abort();
    outcome
}

/// By its status: 2xx is sent; what another try may change is tried again.
async fn judged(response: Response<Incoming>) -> Outcome {
    let status = response.status();
    let wish = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let words = beginning(response.into_body()).await;
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
    while octets.len() < SHOWN {
        let Ok(Some(Ok(frame))) = timeout(LAST_WORDS, body.frame()).await else { break };
        octets.extend(frame.data_ref().into_iter().flatten().take(SHOWN - octets.len()));
    }
    readable::text(octets.trim_ascii())
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
/// Octets of an answer that are read.
const SHOWN: usize = 200;
/// Octets of a token's file.
const LARGEST_TOKEN: u64 = 4096;

#[cfg(test)]
#[path = "webhook/tests.rs"]
mod tests;
