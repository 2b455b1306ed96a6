//! The rows that can be selected: storms, then those of the table below them. What a block of one, or an explanation, is
//! about. It must not change anything but the order of rows.

use serde_json::Value;
use serde_json::json;

use crate::cli::status::model::Model;
use crate::cli::status::model::Sort;
use crate::cli::status::model::Tab;
use crate::cli::status::seen::Block;
use crate::cli::status::seen::Record;
use crate::cli::status::seen::Session;
use crate::cli::status::seen::Storm;
use crate::cli::status::seen::Top;
use crate::cli::status::seen::bare;

/// A row that can be selected.
#[derive(Debug)]
pub(super) enum Row<'a> {
    Storm(&'a Storm),
    Sender(&'a Top),
    Client(&'a Top),
    Record(&'a Record),
    Session(&'a Session),
    Block(&'a Block),
}

impl Model {
    /// All rows, in their order.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let storms = self.storms().iter().map(Row::Storm);
        storms.chain(self.table(self.tab)).collect()
    }

    pub(super) fn row(&self) -> Option<Row<'_>> {
        self.rows().into_iter().nth(self.selected)
    }

    /// The message that an explanation of the selected row is about, or why there is none.
    pub(super) fn message(&self) -> Result<Value, &'static str> {
        let row = self.row().ok_or("nothing is selected")?;
        let sender = match row {
            Row::Storm(storm) => storm.parts().1,
            Row::Sender(top) => &top.name,
            _ => return row.message(),
        };
        // The last mail of that sender says more: its recipients, its size.
        let is_of_it = |record: &&Record| record.sender.as_deref() == Some(sender);
        self.records.iter().find(is_of_it).map_or_else(|| row.message(), |record| Row::Record(record).message())
    }

    /// By what the selected row is known again.
    pub(super) fn selected_id(&self) -> Option<String> {
        self.row().map(|row| row.id())
    }

    pub(super) fn place_of(&self, id: &str) -> Option<usize> {
        self.rows().iter().position(|row| row.id() == id)
    }

    /// The storms that are shown.
    pub(super) fn storms(&self) -> &[Storm] {
        self.seen.as_ref().map_or(&[], |seen| &seen.storms[..seen.storms.len().min(MOST_STORMS)])
    }

    /// The rows of a table.
    pub(super) fn table(&self, tab: Tab) -> Vec<Row<'_>> {
        match tab {
            Tab::Senders => self.senders().into_iter().map(Row::Sender).collect(),
            Tab::Clients => self.clients().into_iter().map(Row::Client).collect(),
            Tab::Records => self.records.iter().map(Row::Record).collect(),
            Tab::Sessions => self.sessions.sessions.iter().map(Row::Session).collect(),
            Tab::Blocks => self.blocks.iter().map(Row::Block).collect(),
        }
    }

    fn senders(&self) -> Vec<&Top> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let lists = [&seen.senders.not_accepted, &seen.senders.accepted, &seen.senders.bytes];
        sorted(lists.into_iter().flatten().collect(), self.sort)
    }

    fn clients(&self) -> Vec<&Top> {
        self.seen.as_ref().map_or_else(Vec::new, |seen| sorted(seen.clients.iter().collect(), self.sort))
    }
}

/// The one with the most first; each once.
fn sorted(mut tops: Vec<&Top>, sort: Sort) -> Vec<&Top> {
    tops.sort_by(|a, b| sort.of(b).cmp(&sort.of(a)).then_with(|| a.name.cmp(&b.name)));
    tops.dedup_by(|a, b| a.name == b.name);
    tops
}

