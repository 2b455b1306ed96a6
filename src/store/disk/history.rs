//! The history in the state's file: two tables, whose rows are JSON. It must not be a reason to set a file aside: a row
//! that cannot be read is a gap in a chart.

use redb::ReadTransaction;
use redb::ReadableTable;
use redb::TableDefinition;
use redb::WriteTransaction;

use crate::store::disk::existing;
use crate::store::history::Batch;
use crate::store::history::Counts;
use crate::store::history::Stored;

type Rows = TableDefinition<'static, u32, &'static [u8]>;

pub(super) fn read(transaction: &ReadTransaction) -> Result<Stored, redb::Error> {
    Ok(Stored { minutes: read_rows(transaction, MINUTES)?, hours: read_rows(transaction, HOURS)? })
}

pub(super) fn write(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    write_rows(transaction, MINUTES, batch.anew, &batch.minutes)?;
    write_rows(transaction, HOURS, batch.anew, &batch.hours)
}

fn read_rows(transaction: &ReadTransaction, name: Rows) -> Result<Vec<(u32, Counts)>, redb::Error> {
    let mut rows = Vec::new();
    if let Some(table) = existing(transaction.open_table(name))? {
        for row in table.iter()? {
            let (at, counts) = row?;
            // One that means nothing to this version leaves a gap in a chart.
            let counts = serde_json::from_slice(counts.value()).ok();
            rows.extend(counts.map(|counts| (at.value(), counts)));
        }
    }
    Ok(rows)
}

fn write_rows(
    transaction: &WriteTransaction,
    name: Rows,
    anew: bool,
    rows: &[(u32, Option<Counts>)],
) -> Result<(), redb::Error> {
    if anew {
        transaction.delete_table(name)?;
    }
    let mut table = transaction.open_table(name)?;
    for (at, counts) in rows {
        match counts.as_ref().and_then(|counts| serde_json::to_vec(counts).ok()) {
            Some(json) => _ = table.insert(at, json.as_slice())?,
            None => _ = table.remove(at)?,
        }
    }
    Ok(())
}

/// Minutes and hours of the history, by their beginning in seconds since the epoch.
const MINUTES: Rows = TableDefinition::new("history_minutes");
const HOURS: Rows = TableDefinition::new("history_hours");
