//! Our own lines, logfmt and JSON, as `report::format` writes them. `pretty` is for people and is not read.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memchr;
use memchr::memchr2;
use serde::Deserialize;

use crate::logs::words::number;
use crate::logs::words::word;

/// What a line of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one line is looked at at a time, and nearly all are records")]
pub enum Said<'a> {
    /// How a transaction, a recipient or a connection ended.
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
    Event,
}

/// A `mail`, `rcpt`, `command`, `auth`, `session` or `folded` line; what it does not have, or has empty, is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The line's first word.
    pub kind: Kind,
    /// The session's id.
    pub session: Option<Cow<'a, [u8]>>,
    /// The client's address.
    pub client: Option<Cow<'a, [u8]>>,
    /// With its brackets.
    pub sender: Option<Cow<'a, [u8]>>,
    /// With commas between.
    pub recipients: Option<Cow<'a, [u8]>>,
    /// Octets.
    pub size: Option<u64>,
    /// The Message-ID.
    pub id: Option<Cow<'a, [u8]>>,
    /// `policy::verdict::Verdict`'s word; a `session` that nobody refused has none, nor has `folded`.
    pub verdict: Option<Cow<'a, [u8]>>,
    /// The reply's code.
    pub code: Option<u16>,
    /// `policy::verdict::Reason`'s word.
    pub reason: Option<Cow<'a, [u8]>>,
    /// The rule that decided: a list's `file:line`, a throttle's name, a key of the configuration.
    pub rule: Option<Cow<'a, [u8]>>,
    /// The backend's reply.
    pub backend: Option<Cow<'a, [u8]>>,
    /// What was refused.
    pub words: Option<Cow<'a, [u8]>>,
    /// What has no lines: `2 rcpt not_local, 1 command protocol`.
    pub folded: Option<Cow<'a, [u8]>>,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction.
    Mail,
    /// A refused recipient.
    Rcpt,
    /// A refused command.
    Command,
    /// An AUTH that failed.
    Auth,
    /// A connection that ended without a transaction.
    Session,
    /// How many lines of a session were not written.
    Folded,
}

/// Reads a line; `None` if it is none of ours. The time is the one inside JSON.
pub fn read(text: &[u8]) -> Option<(Option<Timestamp>, Said<'_>)> {
    match text.first()? {
        b'{' => json(text),
        b'a'..=b'z' => Some((None, logfmt(text)?)),
        _ => None,
    }
}

impl Kind {
    /// The word of the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Command => "command",
            Self::Auth => "auth",
            Self::Session => "session",
            Self::Folded => "folded",
        }
    }

    /// The kind of this name.
    pub fn of(name: &[u8]) -> Option<Self> {
        let all = [Self::Mail, Self::Rcpt, Self::Command, Self::Auth, Self::Session, Self::Folded];
        all.into_iter().find(|kind| kind.as_str().as_bytes() == name)
    }
}

impl<'a> Record<'a> {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            session: None,
            client: None,
            sender: None,
            recipients: None,
            size: None,
            id: None,
            verdict: None,
            code: None,
            reason: None,
            rule: None,
            backend: None,
            words: None,
            folded: None,
        }
    }

    /// Whether it says what its kind has to say: one that was cut does not.
    fn is_whole(&self) -> bool {
        match self.kind {
            Kind::Mail | Kind::Rcpt | Kind::Command | Kind::Auth => self.verdict.is_some(),
            Kind::Session => self.verdict.is_some() || self.code.is_some() || self.reason.is_some(),
            Kind::Folded => self.folded.is_some(),
        }
    }

    fn set(&mut self, key: &[u8], value: Cow<'a, [u8]>) {
        let place = match key {
            b"session" => &mut self.session,
            b"client" => &mut self.client,
            b"sender" => &mut self.sender,
            b"recipients" => &mut self.recipients,
            b"id" => &mut self.id,
            b"verdict" => &mut self.verdict,
            b"reason" => &mut self.reason,
            b"rule" => &mut self.rule,
            b"backend" => &mut self.backend,
            b"words" => &mut self.words,
            b"folded" => &mut self.folded,
            b"size" => return self.size = number(&value),
            b"code" => return self.code = number(&value),
            _ => return,
        };
        *place = Some(value).filter(|value| !value.is_empty());
    }
}

