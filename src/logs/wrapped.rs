//! A line inside JSON, as Docker's json-file, `journalctl -o json` and rsyslog's JSON templates keep it: it is taken out,
//! in place, with its time in seconds in front. Our own JSON has none of these keys. It must not look at the text itself.

use std::borrow::Cow;
use std::io::Write;

use jiff::Timestamp;
use memchr::memmem;
use serde::Deserialize;

/// Writes the text of such a line over its beginning, and says how long it is; `None` if the line is no such line.
pub fn unwrap(line: &mut [u8]) -> Option<usize> {
    let json = line.strip_prefix(b"\x1e").unwrap_or(line);
    if json.first() != Some(&b'{') || !KEYS.iter().any(|key| memmem::find(json, key.as_bytes()).is_some()) {
        return None;
    }
    let text = serde_json::from_slice::<Wrapped<'_>>(json).ok()?.text()?;
    line.get_mut(..text.len())?.copy_from_slice(&text);
    Some(text.len())
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    /// Docker's.
    #[serde(borrow)]
    log: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    /// journald's.
    #[serde(rename = "MESSAGE", borrow)]
    entry: Option<Message<'a>>,
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    microseconds: Option<Cow<'a, str>>,
    /// Log shippers'; our own JSON has a message too, but its time is called time.
    #[serde(alias = "msg", alias = "textPayload", borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(alias = "@timestamp", borrow)]
    timestamp: Option<Cow<'a, str>>,
}

/// journald writes what is not UTF-8 as an array of octets.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Octets(Vec<u8>),
}

impl Message<'_> {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Octets(octets) => octets,
        }
    }
}

impl Wrapped<'_> {
    fn text(&self) -> Option<Vec<u8>> {
        let (message, time) = if let (Some(entry), Some(microseconds)) = (&self.entry, &self.microseconds) {
            (entry.octets(), Timestamp::from_microsecond(microseconds.parse().ok()?).ok()?)
        } else if let (Some(log), Some(time)) = (&self.log, &self.time) {
            (log.as_bytes(), time.parse().ok()?)
        } else {
            (self.message.as_ref()?.as_bytes(), self.timestamp.as_ref()?.parse().ok()?)
        };
        let mut text = Vec::with_capacity(message.len() + STAMP);
        write!(text, "{}.{:09} ", time.as_second(), time.subsec_nanosecond()).ok()?;
        let one_line = message.trim_ascii_end().iter().map(|octet| if *octet == b'\n' { b' ' } else { *octet });
        text.extend(one_line);
        Some(text)
    }
}

/// Octets of the time in front.
const STAMP: usize = 24;
/// A line with none of these is not parsed.
const KEYS: &[&str] = &["\"log\":", "\"MESSAGE\":", "timestamp\":"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_inside_json() {
        let table = [
            (
                r#"{"log":"tcpserver: status: 0/20\r\n","stream":"stderr","time":"2026-11-29T12:00:00.1234Z"}"#,
                Some("1795953600.123400000 tcpserver: status: 0/20"),
            ),
            (
                r#"{"_PID":"7","__REALTIME_TIMESTAMP":"1795953600000001","MESSAGE":"say \"a\"","time":"x"}"#,
                Some("1795953600.000001000 say \"a\""),
            ),
            (r#"{"__REALTIME_TIMESTAMP":"1795953600000000","MESSAGE":[97,10,98]}"#, Some("1795953600.000000000 a b")),
            ("\x1e{\"__REALTIME_TIMESTAMP\":\"1795953600000000\",\"MESSAGE\":\"a\"}", Some("1795953600.000000000 a")),
            (
                r#"{"timestamp":"2026-11-29T13:00:00+01:00","host":"mx","message":"new msg 7"}"#,
                Some("1795953600.000000000 new msg 7"),
            ),
            (r#"{"@timestamp":"2026-11-29T12:00:00Z","message":"a","n":{"b":1}}"#, Some("1795953600.000000000 a")),
            (r#"{"time":"2026-11-29T12:00:00Z","level":"info","message":"mail","verdict":"accept"}"#, None),
            (r#"{"log":"no time"}"#, None),
            (r#"{"log":"cut"#, None),
            (r#"{"log":null,"time":"2026-11-29T12:00:00Z"}"#, None),
            (r#"{"__REALTIME_TIMESTAMP":"soon","MESSAGE":"a"}"#, None),
            ("a", None),
            ("", None),
        ];
        for (line, expected) in table {
            let mut octets = line.as_bytes().to_vec();
            let found = unwrap(&mut octets).map(|length| String::from_utf8_lossy(&octets[..length]).into_owned());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }
}
