//! One event to one line: logfmt, JSON or for people. Whatever a client sent, the line stays one line and the terminal
//! that shows it stays as it was: what cannot be seen is written as `\x1b` or `\u{202e}`. It must not write anywhere
//! but to the string it is given.

use std::fmt;
use std::fmt::Write;

use jiff::Timestamp;
use tracing::Event;
use tracing::Level;
use tracing::field::Field;
use tracing::field::Visit;

use crate::report::Format;
use crate::text::readable;

/// The look of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The form.
    pub format: Format,
    /// Whether `pretty` may use colours.
    pub colour: bool,
}

/// Appends `event` as one line, its end included. Fields follow in the order in which they were recorded; one that was
/// recorded as `None` is absent.
pub fn write_event(out: &mut String, style: Style, time: Option<Timestamp>, event: &Event<'_>) {
    let mut line = Line::begin(out, style, time, *event.metadata().level());
    event.record(&mut MessageOnly(&mut line));
    line.end_of_head();
    event.record(&mut FieldsOnly(&mut line));
    line.end();
}

/// A line that is being written: its head, then the message, then fields.
pub(crate) struct Line<'a> {
    out: &'a mut String,
    style: Style,
    level: Level,
    /// No word of the line is written yet.
    first: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn begin(out: &'a mut String, style: Style, time: Option<Timestamp>, level: Level) -> Self {
        let mut line = Self { out, style, level, first: true };
        match style.format {
            Format::Json => line.begin_json(time),
            Format::Logfmt => {
                if let Some(time) = time {
                    line.separate();
                    line.raw(format_args!("{time:.3}"));
                }
            }
            Format::Pretty => line.begin_pretty(time),
        }
        line
    }

    /// The event's name or what it says.
    pub(crate) fn message(&mut self, message: fmt::Arguments<'_>) {
        match self.style.format {
            Format::Json => self.text("message", message),
            Format::Logfmt => {
                self.separate();
                let start = self.out.len();
                // A sentence is a value, and a value has a key.
                if escape(self.out, false, message) {
                    self.out.insert_str(start, "message=");
                }
            }
            Format::Pretty => self.pretty_message(message),
        }
    }

    /// Ends the head; to be called between the message and the fields.
    pub(crate) fn end_of_head(&mut self) {
        if self.style.format == Format::Logfmt && self.level <= Level::WARN {
            self.plain("level", format_args!("{}", level_word(self.level)));
        }
    }

    /// A field whose value may be anything.
    pub(crate) fn text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        escape(self.out, self.style.format == Format::Json, value);
    }

    /// A field whose value is a text already.
    pub(crate) fn str(&mut self, name: &str, value: &str) {
        self.name(name);
        let json = self.style.format == Format::Json;
        quote(self.out, json, |escaper| escaper.write_str(value));
    }

    /// A field that is a number or a boolean.
    pub(crate) fn plain(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        self.raw(value);
    }

    pub(crate) fn end(self) {
        self.out.push_str(if self.style.format == Format::Json { "}\n" } else { "\n" });
    }

    fn begin_json(&mut self, time: Option<Timestamp>) {
        self.out.push('{');
        if let Some(time) = time {
            self.text("time", format_args!("{time:.3}"));
        }
        self.text("level", format_args!("{}", level_word(self.level)));
    }

    fn begin_pretty(&mut self, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.coloured(DIM, format_args!("{time:.3}"));
            self.out.push(' ');
        }
        self.coloured(level_colour(self.level), format_args!("{:<5}", level_word(self.level)));
        self.first = false;
    }

    fn pretty_message(&mut self, message: fmt::Arguments<'_>) {
        self.separate();
        self.raw(format_args!("{}", self.colour(BOLD)));
        let start = self.out.len();
        Escaper::new(self.out, false).all(|escaper| escaper.write_fmt(message));
        let width = self.out[start..].chars().count();
        self.raw(format_args!("{}{:2$}", self.colour(RESET), "", MESSAGE_WIDTH.saturating_sub(width)));
    }

    fn name(&mut self, name: &str) {
        self.separate();
        match self.style.format {
            Format::Json => {
                escape(self.out, true, format_args!("{name}"));
                self.out.push(':');
            }
            Format::Logfmt => {
                self.out.push_str(name);
                self.out.push('=');
            }
            Format::Pretty => self.coloured(DIM, format_args!("{name}=")),
        }
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(if self.style.format == Format::Json { ',' } else { ' ' });
        }
    }

    fn coloured(&mut self, colour: &'static str, text: fmt::Arguments<'_>) {
        self.raw(format_args!("{}{text}{}", self.colour(colour), self.colour(RESET)));
    }

    fn colour(&self, colour: &'static str) -> &'static str {
        if self.style.colour { colour } else { "" }
    }

    fn raw(&mut self, text: fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a String takes everything");
    }
}

