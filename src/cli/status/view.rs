//! The terminal view, drawn: the sentence first, then problems, numbers, the last hour, storms, a table, and the keys. It
//! must not write a stranger's words as they are: each passes `text::readable`. Nor may a colour say what nothing else does.

mod chart;
mod over;
mod tables;

use indicatif::DecimalBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::Constraint;
use ratatui::layout::Layout;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::text::Span;
use ratatui::widgets::Paragraph;

use crate::cli::status::model::Mode;
use crate::cli::status::model::Model;
use crate::cli::status::model::Tab;
use crate::cli::status::seen::Seen;
use crate::text::readable;

/// What the terminal can show.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// Not so where `NO_COLOR` is set.
    pub(super) colour: bool,
    /// Whether it shows more than ASCII.
    pub(super) unicode: bool,
    pub(super) zone: TimeZone,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, look: &Look) {
    let Rect { width, height, .. } = frame.area();
    let head = sentence(model, look, width);
    let problems = problems(model, width, height);
    let facts = model.seen.as_ref().map_or_else(Vec::new, |seen| flow(&facts(seen, look), width));
    let foot = foot(model, width);
    let storms = match model.storms().len() as u16 {
        0 => 0,
        storms => 1 + storms.min((height / 6).max(1)),
    };
    let roomy = height >= ROOMY;
    let [head_area, problem_area, fact_area, chart_area, storm_area, table_area, foot_area] = Layout::vertical([
        Constraint::Length(lines(&head).min(height / 3)),
        Constraint::Length(lines(&problems)),
        Constraint::Length(if height >= SMALL { lines(&facts).min(4) } else { 0 }),
        Constraint::Length(if height >= MIDDLE { chart::HEIGHT + u16::from(roomy) } else { 0 }),
        Constraint::Length(storms + u16::from(roomy && storms > 0)),
        Constraint::Min(3),
        Constraint::Length(lines(&foot).min(height / 4).max(1)),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), head_area);
    frame.render_widget(Paragraph::new(problems), problem_area);
    frame.render_widget(Paragraph::new(facts), fact_area);
    frame.render_widget(Paragraph::new(chart::last_hour(model, look, width)), chart_area);
    tables::draw_storms(frame, storm_area, model, look);
    match table_area.height {
        // Where there is room, the last records are always there.
        height @ 16.. if model.tab != Tab::Records => {
            let halves = [Constraint::Fill(1), Constraint::Length(height / 2)];
            let [upper, lower] = Layout::vertical(halves).areas(table_area);
            tables::draw_tab(frame, upper, model, look);
            tables::draw_records(frame, lower, model, look);
        }
        _ => tables::draw_tab(frame, table_area, model, look),
    }
    frame.render_widget(Paragraph::new(foot), foot_area);
    over::draw(frame, model, look);
}

/// The sentence, or that there is no answer. Its mark says without a colour what it is.
fn sentence(model: &Model, look: &Look, width: u16) -> Vec<Line<'static>> {
    let tone = model.seen.as_ref().map_or("", |seen| seen.sentence.tone.as_str());
    let (mark, colour) = match (tone, &model.seen) {
        (_, Some(seen)) if !model.lost.is_empty() => {
            (format!(" NOT REACHED since {} ", clock(seen.now, "%H:%M", look)), Color::Red)
        }
        (_, None) if !model.lost.is_empty() => (" NOT REACHED ".to_owned(), Color::Red),
        ("trouble", _) => (" TROUBLE ".to_owned(), Color::Red),
        ("storm", _) => (" STORM ".to_owned(), Color::Yellow),
        ("quiet", _) => (" OK ".to_owned(), Color::Green),
        _ => (String::new(), Color::Reset),
    };
    let text = match (&model.seen, model.lost.as_str()) {
        (None, "") => "asking the proxy".to_owned(),
        (Some(seen), "") => safe(&seen.sentence.text),
        (seen, why) => {
            let last = if seen.is_some() { "below is what it said last; " } else { "" };
            format!("{last}{}", safe(&why.replace('\n', "; ")))
        }
    };
    let style = coloured(look, colour).add_modifier(Modifier::BOLD);
    // The mark takes the place of so many letters of the first line.
    let indent = "x".repeat(mark.len());
    let mut rows = wrapped(&format!("{indent} {text}"), width).into_iter();
    let first = rows.next().unwrap_or_default();
    let first = first.strip_prefix(indent.as_str()).unwrap_or(&first).to_owned();
    let mark = Span::styled(mark, style.add_modifier(Modifier::REVERSED));
    let first = Line::from(vec![mark, Span::styled(first, style)]);
    std::iter::once(first).chain(rows.map(|row| Line::styled(row, style))).collect()
}

