//! The last records, to be looked through. It must not keep any.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::App;
use crate::admin::answer::Fault;
use crate::admin::answer::Query;
use crate::admin::answer::shown;
use crate::report::recent::Entry;

/// Which records.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Words that have to stand somewhere in a record, in any letter case.
    #[serde(default)]
    #[param(max_length = 200)]
    search: String,
    /// Records at most: 100 if it is left out.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 500)]
    limit: usize,
    /// Only records before the one with this number.
    #[param(format = "uint64")]
    before: Option<u64>,
}

/// Records, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Records {
    pub(super) records: Vec<Entry>,
}

/// The last records
///
/// About a thousand are kept, in memory only; the log has all.
#[utoipa::path(get, path = "/api/v1/records", tag = "status", params(Asked),
    responses((status = 200, body = Records)))]
pub(super) async fn records(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    let Asked { search, limit, before } = asked;
    if !(1..=MOST).contains(&limit) {
        return Err(Fault::bad(format!("limit: write a number from 1 to {MOST}")));
    }
    if search.chars().count() > LONGEST_SEARCH {
        return Err(Fault::bad(format!("search: write {LONGEST_SEARCH} characters at most")));
    }
    Ok(shown(&Records { records: app.handles.services.reports.recent.search(&search, before, limit) }))
}

fn usual() -> usize {
    USUAL
}

/// Records of one answer.
pub(super) const USUAL: usize = 100;
const MOST: usize = 500;
/// Characters.
const LONGEST_SEARCH: usize = 200;
