//! The messages of the drill: their headers and sizes. It must not know how they are sent.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::rehearsal::drill::client::End;
use crate::rehearsal::drill::client::Letter;

/// The newsletter of the incident.
pub(super) fn newsletter(size: usize, hops: usize, takes: bool, date: Timestamp) -> Letter {
    let mut header = format!("Delivered-To: {RECIPIENT}\r\n").repeat(hops);
    header.push_str(&format!("From: <newsletter@sillyplace.example>\r\nSubject: News\r\nDate: {}\r\n", written(date)));
    header.push_str("Message-ID: <34mb@sillyplace.example>\r\n");
    Letter {
        hello: "EHLO news.sillyplace.example",
        sender: "<newsletter@sillyplace.example>",
        recipients: vec![format!("<{RECIPIENT}>")],
        declares: true,
        text: filled(header, size),
        end: if takes { End::Quit } else { End::CloseUnread },
    }
}

/// An honest sender's message, which the sink recognizes by its first field.
pub(super) fn letter(sender: &'static str, id: &str, date: Timestamp, size: usize) -> Letter {
    let header = format!(
        "{HONEST} yes\r\nFrom: {sender}\r\nTo: <{RECIPIENT}>\r\nSubject: {id}\r\nDate: {}\r\nMessage-ID: <{id}@honest.example>\r\n",
        written(date)
    );
    Letter {
        hello: "EHLO honest.example",
        sender,
        recipients: vec![format!("<{RECIPIENT}>")],
        declares: true,
        text: filled(header, size),
        end: End::Quit,
    }
}

impl Letter {
    /// The message without this field of its header.
    pub(super) fn without(mut self, field: &str) -> Self {
        let lines = self.text.split_inclusive("\r\n").filter(|line| !line.starts_with(field));
        self.text = lines.collect();
        self
    }

    /// The message with one more field, below the first.
    pub(super) fn under(mut self, field: &str) -> Self {
        let first = self.text.find("\r\n").map_or(0, |at| at + 2);
        self.text.insert_str(first, &format!("{field}\r\n"));
        self
    }
}

fn written(date: Timestamp) -> String {
    rfc2822::to_string(&date.to_zoned_datetime(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// Appends lines of text up to `size` octets, or a little less.
fn filled(mut header: String, size: usize) -> String {
    let line = format!("{}\r\n", "x".repeat(74));
    header.push_str("\r\n");
    let lines = size.saturating_sub(header.len()) / line.len();
    header.push_str(&line.repeat(lines.max(1)));
    header
}

pub(super) const RECIPIENT: &str = "drill@example.org";
/// Start of the first field of an honest message.
pub(super) const HONEST: &str = "X-Honest:";
