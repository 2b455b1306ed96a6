//! Lines of a terminal as a picture (SVG) for the documents. It must not know what the lines say.
#![allow(clippy::disallowed_methods, reason = "tests")]

use std::fmt::Write;

const COLUMN: f32 = 8.43;
const ROW: usize = 19;
const MARGIN: usize = 16;

/// A window with a prompt, the command behind it and the lines below; the first word of a line in capitals stands out.
pub(crate) fn terminal(command: &str, lines: &[String]) -> String {
    let prompt = format!("$ {command}");
    let longest = lines.iter().map(|line| line.chars().count()).chain([prompt.len()]).max().unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a width")]
    let width = (longest as f32 * COLUMN) as usize + 2 * MARGIN;
    let height = (lines.len() + 2) * ROW + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" \
         aria-label=\"{prompt}\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#15181e\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" \
         fill=\"#d5dae3\" xml:space=\"preserve\">\n"
    );
    let shown = std::iter::once((&prompt, "#7fd88f")).chain(lines.iter().map(|line| (line, colour(line))));
    for (at, (line, colour)) in shown.enumerate() {
        let (x, y) = (MARGIN, MARGIN + ROW * (at + 1) - 5);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escaped(line));
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn colour(line: &str) -> &'static str {
    match line.starts_with("STORM") {
        true => "#ffb454",
        false => "#d5dae3",
    }
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
