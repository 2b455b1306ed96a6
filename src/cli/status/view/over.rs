//! What stands over the terminal view while it has the keys: the help, the question before a block, an explanation. It must
//! not change anything.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::text::Line;
use ratatui::widgets;
use ratatui::widgets::Clear;
use ratatui::widgets::Paragraph;

use crate::cli::status::model::Mode;
use crate::cli::status::model::Model;
use crate::cli::status::seen::Preview;
use crate::cli::status::view::Look;
use crate::cli::status::view::clock;
use crate::cli::status::view::safe;
use crate::cli::status::view::wrapped;
use crate::text::number;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, look: &Look) {
    let (title, lines, keys) = match &model.mode {
        Mode::Watching | Mode::Writing(_) => return,
        Mode::Help => ("Keys", HELP.lines().map(str::to_owned).collect(), "any key ends this"),
        Mode::Asking(key, preview) => {
            ("Block", question(model, key, preview.as_ref(), look), "y blocks it, any other key does not")
        }
        Mode::Explaining(story, first) => {
            let lines = story.lines().iter().skip(*first).map(|line| safe(line)).collect();
            ("Explanation", lines, "j, k scroll, any other key ends this")
        }
    };
    draw_box(frame, title, &lines, keys, look);
}

fn question(model: &Model, key: &str, preview: Option<&Preview>, look: &Look) -> Vec<String> {
    let mut lines = vec![format!("Block {} for 24 hours?", safe(key)), String::new()];
    let Some(preview) = preview else {
        lines.push("looking what it would hit".to_owned());
        return lines;
    };
    let Preview { messages, accepted, sender_count, client_count, .. } = *preview;
    let verb = if accepted == 1 { "was" } else { "were" };
    let messages = number::count(messages, "message");
    lines.push(format!("It would have hit {messages} of the last hour, of which {accepted} {verb} accepted."));
    let of = |count: u64, noun: &str, names: &[String]| {
        let more = if count > names.len() as u64 { ", ..." } else { "" };
        format!("{}: {}{more}", number::count(count, noun), safe(&names.join(", ")))
    };
    lines.extend((sender_count > 0).then(|| of(sender_count, "sender", &preview.senders)));
    lines.extend((client_count > 0).then(|| of(client_count, "client", &preview.clients)));
    if let Some(block) = model.blocks.iter().find(|block| block.key.eq_ignore_ascii_case(key)) {
        let until = clock(block.until, "%Y-%m-%d %H:%M", look);
        lines.push(format!("It is blocked already, until {until}: that end would be replaced."));
    }
    lines.extend(preview.doubt.iter().map(|doubt| format!("BUT: {}", safe(doubt))));
    lines
}

/// A box in the middle, as high as its lines need, with the keys in its lower edge.
fn draw_box(frame: &mut Frame<'_>, title: &str, lines: &[String], keys: &str, look: &Look) {
    let all = frame.area();
    let width = all.width.min(WIDEST);
    let rows: Vec<String> = lines.iter().flat_map(|line| wrapped(line, width.saturating_sub(4))).collect();
    let height = (rows.len() as u16).saturating_add(2).min(all.height);
    let (x, y) = (all.x + (all.width - width) / 2, all.y + (all.height - height) / 2);
    let area = Rect { x, y, width, height };
    frame.render_widget(Clear, area);
    let set = if look.unicode { border::PLAIN } else { ASCII };
    let bold = |text: &str| Line::styled(format!(" {text} "), Style::new().add_modifier(Modifier::BOLD));
    let edge = widgets::Block::bordered().border_set(set).title(bold(title)).title_bottom(bold(keys));
    let text: Vec<Line<'_>> = rows.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(text).block(edge.padding(widgets::Padding::horizontal(1))), area);
}

const ASCII: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};
const WIDEST: u16 = 100;
const HELP: &str = "\
arrows, j k   select a storm or a row; PgUp, PgDn, g, G go further
b             block the selected one for 24 hours, after a look at what
              that hits
u             take the last block back
e, Enter      explain what would happen to the selected one's mail
/             search the last records: words in any field
s             the sessions that are open now
Tab           the next table: senders, clients, records, sessions, blocks
o             order senders and clients by messages not accepted,
              accepted, or bytes
q, Ctrl-C     quit

Storms have a bar for each ten minutes of two hours.";
