//! `status --session ID --follow`: what is said in a session, a line each, until it ends. It must not show what a terminal
//! would obey.

use std::fmt::Write;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use jiff::Timestamp;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use serde_json::Value;

use crate::admin::client;
use crate::admin::client::following::Heard;
use crate::cli::blocks::word;
use crate::cli::desk::Desk;
use crate::cli::output::is_closed;
use crate::cli::print;
use crate::cli::zone::zone;
use crate::text::readable;

/// Prints what is said in the session with this id, until it ends or nobody reads the output.
///
/// # Errors
/// No such session is open, or the proxy is not there, or goes away.
pub(super) fn follow(desk: &Desk, id: &str, json: bool) -> Result<(), String> {
    if let Some(what) = client::doubt(&desk.read.config.admin) {
        eprintln!("{what} (warning)");
    }
    let mut left = false;
    desk.follow(id, |heard| {
        match heard {
            Heard::Begun => eprintln!("following {}; what was said before is not shown", readable::shown(id)),
            Heard::Line(text, _) if json => {
                let mut shown = String::with_capacity(text.len());
                readable::write_json(&mut shown, text);
                print(&shown);
            }
            Heard::Line(_, line) => print(&line_of(line)),
            Heard::Silence => {}
        }
        left = is_closed() || is_abandoned();
        if left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !left {
        eprintln!("the session has ended");
    }
    Ok(())
}

/// The line as people read it: time, side, text.
fn line_of(line: &Value) -> String {
    let time = line["time"].as_i64().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time =
        time.map_or_else(String::new, |time| time.to_zoned_datetime(zone()).strftime("%H:%M:%S%.3f").to_string());
    let side = match (line["side"].as_str(), line["direction"].as_str()) {
        (Some("client"), Some("from")) => "client ->",
        (Some("client"), _) => "-> client",
        (Some("backend"), Some("from")) => "backend ->",
        (Some("backend"), _) => "-> backend",
        _ => "",
    };
    let mut text = String::new();
    let _ = write!(text, "{time:<12} {side:<10} {}", word(&line["text"]));
    text
}

/// Whether standard output is a pipe that nobody reads any more: the session may say nothing for long.
fn is_abandoned() -> bool {
    let output = io::stdout();
    let mut watched = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let polled = poll(&mut watched, PollTimeout::ZERO);
    polled.is_ok() && watched[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_names_its_side_and_obeys_no_stranger() {
        let table = [
            ("client", json!("from"), "EHLO mx.example", "client ->  EHLO mx.example"),
            ("client", json!("to"), "250 ok", "-> client  250 ok"),
            ("backend", json!("from"), "250 ok", "backend -> 250 ok"),
            ("backend", json!("to"), "RSET", "-> backend RSET"),
            ("proxy", Value::Null, "TLS began", "           TLS began"),
            ("client", json!("from"), "NOOP \u{1b}[2J\u{202e}", "client ->  NOOP \\x1b[2J\\u{202e}"),
        ];
        for (side, direction, text, expected) in table {
            let line = json!({ "time": null, "side": side, "direction": direction, "text": text });
            assert_eq!(line_of(&line).strip_prefix("             "), Some(expected));
        }
        let line = json!({ "time": 1_795_395_525_007_i64, "side": "proxy", "direction": null, "text": "x" });
        assert!(
            line_of(&line).starts_with(|digit: char| digit.is_ascii_digit()) && line_of(&line).contains(":45.007 ")
        );
    }
}