/// The message may be recorded at any place among the fields; its own is the first.
struct MessageOnly<'a, 'b>(&'a mut Line<'b>);

impl Visit for MessageOnly<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.0.message(format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0.message(format_args!("{value}"));
        }
    }
}

struct FieldsOnly<'a, 'b>(&'a mut Line<'b>);

impl FieldsOnly<'_, '_> {
    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), value);
        }
    }
}

impl Visit for FieldsOnly<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.0.str(field.name(), value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.plain(field.name(), format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.plain(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.plain(field.name(), format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for the others.
        match value.is_finite() {
            true => self.0.plain(field.name(), format_args!("{value}")),
            false => self.text(field, format_args!("{value}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{}", WithSources(value)));
    }
}

struct WithSources<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let sources = std::iter::successors(self.0.source(), |error| error.source());
        sources.take(MOST_SOURCES).try_for_each(|source| write!(f, ": {source}"))
    }
}

/// Appends `value`, in quotes when it is JSON or needs them; tells whether it has them.
fn escape(out: &mut String, json: bool, value: fmt::Arguments<'_>) -> bool {
    quote(out, json, |escaper| escaper.write_fmt(value))
}

fn quote(out: &mut String, json: bool, write: impl FnOnce(&mut Escaper<'_>) -> fmt::Result) -> bool {
    let start = out.len();
    let special = Escaper::new(out, json).all(write);
    let quoted = json || special || out.len() == start;
    if quoted {
        out.insert(start, '"');
        out.push('"');
    }
    quoted
}

/// Takes the text of a value as it comes and lets through what can be seen.
struct Escaper<'a> {
    out: &'a mut String,
    json: bool,
    /// The value has to stand in quotes.
    special: bool,
    /// The octet at which the value is cut.
    end: usize,
}

impl<'a> Escaper<'a> {
    fn new(out: &'a mut String, json: bool) -> Self {
        let end = out.len() + LONGEST_VALUE;
        Self { out, json, special: false, end }
    }

    fn all(mut self, write: impl FnOnce(&mut Self) -> fmt::Result) -> bool {
        // An error is our own cut, or a value that does not know itself; either way the line goes on.
        if write(&mut self).is_err() {
            self.out.push_str("...");
        }
        self.special
    }

    fn push(&mut self, c: char) {
        match c {
            '"' | '\\' => self.out.extend(['\\', c]),
            // Blanks of all kinds would end a word for other readers of the log.
            _ if readable::is_seen(c) && !c.is_whitespace() => return self.out.push(c),
            _ if self.json => readable::escape_json(self.out, c),
            _ => readable::escape(self.out, c),
        }
        self.special = true;
    }
}

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        loop {
            let room = self.end.saturating_sub(self.out.len());
            let clean = rest.bytes().take(room).position(|octet| !is_clean(octet)).unwrap_or(rest.len().min(room));
            let (run, behind) = rest.split_at(clean);
            self.special |= run.bytes().any(|octet| matches!(octet, b' ' | b'='));
            self.out.push_str(run);
            let mut chars = behind.chars();
            let Some(c) = chars.next() else { return Ok(()) };
            if self.out.len() >= self.end {
                return Err(fmt::Error);
            }
            self.push(c);
            rest = chars.as_str();
        }
    }
}

/// Needs no escape, though perhaps quotes.
fn is_clean(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\')
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => DIM,
    }
}

