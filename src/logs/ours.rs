//! Our own lines, logfmt and JSON, as `report::log` writes them. `pretty` is for people and is not read. It must not
//! take a line that was cut for a whole one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use memchr::memchr;
use memchr::memchr2;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;

use crate::logs::words::number;
use crate::logs::words::word;
use crate::session::record::Key;
use crate::session::record::Kind;

/// An event of our own log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one line is looked at at a time, and nearly all are records")]
pub enum Event<'a> {
    /// The end of a transaction, a recipient or a connection.
    Record(Record<'a>),
    /// A backend's process wrote a line.
    Backend {
        /// The process.
        pid: u32,
        /// The line.
        line: Cow<'a, [u8]>,
    },
    /// A line of level warn or error.
    Trouble,
    /// Any other event.
    Other,
}

/// A `mail`, `rcpt`, `command`, `auth`, `session` or `folded` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The line's first word.
    pub kind: Kind,
    values: Values<'a>,
}

/// The values of a line by their keys; one that is not there, or empty, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Values<'a>([Option<Cow<'a, [u8]>>; Key::ALL.len()]);

/// Reads a line; `None` if it is none of ours. The time is the one inside JSON.
pub fn read(text: &[u8]) -> Option<(Option<Timestamp>, Event<'_>)> {
    match text.first()? {
        b'{' => json(text),
        b'a'..=b'z' => Some((None, logfmt(text)?)),
        _ => None,
    }
}

impl Record<'_> {
    /// The value of a key, unless it is empty.
    pub fn text(&self, key: Key) -> Option<&[u8]> {
        self.values.0[key as usize].as_deref()
    }

    /// The keys that an object of `log --json` has, with their values.
    pub fn values(&self) -> impl Iterator<Item = (Key, Option<&[u8]>)> {
        Key::ALL.iter().filter(|key| !NOT_IN_OBJECTS.contains(key)).map(|key| (*key, self.text(*key)))
    }

    /// The value of a key, if it is a number that fits.
    pub fn number<N: FromStr>(&self, key: Key) -> Option<N> {
        number(self.text(key)?)
    }

    /// Whether it says what its kind has to say: one that was cut does not.
    fn is_whole(&self) -> bool {
        let has = |key| self.text(key).is_some();
        match self.kind {
            Kind::Mail | Kind::Rcpt | Kind::Command | Kind::Auth => has(Key::Verdict),
            Kind::Session => has(Key::Verdict) || has(Key::Code) || has(Key::Reason),
            Kind::Folded => has(Key::Folded),
        }
    }
}

impl<'a> Values<'a> {
    fn set(&mut self, key: &[u8], value: Cow<'a, [u8]>) {
        if let Some(key) = Key::of(key) {
            self.0[key as usize] = Some(value).filter(|value| !value.is_empty());
        }
    }
}

fn logfmt(text: &[u8]) -> Option<Event<'_>> {
    let (name, rest) = word(text);
    if let Some(kind) = Kind::of(name).filter(|_| rest.starts_with(b"session=")) {
        let (mut values, mut fields) = (Values::default(), Fields(rest));
        fields.by_ref().for_each(|(key, value)| values.set(key, value));
        let record = Record { kind, values };
        // A line that was cut says nothing for sure.
        return (fields.0.is_empty() && record.is_whole()).then_some(Event::Record(record));
    }
    let rest = if name.starts_with(b"message=") { text } else { rest };
    let mut fields = Fields(rest);
    let (mut key, mut value) = fields.next()?;
    if key == b"message" && !fields.0.is_empty() {
        (key, value) = fields.next()?;
    }
    match (key, &*value) {
        (b"level", b"warn" | b"error") => return Some(Event::Trouble),
        (b"pid", pid) if name == b"backend" => {
            let pid = number(pid)?;
            let (_, line) = fields.next().filter(|(key, _)| *key == b"line")?;
            return Some(Event::Backend { pid, line });
        }
        _ => {}
    }
    let is_name = name.iter().all(|octet| matches!(octet, b'a'..=b'z' | b'_')) || name.starts_with(b"message=");
    fields.by_ref().for_each(drop);
    (is_name && fields.0.is_empty()).then_some(Event::Other)
}

