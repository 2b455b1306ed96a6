//! What `delete` and `restore` share: there has to be a quarantine, and what of it is meant.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::queue::failed;
use crate::cli::queue::now;
use crate::queue::look::Message;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::with_remedy;
use crate::queue::look::read::Want;
use crate::queue::quarantine::folder::Quarantine;

pub(super) fn no_quarantine(path: &Path) -> ExitCode {
    failed(&format!("{}: there is no quarantine: nothing was ever taken", path.display()))
}

/// Hands on what of the quarantine is meant.
pub(super) fn each_kept(
    quarantine: &Quarantine,
    filter: &Filter,
    sink: &mut dyn FnMut(Message),
) -> Result<(), ExitCode> {
    let found = quarantine.each(filter, &Want::default(), now(), sink);
    found.map_err(|error| failed(&format!("{}: {}", quarantine.path().display(), with_remedy(&error))))
}
