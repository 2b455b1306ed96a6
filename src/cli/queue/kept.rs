//! The common part of `delete` and `restore`: opens the quarantine and selects messages in it. It must not change any.

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

/// Passes the selected messages in quarantine to `sink`; prints the fault otherwise.
pub(super) fn each_kept(
    quarantine: &Quarantine,
    filter: &Filter,
    sink: &mut dyn FnMut(Message),
) -> Result<(), ExitCode> {
    let found = quarantine.each(filter, &Want::default(), now(), sink);
    found.map_err(|error| failed(&format!("{}: {}", quarantine.path().display(), with_remedy(&error))))
}
