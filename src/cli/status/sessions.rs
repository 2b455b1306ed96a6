//! `status --sessions` and `status --session ID`: the sessions that are open now, and one of them. It must not change
//! anything.

use std::process::ExitCode;

use clap::Args;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use indicatif::DecimalBytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::admin::client::Wish;
use crate::cli;
use crate::cli::blocks::word;
use crate::cli::desk::Desk;
use crate::cli::print;
use crate::cli::status::conversation;
use crate::cli::zone::moment;
use crate::cli::zone::zone;

#[derive(Args, Debug)]
pub(super) struct Sessions {
    /// List the sessions that are open now, at most 500
    #[arg(long, conflicts_with_all = ["watch", "session"])]
    sessions: bool,
    /// Which sessions come first: those with the largest message on its way, or those that have lasted longest
    #[arg(long, value_name = "ORDER", value_enum, requires = "sessions", hide_possible_values = false)]
    order: Option<Order>,
    /// Show the session with this id, if it is open
    #[arg(long, value_name = "ID", conflicts_with = "watch", value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,
    /// Print what is said in the session from now on, until it ends: passwords masked, of messages the size only
    #[arg(long, requires = "session")]
    follow: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Largest,
    Longest,
}

impl Sessions {
    /// Shows what is asked for; `None`: something else is.
    pub(super) fn run(&self, desk: &Desk, json: bool) -> Option<ExitCode> {
        let shown = match &self.session {
            // As the replies have it.
            Some(id) => {
                let id = id.trim_start_matches('[').trim_end_matches(']');
                if self.follow { conversation::follow(desk, id, json) } else { show_one(desk, id, json) }
            }
            None if self.sessions => self.show_all(desk, json),
            None => return None,
        };
        Some(match shown {
            Ok(()) => ExitCode::SUCCESS,
            Err(what) => {
                eprintln!("{what}");
                ExitCode::FAILURE
            }
        })
    }

    fn show_all(&self, desk: &Desk, json: bool) -> Result<(), String> {
        let order = match self.order {
            None | Some(Order::Largest) => "largest",
            Some(Order::Longest) => "longest",
        };
        let (text, answer) = desk.ask(&Wish::Sessions(MOST, order))?;
        print(if json { text } else { table(&answer, cli::now().timestamp()) }.trim_end());
        Ok(())
    }
}

fn show_one(desk: &Desk, id: &str, json: bool) -> Result<(), String> {
    let (text, session) = desk.ask(&Wish::Session(id.to_owned()))?;
    if json {
        print(&text);
        return Ok(());
    }
    let since = session["since"].as_i64().map(moment).unwrap_or_default();
    let rows = [
        ("session", text_of(&session["id"])),
        ("client", text_of(&session["client"])),
        ("helo", text_of(&session["helo"])),
        ("TLS", text_of(&session["tls"])),
        ("user", text_of(&session["user"])),
        ("phase", text_of(&session["phase"])),
        ("sender", text_of(&session["sender"])),
        ("recipients", text_of(&session["recipients"])),
        ("octets", octets(&session["octets"])),
        ("since", since),
    ];
    rows.iter().for_each(|(name, value)| print(&format!("{name:<12} {value}")));
    Ok(())
}

fn table(answer: &Value, now: Timestamp) -> String {
    let sessions = answer["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if sessions.is_empty() {
        return "no session is open".to_owned();
    }
    let rows: Vec<[String; 9]> = std::iter::once(HEADS.map(str::to_owned))
        .chain(sessions.iter().map(|session| {
            let [id, client, phase, sender, tls, user, helo] =
                ["id", "client", "phase", "sender", "tls", "user", "helo"].map(|key| short(text_of(&session[key])));
            [id, client, phase, octets(&session["octets"]), time(&session["since"], now), sender, tls, user, helo]
        }))
        .collect();
    let widths = std::array::from_fn::<usize, 9, _>(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            OCTETS => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line: Vec<String> = cells.collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    let more = answer["total"].as_u64().unwrap_or(0).saturating_sub(sessions.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}

/// A value of the session; a dash where there is none.
fn text_of(value: &Value) -> String {
    if value.is_null() { "-".to_owned() } else { word(value) }
}

/// Cut so that the table keeps its columns; `--session` shows all of it.
fn short(text: String) -> String {
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - CUT.len()).chain(CUT.chars()).collect()
}

fn octets(value: &Value) -> String {
    DecimalBytes(value.as_u64().unwrap_or(0)).to_string()
}

/// A time of today without its date.
fn time(seconds: &Value, now: Timestamp) -> String {
    let time = seconds.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default();
    let [time, now] = [time, now].map(|time| time.to_zoned_datetime(zone()));
    time.strftime(if time.date() == now.date() { "%H:%M:%S" } else { "%m-%d %H:%M:%S" }).to_string()
}

const HEADS: [&str; 9] = ["session", "client", "phase", "octets", "since", "sender", "TLS", "user", "helo"];
/// The column that is a number.
const OCTETS: usize = 3;
/// Characters of a cell.
const WIDEST: usize = 40;
const CUT: &str = "...";
/// Sessions of one answer.
const MOST: usize = 500;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_columns_stay_whatever_the_client_calls_itself() {
        let session = |id: &str, helo: &str, octets: u64| {
            json!({ "id": id, "client": "192.0.2.1", "helo": helo, "tls": null, "user": null, "phase": "data",
                "sender": "<a@b.example>", "recipients": 1, "octets": octets, "since": 1_795_395_525 })
        };
        let long = "x".repeat(200);
        let answer =
            json!({ "sessions": [session("a", "mx\u{1b}[2J", 34_000_000), session("bb", &long, 0)], "total": 9 });
        let text = table(&answer, Timestamp::from_second(1_795_395_999).unwrap_or_default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].starts_with("session  client     phase    octets  since"), "{text}");
        assert!(lines[1].contains("  34.00 MB  ") && lines[1].ends_with("mx\\x1b[2J"), "{text}");
        assert!(lines[2].ends_with(&format!("{}...", "x".repeat(37))), "{text}");
        assert_eq!(lines[3], "and 7 more");
        assert_eq!(table(&json!({ "sessions": [], "total": 0 }), Timestamp::UNIX_EPOCH), "no session is open");
    }
}
