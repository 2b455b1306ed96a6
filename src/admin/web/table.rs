//! Tables of the page: their columns, and cells as text that the template escapes. `page.js` has the same columns. It must
//! not know where the rows come from.

use serde::Deserialize;

use crate::admin::web::human;

/// A table, with the words that stand for it while it has no rows.
pub(super) struct Table {
    pub(super) id: &'static str,
    pub(super) caption: &'static str,
    pub(super) empty: &'static str,
    /// Whether it counts messages by their verdict.
    pub(super) counts: bool,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

/// A column's head.
pub(super) struct Column {
    pub(super) label: &'static str,
    /// The word by which a link sorts the table; empty where none does.
    pub(super) sort: &'static str,
    /// The order in which the table is sorted by it, as `aria-sort` has it.
    pub(super) sorted: &'static str,
}

/// A row, known again by its key.
pub(super) struct Row {
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
}

/// A cell: a text, a link or a button.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The exact value where the text is a short one.
    pub(super) title: String,
    /// Whether it holds a stranger's words, which may run from right to left.
    pub(super) foreign: bool,
    /// The verdict that colours it.
    pub(super) dot: &'static str,
    /// What its button asks for, with its key: `block` or `lift`.
    pub(super) press: &'static str,
    pub(super) key: String,
    /// Where it leads.
    pub(super) link: String,
}

impl Table {
    /// The table of this id, which has to be one of [`TABLES`].
    pub(super) fn of(id: &'static str, rows: Vec<Row>) -> Self {
        let form = TABLES.iter().find(|(known, ..)| *known == id);
        let (caption, empty, labels) =
            form.map_or(("", "", EMPTY), |(_, caption, empty, labels)| (caption, empty, labels));
        let columns = labels.iter().map(|label| Column { label, sort: "", sorted: "" }).collect();
        Self { id, caption, empty, counts: labels.contains(&"Refused"), columns, rows }
    }

    /// The table of this id, whose columns have links that sort it.
    pub(super) fn sorted(id: &'static str, rows: Vec<Row>, sort: Option<Sort>) -> Self {
        let mut table = Self::of(id, rows);
        for (column, (by, word)) in table.columns.iter_mut().zip(SORTS) {
            let order = if by == Sort::Name { "ascending" } else { "descending" };
            (column.sort, column.sorted) = (word, if sort == Some(by) { order } else { "" });
        }
        table
    }
}

/// The column by which senders and clients are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sort {
    Name,
    Accepted,
    Absorbed,
    Deferred,
    Refused,
    Bytes,
}

/// In the order of the columns, each with its word in a link.
const SORTS: [(Sort, &str); 6] = [
    (Sort::Name, "name"),
    (Sort::Accepted, "accepted"),
    (Sort::Absorbed, "absorbed"),
    (Sort::Deferred, "deferred"),
    (Sort::Refused, "refused"),
    (Sort::Bytes, "bytes"),
];

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A stranger's words, shown as what they are.
    pub(super) fn foreign(text: &str) -> Self {
        Self { foreign: true, ..Self::text(human::seen(text)) }
    }

    /// A text, and what it says exactly.
    pub(super) fn titled(text: impl Into<String>, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::text(text) }
    }

    /// A count, in which zero does not catch the eye.
    pub(super) fn amount(count: u64) -> Self {
        Self::text(if count == 0 { "·".to_owned() } else { human::number(count) })
    }

    pub(super) fn bytes(octets: u64) -> Self {
        Self::titled(human::bytes(octets), format!("{} bytes", human::number(octets)))
    }

    /// The button that blocks a key; nothing without one.
    pub(super) fn block(key: &str) -> Self {
        match key {
            "" => Self::default(),
            key => Self { press: "block", key: key.to_owned(), ..Self::text("Block") },
        }
    }

    /// The button that lifts a block.
    pub(super) fn lift(key: &str) -> Self {
        Self { press: "lift", key: key.to_owned(), ..Self::text("Remove") }
    }
}

/// Id, caption, words for no rows, and the columns.
type Form = (&'static str, &'static str, &'static str, &'static [&'static str]);

const EMPTY: &[&str] = &[];
const TABLES: &[Form] = &[
    (
        "minutes",
        "Mail by time",
        "No mail in this time.",
        &["Time", "Accepted", "Absorbed", "Deferred", "Refused", "Reasons"],
    ),
    (
        "senders",
        "Senders of the last hour with the most mail",
        "No mail in the last hour.",
        &["Sender", "Accepted", "Absorbed", "Deferred", "Refused", "Bytes", ""],
    ),
    (
        "clients",
        "Clients of the last hour with the most mail",
        "No client in the last hour.",
        &["Client", "Accepted", "Absorbed", "Deferred", "Refused", "Bytes", ""],
    ),
    (
        "sessions",
        "Open sessions, those with the largest message first",
        "No session is open.",
        &["Client", "Name", "Phase", "Sender", "Recipients", "Octets", "Since"],
    ),
    ("records", "Last records", "No record.", &["Time", "Verdict", "Sender", "Recipients", "Client", "Size", "Why"]),
    ("blocks", "Blocks", "Nothing is blocked.", &["Key", "Ends", "By", "Why", ""]),
    ("certificates", "Certificates", "No certificate: clients are not offered TLS.", &["Names", "Ends"]),
];
