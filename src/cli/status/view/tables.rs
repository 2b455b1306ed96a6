//! The tables of the terminal view: storms, senders, clients, records, sessions, blocks. A narrow terminal shows fewer
//! columns. It must not decide which rows there are.

use indicatif::DecimalBytes;
use ratatui::Frame;
use ratatui::layout::Alignment;
use ratatui::layout::Constraint;
use ratatui::layout::Layout;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::text::Span;
use ratatui::text::Text;
use ratatui::widgets;
use ratatui::widgets::Cell;
use ratatui::widgets::TableState;

use crate::cli::status::model::Model;
use crate::cli::status::model::Sort;
use crate::cli::status::model::Tab;
use crate::cli::status::rows::Row;
use crate::cli::status::seen::Storm;
use crate::cli::status::seen::bare;
use crate::cli::status::view::Look;
use crate::cli::status::view::chart;
use crate::cli::status::view::clock;
use crate::cli::status::view::coloured;
use crate::cli::status::view::safe;
use crate::cli::status::view::span;

/// A column: its head, its width, where it stands, and from which width of the terminal on it is shown.
struct Column(&'static str, Constraint, Alignment, u16);

const fn left(head: &'static str, width: u16, from: u16) -> Column {
    Column(head, Constraint::Length(width), Alignment::Left, from)
}

const fn right(head: &'static str, width: u16, from: u16) -> Column {
    Column(head, Constraint::Length(width), Alignment::Right, from)
}

const fn rest(head: &'static str, share: u16, from: u16) -> Column {
    Column(head, Constraint::Fill(share), Alignment::Left, from)
}

pub(super) fn draw_storms(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let storms = model.storms();
    if storms.is_empty() {
        return;
    }
    let rows = storms.iter().map(|storm| storm_cells(storm, look)).collect();
    let selected = Some(model.selected).filter(|selected| *selected < storms.len());
    draw(frame, area, &STORMS, "", rows, selected);
}

fn storm_cells(storm: &Storm, look: &Look) -> Vec<Span<'static>> {
    let (network, sender) = storm.parts();
    let (name, copies) = match storm.is_guessing() {
        true => (format!("passwords from {}", safe(network)), storm.refused + storm.deferred),
        false => (named(sender), storm.copies + storm.similar),
    };
    let most = storm.trend.iter().copied().max().unwrap_or(0);
    let to: Vec<&str> = storm.recipients.split(',').map(|recipient| bare(recipient.trim())).collect();
    vec![
        Span::raw(name),
        Span::raw(safe(network)),
        Span::raw(safe(&to.join(", "))),
        Span::raw(copies.to_string()),
        Span::raw(storm.refused.to_string()),
        Span::raw((storm.absorbed + storm.deferred).to_string()),
        Span::raw(storm.delivered.to_string()),
        Span::raw(DecimalBytes(storm.bytes_spared).to_string()),
        Span::styled(chart::bars(&storm.trend, most, look), coloured(look, Color::Yellow)),
        Span::raw(safe(&storm.reason)),
    ]
}

/// The table that is chosen, under the names of all.
pub(super) fn draw_tab(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let [title, table] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(titles(model, area.width), title);
    let selected = model.selected.checked_sub(model.storms().len());
    draw_table(frame, table, model, look, model.tab, selected);
}

/// The last records under another table.
pub(super) fn draw_records(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look) {
    let [title, table] = Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Text::from(vec![Line::raw(""), Line::styled(found(model), bold)]), title);
    draw_table(frame, table, model, look, Tab::Records, None);
}

fn titles(model: &Model, width: u16) -> Line<'static> {
    if width < ALL_TITLES {
        return Line::raw(format!("[{}]  Tab: {}", model.tab.title(), model.tab.after(1).title()));
    }
    let blocks = model.seen.as_ref().map_or(0, |seen| seen.blocks);
    let title = |tab: Tab| {
        let count = if tab == Tab::Blocks && blocks > 0 { format!(" {blocks}") } else { String::new() };
        match tab == model.tab {
            true => Span::styled(format!("[{}{count}]", tab.title()), Style::new().add_modifier(Modifier::BOLD)),
            false => Span::raw(format!(" {}{count} ", tab.title())),
        }
    };
    let mut spans: Vec<Span<'_>> = Tab::ALL.map(title).to_vec();
    let note = match model.tab {
        Tab::Senders | Tab::Clients => format!("  by {} (o)", sorted_by(model.sort)),
        Tab::Blocks => String::new(),
        Tab::Records if model.search.is_empty() => String::new(),
        Tab::Records => format!("  with {} (Esc: all)", safe(&model.search)),
        Tab::Sessions => format!("  {} open", model.sessions.total),
    };
    spans.push(Span::raw(note));
    Line::from(spans)
}

fn found(model: &Model) -> String {
    match model.search.as_str() {
        "" => "Last records".to_owned(),
        words => format!("Records with {}", safe(words)),
    }
}

fn sorted_by(sort: Sort) -> &'static str {
    match sort {
        Sort::NotAccepted => "not accepted",
        Sort::Accepted => "accepted",
        Sort::Bytes => "bytes",
    }
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, model: &Model, look: &Look, tab: Tab, selected: Option<usize>) {
    let (columns, empty): (&[Column], &str) = match tab {
        Tab::Senders => (&SENDERS, "no mail in the last hour"),
        Tab::Clients => (&CLIENTS, "no clients in the last hour"),
        Tab::Records if model.search.is_empty() => (&RECORDS, "no records yet"),
        Tab::Records => (&RECORDS, "nothing found among the last records; the log has all"),
        Tab::Sessions => (&SESSIONS, "no session is open"),
        Tab::Blocks => (&BLOCKS, "nothing is blocked"),
    };
    let rows = model.table(tab).iter().map(|row| cells(row, model.now(), look)).collect();
    draw(frame, area, columns, empty, rows, selected);
}

