//! Who may ask for what. A browser on this host may be anybody's, so Host and Origin are checked on every request; every
//! change over TCP needs the token, or a login of the page together with a sign that the page itself asked for it; to read
//! a conversation needs the token, or a login. It must not know what a request does beyond that.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use blake3::Hash;
use serde::Deserialize;
use tokio::time::timeout;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::is_type;
use crate::admin::answer::whole;
use crate::admin::places::Visit;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Some program or page of this host.
    Anyone,
    /// A page that is logged in, by its session id.
    Page(String),
    /// Who has the token, or may use the socket.
    Operator,
}

/// Lets a request through, or answers why not.
pub(super) async fn guard(
    State(app): State<App>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
    next: Next,
) -> Response {
    let answer = async {
        match admit(&app, &visit, request).await {
            Ok(request) => next.run(request).await,
            Err(fault) => fault.into_response(),
        }
    };
    let mut response = timeout(LONGEST, answer).await.unwrap_or_else(|_| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "there was no answer in time").wait(1).into_response()
    });
    harden(response.headers_mut());
    response
}

async fn admit(app: &App, visit: &Visit, mut request: Request) -> Result<Request, Fault> {
    // Over the socket too: SSH may carry a port of an operator's desk to it, and the browser there any page.
    let local = is_local(&request);
    let who = who_asks(app, request.headers());
    let is_known = who.as_ref().is_ok_and(|who| *who != Who::Anyone);
    visit.has_asked(is_known);
    if !(is_known || visit.pace.allows()) || !app.limits.allows(is_known) {
        return Err(Fault::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY).remedy("try again in 1 second").wait(1));
    }
    local?;
    let who = who?;
    if is_change(&request) {
        match &who {
            Who::Operator => {}
            Who::Page(id) => request = is_of_page(app, id, request).await?,
            Who::Anyone => return Err(needs_token("a change")),
        }
    } else if is_private(&request) && who == Who::Anyone {
        return Err(needs_token("a conversation"));
    }
    request.extensions_mut().insert(who);
    Ok(request)
}

/// Whether the request is for this host by name, and comes from no other page: a name may lead here from outside (DNS
/// rebinding).
fn is_local(request: &Request) -> Result<(), Fault> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    // RFC 9112 section 3.2
    let host = host.ok_or_else(|| Fault::bad("the request has no valid Host header, or several"))?;
    // RFC 9112 section 3.2.2: a target that is a whole URL counts before the header.
    let target = request.uri().authority().filter(|_| request.method() != Method::CONNECT);
    if !std::iter::once(&host).chain(target).all(is_loopback) {
        let fault = Fault::new(StatusCode::FORBIDDEN, "this interface is for this host only");
        return Err(fault.remedy("use localhost, 127.0.0.1 or [::1] in the URL"));
    }
    let origin_is_ours = headers.get_all(header::ORIGIN).iter().all(|origin| is_origin_of(origin, &host));
    if !origin_is_ours || is_foreign(request) {
        return Err(Fault::new(StatusCode::FORBIDDEN, "another page may not ask this interface"));
    }
    Ok(())
}

/// Whether a browser says that another site makes it ask; one may link to the page.
fn is_foreign(request: &Request) -> bool {
    let of = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let is_link = of("sec-fetch-mode") == Some(b"navigate") && of("sec-fetch-dest") == Some(b"document");
    match of("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => false,
        Some(_) => !(is_link && request.method() == Method::GET && request.uri().path() == "/"),
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_address = || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    !authority.as_str().contains('@') && (name.eq_ignore_ascii_case("localhost") || is_address())
}

fn is_origin_of(origin: &HeaderValue, host: &Authority) -> bool {
    origin.as_bytes().eq_ignore_ascii_case(format!("http://{host}").as_bytes())
}

/// Who asks.
///
/// # Errors
/// There is a token, and it is a wrong one.
fn who_asks(app: &App, headers: &HeaderMap) -> Result<Who, Fault> {
    let Some(token) = &app.token else { return Ok(Who::Operator) };
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        let given = given.to_str().ok().and_then(|given| given.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, given)| given.trim());
        return match given {
            Some(given) if is_token(given, *token) => Ok(Who::Operator),
            _ => Err(Fault::new(StatusCode::UNAUTHORIZED, format!("this is not {TOKEN}"))),
        };
    }
    let open = |id: &&str| app.logins.is_open(id, app.now());
    Ok(session_id(headers).filter(open).map_or(Who::Anyone, |id| Who::Page(id.to_owned())))
}

