//! Blocks: listed, made, lifted. Durable before it is answered. It must not keep any itself.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Json;
use crate::admin::answer::Query;
use crate::admin::answer::shown;
use crate::admin::api::not_written;
use crate::policy::block::BlockKey;
use crate::policy::throttle::Throttle;
use crate::report::preview::Preview;
use crate::store::blocks::Block;

/// All blocks, the one that ends first at the front.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listed {
    blocks: Vec<Block>,
}

/// A block to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct NewBlock {
    /// `user@example.org`, `@example.org`, `192.0.2.1` or `192.0.2.0/24`.
    #[schema(example = "newsletter@example.com")]
    pub(in crate::admin) key: String,
    /// Its length in seconds.
    #[schema(minimum = 1, format = "uint64")]
    pub(in crate::admin) seconds: u64,
    /// The reason, in one line of at most 500 octets; empty leaves that of a block with this key as it is.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub(in crate::admin) why: String,
    /// Make it also where it hits this host, clients that may relay, your own domains, or very many clients.
    #[serde(default)]
    pub(in crate::admin) force: bool,
}

/// A new block.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Made {
    #[serde(flatten)]
    block: Block,
    /// When the one with its key would have ended whose place it took; `null` if there was none.
    before: Option<u32>,
}

/// The key of a block or a throttle's count.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct OldBlock {
    /// As `blocks` shows it, or `explain` as what lifts a throttle.
    #[param(example = "newsletter@example.com")]
    pub(in crate::admin) key: String,
}

/// The key of a block that is not made yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `user@example.org`, `@example.org`, `192.0.2.1` or `192.0.2.0/24`.
    key: String,
}

/// What a block would hit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Looked {
    #[serde(flatten)]
    hit: Preview,
    /// Why it needs a second thought, and `force`.
    doubt: Option<String>,
}

/// What was lifted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::admin) enum Lifted {
    /// This block.
    Block(Block),
    /// The counts of these throttles, which start from zero for this key.
    Counts { key: String, throttles: Vec<String> },
}

/// All blocks
#[utoipa::path(get, path = "/api/v1/blocks", tag = "blocks", responses((status = 200, body = Listed)))]
pub(super) async fn list(State(app): State<App>) -> Response {
    shown(&Listed { blocks: app.handles.services.state.tables().blocks.list() })
}

/// Make a block
///
/// It holds at once, also on open connections, and over a restart. A block with the same key is replaced.
#[utoipa::path(post, path = "/api/v1/blocks", tag = "blocks", request_body = NewBlock, security(("token" = [])),
    responses((status = 200, body = Made), (status = 409, body = crate::admin::answer::Failure,
        description = "It would hit mail of your own; `force` makes it all the same"),
        (status = 507, body = crate::admin::answer::Failure, description = "There are too many blocks")))]
pub(super) async fn post(State(app): State<App>, Json(new): Json<NewBlock>) -> Result<Response, Fault> {
    Ok(shown(&make(&app, &new).await?))
}

/// Lift a block, or reset a throttle's count
#[utoipa::path(delete, path = "/api/v1/blocks", tag = "blocks", params(OldBlock), security(("token" = [])),
    responses((status = 200, body = Lifted),
        (status = 404, body = crate::admin::answer::Failure, description = "Nothing applies to this key")))]
pub(super) async fn delete(State(app): State<App>, Query(old): Query<OldBlock>) -> Result<Response, Fault> {
    Ok(shown(&lift(&app, &old.key).await?))
}

/// What a block would hit
///
/// By the last hour and the last records; nothing is made.
#[utoipa::path(post, path = "/api/v1/blocks/preview", tag = "blocks", request_body = Wanted,
    responses((status = 200, body = Looked)))]
pub(super) async fn preview(State(app): State<App>, Json(wanted): Json<Wanted>) -> Result<Response, Fault> {
    let key = key_of(&wanted.key)?;
    let doubt = doubt(&app, &key).await?;
    Ok(shown(&Looked { hit: app.handles.services.reports.preview(&key, app.now()), doubt }))
}

