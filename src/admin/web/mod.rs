//! The page at `/`: one screen that says what happens, since when, whether it is under control, and what to press.
//! `page.html`, `page.css` and `page.js` are what a browser gets, in one answer; without a script it is tables and forms,
//! and the script only puts the same HTML into the page as it changes.
//! It must not show a stranger's text unescaped, nor load anything from elsewhere.

mod ask;
mod assets;
mod chart;
mod facts;
mod human;
pub(super) mod live;
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
use crate::admin::api;
use crate::admin::api::blocks;
use crate::admin::api::blocks::NewBlock;
use crate::admin::guard::Who;
use crate::admin::web::ask::Ask;
pub(super) use crate::admin::web::ask::Wanted;
use crate::admin::web::page::Shown;
use crate::admin::web::record::Detail;
use crate::admin::web::table::Sort;
use crate::report::history::Range;
use crate::status::live::Published;
use crate::text::shell;

/// What is looked at, as the links and forms of the page say it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    range: Range,
    /// The column by which senders and clients are sorted.
    sort: Option<Sort>,
    /// The key that may be blocked next.
    block: Option<String>,
    /// The key that may be unblocked next.
    lift: Option<String>,
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

/// The page, with the reason why its token was not taken; what was to be done with it waits.
pub(super) fn not_let_in(app: &App, fault: &Fault, wanted: Wanted) -> Result<Response, Fault> {
    let mut response = answer(app, &Who::Anyone, Look::default(), Some(Ask::login(fault, wanted)))?;
    *response.status_mut() = fault.code;
    Ok(response)
}

/// The page, with the reason why what was pressed was not done.
fn failed(app: &App, who: &Who, fault: &Fault) -> Result<Response, Fault> {
    let mut response = answer(app, who, Look::default(), Some(Ask::failed(fault)))?;
    *response.status_mut() = fault.code;
    Ok(response)
}

fn answer(app: &App, who: &Who, look: Look, ask: Option<Ask>) -> Result<Response, Fault> {
    let published = app.live.latest();
    let services = &app.handles.services;
    let most = if look.search.is_empty() { RECORDS } else { RECORDS_FOUND };
    let shown = Shown {
        points: services.reports.history.points(look.range, app.now()),
        range: look.range,
        sort: look.sort,
        records: services.reports.recent.search(&look.search, None, most),
        record: look.record.and_then(|number| Detail::of(services, number)),
        search: look.search,
        ask,
        csrf: match who {
            Who::Page(id) => app.logins.form_word(id),
            Who::Anyone | Who::Operator => String::new(),
        },
        token_file: app.token.map(|_| shell::word(&app.token_file.display().to_string())).unwrap_or_default(),
        ..shown(app, &published, true)
    };
    let html = page::page(shown).map_err(|error| Fault::broken(error.to_string()))?;
    Ok(([(header::CONTENT_SECURITY_POLICY, assets::policy())], Html(html)).into_response())
}

/// What everyone is shown who asks for nothing in particular.
fn shown<'a>(app: &App, published: &'a Published, whole: bool) -> Shown<'a> {
    let services = &app.handles.services;
    Shown {
        whole,
        published,
        blocks: services.state.tables().blocks.list(),
        points: services.reports.history.points(Range::Hour, app.now()),
        checked: api::check::lately(app),
        range: Range::Hour,
        sort: None,
        records: Vec::new(),
        record: None,
        search: String::new(),
        ask: None,
        csrf: String::new(),
        token_file: String::new(),
    }
}

/// Records on the page, and those that a search finds.
const RECORDS: usize = 8;
const RECORDS_FOUND: usize = 50;
/// Seconds of a block that the page makes.
const DAY: u64 = 86_400;
/// The reason of a block that the page makes.
const WHY: &str = "from the page";