/// The keys and values of a logfmt line; what is left when they end early is no field.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = memchr(b'=', self.0)?;
        let (key, rest) = (&self.0[..equals], &self.0[equals + 1..]);
        if !key.iter().all(|octet| matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.')) {
            return None;
        }
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let (value, rest) = word(rest);
                (Cow::Borrowed(value), rest)
            }
        };
        self.0 = rest;
        Some((key, value))
    }
}

/// The value up to its closing quote, and what follows the blank behind that.
fn quoted_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (mut at, mut escaped) = (0, false);
    loop {
        at += memchr2(b'"', b'\\', &text[at..])?;
        if text[at] == b'"' {
            break;
        }
        escaped = true;
        at = (at + 2).min(text.len());
    }
    let (value, rest) = (&text[..at], &text[at + 1..]);
    let value = if escaped { Cow::Owned(unescape(value)) } else { Cow::Borrowed(value) };
    match rest {
        [] => Some((value, rest)),
        [b' ', rest @ ..] => Some((value, rest)),
        _ => None,
    }
}

/// The text without our escapes; others stay as they are.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    while let Some(at) = memchr(b'\\', text) {
        value.extend_from_slice(&text[..at]);
        let (digits, length) = match &text[at..] {
            [_, b'x', digits @ ..] => (digits.get(..2), 4),
            [_, b'u', b'{', digits @ ..] => {
                let digits = memchr(b'}', digits).map(|end| &digits[..end]);
                (digits, 4 + digits.map_or(0, <[u8]>::len))
            }
            [_, other, ..] => {
                value.push(*other);
                text = &text[at + 2..];
                continue;
            }
            _ => (None, 1),
        };
        let code = digits.and_then(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => value.extend_from_slice(&text[at..(at + length).min(text.len())]),
        }
        text = &text[(at + length).min(text.len())..];
    }
    value.extend_from_slice(text);
    value
}

fn json(text: &[u8]) -> Option<(Option<Timestamp>, Event<'_>)> {
    let json: Json<'_> = serde_json::from_slice(text).ok()?;
    let time = str::from_utf8(&json.time).ok()?.parse().ok();
    if let Some(kind) = Kind::of(&json.message) {
        let record = Record { kind, values: json.values };
        if record.is_whole() {
            return Some((time, Event::Record(record)));
        }
    }
    let event = match (&*json.level, &*json.message, number(&json.pid)) {
        (b"warn" | b"error", ..) => Event::Trouble,
        (_, b"backend", Some(pid)) => Event::Backend { pid, line: json.line },
        (b"", ..) => return None,
        _ => Event::Other,
    };
    Some((time, event))
}

/// A line of JSON, as far as it is of use here.
#[derive(Default)]
struct Json<'a> {
    time: Cow<'a, [u8]>,
    level: Cow<'a, [u8]>,
    message: Cow<'a, [u8]>,
    pid: Cow<'a, [u8]>,
    line: Cow<'a, [u8]>,
    values: Values<'a>,
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut json = Json::default();
        while let Some((key, value)) = map.next_entry()? {
            let (Scalar::Text(key), Some(value)) = (key, octets(value)) else { continue };
            match &*key {
                "time" => json.time = value,
                "level" => json.level = value,
                "message" => json.message = value,
                "pid" => json.pid = value,
                "line" => json.line = value,
                key => json.values.set(key.as_bytes(), value),
            }
        }
        Ok(json)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(u64),
    Other(IgnoredAny),
}

fn octets(value: Scalar<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        Scalar::Text(Cow::Borrowed(text)) => Some(text.as_bytes().into()),
        Scalar::Text(Cow::Owned(text)) => Some(text.into_bytes().into()),
        Scalar::Number(number) => Some(number.to_string().into_bytes().into()),
        Scalar::Other(_) => None,
    }
}

