//! Messages as rows of a table and as JSON. It must not let a stranger's text reach the terminal unescaped.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::io::BufWriter;
use std::io::Write;

use indicatif::DecimalBytes;
use serde_json::Value;
use serde_json::json;

use crate::queue::look::File;
use crate::queue::look::Message;
use crate::queue::look::Recipients;
use crate::text::number::count;
use crate::text::readable;
use crate::text::readable::shown;

/// A printer of messages: rows, or one array of JSON.
pub(super) struct Table {
    out: BufWriter<io::StdoutLock<'static>>,
    json: bool,
    now: i64,
    /// Buffer for a row.
    line: String,
    /// Rows printed.
    rows: usize,
    /// Octets of the messages printed.
    bytes: u64,
}

impl Table {
    /// Begins a table, with its head. An error means that the reader has gone away: print no more.
    pub(super) fn begin(json: bool, now: i64) -> io::Result<Self> {
        let (out, line) = (BufWriter::with_capacity(BUFFER, io::stdout().lock()), String::new());
        let mut table = Self { out, json, now, line, rows: 0, bytes: 0 };
        match json {
            true => table.out.write_all(b"[")?,
            false => writeln!(
                table.out,
                "{:>12} {:<9} {:>7} {:>10} {:>6} {:>6}  {:<40} subject",
                "number", "state", "age", "size", "done", "to do", "sender"
            )?,
        }
        Ok(table)
    }

    pub(super) fn row(&mut self, message: &Message) -> io::Result<()> {
        self.rows += 1;
        self.bytes += message.size.unwrap_or(0);
        if self.json {
            if self.rows > 1 {
                self.out.write_all(b",")?;
            }
            return Ok(serde_json::to_writer(&mut self.out, &message_json(message, self.now))?);
        }
        let (done, to_do) = message.counts();
        let state = state(message);
        let age = message.birth.map_or("-".to_owned(), |birth| age(self.now - birth));
        let size = message.size.map_or("-".to_owned(), size);
        let subject = message.header.as_ref().and_then(|header| header.get("subject")).unwrap_or_default();
        let subject = shown(subject);
        let sender = sender(message);
        let (id, line) = (message.id, &mut self.line);
        line.clear();
        let _ = write!(
            line,
            "{id:>12} {state:<9} {age:>7} {size:>10} {done:>6} {to_do:>6}  {sender:<40} {subject:.SUBJECT$}"
        );
        line.truncate(line.trim_end().len());
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        for trouble in &message.troubles {
            writeln!(self.out, "{:>12} {trouble}", "")?;
        }
        Ok(())
    }

    /// Ends the table with a line of numbers and octets.
    pub(super) fn end(self) -> io::Result<()> {
        let (rows, bytes) = (self.rows, self.bytes);
        self.end_with(rows, bytes)
    }

    /// Ends the table where the rows are only the first of `messages`.
    pub(super) fn end_with(mut self, messages: usize, bytes: u64) -> io::Result<()> {
        if messages > self.rows && !self.json {
            writeln!(self.out, "{:>12} {} more", "and", messages - self.rows)?;
        }
        match self.json {
            true => self.out.write_all(b"]\n")?,
            false => writeln!(self.out, "{}", counted(messages, bytes))?,
        }
        self.out.flush()
    }
}

/// Numbers of messages and octets, in words.
pub(super) fn counted(messages: usize, bytes: u64) -> String {
    format!("{}, {}", count(messages as u64, "message"), size(bytes))
}

/// The state, and whether the message only waits to be removed.
pub(super) fn state(message: &Message) -> Cow<'static, str> {
    match message.quarantined {
        true => format!("{} taken", message.state()).into(),
        false => message.state().name().into(),
    }
}

/// `<address>`, or a substitute for an unknown sender.
pub(super) fn sender(message: &Message) -> String {
    message.sender.as_ref().map_or("-".to_owned(), |sender| format!("<{}>", readable::text(sender)))
}

/// A size for people: 34 MB.
pub(super) fn size(octets: u64) -> String {
    DecimalBytes(octets).to_string()
}

/// An age in its two largest units.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// A message as JSON, with the names of the queue's files as keys; unknown values are left out.
pub(super) fn message_json(message: &Message, now: i64) -> Value {
    let (done, to_do) = message.counts();
    let files: Vec<&str> = message.files.iter().map(File::name).collect();
    let mut value = json!({
        "id": message.id, "state": message.state().name(), "files": files, "done": done, "to_do": to_do,
    });
    let mut set = |name: &str, known: Option<Value>| known.map(|known| value[name] = known);
    set("mess_size", message.size.map(Value::from));
    set("uid", message.uid.map(Value::from));
    set("qp", message.qp.map(Value::from));
    set("sender", message.sender.as_ref().map(|sender| lossy(sender)));
    set("birth", message.birth.map(Value::from));
    set("age", message.birth.map(|birth| Value::from((now - birth).max(0))));
    set(
        "info_mtime",
        message.birth.filter(|_| message.files.has(File::Info) && message.queued.is_none()).map(Value::from),
    );
    let addresses = |list: &Recipients| list.kept.iter().map(|recipient| lossy(&recipient.address)).collect();
    set("rcpts", message.queued.as_ref().map(addresses));
    for (list, name, time) in [(&message.local, "local", "local_mtime"), (&message.remote, "remote", "remote_mtime")] {
        let row = |list: &Recipients| {
            list.kept
                .iter()
                .map(|recipient| json!({ "done": recipient.done, "addr": lossy(&recipient.address) }))
                .collect()
        };
        set(name, list.as_ref().map(row));
        set(time, list.as_ref().map(|list| Value::from(list.modified)));
    }
    set("bounce_size", message.bounce_size.map(Value::from));
    let subject = message.header.as_ref().and_then(|header| header.get("subject"));
    set("subject", subject.map(Value::from));
    set("quarantined", message.quarantined.then_some(Value::Bool(true)));
    set("troubles", (!message.troubles.is_empty()).then(|| json!(message.troubles)));
    value
}

fn lossy(octets: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(octets))
}

/// Characters of a subject in a row.
const SUBJECT: usize = 60;
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_their_two_largest_units() {
        let cases = [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3599, "59m59s"),
            (3600, "1h0m"),
            (90_000, "1d1h"),
            (864_000, "10d0h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(seconds), expected);
        }
    }
}
