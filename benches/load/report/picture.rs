//! The results as a picture (SVG) for the documents, drawn from their JSON: for each workload the systems under one
//! another, as ratios to the workload's peer, each a bar as long as its median with its range on it. A workload
//! whose peer did not run has no ratios, and no place. It must not measure.

use std::fmt::Write;

use serde::Deserialize;

use crate::report::row::median;
use crate::report::row::range;
use crate::svg;
use crate::svg::LOUD;
use crate::svg::MARGIN;
use crate::svg::OWN;
use crate::svg::PLAIN;
use crate::svg::ROW;

/// What is read of the JSON.
#[derive(Deserialize)]
struct Results {
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Workload {
    name: String,
    title: String,
    /// Acts a second, where it is an open loop: its latencies are compared, otherwise the CPU.
    open_loop_rate: Option<f64>,
    peer: String,
    systems: Vec<System>,
}

#[derive(Deserialize)]
struct System {
    system: String,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    acts: f64,
    cpu_seconds: f64,
    p99_seconds: f64,
}

/// A workload, with a bar for each system that has its peer's ratios.
struct Panel {
    title: String,
    what: String,
    bars: Vec<Bar>,
}

struct Bar {
    system: String,
    value: f64,
    least: f64,
    most: f64,
}

/// The picture of the results in this JSON.
///
/// # Errors
///
/// Where it is not the JSON of a bench.
pub(crate) fn of_json(text: &str) -> serde_json::Result<String> {
    let results: Results = serde_json::from_str(text)?;
    // Without its peer a workload has no ratios.
    let panels: Vec<Panel> =
        results.workloads.iter().map(Workload::panel).filter(|panel| !panel.bars.is_empty()).collect();
    let columns = columns(&panels);
    let height = columns.iter().map(|column| column.iter().map(|panel| panel.height()).sum::<usize>()).max();
    let (width, height) = (MARGIN + columns.len() * (PANEL + MARGIN), height.unwrap_or(0) + 2 * MARGIN);
    Ok(svg::card(width, height, "what each system costs in each workload, beside its peer", |card| {
        for (at, column) in columns.iter().enumerate() {
            let mut top = MARGIN;
            for panel in column {
                panel.draw(card, MARGIN + at * (PANEL + MARGIN), top);
                top += panel.height();
            }
        }
    }))
}

/// Two columns of about the same height, in the order of the workloads.
fn columns(panels: &[Panel]) -> [Vec<&Panel>; 2] {
    let all: usize = panels.iter().map(Panel::height).sum();
    let mut columns = [Vec::new(), Vec::new()];
    let mut height = 0;
    for panel in panels {
        columns[usize::from(2 * height + panel.height() > all)].push(panel);
        height += panel.height();
    }
    columns
}

impl Workload {
    fn panel(&self) -> Panel {
        let (title, what) = match self.open_loop_rate {
            Some(rate) => (format!("{} at {rate:.0} a second: {}", self.name, self.title), "p99"),
            None => (format!("{}: {}", self.name, self.title), "CPU"),
        };
        let peer = self.systems.iter().find(|system| system.system == self.peer);
        let bars = self.systems.iter().filter_map(|system| self.bar(system, peer?)).collect();
        Panel { title, what: format!("{what} ÷ {}", self.peer), bars }
    }

    fn bar(&self, system: &System, peer: &System) -> Option<Bar> {
        let of = |sample: &Sample| match self.open_loop_rate {
            Some(_) => sample.p99_seconds,
            None => sample.cpu_seconds / sample.acts,
        };
        let pairs = system.samples.iter().zip(&peer.samples);
        let ratios: Vec<f64> = pairs.map(|(own, other)| of(own) / of(other)).collect();
        let (least, most) = range(ratios.iter().copied())?;
        Some(Bar { system: system.system.clone(), value: median(ratios)?, least, most })
    }
}

impl Panel {
    fn height(&self) -> usize {
        (self.bars.len() + 3) * ROW
    }

    fn draw(&self, card: &mut String, left: usize, top: usize) {
        svg::text(card, (left, top + ROW - 5), LOUD, &self.title);
        svg::text(card, (left, top + 2 * ROW - 5), QUIET, &self.what);
        for (at, bar) in self.bars.iter().enumerate() {
            bar.draw(card, left, top + (at + 2) * ROW);
        }
        let (x, y) = (left + LABEL + SCALE, top + 2 * ROW);
        let height = self.bars.len() * ROW;
        let _ = writeln!(card, "<path d=\"M{x} {y}v{height}\" stroke=\"{PLAIN}\" stroke-dasharray=\"2 3\"/>");
    }
}

impl Bar {
    fn draw(&self, card: &mut String, left: usize, top: usize) {
        let colour = if self.system.starts_with("portcullis") { OWN } else { QUIET };
        let foot = top + ROW - 5;
        svg::text(card, (left, foot), if colour == OWN { OWN } else { PLAIN }, &self.system);
        let (start, middle) = (left + LABEL, top + ROW / 2);
        let (end, least, most) = (length(self.value), length(self.least), length(self.most));
        let (y, height) = (top + 4, ROW - 8);
        let _ = writeln!(card, "<rect x=\"{start}\" y=\"{y}\" width=\"{end}\" height=\"{height}\" fill=\"{colour}\"/>");
        let (from, to) = (start + least, start + most);
        let _ = writeln!(
            card,
            "<path d=\"M{from} {middle}H{to}M{from} {y}v{height}M{to} {y}v{height}\" stroke=\"{RANGE}\"/>"
        );
        if self.value > MOST {
            // The bar is cut: it is longer than there is room for.
            let at = start + length(MOST) - 14;
            let _ = writeln!(
                card,
                "<path d=\"M{at} {foot}l6 -14M{} {foot}l6 -14\" stroke=\"#15181e\" stroke-width=\"3\"/>",
                at + 6
            );
        }
        let digits = if self.value < 10.0 { 2 } else { 1 };
        let words = format!("{:.digits$} ({:.digits$}–{:.digits$})", self.value, self.least, self.most);
        svg::text(card, (start + length(MOST) + 8, foot), PLAIN, &words);
    }
}

/// Pixels of a ratio.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and MOST")]
fn length(ratio: f64) -> usize {
    (ratio.clamp(0.0, MOST) * SCALE as f64) as usize
}

/// Width of a panel: the names, the bars, the numbers behind them.
const PANEL: usize = LABEL + MOST as usize * SCALE + 8 + 180;
const LABEL: usize = 196;
/// Pixels of the peer's bar.
const SCALE: usize = 60;
/// The longest bar: longer ones are cut, and their numbers say by how much.
const MOST: f64 = 3.0;
const QUIET: &str = "#8a93a3";
const RANGE: &str = "#f2f4f8";
