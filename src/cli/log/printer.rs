//! Prints lines: local time and text, or JSON. It must not choose lines, nor let anything unescaped reach the terminal.

use std::fmt::Write as _;
use std::io::BufWriter;
use std::io::Stdout;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::output::note;
use crate::logs::line;
use crate::logs::line::Parsed;
use crate::logs::ours;
use crate::text::readable;

/// A printer of lines.
pub(super) struct Printer {
    out: BufWriter<Stdout>,
    zone: TimeZone,
    json: bool,
    /// The last second printed, with its text.
    second: (i64, String),
    text: String,
}

impl Printer {
    pub(super) fn new(zone: &TimeZone, json: bool) -> Self {
        let out = BufWriter::with_capacity(ROOM, std::io::stdout());
        Self { out, zone: zone.clone(), json, second: (i64::MIN, String::new()), text: String::new() }
    }

    pub(super) fn line(&mut self, time: Option<Timestamp>, text: &[u8]) {
        self.text.clear();
        match self.json {
            true => readable::write_json(&mut self.text, &object(time, text).to_string()),
            false => {
                match time {
                    Some(time) => self.time(time),
                    None => self.text.push_str(NO_TIME),
                }
                readable::write(&mut self.text, text);
            }
        }
        self.text.push('\n');
        note(&self.out.write_all(self.text.as_bytes()));
    }

    /// Flushes the output.
    pub(super) fn flush(&mut self) {
        note(&self.out.flush());
    }

    /// Formats a time; the calendar is asked once for each second.
    fn time(&mut self, time: Timestamp) {
        let second = time.as_second();
        if self.second.0 != second {
            let written = time.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
            self.second = (second, written);
        }
        let milliseconds = time.subsec_nanosecond().max(0) / 1_000_000;
        let _ = write!(self.text, "{}.{milliseconds:03} ", self.second.1);
    }
}

fn object(time: Option<Timestamp>, text: &[u8]) -> Value {
    let (_, parsed) = line::parse(text);
    let mut object = Map::new();
    object.insert("time".into(), time.map(|time| time.to_string()).into());
    object.insert("program".into(), Some(parsed.program()).filter(|program| !program.is_empty()).into());
    match &parsed {
        Parsed::Ours(ours::Event::Record(record)) => insert_record(&mut object, record),
        Parsed::Smtpfront(pid, _) => _ = object.insert("pid".into(), json!(pid)),
        _ => {}
    }
    object.insert("text".into(), String::from_utf8_lossy(text).into());
    Value::Object(object)
}

fn insert_record(object: &mut Map<String, Value>, record: &ours::Record<'_>) {
    object.insert("kind".into(), record.kind.as_str().into());
    for (key, text) in record.values() {
        let value = match key.is_number() {
            true => record.number::<u64>(key).into(),
            false => text.map(|text| String::from_utf8_lossy(text).into_owned()).into(),
        };
        object.insert(key.name().into(), value);
    }
}

const ROOM: usize = 64 << 10;
/// A blank as wide as a time.
const NO_TIME: &str = "-                       ";
