//! The messages that a command is about to change, and what is shown of them before it asks. It must not change any.

use crate::cli::output::note;
use crate::cli::queue::now;
use crate::cli::queue::table::Table;
use crate::cli::queue::table::counted;
use crate::queue::look::Message;

/// All of them by number, the first few as rows.
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

    /// As a table.
    pub(super) fn show(&self) {
        let written = Table::begin(false, now()).and_then(|mut table| {
            self.first.iter().try_for_each(|message| table.row(message))?;
            table.end_with(self.ids.len(), self.bytes)
        });
        note(&written);
    }

    /// So many messages, so many octets.
    pub(super) fn counted(&self) -> String {
        counted(self.ids.len(), self.bytes)
    }
}

/// Rows before the question.
const SHOWN: usize = 20;