const MESSAGE: &str = "message";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
const MESSAGE_WIDTH: usize = 8;
/// Octets of one value; a list of a thousand recipients fits.
const LONGEST_VALUE: usize = 64 << 10;
const MOST_SOURCES: usize = 16;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn how_a_line_looks() {
        let plain = [
            (Format::Logfmt, None, "mail session=a1 sender=<> size=34 tls=false backend=\"250 ok\"\n"),
            (
                Format::Logfmt,
                Some(time()),
                "2023-11-14T22:13:20.000Z mail session=a1 sender=<> size=34 tls=false backend=\"250 ok\"\n",
            ),
            (
                Format::Json,
                None,
                "{\"level\":\"info\",\"message\":\"mail\",\"session\":\"a1\",\"sender\":\"<>\",\"size\":34,\"tls\":false,\
                 \"backend\":\"250 ok\"}\n",
            ),
            (
                Format::Json,
                Some(time()),
                "{\"time\":\"2023-11-14T22:13:20.000Z\",\"level\":\"info\",\"message\":\"mail\",\"session\":\"a1\",\
                 \"sender\":\"<>\",\"size\":34,\"tls\":false,\"backend\":\"250 ok\"}\n",
            ),
            (Format::Pretty, None, "info  mail     session=a1 sender=<> size=34 tls=false backend=\"250 ok\"\n"),
            (
                Format::Pretty,
                Some(time()),
                "2023-11-14T22:13:20.000Z info  mail     session=a1 sender=<> size=34 tls=false backend=\"250 ok\"\n",
            ),
        ];
        for (format, time, expected) in plain {
            let mut out = String::new();
            let mut line = Line::begin(&mut out, Style { format, colour: false }, time, Level::INFO);
            line.message(format_args!("mail"));
            line.end_of_head();
            line.text("session", format_args!("a1"));
            line.text("sender", format_args!("<>"));
            line.plain("size", format_args!("34"));
            line.plain("tls", format_args!("false"));
            line.text("backend", format_args!("250 ok"));
            line.end();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn levels_and_sentences() {
        let table = [
            ("a word", Format::Logfmt, Level::INFO, "reload", "reload\n"),
            ("a warning", Format::Logfmt, Level::WARN, "reload", "reload level=warn\n"),
            ("an error", Format::Logfmt, Level::ERROR, "reload", "reload level=error\n"),
            ("a sentence", Format::Logfmt, Level::ERROR, "no room", "message=\"no room\" level=error\n"),
            ("nothing", Format::Logfmt, Level::INFO, "", "message=\"\"\n"),
            ("a sentence", Format::Json, Level::WARN, "no room", "{\"level\":\"warn\",\"message\":\"no room\"}\n"),
            ("a sentence", Format::Pretty, Level::ERROR, "there is no room", "error there is no room\n"),
        ];
        for (what, format, level, message, expected) in table {
            let mut out = String::new();
            let mut line = Line::begin(&mut out, Style { format, colour: false }, None, level);
            line.message(format_args!("{message}"));
            line.end_of_head();
            line.end();
            assert_eq!(out, expected, "{what}");
        }
    }

    #[test]
    fn colours_stand_around_keys_and_never_in_values() {
        let mut out = String::new();
        let mut line = Line::begin(&mut out, Style { format: Format::Pretty, colour: true }, None, Level::WARN);
        line.message(format_args!("mail"));
        line.text("helo", format_args!("\x1b[31m"));
        line.end();
        let expected = "\x1b[33mwarn \x1b[0m \x1b[1mmail\x1b[0m     \x1b[2mhelo=\x1b[0m\"\\x1b[31m\"\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn values_are_escaped() {
        let table = [
            ("a word", "joe@example.org", "joe@example.org", "\"joe@example.org\""),
            ("nothing", "", "\"\"", "\"\""),
            ("a blank", "a b", "\"a b\"", "\"a b\""),
            ("an equals sign", "SIZE=1", "\"SIZE=1\"", "\"SIZE=1\""),
            ("a quote", "\"a\"@b", "\"\\\"a\\\"@b\"", "\"\\\"a\\\"@b\""),
            ("a backslash", "a\\x41", "\"a\\\\x41\"", "\"a\\\\x41\""),
            ("a forged line", "a\r\nmail b", "\"a\\x0d\\x0amail b\"", "\"a\\u000d\\u000amail b\""),
            ("a terminal sequence", "\x1b]0;x\x07", "\"\\x1b]0;x\\x07\"", "\"\\u001b]0;x\\u0007\""),
            ("NUL, TAB and DEL", "\0\t\x7f", "\"\\x00\\x09\\x7f\"", "\"\\u0000\\u0009\\u007f\""),
            ("a C1 sequence", "\u{9b}31m", "\"\\u{9b}31m\"", "\"\\u009b31m\""),
            ("a next line", "\u{85}\u{2028}", "\"\\u{85}\\u{2028}\"", "\"\\u0085\\u2028\""),
            ("bidi", "\u{202e}moc\u{2066}", "\"\\u{202e}moc\\u{2066}\"", "\"\\u202emoc\\u2066\""),
            ("invisible", "a\u{200b}\u{ad}\u{feff}", "\"a\\u{200b}\\u{ad}\\u{feff}\"", "\"a\\u200b\\u00ad\\ufeff\""),
            ("other blanks", "a\u{a0}b\u{3000}", "\"a\\u{a0}b\\u{3000}\"", "\"a\\u00a0b\\u3000\""),
            ("private, past the BMP", "\u{f0000}", "\"\\u{f0000}\"", "\"\\udb80\\udc00\""),
            ("letters", "jürgen@例え.jp", "jürgen@例え.jp", "\"jürgen@例え.jp\""),
            ("marks", "ju\u{308}rgen", "ju\u{308}rgen", "\"ju\u{308}rgen\""),
        ];
        for (what, value, logfmt, json) in table {
            assert_eq!(field(Format::Logfmt, value), format!("k={logfmt}\n"), "{what}");
            assert_eq!(field(Format::Pretty, value), format!("info  k={logfmt}\n"), "{what}");
            assert_eq!(field(Format::Json, value), format!("{{\"level\":\"info\",\"k\":{json}}}\n"), "{what}");
        }
    }

    #[test]
    fn a_value_is_cut_and_the_line_goes_on() {
        let value = "\x1b".repeat(1 << 20);
        for format in [Format::Json, Format::Logfmt, Format::Pretty] {
            let line = field(format, &value);
            assert!(line.len() < LONGEST_VALUE + 100);
            assert!(line.trim_end_matches(['}', '\n']).ends_with("...\""), "{format:?}");
        }
        serde_json::from_str::<serde_json::Value>(&field(Format::Json, &value)).unwrap();
    }

    #[test]
    fn a_value_that_fails_to_show_itself_does_not_stop_the_line() {
        struct Broken;
        impl fmt::Display for Broken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half")?;
                Err(fmt::Error)
            }
        }
        let mut out = String::new();
        let mut line = Line::begin(&mut out, Style { format: Format::Logfmt, colour: false }, None, Level::INFO);
        line.text("k", format_args!("{Broken}"));
        line.text("l", format_args!("whole"));
        line.end();
        assert_eq!(out, "k=half... l=whole\n");
    }

    proptest! {
        #[test]
        fn any_value_is_one_line_that_nothing_hides_in(value in any_text()) {
            for format in [Format::Json, Format::Logfmt, Format::Pretty] {
                let line = field(format, &value);
                prop_assert_eq!(line.matches('\n').count(), 1);
                let text = line.strip_suffix('\n').unwrap();
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert_eq!(text.lines().count(), 1);
            }
        }

        #[test]
        fn json_reads_back(value in any_text()) {
            let read: serde_json::Value = serde_json::from_str(&field(Format::Json, &value)).unwrap();
            prop_assert_eq!(&read["k"], &serde_json::Value::String(value));
        }

        #[test]
        fn logfmt_reads_back(value in any_text()) {
            let line = field(Format::Logfmt, &value);
            let written = line.strip_prefix("k=").unwrap().strip_suffix('\n').unwrap();
            prop_assert_eq!(unescape(written), value);
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let octets = any::<Vec<u8>>().prop_map(|octets| String::from_utf8_lossy(&octets).into_owned());
        prop_oneof![any::<String>(), octets, "[\\x00-\\x20\"=\\\\\u{80}-\u{a0}\u{2000}-\u{2070}a]*"]
    }

    /// The value as a reader undoes it.
    fn unescape(written: &str) -> String {
        let Some(quoted) = written.strip_prefix('"') else {
            assert!(!written.contains(['"', '\\', ' ', '=']) && !written.is_empty());
            return written.to_owned();
        };
        let mut rest = quoted.strip_suffix('"').unwrap();
        let mut value = String::new();
        while let Some(c) = rest.chars().next() {
            let (c, length) = match rest.as_bytes() {
                [b'\\', b'x', ..] => (code(&rest[2..4]), 4),
                [b'\\', b'u', ..] => (code(&rest[3..rest.find('}').unwrap()]), rest.find('}').unwrap() + 1),
                [b'\\', other, ..] => (char::from(*other), 2),
                _ => (c, c.len_utf8()),
            };
            value.push(c);
            rest = &rest[length..];
        }
        value
    }

    fn code(digits: &str) -> char {
        char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
    }

    fn field(format: Format, value: &str) -> String {
        let mut out = String::new();
        let mut line = Line::begin(&mut out, Style { format, colour: false }, None, Level::INFO);
        line.text("k", format_args!("{value}"));
        line.end();
        out
    }

    fn time() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }
}