/// Makes a block.
///
/// # Errors
/// It is not a valid one, or doubtful, or there are too many, or it could not be written.
pub(in crate::admin) async fn make(app: &App, new: &NewBlock) -> Result<Made, Fault> {
    let key = key_of(&new.key)?;
    check_words(new)?;
    if !new.force
        && let Some(doubt) = doubt(app, &key).await?
    {
        return Err(Fault::new(StatusCode::CONFLICT, doubt).remedy("name less, or send \"force\": true"));
    }
    let state = &app.handles.services.state;
    let Ok((block, before)) = state.tables().blocks.add(&key, Duration::from_secs(new.seconds), &new.why) else {
        let fault = Fault::new(StatusCode::INSUFFICIENT_STORAGE, "too many blocks");
        return Err(fault.remedy("unblock some, or use badmailfrom"));
    };
    tracing::info!(key = block.key, seconds = new.seconds, why = new.why, "block");
    match state.flush().await {
        true => Ok(Made { block, before }),
        false => Err(not_written("blocked, but not written: a restart forgets it")),
    }
}

/// Lifts a block, or else the counts of throttles.
///
/// # Errors
/// Nothing applies to the key, or it could not be written.
pub(in crate::admin) async fn lift(app: &App, text: &str) -> Result<Lifted, Fault> {
    let state = &app.handles.services.state;
    let key = BlockKey::spelling(text);
    let Some(block) = state.tables().blocks.remove(&key) else {
        return count_anew(app, text).await;
    };
    // Else its next try would be over the limit still, and blocked again for twice as long.
    if let Some(throttled) = block.throttled {
        state.tables().throttles.forget(throttled);
    }
    tracing::info!(key, "unblock");
    match state.flush().await {
        true => Ok(Lifted::Block(block)),
        false => Err(not_written("lifted, but not written: a restart brings it back")),
    }
}

/// What is not blocked may be counted: by the throttle whose name stands before a colon, else by any.
async fn count_anew(app: &App, key: &str) -> Result<Lifted, Fault> {
    let state = &app.handles.services.state;
    let snapshot = app.handles.services.snapshot.borrow().clone();
    let named = key.split_once(':');
    let of_label = |throttle: &Throttle| {
        let label = named.filter(|(name, _)| **name == *throttle.name).map_or(key, |(_, label)| label);
        let found = throttle.key_of_label(&state.tables().seed, label)?;
        state.tables().throttles.forget(found.exact).then(|| throttle.name.to_string())
    };
    let throttles: Vec<String> = snapshot.policy.throttles.iter().filter_map(of_label).collect();
    if throttles.is_empty() {
        let fault = Fault::new(StatusCode::NOT_FOUND, format!("no block or throttle applies to {key}"));
        return Err(fault.remedy("see `blocks`; `explain --sender A --client IP` shows what refuses that mail"));
    }
    tracing::info!(key, throttles = throttles.join(","), "unblock");
    match state.flush().await {
        true => Ok(Lifted::Counts { key: key.to_owned(), throttles }),
        false => Err(not_written("lifted, but not written: a restart may bring it back")),
    }
}

/// Why the block needs a second thought.
async fn doubt(app: &App, key: &BlockKey) -> Result<Option<String>, Fault> {
    let key = key.clone();
    app.of_daemon(move |daemon| daemon.doubt(&key)).await
}

fn key_of(text: &str) -> Result<BlockKey, Fault> {
    let key: BlockKey = text.parse().map_err(|what| Fault::bad(format!("{text:?}: {what}")))?;
    match key.doubt() {
        Some(what) => Err(Fault::bad(format!("{text:?}: {what}"))),
        None => Ok(key),
    }
}

fn check_words(new: &NewBlock) -> Result<(), Fault> {
    match () {
        () if new.seconds == 0 => Err(Fault::bad("a block needs a time of a second or more")),
        () if new.why.len() > LONGEST_WHY => Err(Fault::bad("why is too long: write 500 octets at most")),
        () if new.why.contains(char::is_control) => {
            Err(Fault::bad("why has a control character in it: write one line without tabs"))
        }
        () => Ok(()),
    }
}

/// Octets.
const LONGEST_WHY: usize = 500;
