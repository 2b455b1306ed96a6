//! The page's login: the token is given once, and a cookie stands for it until the browser ends. It must not put the token
//! into a cookie.

use axum::Extension;
use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Json;
use crate::admin::answer::is_type;
use crate::admin::answer::shown;
use crate::admin::answer::whole;
use crate::admin::guard::COOKIE;
use crate::admin::guard::FORM;
use crate::admin::guard::Who;
use crate::admin::guard::is_token;
use crate::admin::guard::session_id;
use crate::admin::logins::NEXT_TRY;
use crate::admin::web;
use crate::admin::web::Wanted;

#[derive(Debug, Deserialize)]
struct Given {
    token: String,
    /// What the login is for.
    #[serde(flatten)]
    wanted: Wanted,
}

/// Whether the page may change something now.
#[derive(Debug, Serialize)]
struct LoginState {
    logged_in: bool,
}

/// Logs a page in: a form is answered with the page, a script with JSON.
pub(super) async fn login(State(app): State<App>, request: Request) -> Result<Response, Fault> {
    let is_form = is_type(request.headers(), FORM);
    let old = session_id(request.headers()).map(str::to_owned);
    let Given { token, wanted } =
        if is_form { of_form(request).await? } else { Json::from_request(request, &()).await?.0 };
    match open(&app, &token, old.as_deref()) {
        Ok(id) => Ok(with_cookie(
            answer(is_form, true, &wanted),
            &format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/"),
        )),
        Err(fault) if is_form => {
            let mut page = web::not_let_in(&app, &fault, wanted)?;
            let headers = fault.into_response().headers().clone();
            let kept = [header::RETRY_AFTER, header::WWW_AUTHENTICATE].into_iter();
            kept.for_each(|name| page.headers_mut().extend(headers.get(&name).map(|value| (name, value.clone()))));
            Ok(page)
        }
        Err(fault) => Err(fault),
    }
}

/// Opens a login, in place of an old one.
fn open(app: &App, given: &str, old: Option<&str>) -> Result<String, Fault> {
    let Some(token) = app.token else {
        return Err(Fault::new(StatusCode::CONFLICT, "the socket needs no login: its mode says who may use it"));
    };
    if !app.logins.may_try() {
        let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "there were too many logins");
        return Err(fault.remedy(format!("try again in {NEXT_TRY} seconds")).wait(NEXT_TRY));
    }
    if !is_token(given.trim(), token) {
        tracing::warn!("wrong token");
        return Err(Fault::new(StatusCode::UNAUTHORIZED, "this is not the token")
            .remedy("it stands in the file that admin.token_file names"));
    }
    old.iter().for_each(|id| app.logins.close(id));
    Ok(app.logins.open(app.now()))
}

/// Ends a page's login.
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap, Extension(who): Extension<Who>) -> Response {
    if let Who::Page(id) = &who {
        app.logins.close(id);
    }
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    with_cookie(answer(is_type(&headers, FORM), false, &Wanted::default()), &gone)
}

async fn of_form(request: Request) -> Result<Given, Fault> {
    let (parts, body) = request.into_parts();
    let octets = whole(body).await?;
    let form = axum::Form::from_request(Request::from_parts(parts, Body::from(octets)), &()).await;
    form.map(|axum::Form(given)| given).map_err(|_| Fault::bad("the form has no field token"))
}

/// A form goes on to what the login is for.
fn answer(is_form: bool, logged_in: bool, wanted: &Wanted) -> Response {
    match is_form {
        true => Redirect::to(&wanted.link()).into_response(),
        false => shown(&LoginState { logged_in }),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
