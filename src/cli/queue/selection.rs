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

    /// Adds the subjects to the messages of the preview.
    pub(super) fn add_subjects(&mut self, read: impl Fn(u64, &Want) -> Option<Message>) {
        let want = Want { header: Some(vec!["subject".to_owned()]), ..Want::default() };
        for message in &mut self.first {
            message.header = read(message.id, &want).and_then(|message| message.header);
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

    /// The senders of the messages in the preview, each once.
    pub(super) fn senders(&self) -> Vec<String> {
        let known = self.first.iter().filter_map(|message| message.sender.as_ref());
        let mut senders: Vec<String> = known.map(|sender| String::from_utf8_lossy(sender).to_lowercase()).collect();
        senders.sort_unstable();
        senders.dedup();
        senders
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
    failed(&format!("{}: no such folder: nothing was ever quarantined", path.display()))
}

/// Rows of the preview.
const SHOWN: usize = 20;
