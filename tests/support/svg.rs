//! The form that the pictures of the documents share: a dark card, readable on a light page and on a dark one, with text
//! whose width is known. It must not know what is drawn.

use std::fmt::Write;

/// Height of a line, in pixels.
pub(crate) const ROW: usize = 19;
/// Room at each side.
pub(crate) const MARGIN: usize = 16;
/// The colour of text, of text that stands out, and of what is ours.
pub(crate) const PLAIN: &str = "#d5dae3";
pub(crate) const LOUD: &str = "#ffb454";
pub(crate) const OWN: &str = "#7fd88f";

/// A card of this size with what `draw` puts on it; `label` is what it shows, for those who do not see it.
pub(crate) fn card(width: usize, height: usize, label: &str, draw: impl FnOnce(&mut String)) -> String {
    let label = escaped(label);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" \
         aria-label=\"{label}\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#15181e\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" \
         fill=\"{PLAIN}\" xml:space=\"preserve\">\n"
    );
    draw(&mut svg);
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// A line of text whose foot stands at `y`.
pub(crate) fn text(svg: &mut String, (x, y): (usize, usize), colour: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escaped(words));
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
