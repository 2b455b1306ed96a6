//! What would happen to a message, rehearsed by what the running proxy has in force. Nothing is counted. It must not rule
//! by itself.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Json;
use crate::admin::answer::Query;
use crate::admin::answer::shown;
use crate::rehearsal::message::Message;
use crate::rehearsal::story::Story;
use crate::rehearsal::told::Teller;
use crate::rehearsal::told::Told;

/// The message that is asked about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The envelope sender; `<>` is the null sender.
    #[schema(example = "newsletter@example.com")]
    sender: String,
    /// Envelope recipients.
    #[serde(default)]
    #[schema(max_items = 100)]
    recipients: Vec<String>,
    /// The client's address; `192.0.2.1` if it is left out.
    #[schema(value_type = Option<String>)]
    client: Option<std::net::IpAddr>,
    /// The client's host name, as in TCPREMOTEHOST.
    host: Option<String>,
    /// The name that the client gives in EHLO; `client.example` if it is left out.
    helo: Option<String>,
    /// As if the session used TLS.
    #[serde(default)]
    tls: bool,
    /// As if this user had logged in.
    user: Option<String>,
    /// The declared size in octets.
    #[schema(format = "uint64")]
    size: Option<u64>,
}

/// A message in a query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AskedShort {
    /// The envelope sender; `<>` is the null sender.
    #[param(example = "newsletter@example.com")]
    sender: String,
    /// An envelope recipient.
    recipient: Option<String>,
    /// The client's address; `192.0.2.1` if it is left out.
    #[param(value_type = Option<String>)]
    client: Option<std::net::IpAddr>,
    /// The client's host name, as in TCPREMOTEHOST.
    host: Option<String>,
    /// The name that the client gives in EHLO; `client.example` if it is left out.
    helo: Option<String>,
    /// As if the session used TLS.
    #[serde(default)]
    tls: bool,
    /// As if this user had logged in.
    user: Option<String>,
    /// The declared size in octets.
    #[param(format = "uint64")]
    size: Option<u64>,
}

/// A message as JSON: what `portcullis explain` sends.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Encoded {
    /// `{"client":…,"host":…,"helo":…,"tls":…,"user":…,"sender":…,"recipients":[…],"size":…,"eight_bit":…}`
    #[param(example = r#"{"client":"192.0.2.1","helo":"a","tls":false,"sender":"a@b.example","recipients":[]}"#)]
    message: String,
}

/// Show what would happen to a message with one recipient
#[utoipa::path(get, path = "/api/v1/explain", tag = "explain", params(AskedShort),
    responses((status = 200, body = Story)))]
pub(super) async fn get(State(app): State<App>, Query(asked): Query<AskedShort>) -> Result<Response, Fault> {
    let AskedShort { sender, recipient, client, host, helo, tls, user, size } = asked;
    let recipients = recipient.into_iter().collect();
    explain(&app, Asked { sender, recipients, client, host, helo, tls, user, size })
}

/// Show what would happen to a message
///
/// The session is rehearsed by the configuration, lists and state that are in force; nothing is counted or delivered.
#[utoipa::path(post, path = "/api/v1/explain", tag = "explain", request_body = Asked,
    responses((status = 200, body = Story)))]
pub(super) async fn post(State(app): State<App>, Json(asked): Json<Asked>) -> Result<Response, Fault> {
    explain(&app, asked)
}

fn explain(app: &App, asked: Asked) -> Result<Response, Fault> {
    if asked.recipients.len() > MOST_RECIPIENTS {
        return Err(Fault::bad(format!("at most {MOST_RECIPIENTS} recipients can be explained at once")));
    }
    let script = Message::from(asked).script().map_err(Fault::bad)?;
    let (steps, teller) = Teller::rehearse(app.handles.services.clone(), &script).end();
    let told = teller.told(steps);
    let story = told.explanation.map(|explanation| Story::of(&script.message, &explanation, "running proxy", true));
    Ok(shown(&story))
}

/// What the state answers to the session of a message
///
/// For `portcullis explain`, which has files of its own: `/api/v1/explain` is for everything else. The body is the message
/// as its client sends it, with the final dot; empty ends the session behind the recipients.
#[utoipa::path(post, path = "/api/v1/rehearsal", tag = "explain", params(Encoded),
    request_body(content = Option<String>, content_type = "application/octet-stream"),
    responses((status = 200, body = Told)))]
pub(super) async fn rehearse(
    State(app): State<App>,
    Query(asked): Query<Encoded>,
    mut body: Body,
) -> Result<Response, Fault> {
    let message: Message = serde_json::from_str(&asked.message).map_err(|error| Fault::bad(error.to_string()))?;
    let script = message.script().map_err(Fault::bad)?;
    let mut rehearsal = Teller::rehearse(app.handles.services, &script);
    // To its end: a client hears no answer while it writes.
    while let Some(Ok(frame)) = body.frame().await {
        frame.data_ref().into_iter().for_each(|octets| rehearsal.hear(octets));
    }
    let (steps, teller) = rehearsal.end();
    Ok(shown(&teller.told(steps)))
}

impl From<Asked> for Message {
    fn from(asked: Asked) -> Self {
        let Asked { sender, recipients, client, host, helo, tls, user, size } = asked;
        Self {
            client: client.unwrap_or(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
            host,
            helo: helo.unwrap_or_else(|| "client.example".to_owned()),
            tls,
            user,
            sender,
            recipients,
            size,
            eight_bit: None,
        }
    }
}

const MOST_RECIPIENTS: usize = 100;
