//! The results: printed as they come, as Markdown for docs/performance.md; the marks and the JSON at the end. It must
//! not skip failures or omissions silently.

mod json;
mod markdown;
mod marks;
mod picture;
pub(crate) mod row;

use std::io;
use std::path::Path;

use crate::machine::Machine;
use crate::report::row::IdleRow;
use crate::report::row::IdleTable;
use crate::report::row::StartRow;
use crate::report::row::Table;
use crate::systems::System;
use crate::systems::portcullis;
use crate::workload::Idle;

/// Draws the results of an earlier bench.
pub(crate) fn draw(json: &Path, picture: &Path) -> io::Result<()> {
    std::fs::write(picture, picture::of_json(&std::fs::read_to_string(json)?)?)
}

/// All results.
pub(crate) struct Report {
    machine: Machine,
    tables: Vec<Table>,
    idle: Vec<IdleTable>,
    starts: Vec<StartRow>,
    left_out: Vec<(System, String)>,
    failed: Vec<String>,
}

impl Report {
    /// Prints the machine and the configuration.
    pub(crate) fn begin() -> Self {
        let machine = Machine::here();
        println!("{}", machine.text());
        println!("\nPortcullis's configuration:\n\n```toml\n{}```", portcullis::text(&[]));
        Self {
            machine,
            tables: Vec::new(),
            idle: Vec::new(),
            starts: Vec::new(),
            left_out: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn left_out(&mut self, system: System, why: &str) {
        if !self.left_out.iter().any(|(known, reason)| (*known, reason.as_str()) == (system, why)) {
            eprintln!("{system} is left out: {why}");
            self.left_out.push((system, why.to_owned()));
        }
    }

    pub(crate) fn failed(&mut self, what: &str) {
        eprintln!("failed: {what}");
        self.failed.push(what.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned());
    }

    pub(crate) fn add(&mut self, table: Table) {
        println!("\n{}", markdown::table(&table));
        self.tables.push(table);
    }

    pub(crate) fn add_idle(&mut self, idle: Idle, rows: Vec<IdleRow>) {
        let table = IdleTable { idle, rows };
        println!("\n{}", markdown::idle(&table));
        self.idle.push(table);
    }

    pub(crate) fn add_starts(&mut self, rows: Vec<StartRow>) {
        println!("\n{}", markdown::starts(&rows));
        self.starts.extend(rows);
    }

    /// Prints the marks, and omissions; writes the samples, and draws them.
    pub(crate) fn end(&self, json: Option<&Path>, picture: Option<&Path>) -> io::Result<()> {
        println!("\n{}", markdown::marks(self));
        for (system, why) in &self.left_out {
            println!("\nLeft out: {system}: {why}.");
        }
        for what in &self.failed {
            println!("\nFailed: {what}.");
        }
        let text = json::text(self);
        json.map_or(Ok(()), |file| std::fs::write(file, &text))?;
        picture.map_or(Ok(()), |file| std::fs::write(file, picture::of_json(&text)?))
    }

    /// Whether nothing failed.
    pub(crate) fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }
}
