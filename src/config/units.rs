//! Sizes, durations and rates as people write them. Pure; every fault says what to write instead. It must not guess: kB
//! and MB are powers of 1000, KiB and MiB powers of 1024.

use std::time::Duration;

/// Reads "10MB", "10MiB", "500B" or "500": octets.
///
/// # Errors
/// The text to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let scale = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let octets = scale.zip(number).and_then(|(scale, number)| number.checked_mul(scale));
    octets.ok_or_else(|| "write a size such as \"10MB\", \"10MiB\" or \"500B\"".to_owned())
}

/// Reads "30s", "5m", "24h", "7d", "500ms" or a sum of them such as "1h30m"; ten years at most.
///
/// # Errors
/// The text to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "write a duration such as \"30s\", \"5m\", \"24h\", \"7d\" or \"1h30m\"".to_owned();
    let mut rest = text;
    let mut sum = Duration::ZERO;
    let mut last = Duration::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit =
            DURATIONS.iter().find(|(name, _)| *name == &after[..end]).map(|(_, unit)| *unit).ok_or_else(fault)?;
        if unit >= last {
            return Err(fault()); // "5m1h", "5m5m": more likely a slip than meant
        }
        let millis = u64::try_from(unit.as_millis()).ok().zip(number).and_then(|(unit, n)| n.checked_mul(unit));
        sum = millis.and_then(|millis| sum.checked_add(Duration::from_millis(millis))).ok_or_else(fault)?;
        (rest, last) = (&after[end..], unit);
    }
    match sum {
        _ if text.is_empty() => Err(fault()),
        sum if sum > LONGEST => Err("write at most ten years, \"3650d\"".to_owned()),
        sum => Ok(sum),
    }
}

/// A count in a period: "12/day", "200MB/day".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number, or the size in octets.
    pub amount: u64,
    /// Second, minute, hour or day.
    pub period: Duration,
}

/// Reads "12/day": a plain number in a period.
///
/// # Errors
/// The text to write instead.
pub fn number_rate(text: &str) -> Result<Rate, String> {
    rate(text, number).ok_or_else(|| "write a number in a period, such as \"12/day\" or \"3/hour\"".to_owned())
}

/// Reads "200MB/day": a size in a period.
///
/// # Errors
/// The text to write instead.
pub fn size_rate(text: &str) -> Result<Rate, String> {
    rate(text, size).ok_or_else(|| "write a size in a period, such as \"200MB/day\" or \"500B/s\"".to_owned())
}

/// Reads a plain number: digits.
///
/// # Errors
/// The text to write instead.
pub fn number(text: &str) -> Result<u64, String> {
    match split_number(text) {
        (Some(number), "") => Ok(number),
        _ => Err("write a number such as \"5\"".to_owned()),
    }
}

/// The shortest way to write so many octets, read back by [`size`] to the same.
pub fn write_size(octets: u64) -> String {
    let fits = |scale: &u64| octets > 0 && octets.is_multiple_of(*scale);
    let best = SIZES.iter().filter(|(_, scale)| fits(scale)).max_by_key(|(_, scale)| *scale);
    match best {
        Some((unit, scale)) if !unit.is_empty() => format!("{}{unit}", octets / scale),
        _ => format!("{octets}B"),
    }
}

/// The usual way to write a duration of whole milliseconds, read back by [`duration`] to the same.
pub fn write_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (name, unit) in DURATIONS {
        let unit = unit.as_millis();
        if millis >= unit {
            text.push_str(&format!("{}{name}", millis / unit));
            millis %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn rate(text: &str, amount: impl Fn(&str) -> Result<u64, String>) -> Option<Rate> {
    let (before, after) = text.split_once('/')?;
    let period = PERIODS.iter().find(|(names, _)| names.contains(&after)).map(|(_, period)| *period)?;
    Some(Rate { amount: amount(before).ok()?, period })
}

/// The digits at the front (none, or more than fit: `None`), and what follows them.
fn split_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.parse().ok(), rest)
}

const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Longest first: the order in which the units of a sum are written.
const DURATIONS: [(&str, Duration); 5] = [
    ("d", DAY),
    ("h", Duration::from_secs(3600)),
    ("m", Duration::from_secs(60)),
    ("s", Duration::from_secs(1)),
    ("ms", Duration::from_millis(1)),
];

const PERIODS: [(&[&str], Duration); 4] = [
    (&["s", "second"], Duration::from_secs(1)),
    (&["m", "minute"], Duration::from_secs(60)),
    (&["h", "hour"], Duration::from_secs(3600)),
    (&["d", "day"], DAY),
];

const DAY: Duration = Duration::from_secs(86_400);

/// A clock's sum with it cannot overflow.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("decimal", "10MB", Some(10_000_000)),
            ("binary", "10MiB", Some(10 << 20)),
            ("octets", "500B", Some(500)),
            ("plain", "0", Some(0)),
            ("small k", "64kB", Some(64_000)),
            ("largest", "18446744073709551615", Some(u64::MAX)),
            ("more than fits", "18446744073709551616", None),
            ("more than fits, scaled", "99999999999GiB", None),
            ("a blank", "10 MB", None),
            ("small letters", "10mb", None),
            ("bits", "10Mb", None),
            ("a fraction", "1.5MB", None),
            ("a sign", "-1", None),
            ("no number", "MB", None),
            ("nothing", "", None),
        ];
        for (what, text, expected) in table {
            assert_eq!(size(text).ok(), expected, "{what}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("seconds", "30s", Some(30_000)),
            ("a sum", "1h30m", Some(5_400_000)),
            ("a long sum", "1d1h1m1s1ms", Some(90_061_001)),
            ("milliseconds", "250ms", Some(250)),
            ("none", "0s", Some(0)),
            ("days", "7d", Some(604_800_000)),
            ("without a unit", "30", None),
            ("an unknown unit", "2w", None),
            ("out of order", "30m1h", None),
            ("twice", "1m1m", None),
            ("too long", "99999d", None),
            ("overflow", "18446744073709551615d", None),
            ("a blank", "1h 30m", None),
            ("nothing", "", None),
        ];
        for (what, text, expected) in table {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{what}");
        }
    }

    #[test]
    fn rates() {
        let day = Duration::from_secs(86_400);
        assert_eq!(number_rate("12/day"), Ok(Rate { amount: 12, period: day }));
        assert_eq!(number_rate("3/h").unwrap().period, Duration::from_secs(3600));
        assert_eq!(size_rate("200MB/day"), Ok(Rate { amount: 200_000_000, period: day }));
        assert_eq!(size_rate("500B/s"), Ok(Rate { amount: 500, period: Duration::from_secs(1) }));
        for wrong in ["12", "12/", "/day", "12/week", "12 / day", "12/day/", "10MB/day"] {
            assert!(number_rate(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_written_size_reads_back(octets: u64) {
            prop_assert_eq!(size(&write_size(octets)), Ok(octets));
        }

        #[test]
        fn a_scaled_size_reads_back(count in 0_u64..1_000_000, shift in 0_u32..40) {
            let octets = count << shift;
            prop_assert_eq!(size(&write_size(octets)), Ok(octets));
        }

        #[test]
        fn a_written_duration_reads_back(millis in 0_u64..=3650 * 86_400_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&write_duration(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (size(&text), duration(&text), number_rate(&text), size_rate(&text), number(&text));
        }

        #[test]
        fn no_likely_text_panics(text in "[0-9]{0,22}[kKMGBims/dhay]{0,6}[0-9]{0,3}[a-z]{0,2}") {
            let _ = (size(&text), duration(&text), number_rate(&text), size_rate(&text), number(&text));
        }
    }
}
