//! Answers of the interface as JSON, its errors too, and what is read of a request. It must not decide who gets one.

use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::response::Response;
use http_body_util::BodyExt;
use http_body_util::Limited;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::text::readable;

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: StatusCode,
    /// What is wrong, in a sentence.
    error: String,
    remedy: Option<String>,
    /// Seconds until a next try.
    wait: Option<u64>,
}

/// An error, as every answer with a code of 400 or more has it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Failure {
    /// What is wrong.
    error: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remedy: Option<String>,
}

/// A body that is JSON.
pub(super) struct Json<T>(pub(super) T);

/// The query of the request's target.
pub(super) struct Query<T>(pub(super) T);

impl Fault {
    pub(super) fn new(code: StatusCode, error: impl Into<String>) -> Self {
        Self { code, error: error.into(), remedy: None, wait: None }
    }

    /// A fault of the request.
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// A fault of ours.
    pub(super) fn broken(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn wait(self, seconds: u64) -> Self {
        Self { wait: Some(seconds), ..self }
    }

    /// What is wrong, and what to do about it, as one line of text.
    pub(super) fn text(&self) -> String {
        Failure { error: self.error.clone(), remedy: self.remedy.clone() }.text()
    }
}

impl Failure {
    /// The error and its remedy as one line of text.
    pub(super) fn text(&self) -> String {
        let remedy = self.remedy.iter().map(|remedy| format!(": {remedy}"));
        std::iter::once(self.error.clone()).chain(remedy).collect()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = shown(&Failure { error: self.error, remedy: self.remedy });
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        if let Some(seconds) = self.wait {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Fault> {
        if !is_type(request.headers(), "application/json") {
            let fault = Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not declared as JSON");
            return Err(fault.remedy("send it with Content-Type: application/json"));
        }
        let octets = whole(request.into_body()).await?;
        // serde takes an array for a struct too.
        if octets.trim_ascii_start().first() != Some(&b'{') {
            return Err(Fault::bad("the body is not a JSON object"));
        }
        serde_json::from_slice(&octets).map(Self).map_err(|error| {
            let what = if error.is_data() { "the body is not what is expected" } else { "the body is not valid JSON" };
            Fault::bad(format!("{what}: {}", readable::shown(&error.to_string())))
        })
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        let query = axum::extract::Query::try_from_uri(&parts.uri).map_err(|error| {
            let told = error.to_string();
            let told = told.trim_start_matches("Failed to deserialize query string: ");
            Fault::bad(format!("the query: {}", readable::shown(told)))
        });
        query.map(|axum::extract::Query(query)| Self(query))
    }
}

/// The whole of a small body.
///
/// # Errors
/// It is too large, or does not come.
pub(super) async fn whole(body: Body) -> Result<Vec<u8>, Fault> {
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let told = format!("the body is larger than {LARGEST_BODY} octets");
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, told))
        }
        Err(_) => Err(Fault::bad("the body did not come as a whole")),
    }
}

/// Whether the body is of this type, whatever its parameters.
pub(super) fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(expected))
}

/// JSON that a terminal shows and does not obey, whatever strangers have written.
pub(super) fn shown(value: &impl Serialize) -> Response {
    let Some(text) = json(value) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "{\"error\":\"the answer cannot be written\"}").into_response();
    };
    if text.len() > LARGEST_ANSWER {
        return Fault::new(StatusCode::INSUFFICIENT_STORAGE, "the answer is too large").into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A value as such JSON, on one line.
pub(super) fn json(value: &impl Serialize) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    let mut text = String::with_capacity(json.len());
    readable::write_json(&mut text, &json);
    Some(text)
}

/// Octets of the body of a request that is no message.
pub(super) const LARGEST_BODY: usize = 16 * 1024;
/// Octets of an answer.
const LARGEST_ANSWER: usize = 32 << 20;
