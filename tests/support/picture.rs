//! Lines of a terminal as a picture (SVG) for the documents. It must not know what the lines say.
#![allow(clippy::disallowed_methods, reason = "tests")]

mod svg;

use svg::LOUD;
use svg::MARGIN;
use svg::OWN;
use svg::PLAIN;
use svg::ROW;

/// Width of a character, in pixels.
const COLUMN: f32 = 8.43;

/// A window with a prompt, the command behind it and the lines below; the first word of a line in capitals stands out.
pub(crate) fn terminal(command: &str, lines: &[String]) -> String {
    let prompt = format!("$ {command}");
    let longest = lines.iter().map(|line| line.chars().count()).chain([prompt.len()]).max().unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a width")]
    let width = (longest as f32 * COLUMN) as usize + 2 * MARGIN;
    let height = (lines.len() + 2) * ROW + 2 * MARGIN;
    svg::card(width, height, &prompt, |card| {
        let shown = std::iter::once((&prompt, OWN)).chain(lines.iter().map(|line| (line, colour(line))));
        for (at, (line, colour)) in shown.enumerate() {
            svg::text(card, (MARGIN, MARGIN + ROW * (at + 1) - 5), colour, line);
        }
    })
}

fn colour(line: &str) -> &'static str {
    if line.starts_with("STORM") { LOUD } else { PLAIN }
}

/// A picture without its numbers and widths, which differ from run to run.
pub(crate) fn shape(svg: &str) -> Vec<String> {
    let texts = svg.lines().filter_map(|line| line.strip_prefix("<text ")?.strip_suffix("</text>")?.split_once('>'));
    let words = |text: &str| {
        let kept: String = text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect();
        let units = |word| if ["kB", "MB"].contains(&word) { "B" } else { word };
        kept.split_whitespace().map(units).collect::<Vec<_>>().join(" ")
    };
    texts.map(|(_, text)| words(text)).collect()
}