/// The problems that the sentence only counts.
fn problems(model: &Model, width: u16, height: u16) -> Vec<Line<'static>> {
    let Some(seen) = &model.seen else { return Vec::new() };
    let most = if height < SMALL { 0 } else { usize::from(height / 10) };
    let texts = seen.problems.iter().skip(1).take(most).map(|problem| format!("! {}", safe(&problem.text)));
    let rows = texts.flat_map(|text| wrapped(&text, width));
    rows.take(most * 2).map(Line::raw).collect()
}

/// The proxy and the server behind it, in short pieces.
fn facts(seen: &Seen, look: &Look) -> Vec<String> {
    let mut facts = vec![
        format!("{} {}", safe(&seen.host), clock(seen.now, "%H:%M:%S", look)),
        format!("connections {}/{}", seen.connections, seen.max_connections),
        format!("held {}/{}", DecimalBytes(seen.held_octets), DecimalBytes(seen.hold_total)),
        match seen.state.as_str() {
            "degraded" => "state NOT WRITTEN".to_owned(),
            state => format!("state {}", safe(state)),
        },
        backend(seen, look),
    ];
    let warnings = [
        (seen.stopping, "STOPPING: no new mail"),
        (seen.stress, "STRESS: shorter time limits"),
        (seen.hold_pressure > 0, "HOLD nearly full"),
        (seen.log_stalled, "LOG NOT READ"),
    ];
    facts.extend(warnings.into_iter().filter(|(holds, _)| *holds).map(|(_, warning)| warning.to_owned()));
    facts
}

fn backend(seen: &Seen, look: &Look) -> String {
    let backend = &seen.backend;
    let target = safe(&backend.target);
    if !backend.up {
        let since = backend.down_since.map_or_else(String::new, |at| format!(" since {}", clock(at, "%H:%M", look)));
        let error = backend.error.as_ref().map_or_else(String::new, |error| format!(": {}", safe(error)));
        return format!("backend {target} DOWN{since}{error}");
    }
    let waiting = if backend.waiting > 0 { format!(", {} waiting", backend.waiting) } else { String::new() };
    let dot = &backend.latency.dot_ms;
    let latency = match (dot.p50, dot.p99) {
        (Some(half), Some(most)) => format!(", {} (99 %: {})", duration(half), duration(most)),
        _ => String::new(),
    };
    format!("backend {target} up, {}/{} places{waiting}{latency}", backend.places_taken, backend.places_max)
}

/// What was said last, what is being written, or the keys.
fn foot(model: &Model, width: u16) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    match (&model.mode, model.said.as_str()) {
        (Mode::Writing(words), _) => {
            // The end is where the next letter goes.
            let text = format!("search: {}_   (Enter; Esc ends)", safe(words));
            wrapped(&text, width).into_iter().map(|row| Line::styled(row, bold)).collect()
        }
        (_, "") => {
            let style = Style::new().add_modifier(Modifier::DIM);
            vec![Line::styled(if width >= 80 { KEYS } else { FEW_KEYS }, style)]
        }
        (_, said) => {
            let text = safe(&said.replace('\n', "; "));
            wrapped(&text, width).into_iter().map(|row| Line::styled(row, bold)).collect()
        }
    }
}

/// Pieces in rows: as many in each as have room.
fn flow(pieces: &[String], width: u16) -> Vec<Line<'static>> {
    let mut rows: Vec<String> = Vec::new();
    for piece in pieces {
        match rows.last_mut() {
            Some(row) if columns(row) + BETWEEN.len() + columns(piece) <= usize::from(width) => {
                row.push_str(BETWEEN);
                row.push_str(piece);
            }
            _ => rows.extend(wrapped(piece, width)),
        }
    }
    rows.into_iter().map(Line::raw).collect()
}

/// A text in rows of so many columns, between words where that goes. All begin with the blanks of the text.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let blanks = text.len() - text.trim_start_matches(' ').len();
    let indent = " ".repeat(if blanks < width / 2 { blanks } else { 0 });
    let rows = in_rows(&text[blanks..], width - indent.len());
    rows.into_iter().map(|row| format!("{indent}{row}")).collect()
}