/// Keys that can only be read in the object's `text`.
const NOT_IN_OBJECTS: [Key; 5] = [Key::Helo, Key::Tls, Key::User, Key::Shadow, Key::Ms];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;
    use std::time::Duration;

    use proptest::prelude::*;
    use tracing::Level;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Context;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::policy::repeat::Before;
    use crate::policy::verdict::Reason;
    use crate::policy::verdict::Verdict;
    use crate::report::Format;
    use crate::report::log;
    use crate::report::log::format;
    use crate::session;
    use crate::session::record::Folded;

    #[test]
    fn lines() {
        let blocked = "mail session=a1 client=192.0.2.1 sender=<a@b.example> size=34 verdict=reject code=554 \
                       reason=blocked_sender rule=control/badmailfrom:3 ms=1";
        let Some((None, Event::Record(record))) = read(blocked.as_bytes()) else { panic!() };
        assert_eq!(record.kind, Kind::Mail);
        assert_eq!(record.text(Key::Rule), Some(&b"control/badmailfrom:3"[..]));
        assert_eq!(
            (record.number(Key::Size), record.number(Key::Code), record.text(Key::Id)),
            (Some(34), Some(554), None)
        );
        let table: &[(&str, Option<Event<'_>>)] = &[
            ("reload level=error fault=x", Some(Event::Trouble)),
            ("message=\"no room\" level=error a=b", Some(Event::Trouble)),
            ("listening address=127.0.0.1:25 tls=false", Some(Event::Other)),
            ("message=\"state written again\"", Some(Event::Other)),
            ("listening on address=127.0.0.1:25", None),
            (
                "backend pid=7 line=\"mailfront[7]: RCPT TO:<a=b@c>\"",
                Some(Event::Backend { pid: 7, line: b"mailfront[7]: RCPT TO:<a=b@c>".into() }),
            ),
            (
                "{\"level\":\"info\",\"message\":\"backend\",\"pid\":7,\"line\":\"x\"}",
                Some(Event::Backend { pid: 7, line: b"x".into() }),
            ),
            ("{\"level\":\"info\",\"message\":\"listening\"}", Some(Event::Other)),
            ("{\"level\":\"warn\",\"message\":\"storm\"}", Some(Event::Trouble)),
            ("{\"a\":1}", None),
            ("{", None),
            ("mail session=a1 verdict=reject rule=\"cut", None),
            ("mail session=a1 sender=<a@b.example>", None),
            ("session session=a1 client=192.0.2.1", None),
            ("folded session=a1 client=192.0.2.1", None),
            ("{\"level\":\"info\",\"message\":\"session\"}", Some(Event::Other)),
            ("message=\"cut", None),
            ("mail session=a1 verdict=reject rule=\"a\"b", None),
            ("mail is here", None),
        ];
        for (line, expected) in table {
            assert_eq!(read(line.as_bytes()).map(|(_, event)| event), *expected, "{line}");
        }
        let json = b"{\"time\":\"2023-11-14T22:13:20.000Z\",\"level\":\"info\",\"message\":\"listening\"}";
        assert_eq!(read(json).unwrap().0.unwrap().as_second(), 1_700_000_000);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (text, expected) in [
            ("\\x1", "\\x1"),
            ("\\xzz!", "\\xzz!"),
            ("\\u{110000}a", "\\u{110000}a"),
            ("\\u{", "\\u{"),
            ("\\", "\\"),
            ("\\\\x41", "\\x41"),
        ] {
            assert_eq!(String::from_utf8(unescape(text.as_bytes())).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            texts in proptest::array::uniform9(any_text()),
            size in any::<Option<u64>>(),
            code in any::<Option<u16>>(),
            kind in proptest::sample::select(Kind::ALL.to_vec()),
        ) {
            let [session, helo, sender, id, user, rule, backend, words, more] = texts;
            let some = |text: &String| Some(text.clone());
            let mut folded = Folded::default();
            folded.add(Kind::Rcpt, Reason::NotLocal);
            let record = session::record::Record {
                kind,
                session: session.clone().into(),
                client: [192, 0, 2, 1].into(),
                helo: some(&helo),
                tls: Some("TLSv1.3"),
                sender: some(&sender),
                recipients: vec![sender.clone(), more.clone()],
                size,
                received: 0,
                id: some(&id),
                before: Before::default(),
                verdict: Some(Verdict::Reject),
                code,
                reason: Some(Reason::Throttled),
                user: some(&user),
                rule: Some(rule.clone().into()),
                shadow: vec![more.clone().into()],
                backend: some(&backend),
                words: some(&words),
                folded,
                counted_only: false,
                took: Duration::from_millis(7),
                answered: None,
            };
            let has_recipients = matches!(kind, Kind::Mail | Kind::Rcpt);
            let expected = |key: Key| match (kind, key) {
                (_, Key::Session) => some(&session),
                (_, Key::Client) => Some("192.0.2.1".to_owned()),
                (_, Key::Helo) => some(&helo),
                (_, Key::Tls) => Some("TLSv1.3".to_owned()),
                (_, Key::Ms) => Some("7".to_owned()),
                (Kind::Folded, Key::Folded) => Some("1 rcpt not_local".to_owned()),
                (Kind::Folded, _) | (_, Key::Folded) => None,
                (_, Key::Sender) => some(&sender),
                (_, Key::Recipients) => has_recipients.then(|| format!("{sender},{more}")),
                (_, Key::Size) => size.map(|size| size.to_string()),
                (_, Key::Id) => some(&id),
                (_, Key::Verdict) => Some("reject".to_owned()),
                (_, Key::Code) => code.map(|code| code.to_string()),
                (_, Key::Reason) => Some("throttled".to_owned()),
                (_, Key::User) => some(&user),
                (_, Key::Rule) => some(&rule),
                (_, Key::Shadow) => some(&more),
                (_, Key::Backend) => some(&backend),
                (_, Key::Words) => some(&words),
            };
            for format in [Format::Logfmt, Format::Json] {
                let out = written(format, &record);
                let Some((None, Event::Record(record))) = read(out.trim_end_matches('\n').as_bytes()) else {
                    panic!("{out}")
                };
                prop_assert_eq!(record.kind, kind);
                for (key, text) in Key::ALL.iter().map(|key| (*key, record.text(*key))) {
                    let expected = expected(key).filter(|text| !text.is_empty());
                    prop_assert_eq!(text, expected.as_ref().map(|text| text.as_bytes()), "{} in {}", key.name(), out);
                }
            }
        }

        #[test]
        fn a_backends_line_is_read_back(written in any_text(), pid in any::<u32>()) {
            for format in [Format::Logfmt, Format::Json] {
                let mut out = String::new();
                let style = format::Style { format, colour: false };
                let mut line = format::Line::begin(&mut out, style, None, Level::INFO);
                line.message(format_args!("backend"));
                line.end_of_head();
                line.plain("pid", format_args!("{pid}"));
                line.text("line", format_args!("{written}"));
                line.end();
                let expected = Event::Backend { pid, line: written.as_bytes().into() };
                prop_assert_eq!(read(out.trim_end_matches('\n').as_bytes()), Some((None, expected)));
            }
        }
    }

    /// The line of a record, as the log has it.
    fn written(format: Format, record: &session::record::Record) -> String {
        struct ToString(Arc<Mutex<String>>, format::Style);
        impl<S: tracing::Subscriber> Layer<S> for ToString {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                format::write_event(&mut self.0.lock().unwrap(), self.1, None, event);
            }
        }
        let out = Arc::new(Mutex::new(String::new()));
        let layer = ToString(out.clone(), format::Style { format, colour: false });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || log::line::write(record));
        std::mem::take(&mut out.lock().unwrap())
    }

    fn any_text() -> impl Strategy<Value = String> {
        let octets = any::<Vec<u8>>().prop_map(|octets| String::from_utf8_lossy(&octets).into_owned());
        prop_oneof![any::<String>(), octets, "[\\x00-\\x20\"=\\\\\u{80}-\u{a0}\u{2000}-\u{2070}a]*"]
    }
}
