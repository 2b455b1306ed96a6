//! The page at `/`: one screen that says what happens, since when, whether it is under control, and what to press.
//! `page.html`, `page.css` and `page.js` are what a browser gets, in one answer; without a script it is tables and forms.
//! It must not show a stranger's text unescaped, nor load anything from elsewhere.

mod ask;
mod assets;
mod chart;
mod facts;
mod human;
mod page;
mod record;
mod rows;
mod table;

use axum::Extension;
use axum::Form;
use axum::extract::State;
use axum::http::header;
use axum::response::Html;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use serde::Deserialize;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Query;
use crate::admin::api::blocks;
use crate::admin::api::blocks::NewBlock;
use crate::admin::guard::Who;
use crate::admin::web::ask::Ask;
use crate::admin::web::page::Shown;
use crate::admin::web::record::Detail;
use crate::report::history::Range;
use crate::text::shell;

/// What is looked at, as the links and forms of the page say it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    range: Range,
    /// The key that may be blocked next.
    block: Option<String>,
    /// The key that was blocked a moment ago.
    blocked: Option<String>,
    /// The key that was unblocked a moment ago.
    lifted: Option<String>,
    /// Words that have to stand in the records.
    search: String,
    /// The number of the record whose details are shown.
    record: Option<u64>,
}

/// What a form of the page sends.
#[derive(Debug, Deserialize)]
pub(super) struct Pressed {
    key: String,
}

/// The page.
pub(super) async fn page(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Query(look): Query<Look>,
) -> Result<Response, Fault> {
    let ask = Ask::of(&app, &look, who == Who::Anyone).await;
    answer(&app, &who, look, ask)
}

/// Blocks for a day what a form names: the page has said before what it would hit.
pub(super) async fn block(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Form(Pressed { key }): Form<Pressed>,
) -> Result<Response, Fault> {
    let new = NewBlock { key, seconds: DAY, why: WHY.to_owned(), force: true };
    match blocks::make(&app, &new).await {
        Ok(_) => Ok(Redirect::to(&format!("/?blocked={}", human::encoded(&new.key))).into_response()),
        Err(fault) => failed(&app, &who, &fault),
    }
}

/// Lifts the block that a form names.
pub(super) async fn unblock(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Form(Pressed { key }): Form<Pressed>,
) -> Result<Response, Fault> {
    match blocks::lift(&app, &key).await {
        Ok(_) => Ok(Redirect::to(&format!("/?lifted={}", human::encoded(&key))).into_response()),
        Err(fault) => failed(&app, &who, &fault),
    }
}

/// The page, with the reason why what was pressed was not done.
pub(super) fn failed(app: &App, who: &Who, fault: &Fault) -> Result<Response, Fault> {
    let mut response = answer(app, who, Look::default(), Some(Ask::failed(fault)))?;
    *response.status_mut() = fault.code;
    Ok(response)
}

fn answer(app: &App, who: &Who, look: Look, ask: Option<Ask>) -> Result<Response, Fault> {
    let published = app.live.latest();
    let services = &app.handles.services;
    let shown = Shown {
        status: &published.status,
        blocks: services.state.tables().blocks.list(),
        points: services.reports.history.points(look.range, app.now()),
        range: look.range,
        records: services.reports.recent.search(&look.search, None, RECORDS),
        record: look.record.and_then(|number| Detail::of(services, number)),
        search: look.search,
        ask,
        csrf: match who {
            Who::Page(id) => app.logins.form_word(id),
            Who::Anyone | Who::Operator => String::new(),
        },
        token_file: app.token.map(|_| shell::word(&app.token_file.display().to_string())).unwrap_or_default(),
    };
    let html = page::page(shown).map_err(|error| Fault::broken(error.to_string()))?;
    Ok(([(header::CONTENT_SECURITY_POLICY, assets::policy())], Html(html)).into_response())
}

/// Records on the page as it is first painted.
const RECORDS: usize = 10;
/// Seconds of a block that the page makes.
const DAY: u64 = 86_400;
/// The reason of a block that the page makes.
const WHY: &str = "from the page";