fn in_rows(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let Some(row) = rows.last_mut() else { break };
        if row.is_empty() || columns(row) + 1 + columns(&word) <= width {
            row.push_str(if row.is_empty() { "" } else { " " });
            row.push_str(&word);
            word.clear();
        }
        if !word.is_empty() {
            rows.push(word);
        }
        while let Some((fit, rest)) = rows.last().and_then(|row| split(row, width)) {
            rows.pop();
            rows.extend([fit, rest]);
        }
    }
    rows
}

/// A row that is too wide, in two.
fn split(row: &str, width: usize) -> Option<(String, String)> {
    if columns(row) <= width {
        return None;
    }
    let mut fit = String::new();
    let mut rest = row.chars();
    for character in row.chars() {
        if !fit.is_empty() && columns(&fit) + columns(&character.to_string()) > width {
            break;
        }
        fit.push(character);
        rest.next();
    }
    Some(fit).zip(Some(rest.collect::<String>())).filter(|(_, rest)| !rest.is_empty())
}

/// The columns that a text takes on a terminal.
fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

fn coloured(look: &Look, colour: Color) -> Style {
    if look.colour { Style::new().fg(colour) } else { Style::new() }
}

/// A time in a form of strftime(3).
fn clock(at: u32, form: &str, look: &Look) -> String {
    let time = Timestamp::from_second(at.into()).unwrap_or_default();
    time.to_zoned_datetime(look.zone.clone()).strftime(form).to_string()
}

/// Milliseconds for people.
fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