/// The cells of a row, in the order of its table's columns.
fn cells(row: &Row<'_>, now: u32, look: &Look) -> Vec<Span<'static>> {
    let texts = match row {
        Row::Storm(storm) => return storm_cells(storm, look),
        Row::Sender(top) | Row::Client(top) => {
            let counts = [top.accepted, top.absorbed, top.deferred, top.refused];
            let mut texts = vec![named(&top.name)];
            texts.extend(counts.map(|count| count.to_string()));
            texts.push(DecimalBytes(top.bytes).to_string());
            texts
        }
        Row::Record(record) => {
            let (done, colour) = done(record.verdict.as_deref(), &record.kind);
            let to: Vec<&str> = record.recipients.iter().map(|recipient| bare(recipient)).collect();
            return vec![
                Span::raw(clock(record.at, "%H:%M:%S", look)),
                Span::styled(done, coloured(look, colour)),
                Span::raw(record.sender.as_deref().map_or_else(String::new, named)),
                Span::raw(safe(&to.join(", "))),
                Span::raw(safe(&record.client)),
                Span::raw(record.code.map_or_else(String::new, |code| code.to_string())),
                Span::raw(safe(record.reason.as_deref().unwrap_or(""))),
            ];
        }
        Row::Session(session) => vec![
            span(now.saturating_sub(session.since)),
            safe(&session.phase),
            safe(&session.client),
            session.sender.as_deref().map_or_else(String::new, named),
            session.recipients.to_string(),
            DecimalBytes(session.octets).to_string(),
            safe(session.user.as_deref().or(session.helo.as_deref()).unwrap_or("")),
            safe(&session.id),
        ],
        Row::Block(block) => vec![
            safe(&block.key),
            clock(block.until, "%a %H:%M", look),
            format!("in {}", span(block.until.saturating_sub(now))),
            safe(&block.by),
            safe(&block.why),
        ],
    };
    texts.into_iter().map(Span::raw).collect()
}

/// A verdict as it is counted, and its colour; what else a record is.
fn done(verdict: Option<&str>, kind: &str) -> (String, Color) {
    match verdict {
        Some("accept") => ("accepted".to_owned(), Color::Green),
        Some("absorb") => ("absorbed".to_owned(), Color::Blue),
        Some("defer") => ("deferred".to_owned(), Color::Yellow),
        Some("reject" | "disconnect") => ("refused".to_owned(), Color::Red),
        _ => (safe(kind), Color::Reset),
    }
}

/// A sender for people: without its angle brackets, the null sender by its name.
fn named(sender: &str) -> String {
    match bare(sender) {
        "" => "<> (null sender)".to_owned(),
        bare => safe(bare),
    }
}

fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column],
    empty: &str,
    rows: Vec<Vec<Span<'static>>>,
    selected: Option<usize>,
) {
    if rows.is_empty() {
        return frame.render_widget(Line::raw(format!("  {empty}")), area);
    }
    let is_shown = |column: &&Column| column.3 <= area.width;
    let cell = |span: Span<'static>, column: &Column| Cell::from(Text::from(span).alignment(column.2));
    let heads = columns.iter().filter(is_shown).map(|column| cell(Span::raw(column.0), column));
    let heads = widgets::Row::new(heads).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows = rows.into_iter().map(|row| {
        widgets::Row::new(
            columns.iter().zip(row).filter(|(column, _)| is_shown(column)).map(|(column, span)| cell(span, column)),
        )
    });
    let widths = columns.iter().filter(is_shown).map(|column| column.1);
    let table = widgets::Table::new(rows, widths).header(heads).column_spacing(1).highlight_symbol("> ");
    let table = table.highlight_spacing(widgets::HighlightSpacing::Always);
    let table = table.row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

/// Columns that the names of all tables need.
const ALL_TITLES: u16 = 50;
const STORMS: [Column; 10] = [
    rest("storm", 3, 0),
    left("from", 18, 100),
    rest("to", 2, 150),
    right("copies", 7, 0),
    right("refused", 7, 0),
    right("other", 6, 100),
    right("delivered", 9, 60),
    right("spared", 9, 70),
    left("two hours", 12, 76),
    left("by", 18, 130),
];
const SENDERS: [Column; 6] = top("sender, last hour");
const CLIENTS: [Column; 6] = top("client, last hour");
const RECORDS: [Column; 7] = [
    left("time", 8, 0),
    left("verdict", 9, 0),
    rest("sender", 3, 0),
    rest("recipients", 2, 60),
    left("client", 15, 100),
    left("code", 4, 50),
    left("reason", 18, 70),
];
const SESSIONS: [Column; 8] = [
    right("since", 6, 0),
    left("phase", 9, 0),
    left("client", 15, 60),
    rest("sender", 2, 0),
    right("to", 4, 90),
    right("size", 9, 50),
    rest("user or name", 1, 100),
    left("session", 12, 80),
];
const BLOCKS: [Column; 5] =
    [rest("blocked", 2, 0), left("until", 9, 0), left("that is", 9, 50), left("made by", 9, 60), rest("why", 1, 70)];

const fn top(name: &'static str) -> [Column; 6] {
    [
        rest(name, 1, 0),
        right("accepted", 9, 50),
        right("absorbed", 9, 70),
        right("deferred", 9, 70),
        right("refused", 9, 0),
        right("bytes", 9, 60),
    ]
}
