//! Numbers, octets and times as the page shows them, in the same words as `page.js`. It must not read the clock.

use jiff::Timestamp;

use crate::store::clock::Time;
use crate::text::readable;
use crate::text::zone;

/// A number with narrow blanks between its thousands.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Octets: `512 B`, `1.2 MB`, `26 MB`.
pub(super) fn bytes(octets: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (octets as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95 && unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A length of time in its largest unit: `14 min`.
pub(super) fn span(seconds: u32) -> String {
    match seconds {
        86_400.. => format!("{} d", seconds / 86_400),
        3600.. => format!("{} h", seconds / 3600),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Milliseconds: `38 ms`, `1.2 s`.
pub(super) fn time(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

/// A time with date, second and zone, for who wants it exactly.
pub(super) fn exact(at: u32) -> String {
    shown(at, "%Y-%m-%d %H:%M:%S %Z")
}

/// The time of day with its seconds.
pub(super) fn clock(at: u32) -> String {
    shown(at, "%H:%M:%S")
}

/// A time in a form of strftime(3).
pub(super) fn shown(at: u32, form: &str) -> String {
    Timestamp::from(Time::from_seconds(at)).to_zoned_datetime(zone::find().0).strftime(form).to_string()
}

/// A sender for people: without its angle brackets, the null sender by its name.
pub(super) fn sender(sender: &str) -> &str {
    match bare(sender) {
        "" => "<> (null sender)",
        bare => bare,
    }
}

/// A sender without its angle brackets, as a block's key has it.
pub(super) fn bare(sender: &str) -> &str {
    sender.strip_prefix('<').and_then(|sender| sender.strip_suffix('>')).unwrap_or(sender)
}

/// A stranger's text, in which what cannot be seen, or turns letters around, is written out.
pub(super) fn seen(text: &str) -> String {
    readable::shown(text).into_owned()
}

/// A text for a query (RFC 3986 section 2.1).
pub(super) fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")] {
            assert_eq!(number(value), text);
        }
        let table = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (26_214_400, "26 MB"), (9_960_000, "10 MB")];
        for (octets, text) in table {
            assert_eq!(bytes(octets), text);
        }
        for (seconds, text) in [(0, "0 s"), (61, "1 min"), (7200, "2 h"), (90_000, "1 d")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!([sender("<>"), sender("<a@b.example>")], ["<> (null sender)", "a@b.example"]);
    }
}
