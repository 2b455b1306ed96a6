//! The messages that a command is about to change, and their preview before the question. It must not change any.

use crate::cli::output::note;
use crate::cli::queue::now;
use crate::cli::queue::table::Table;
use crate::cli::queue::table::counted;
use crate::queue::look::Message;

/// All selected messages by number, the first few as rows.
#[derive(Default)]
pub(super) struct Meant {
    pub(super) ids: Vec<u64>,
    pub(super) bytes: u64,
    first: Vec<Message>,
}

impl Meant {
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

/// Rows of the preview.
const SHOWN: usize = 20;