impl Row<'_> {
    fn id(&self) -> String {
        match self {
            Self::Storm(storm) => format!("storm {}", storm.key),
            Self::Sender(top) | Self::Client(top) => top.name.clone(),
            Self::Record(record) => record.number.to_string(),
            Self::Session(session) => session.id.clone(),
            Self::Block(block) => block.key.clone(),
        }
    }

    /// The key of the block that ends it, or why there is none.
    pub(super) fn block_key(&self) -> Result<String, &'static str> {
        match self {
            Self::Storm(storm) if storm.is_guessing() => Ok(storm.parts().0.to_owned()),
            Self::Storm(storm) => match storm.parts() {
                (network, "<>") => Ok(network.to_owned()),
                (_, sender) => Ok(bare(sender).to_owned()),
            },
            Self::Sender(top) => address(Some(&top.name)).ok_or(NULL_SENDER),
            Self::Client(top) => Ok(top.name.clone()),
            Self::Record(Record { sender, client, .. }) | Self::Session(Session { sender, client, .. }) => {
                Ok(address(sender.as_ref()).unwrap_or_else(|| client.clone()))
            }
            Self::Block(_) => Err("that is blocked already"),
        }
    }

    /// The message to be explained as far as the row knows it, or why there is none.
    fn message(&self) -> Result<Value, &'static str> {
        match self {
            Self::Storm(storm) if storm.is_guessing() => Err("it guesses passwords and sends no mail to be explained"),
            Self::Storm(storm) => {
                let (network, sender) = storm.parts();
                let recipients: Vec<&str> = storm.recipients.split(',').map(str::trim).take(1).collect();
                let recipients: Vec<&str> = recipients.into_iter().filter(|it| !it.is_empty()).collect();
                let mut message = json!({ "sender": sender, "recipients": recipients });
                if let Some(client) = network.split('/').next().filter(|client| !client.is_empty()) {
                    message["client"] = client.into();
                }
                Ok(message)
            }
            Self::Sender(top) => Ok(json!({ "sender": top.name })),
            Self::Record(Record { sender: Some(sender), recipients, client, helo, tls, user, size, .. }) => Ok(json!({
                "sender": sender, "recipients": recipients, "client": client, "helo": helo, "tls": tls.is_some(),
                "user": user, "size": size,
            })),
            Self::Session(Session { sender: Some(sender), client, helo, tls, user, .. }) => Ok(json!({
                "sender": sender, "client": client, "helo": helo, "tls": tls.is_some(), "user": user,
            })),
            Self::Client(_) | Self::Record(_) | Self::Session(_) | Self::Block(_) => {
                Err("there is no sender to be explained: select a storm, a sender, or a record of mail")
            }
        }
    }
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::NotAccepted => Self::Accepted,
            Self::Accepted => Self::Bytes,
            Self::Bytes => Self::NotAccepted,
        }
    }

    fn of(self, top: &Top) -> u64 {
        match self {
            Self::NotAccepted => top.absorbed + top.deferred + top.refused,
            Self::Accepted => top.accepted,
            Self::Bytes => top.bytes,
        }
    }
}

/// The address of a sender; `None` for the null sender.
fn address(sender: Option<&String>) -> Option<String> {
    sender.map(|sender| bare(sender)).filter(|address| !address.is_empty()).map(str::to_owned)
}

const NULL_SENDER: &str = "the null sender cannot be blocked: every bounce comes from it";
/// Storms that are shown.
const MOST_STORMS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::model::tests::watching;
    use crate::text::readable;

    #[test]
    fn each_row_has_its_key_and_its_message() {
        let mut model = watching();
        let mut table = Vec::new();
        for tab in Tab::ALL {
            model.tab = tab;
            let from = if tab == Tab::Senders { 0 } else { model.storms().len() };
            table.extend(model.rows().iter().skip(from).map(|row| {
                let message = row.message().map_or_else(str::to_owned, |message| {
                    let parts = message.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
                    parts
                        .map(|(name, value)| format!("{name} {}", readable::shown(&value.to_string())))
                        .collect::<Vec<_>>()
                        .join("\n    ")
                });
                let key = row.block_key().unwrap_or_else(str::to_owned);
                format!("{}\n    {message}\n", readable::shown(&key))
            }));
        }
        assert_eq!(table.concat(), include_str!("tests/rows.txt"));
    }

    #[test]
    fn the_order_of_senders() {
        let mut model = watching();
        let first = |model: &Model| model.senders().first().map(|top| top.name.clone());
        assert_eq!(first(&model).as_deref(), Some("<news@sillyplace.com>"));
        model.sort = model.sort.next();
        assert_eq!(first(&model).as_deref(), Some("<ann@partner.example>"));
        assert_eq!(model.senders().len(), 4, "each once");
    }
}