fn logfmt(text: &[u8]) -> Option<Said<'_>> {
    let (name, rest) = word(text);
    if let Some(kind) = Kind::of(name).filter(|_| rest.starts_with(b"session=")) {
        let mut record = Record::new(kind);
        let mut fields = Fields(rest);
        fields.by_ref().for_each(|(key, value)| record.set(key, value));
        // A line that was cut says nothing for sure.
        return (fields.0.is_empty() && record.is_whole()).then_some(Said::Record(record));
    }
    let rest = if name.starts_with(b"message=") { text } else { rest };
    let mut fields = Fields(rest);
    let (mut key, mut value) = fields.next()?;
    if key == b"message" && !fields.0.is_empty() {
        (key, value) = fields.next()?;
    }
    match (key, &*value) {
        (b"level", b"warn" | b"error") => return Some(Said::Trouble),
        (b"pid", pid) if name == b"backend" => {
            let pid = number(pid)?;
            let (_, line) = fields.next().filter(|(key, _)| *key == b"line")?;
            return Some(Said::Backend { pid, line });
        }
        _ => {}
    }
    let is_name = name.iter().all(|octet| matches!(octet, b'a'..=b'z' | b'_')) || name.starts_with(b"message=");
    fields.by_ref().for_each(drop);
    (is_name && fields.0.is_empty()).then_some(Said::Event)
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

/// What is no escape of ours stays as it is.
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

/// The keys of a line of JSON that are of use here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Json<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    session: Cow<'a, str>,
    #[serde(borrow)]
    client: Cow<'a, str>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    recipients: Cow<'a, str>,
    size: Option<u64>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    verdict: Cow<'a, str>,
    code: Option<u16>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    rule: Cow<'a, str>,
    #[serde(borrow)]
    backend: Cow<'a, str>,
    #[serde(borrow)]
    words: Cow<'a, str>,
    #[serde(borrow)]
    folded: Cow<'a, str>,
    pid: Option<u32>,
    #[serde(borrow)]
    line: Cow<'a, str>,
}

fn json(text: &[u8]) -> Option<(Option<Timestamp>, Said<'_>)> {
    let json: Json<'_> = serde_json::from_slice(text).ok()?;
    let time = json.time.parse().ok();
    if let Some(kind) = Kind::of(json.message.as_bytes()) {
        let record = Record {
            kind,
            session: octets(json.session),
            client: octets(json.client),
            sender: octets(json.sender),
            recipients: octets(json.recipients),
            size: json.size,
            id: octets(json.id),
            verdict: octets(json.verdict),
            code: json.code,
            reason: octets(json.reason),
            rule: octets(json.rule),
            backend: octets(json.backend),
            words: octets(json.words),
            folded: octets(json.folded),
        };
        if record.is_whole() {
            return Some((time, Said::Record(record)));
        }
    }
    let said = match (&*json.level, &*json.message, json.pid) {
        ("warn" | "error", ..) => Said::Trouble,
        (_, "backend", Some(pid)) => Said::Backend { pid, line: octets(json.line).unwrap_or_default() },
        ("", ..) => return None,
        _ => Said::Event,
    };
    Some((time, said))
}

