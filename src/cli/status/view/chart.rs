//! The last hour by verdict: a row for each with a bar for each minute, all by one measure. It must not ask for the points.

use ratatui::style::Color;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::text::Span;

use crate::cli::status::model::Model;
use crate::cli::status::seen::Point;
use crate::cli::status::view::Look;
use crate::cli::status::view::coloured;
use crate::text::number;

/// Rows of the last hour.
pub(super) const HEIGHT: u16 = 5;

/// A verdict, its colour, and its count.
struct Verdict(&'static str, Color, fn(&Point) -> u64);

/// The last hour, at its right end what is now.
pub(super) fn last_hour(model: &Model, look: &Look, width: u16) -> Vec<Line<'static>> {
    if model.seen.is_none() {
        return Vec::new();
    }
    let counts = VERDICTS.each_ref().map(|Verdict(_, _, of)| by_minute(model, *of));
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    // Each minute has as many columns as there are.
    let free = usize::from(width).saturating_sub(LABEL + NUMBER);
    let (wide, shown) = ((free / MINUTES).clamp(1, 3), free.min(MINUTES));
    let row = |(Verdict(name, colour, _), counts): (&Verdict, &[u64; MINUTES])| {
        let bars: String = bars(&counts[MINUTES - shown..], most, look);
        let bars: String = bars.chars().flat_map(|bar| std::iter::repeat_n(bar, wide)).collect();
        Line::from(vec![
            Span::raw(format!("{name:<LABEL$}")),
            Span::styled(bars, coloured(look, *colour)),
            Span::raw(format!(" {}", counts.iter().sum::<u64>())),
        ])
    };
    let title = match most {
        0 => "Last hour: no mail".to_owned(),
        most => format!("Last hour, a bar for each minute; the highest is {}", number::count(most, "message")),
    };
    let title = Line::styled(title, Style::new().add_modifier(Modifier::BOLD));
    std::iter::once(title).chain(VERDICTS.iter().zip(&counts).map(row)).collect()
}

fn by_minute(model: &Model, of: fn(&Point) -> u64) -> [u64; MINUTES] {
    let first = (model.now() / MINUTE).saturating_sub(MINUTES as u32 - 1);
    let mut counts = [0; MINUTES];
    for point in &model.points {
        let place = (point.at / MINUTE).checked_sub(first).and_then(|place| counts.get_mut(place as usize));
        place.into_iter().for_each(|count| *count += of(point));
    }
    counts
}

/// A bar for each number, as high as `most` at most; one that is not 0 is seen.
pub(super) fn bars(counts: &[u64], most: u64, look: &Look) -> String {
    let heights = if look.unicode { BLOCKS } else { ASCII };
    let height = |count: &u64| match count.saturating_mul(8) / most.max(1) {
        0 if *count > 0 => 1,
        height => height.min(8),
    };
    counts.iter().map(|count| heights[height(count) as usize]).collect()
}

const VERDICTS: [Verdict; 4] = [
    Verdict("accepted", Color::Green, |point| point.accepted),
    Verdict("absorbed", Color::Blue, |point| point.absorbed),
    Verdict("deferred", Color::Yellow, |point| point.deferred),
    Verdict("refused", Color::Red, |point| point.refused),
];
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];
const MINUTE: u32 = 60;
const MINUTES: usize = 60;
/// Columns of a verdict's name, and of its sum.
const LABEL: usize = 9;
const NUMBER: usize = 9;

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn bars_are_seen_where_there_is_something() {
        let look = |unicode| Look { colour: false, unicode, zone: TimeZone::UTC };
        assert_eq!(bars(&[0, 1, 50, 100, 1000], 100, &look(true)), " ▁▄██");
        assert_eq!(bars(&[0, 1, 50, 100], 100, &look(false)), " .=@");
        assert_eq!(bars(&[0, 0, u64::MAX], 0, &look(true)), "  █");
    }
}
