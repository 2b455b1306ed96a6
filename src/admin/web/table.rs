//! Tables of the page: their columns, and cells as text that the template escapes. `page.js` has the same columns. It must
//! not know where the rows come from.

use crate::admin::web::human;

/// A table, with the words that stand for it while it has no rows.
pub(super) struct Table {
    pub(super) id: &'static str,
    pub(super) caption: &'static str,
    pub(super) empty: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

/// A column's head.
pub(super) struct Column {
    pub(super) label: &'static str,
    pub(super) numeric: bool,
}

/// A row, known again by its key.
pub(super) struct Row {
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
}

/// A cell: a text, or a button.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) label: &'static str,
    pub(super) numeric: bool,
    pub(super) text: String,
    /// The exact value where the text is a short one.
    pub(super) title: String,
    /// The verdict that colours it.
    pub(super) dot: &'static str,
    /// The key that its button blocks.
    pub(super) block: String,
    /// The key whose block its button lifts.
    pub(super) lift: String,
    /// Where it leads.
    pub(super) link: String,
}

impl Table {
    /// The table of this id, which has to be one of [`TABLES`].
    pub(super) fn of(id: &'static str, mut rows: Vec<Row>) -> Self {
        let (caption, empty, columns) = TABLES
            .iter()
            .find(|(known, ..)| *known == id)
            .map_or(("", "", &[] as &[(&str, bool)]), |(_, caption, empty, columns)| (caption, empty, columns));
        for row in &mut rows {
            for (cell, (label, numeric)) in row.cells.iter_mut().zip(columns) {
                // Records explain themselves, and are many.
                (cell.label, cell.numeric) = (if id == "records" { "" } else { label }, *numeric);
            }
        }
        let columns = columns.iter().map(|(label, numeric)| Column { label, numeric: *numeric }).collect();
        Self { id, caption, empty, columns, rows }
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
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
        Self { block: key.to_owned(), ..Self::text(if key.is_empty() { "" } else { "Block" }) }
    }

    /// The button that lifts a block.
    pub(super) fn lift(key: &str) -> Self {
        Self { lift: key.to_owned(), ..Self::text("Remove") }
    }
}

/// Id, caption, words for no rows, and the columns with whether they are numbers.
type Form = (&'static str, &'static str, &'static str, &'static [(&'static str, bool)]);

const TABLES: &[Form] = &[
    (
        "minutes",
        "Mail by time",
        "No mail in this time.",
        &[
            ("Time", false),
            ("Accepted", true),
            ("Absorbed", true),
            ("Deferred", true),
            ("Refused", true),
            ("Reasons", false),
        ],
    ),
    (
        "senders",
        "Senders of the last hour with the most mail",
        "No mail in the last hour.",
        &[
            ("Sender", false),
            ("Accepted", true),
            ("Absorbed", true),
            ("Deferred", true),
            ("Refused", true),
            ("Bytes", true),
            ("", false),
        ],
    ),
    (
        "clients",
        "Clients of the last hour with the most mail",
        "No client in the last hour.",
        &[
            ("Client", false),
            ("Accepted", true),
            ("Absorbed", true),
            ("Deferred", true),
            ("Refused", true),
            ("Bytes", true),
            ("", false),
        ],
    ),
    (
        "records",
        "Last records",
        "No record.",
        &[
            ("Time", false),
            ("Verdict", false),
            ("Sender", false),
            ("Recipients", false),
            ("Client", false),
            ("Size", true),
            ("Why", false),
        ],
    ),
    (
        "blocks",
        "Blocks",
        "Nothing is blocked.",
        &[("Key", false), ("Ends", false), ("By", false), ("Why", false), ("", false)],
    ),
    (
        "certificates",
        "Certificates",
        "No certificate: clients are not offered TLS.",
        &[("Names", false), ("Ends", false)],
    ),
];