/// Seconds for people, in the largest unit.
fn span(seconds: u32) -> String {
    match seconds {
        86_400.. => format!("{} d", seconds / 86_400),
        3600.. => format!("{} h", seconds / 3600),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn lines(lines: &[Line<'_>]) -> u16 {
    lines.len() as u16
}

fn safe(text: &str) -> String {
    readable::shown(text).into_owned()
}

const KEYS: &str = "b block  u undo  e explain  / search  s sessions  Tab next table  ? keys  q quit";
const FEW_KEYS: &str = "b block  u undo  ? keys  q quit";
const BETWEEN: &str = "   ";
/// Rows from which the numbers are shown, the last hour too, and blank rows between.
const SMALL: u16 = 14;
const MIDDLE: u16 = 20;
const ROOMY: u16 = 36;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::status::keys::Key;
    use crate::cli::status::model::News;
    use crate::cli::status::model::Order;
    use crate::cli::status::model::tests::watching;
    use crate::cli::status::seen::Preview;
    use crate::cli::status::seen::Record;
    use crate::cli::status::seen::Records;
    use crate::cli::status::seen::Step;
    use crate::cli::status::seen::Story;

    fn look(colour: bool, unicode: bool) -> Look {
        Look { colour, unicode, zone: TimeZone::UTC }
    }

    /// The rows of a terminal of this size.
    fn drawn(model: &Model, width: u16, height: u16, look: &Look) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    fn press(model: &mut Model, keys: &str) {
        keys.chars().for_each(|key| _ = model.press(if key == '\t' { Key::Tab } else { Key::Character(key) }));
    }

    /// What is on a terminal of this size after some keys.
    fn after(keys: &str, width: u16, height: u16) -> String {
        let mut model = watching();
        press(&mut model, keys);
        if keys == "b" {
            let preview = Preview {
                messages: 48,
                accepted: 1,
                senders: vec!["<news@sillyplace.com>".to_owned()],
                clients: vec!["192.0.2.7".to_owned(), "192.0.2.8".to_owned()],
                sender_count: 1,
                client_count: 9,
                doubt: Some("it is your own".to_owned()),
            };
            model.hear(News::Previewed("news@sillyplace.com".to_owned(), preview));
        }
        let rows = drawn(&model, width, height, &look(false, true));
        let title = format!("{width}x{height} {}", keys.replace('\t', "Tab"));
        format!("{}\n{}\n", title.trim_end(), rows.join("\n"))
    }

    #[test]
    fn screens() {
        let expected = include_str!("tests/screens.txt");
        let cases = [
            ("", 80, 24),
            ("b", 80, 24),
            ("?", 80, 24),
            ("\t\t", 80, 24),
            ("s", 80, 24),
            ("\t\t\t\t", 80, 24),
            ("", 120, 40),
            ("", 40, 10),
            ("b", 40, 10),
            ("/joe", 40, 10),
        ];
        let drawn: Vec<String> = cases.iter().map(|(keys, width, height)| after(keys, *width, *height)).collect();
        let drawn = drawn.join("-----\n");
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn any_size_is_drawn_and_no_stranger_writes_to_the_terminal() {
        let nasty = || "\u{1b}[2J\u{202e}\u{9b}31m".to_owned();
        for keys in ["", "?", "b", "/x", "e", "s", "\t", "\t\t", "\t\t\t\t"] {
            let mut model = watching();
            press(&mut model, keys);
            let preview =
                Preview { doubt: Some(nasty()), senders: vec![nasty()], sender_count: 7, ..Preview::default() };
            model.hear(News::Previewed("news@sillyplace.com".to_owned(), preview));
            let record = Record { sender: Some(nasty()), client: nasty(), reason: Some(nasty()), ..Record::default() };
            model.hear(News::Arrived(Records { records: vec![record] }));
            if keys == "e" {
                let step = Step { command: nasty(), reply: Some(nasty()), rule: Some(nasty()), ..Step::default() };
                model.hear(News::Explained(Story { steps: vec![step], ..Story::default() }));
            }
            model.hear(News::Failed(Order::Records(String::new()), nasty()));
            for (width, height) in [(1, 1), (2, 3), (20, 5), (40, 10), (80, 24), (132, 60), (300, 3), (5, 100)] {
                for row in drawn(&model, width, height, &look(true, false)) {
                    assert!(row.chars().all(readable::is_seen), "{keys} {width}x{height}: {row:?}");
                }
            }
        }
    }

    #[test]
    fn what_it_says_needs_no_colour() {
        let mut model = watching();
        let plain = look(false, true);
        for (tone, mark) in [("quiet", " OK "), ("storm", " STORM "), ("trouble", " TROUBLE ")] {
            model.seen.as_mut().unwrap().sentence.tone = tone.to_owned();
            assert!(drawn(&model, 80, 24, &plain)[0].starts_with(mark));
        }
        model.hear(News::Lost("no answer on admin.sock: is it running?\nlooked here".to_owned()));
        let rows = drawn(&model, 80, 24, &plain);
        assert!(rows[0].starts_with(" NOT REACHED since 01:00  below is what it said last; no answer"), "{rows:?}");
        assert!(rows[1].ends_with("is it running?; looked here"), "{rows:?}");
        assert!(rows.iter().any(|row| row.contains("news@sillyplace.com")), "what it said last is still there");
        let has_colours = |look: &Look| {
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &model, look)).unwrap();
            terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert_eq!([has_colours(&plain), has_colours(&look(true, true))], [false, true]);
        let first = drawn(&Model::default(), 80, 24, &plain);
        assert_eq!(first[0].trim(), "asking the proxy");
    }

    #[test]
    fn the_backend_and_warnings_in_words() {
        let mut model = watching();
        let seen = model.seen.as_mut().unwrap();
        seen.backend.up = false;
        seen.backend.down_since = Some(1_795_395_000);
        seen.backend.error = Some("refused\u{1b}".to_owned());
        "degraded".clone_into(&mut seen.state);
        (seen.stopping, seen.stress, seen.hold_pressure, seen.log_stalled) = (true, true, 1, true);
        let told = facts(seen, &look(false, true)).join("|");
        let expected = "state NOT WRITTEN|backend 127.0.0.1:2525 DOWN since 00:50: refused\\x1b|STOPPING: no new \
                        mail|STRESS: shorter time limits|HOLD nearly full|LOG NOT READ";
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn texts_in_rows() {
        for (text, width, rows) in [
            ("", 5, vec![""]),
            ("aa bb cc", 5, vec!["aa bb", "cc"]),
            ("aaaaaaa bb", 3, vec!["aaa", "aaa", "a", "bb"]),
            ("\u{4f8b}\u{4f8b}\u{4f8b}", 4, vec!["\u{4f8b}\u{4f8b}", "\u{4f8b}"]),
            ("\u{4f8b}\u{4f8b}", 1, vec!["\u{4f8b}", "\u{4f8b}"]),
            ("  a b cc d", 6, vec!["  a b", "  cc d"]),
            ("    a b", 3, vec!["a b"]),
        ] {
            assert_eq!(wrapped(text, width), rows, "{text:?}");
        }
    }
}
