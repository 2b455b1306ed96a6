//! The messages that a command is about to change: how they are selected in quarantine, and their preview before the question. It
//! must not change any.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::output::note;
use crate::cli::queue::failed;
use crate::cli::queue::now;
use crate::cli::queue::table::Table;
use crate::cli::queue::table::counted;
use crate::queue::look::Message;
use crate::queue::look::filter::Filter;
use crate::queue::look::layout::with_remedy;
use crate::queue::look::read::Want;
use crate::queue::quarantine::folder::Quarantine;

/// All selected messages by number, the first few as rows.
#[derive(Default)]
pub(super) struct Selection {
    pub(super) ids: Vec<u64>,
    pub(super) bytes: u64,
    first: Vec<Message>,
}

impl Selection {
    pub(super) fn add(&mut self, message: Message) {
        self.ids.push(message.id);
        self.bytes += message.size.unwrap_or(0);
        if self.first.len() < SHOWN {
            self.first.push(message);
        }
    }

    /// Prints the preview as a table.
    pub(super) fn show(&self) {
        let written = Table::begin(false, now()).and_then(|mut table| {
            self.first.iter().try_for_each(|message| table.row(message))?;
            table.end_with(self.ids.len(), self.bytes)
        });
        note(&written);
    }

    /// Numbers of messages and octets, in words.
    pub(super) fn counted(&self) -> String {
        counted(self.ids.len(), self.bytes)
    }
}

/// Passes the selected messages in quarantine to `sink`; prints the fault otherwise.
pub(super) fn each_quarantined(
    quarantine: &Quarantine,
    filter: &Filter,
    sink: &mut dyn FnMut(Message),
) -> Result<(), ExitCode> {
    let found = quarantine.each(filter, &Want::default(), now(), sink);
    found.map_err(|error| failed(&format!("{}: {}", quarantine.path().display(), with_remedy(&error))))
}

/// Prints that there is nothing to select from.
pub(super) fn no_quarantine(path: &Path) -> ExitCode {
    failed(&format!("{}: there is no quarantine: nothing was ever taken", path.display()))
}

/// Rows of the preview.
const SHOWN: usize = 20;