/// Compared by their hashes, which takes as long whatever they have in common.
pub(super) fn is_token(given: &str, token: Hash) -> bool {
    blake3::hash(given.as_bytes()) == token
}

/// The session id of the page's cookie.
pub(super) fn session_id(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut all = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    all.find(|(name, _)| *name == COOKIE).map(|(_, id)| id)
}

/// Whether the request asks for a change; what only looks may be asked for by POST too.
fn is_change(request: &Request) -> bool {
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST => !LOOKS.contains(&request.uri().path()),
        _ => true,
    }
}

/// Whether the request would read what other people write to one another, which is more than the proxy's status.
fn is_private(request: &Request) -> bool {
    let of_session = request.uri().path().strip_prefix("/api/v1/sessions/");
    of_session.is_some_and(|rest| rest.contains('/'))
}

/// Lets a change through that comes from our page and from no other: by Origin, and by a header that no form can send, or
/// by the word that only our forms have.
async fn is_of_page(app: &App, id: &str, request: Request) -> Result<Request, Fault> {
    let refused = |what: &str| {
        let fault = Fault::new(StatusCode::FORBIDDEN, format!("a change by the page needs {what}"));
        Err(fault.remedy("load the page again, or send the token"))
    };
    if request.headers().get(header::ORIGIN).is_none() {
        return refused("its Origin");
    }
    if request.headers().get(SCRIPT).is_some_and(|value| value == "1") {
        return Ok(request);
    }
    if !is_type(request.headers(), FORM) {
        return refused("the header X-Portcullis: 1, or a form");
    }
    let (parts, body) = request.into_parts();
    let octets = whole(body).await?;
    let copy = Request::from_parts(parts.clone(), Body::from(octets.clone()));
    let form = axum::Form::<Signed>::from_request(copy, &()).await;
    let expected = blake3::hash(app.logins.form_word(id).as_bytes());
    match form {
        Ok(axum::Form(form)) if is_token(&form.csrf, expected) => Ok(Request::from_parts(parts, Body::from(octets))),
        _ => refused("the csrf field of its form"),
    }
}

/// What every form of the page carries.
#[derive(Deserialize)]
struct Signed {
    csrf: String,
}

fn needs_token(what: &str) -> Fault {
    let told = format!("{what} needs {TOKEN}");
    Fault::new(StatusCode::UNAUTHORIZED, told).remedy("send it as Authorization: Bearer TOKEN, or log in")
}

fn harden(headers: &mut HeaderMap) {
    // Without a referrer to itself a form of the page would be sent with `Origin: null`.
    if is_type(headers, "text/html") {
        headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    }
    for (name, value) in SAFE {
        // The page knows better what it needs.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// What is missing, in the answers with 401.
pub(super) const TOKEN: &str = "the token of admin.token_file";
/// The answer where a next one may be tried soon.
pub(super) const TOO_MANY: &str = "there are too many requests";
/// The name of the cookie. Without `Secure`, which `__Host-` would need: this is plain HTTP on loopback.
pub(super) const COOKIE: &str = "portcullis";
/// The header of the page's script. A foreign page that sent it would have to ask first, by OPTIONS, and is refused.
const SCRIPT: &str = "x-portcullis";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// The paths that only look, though they are asked by POST, and that check for themselves who asks.
const LOOKS: [&str; 5] = ["/api/v1/blocks/preview", "/api/v1/explain", "/api/v1/rehearsal", "/login", "/logout"];
const SAFE: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
/// Time for an answer to begin.
const LONGEST: Duration = Duration::from_secs(30);
