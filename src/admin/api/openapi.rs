//! The description of the API, as OpenAPI 3.1. Paths and shapes come from the code; what all answers share is added here.
//! It must not describe what does not answer.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::Ref;
use utoipa::openapi::Response as Described;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::Http;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::SecurityScheme;

use crate::admin::answer::Failure;
use crate::admin::api::blocks;
use crate::admin::api::check;
use crate::admin::api::conversation;
use crate::admin::api::events;
use crate::admin::api::explain;
use crate::admin::api::history;
use crate::admin::api::records;
use crate::admin::api::reload;
use crate::admin::api::sessions;
use crate::admin::api::status;

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "description",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| Api::openapi().to_json().unwrap_or_default());

#[derive(OpenApi)]
#[openapi(
    info(title = "Portcullis", description = "The admin interface of a running proxy"),
    paths(
        status::status, status::ready, events::events, status::top, status::storms, history::history, records::records,
        sessions::sessions, sessions::session, conversation::events,
        blocks::list, blocks::post, blocks::delete, blocks::preview,
        explain::get, explain::post, explain::rehearse,
        check::check, reload::reload, document,
    ),
    components(schemas(Failure, conversation::Line, conversation::End)),
    modifiers(&Common),
)]
struct Api;

/// What every operation may answer, and how the token is sent.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        openapi.paths.paths.values_mut().flat_map(operations).for_each(describe);
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", token);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn describe(operation: &mut Operation) {
    for (code, what) in COMMON {
        let described = operation.responses.responses.entry(code.to_owned());
        described.or_insert_with(|| fault(what).into());
    }
}

fn fault(what: &str) -> Described {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
    ResponseBuilder::new().description(what).content("application/json", content).build()
}

const COMMON: [(&str, &str); 9] = [
    ("400", "The request is not a valid one"),
    ("401", "It needs the token, or the token is a wrong one"),
    ("403", "It is not for this host, or another page asks"),
    ("405", "The path has other methods, which Allow names"),
    ("413", "The body is too large"),
    ("415", "The body is of another type"),
    ("429", "There are too many requests; Retry-After says when to try again"),
    ("500", "The state could not be written"),
    ("503", "There is no answer now; Retry-After says when to try again"),
];
