//! Processes every line once: joined with earlier lines, selected, then printed or counted. It must not open files, nor
//! write to standard output itself.

use std::ops::ControlFlow;

use crate::cli::log::printer::Printer;
use crate::cli::output::is_closed;
use crate::logs::join::Join;
use crate::logs::line::Line;
use crate::logs::select::Select;
use crate::logs::summary::Summary;

/// A digest of the lines of all logs.
pub(super) struct Digest {
    join: Join,
    select: Select,
    summary: Summary,
    printer: Option<Printer>,
    found: bool,
    /// Whether lines are joined but not shown.
    silent: bool,
}

impl Digest {
    /// A digest that prints lines where it has a printer, else counts them.
    pub(super) fn new(select: Select, printer: Option<Printer>) -> Self {
        let (join, summary) = (Join::default(), Summary::default());
        Self { join, select, summary, printer, found: false, silent: false }
    }

    pub(super) fn select(&self) -> &Select {
        &self.select
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(super) fn prints(&self) -> bool {
        self.printer.is_some()
    }

    /// Whether any line was selected.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// Whether any line was in a known log format, or there was none.
    pub(super) fn is_log(&self) -> bool {
        self.summary.lines == 0 || self.summary.unknown < self.summary.lines
    }

    /// Lines without a time, where a time was asked for.
    pub(super) fn untimed(&self) -> u64 {
        self.summary.untimed
    }

    /// Lines from now on are context only, and are not printed.
    pub(super) fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Takes a line. `Break` when nobody reads the output any more.
    pub(super) fn push(&mut self, line: &Line<'_>) -> ControlFlow<()> {
        let joined = self.join.push(line);
        let filter = self.select.filter();
        let in_time = filter.is_in_time(line.time);
        if line.time.is_none() && !in_time {
            self.summary.untimed += 1;
        }
        if self.silent {
            return ControlFlow::Continue(());
        }
        match &mut self.printer {
            Some(printer) => {
                let found = &mut self.found;
                self.select.push(line, &joined, &mut |time, text| {
                    *found = true;
                    printer.line(time, text);
                });
                unless_closed()
            }
            None => {
                let is_wanted = self.select.has_meaning(line, &joined);
                self.found |= is_wanted || (in_time && self.select.filter().is_empty());
                if in_time {
                    self.summary.push(line, joined.meaning.filter(|_| is_wanted));
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Flushes the output. `Break` when nobody reads it any more.
    pub(super) fn flush(&mut self) -> ControlFlow<()> {
        if let Some(printer) = &mut self.printer {
            printer.flush();
        }
        unless_closed()
    }
}

fn unless_closed() -> ControlFlow<()> {
    if is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