fn octets(text: Cow<'_, str>) -> Option<Cow<'_, [u8]>> {
    match text {
        Cow::Borrowed("") => None,
        Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
        Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())).filter(|text: &Cow<'_, [u8]>| !text.is_empty()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use tracing::Level;

    use super::*;
    use crate::report::Format;
    use crate::report::log::format;

    #[test]
    fn lines() {
        let blocked = "mail session=a1 client=192.0.2.1 sender=<a@b.example> size=34 verdict=reject code=554 \
                       reason=blocked_sender rule=control/badmailfrom:3 ms=1";
        let Some((None, Said::Record(record))) = read(blocked.as_bytes()) else { panic!() };
        assert_eq!(record.kind, Kind::Mail);
        assert_eq!(record.rule.as_deref(), Some(&b"control/badmailfrom:3"[..]));
        assert_eq!((record.size, record.code, record.id), (Some(34), Some(554), None));
        let table: &[(&str, Option<Said<'_>>)] = &[
            ("reload level=error fault=x", Some(Said::Trouble)),
            ("message=\"no room\" level=error a=b", Some(Said::Trouble)),
            ("listening address=127.0.0.1:25 tls=false", Some(Said::Event)),
            ("message=\"state written again\"", Some(Said::Event)),
            ("listening on address=127.0.0.1:25", None),
            (
                "backend pid=7 line=\"mailfront[7]: RCPT TO:<a=b@c>\"",
                Some(Said::Backend { pid: 7, line: b"mailfront[7]: RCPT TO:<a=b@c>".into() }),
            ),
            (
                "{\"level\":\"info\",\"message\":\"backend\",\"pid\":7,\"line\":\"x\"}",
                Some(Said::Backend { pid: 7, line: b"x".into() }),
            ),
            ("{\"level\":\"info\",\"message\":\"listening\"}", Some(Said::Event)),
            ("{\"level\":\"warn\",\"message\":\"storm\"}", Some(Said::Trouble)),
            ("{\"a\":1}", None),
            ("{", None),
            ("mail session=a1 verdict=reject rule=\"cut", None),
            ("mail session=a1 sender=<a@b.example>", None),
            ("session session=a1 client=192.0.2.1", None),
            ("folded session=a1 client=192.0.2.1", None),
            ("{\"level\":\"info\",\"message\":\"session\"}", Some(Said::Event)),
            ("message=\"cut", None),
            ("mail session=a1 verdict=reject rule=\"a\"b", None),
            ("mail is here", None),
        ];
        for (line, expected) in table {
            assert_eq!(read(line.as_bytes()).map(|(_, said)| said), *expected, "{line}");
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
            kind in prop_oneof![Just(Kind::Mail), Just(Kind::Rcpt), Just(Kind::Command), Just(Kind::Auth), Just(Kind::Session)],
        ) {
            let [session, sender, recipients, id, reason, rule, backend, helo, words] = &texts;
            for format in [Format::Logfmt, Format::Json] {
                let mut out = String::new();
                let style = format::Style { format, colour: false };
                let mut line = format::Line::begin(&mut out, style, None, Level::INFO);
                line.message(format_args!("{}", kind.as_str()));
                line.end_of_head();
                line.text("session", format_args!("{session}"));
                line.text("client", format_args!("192.0.2.1"));
                line.text("helo", format_args!("{helo}"));
                line.text("sender", format_args!("{sender}"));
                line.text("recipients", format_args!("{recipients}"));
                size.iter().for_each(|size| line.plain("size", format_args!("{size}")));
                line.text("id", format_args!("{id}"));
                line.text("verdict", format_args!("reject"));
                code.iter().for_each(|code| line.plain("code", format_args!("{code}")));
                line.text("reason", format_args!("{reason}"));
                line.text("rule", format_args!("{rule}"));
                line.text("backend", format_args!("{backend}"));
                line.text("words", format_args!("{words}"));
                line.end();
                let text = |text: &'static str| Some(Cow::Borrowed(text.as_bytes()));
                let some = |text: &str| Some(Cow::Owned(text.as_bytes().to_vec())).filter(|it: &Cow<'_, [u8]>| !it.is_empty());
                let expected = Record {
                    kind,
                    session: some(session),
                    client: text("192.0.2.1"),
                    sender: some(sender),
                    recipients: some(recipients),
                    size,
                    id: some(id),
                    verdict: text("reject"),
                    code,
                    reason: some(reason),
                    rule: some(rule),
                    backend: some(backend),
                    words: some(words),
                    folded: None,
                };
                prop_assert_eq!(read(out.trim_end_matches('\n').as_bytes()), Some((None, Said::Record(expected))));
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
                let expected = Said::Backend { pid, line: written.as_bytes().into() };
                prop_assert_eq!(read(out.trim_end_matches('\n').as_bytes()), Some((None, expected)));
            }
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let octets = any::<Vec<u8>>().prop_map(|octets| String::from_utf8_lossy(&octets).into_owned());
        prop_oneof![any::<String>(), octets, "[\\x00-\\x20\"=\\\\\u{80}-\u{a0}\u{2000}-\u{2070}a]*"]
    }
}
