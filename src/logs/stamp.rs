//! The stamp in front of a line: TAI64N as multilog, svlogd and s6-log write it, svlogd's and s6-log's dates, RFC 3339 as
//! we write it, and what syslogd and journald put there. What only looks like a stamp is text: the real tai64nlocal dies of
//! upper-case digits. It must not look at the text behind it.
//!
//! ```
//! use jiff::ZonedDateTime;
//! use portcullis::logs::stamp::Stamps;
//! use portcullis::logs::stamp::Tai;
//!
//! let mut stamps = Stamps::new(Tai::Auto, &ZonedDateTime::default());
//! let (time, text) = stamps.split(b"@400000006b03968b000009c4 new msg 17294");
//! assert_eq!(time.unwrap().to_string(), "2026-11-23T01:27:29.0000025Z");
//! assert_eq!(text, b"new msg 17294");
//! // svlogd -tt, and a line that has no stamp.
//! assert_eq!(stamps.split(b"2026-11-23_01:27:12.74247 a").0.unwrap().to_string(), "2026-11-23T01:27:12.74247Z");
//! assert_eq!(stamps.split(b"250 ok"), (None, &b"250 ok"[..]));
//! ```

use jiff::Timestamp;
use jiff::ZonedDateTime;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::logs::syslog;
use crate::logs::syslog::clock;
use crate::logs::syslog::fraction;
use crate::logs::words::number;

/// The distance of TAI64N from the seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tai {
    /// Told from the stamps: daemontools and runit write microseconds and a half, s6-log writes nanoseconds.
    #[default]
    Auto,
    /// 10 seconds: daemontools and runit know no leap seconds.
    Daemontools,
    /// 37 seconds, true TAI: s6-log.
    S6,
}

/// Cuts the stamps from the lines of one log.
#[derive(Clone, Debug)]
pub struct Stamps {
    tai: Tai,
    /// For stamps in local time.
    zone: TimeZone,
    /// The latest time that is known, for stamps without a year.
    latest: Timestamp,
}

impl Stamps {
    /// A splitter for one log. Dates of s6-log and syslogd are in the zone of `now`.
    pub fn new(tai: Tai, now: &ZonedDateTime) -> Self {
        Self { tai, zone: now.time_zone().clone(), latest: now.timestamp() }
    }

    /// The time in front of `line`, and what follows it.
    pub fn split<'a>(&mut self, line: &'a [u8]) -> (Option<Timestamp>, &'a [u8]) {
        let found = match line.first() {
            Some(b'@') => self.tai64n(line),
            Some(b'0'..=b'9') => date(line, &self.zone).or_else(|| self.syslog(line)),
            Some(b'A'..=b'Z') => self.syslog(line),
            _ => None,
        };
        found.map_or((None, line), |(time, rest)| (Some(time), rest))
    }

    fn syslog<'a>(&mut self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let (time, text) = syslog::split(line, &self.zone, self.latest)?;
        // Years ahead is no time to go by.
        if time.duration_since(self.latest) < syslog::MONTH {
            self.latest = self.latest.max(time);
        }
        Some((time, text))
    }

    fn tai64n<'a>(&mut self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let (stamp, rest) = line.split_at_checked(STAMP)?;
        let rest = match rest {
            [] => rest,
            [b' ', rest @ ..] => rest,
            _ => return None,
        };
        let (seconds, nanoseconds) = label(stamp)?;
        // One stamp of a thousand looks like daemontools' by chance; the first that does not settles it.
        if self.tai == Tai::Auto && nanoseconds % 1000 != 500 {
            self.tai = Tai::S6;
        }
        let ahead = if self.tai == Tai::S6 { AHEAD_OF_UTC } else { 10 };
        Some((Timestamp::new(seconds - ahead, nanoseconds).ok()?, rest))
    }
}

/// The moment that a rotated file of multilog is named by: its lines are older. Right to half a minute, because s6-log
/// uses the same names.
pub fn of_file_name(name: &[u8]) -> Option<Timestamp> {
    let (seconds, nanoseconds) = label(name.get(..STAMP)?)?;
    Timestamp::new(seconds - 10, nanoseconds).ok()
}

/// `@` and 24 digits: seconds after the label 2^62, nanoseconds.
fn label(stamp: &[u8]) -> Option<(i64, i32)> {
    let digits = stamp.strip_prefix(b"@")?;
    let hex = |digits: &[u8]| digits.iter().try_fold(0_u64, |sum, &digit| Some(sum << 4 | nibble(digit)?));
    let (seconds, nanoseconds) = digits.split_at_checked(16)?;
    let seconds = i64::try_from(hex(seconds)?).ok()?.checked_sub(1 << 62)?;
    let nanoseconds = i32::try_from(hex(nanoseconds)?).ok()?;
    (nanoseconds < 1_000_000_000).then_some((seconds, nanoseconds))
}

fn nibble(digit: u8) -> Option<u64> {
    match digit {
        b'0'..=b'9' => Some(u64::from(digit - b'0')),
        b'a'..=b'f' => Some(u64::from(digit - b'a' + 10)),
        _ => None,
    }
}

/// `2026-11-23_01:27:12.74247 `, `2026-11-23T01:27:12.74658 `, `2026-11-23T01:27:12.746Z ` in UTC; with a blank in the middle
/// and two at the end, local time.
fn date<'a>(line: &'a [u8], zone: &TimeZone) -> Option<(Timestamp, &'a [u8])> {
    let [year @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = line.get(..19)? else { return None };
    if [line[4], line[7]] != *b"--" {
        return None;
    }
    let date = civil::Date::new(number(year)?, number(&line[5..7])?, number(&line[8..10])?).ok()?;
    let (nanoseconds, rest) = fraction(&line[19..])?;
    let time = clock(&line[11..19], nanoseconds)?;
    let (zone, rest) = match (line[10], rest) {
        (b'T', [b'Z', b' ', rest @ ..] | [b' ', rest @ ..]) | (b'_', [b' ', rest @ ..]) => (TimeZone::UTC, rest),
        (b' ', [b' ', b' ', rest @ ..]) => (zone.clone(), rest),
        _ => return None,
    };
    Some((date.to_datetime(time).to_zoned_datetime(zone).ok()?.timestamp(), rest))
}

/// `@` and its digits.
const STAMP: usize = 25;
/// TAI is ahead of UTC by 37 seconds since 2017.
const AHEAD_OF_UTC: i64 = 37;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_what_the_real_tai64nlocal_says() {
        let golden = include_str!("../../tests/data/log/tai64n-golden.tsv");
        assert!(golden.lines().count() > 30);
        for line in golden.lines() {
            let (stamp, expected) = line.split_once('\t').unwrap();
            let line = format!("{stamp} text");
            let (time, rest) = stamps(Tai::Auto).split(line.as_bytes());
            assert_eq!(time.unwrap().strftime("%Y-%m-%d %H:%M:%S.%N").to_string(), expected);
            assert_eq!(rest, b"text");
        }
    }

    #[test]
    fn forms_of_stamps() {
        let table: &[(&str, &str, &str, &str)] = &[
            ("multilog", "@400000006b03968b000009c4 a b", "2026-11-23T01:27:29.0000025Z", "a b"),
            ("an empty line of multilog", "@400000006b03968b000001f4", "2026-11-23T01:27:29.0000005Z", ""),
            ("s6-log, 27 seconds ahead", "@400000006b0396a600000001 a", "2026-11-23T01:27:29.000000001Z", "a"),
            ("svlogd -tt", "2026-11-23_01:27:12.74247 a", "2026-11-23T01:27:12.74247Z", "a"),
            ("svlogd -ttt", "2026-11-23T01:27:12.74658 a", "2026-11-23T01:27:12.74658Z", "a"),
            ("ours", "2026-11-23T01:27:12.746Z mail", "2026-11-23T01:27:12.746Z", "mail"),
            ("s6-log T", "2026-11-23 02:27:29.713191001  a", "2026-11-23T01:27:29.713191001Z", "a"),
            ("no fraction", "2026-11-23T01:27:12Z a", "2026-11-23T01:27:12Z", "a"),
        ];
        for (what, line, expected, rest) in table {
            let expected = expected.parse::<Timestamp>().unwrap();
            let (time, found) = stamps(Tai::Auto).split(line.as_bytes());
            assert_eq!(found, rest.as_bytes(), "{what}");
            assert_eq!(time, Some(expected), "{what}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_text() {
        let table = [
            ("upper case", "@400000006B03968B000001F4 a"),
            ("too short", "@400000006b03968b000001f a"),
            ("no blank", "@400000006b03968b000001f4a"),
            ("no digit", "@400000006b03968b000001g4 a"),
            ("a billion nanoseconds", "@400000006b03968b3b9aca00 a"),
            ("before the epoch of labels", "@300000006b03968b000001f4 a"),
            ("past all calendars", "@7fffffffffffffff000001f4 a"),
            ("cut", "@4000"),
            ("alone", "@"),
            ("month 13", "2026-13-23_01:27:12.74247 a"),
            ("hour 24", "2026-11-23T24:27:12.74247 a"),
            ("ten digits", "2026-11-23T01:27:12.1234567890 a"),
            ("a point alone", "2026-11-23T01:27:12. a"),
            ("letters", "2o26-11-23T01:27:12.1 a"),
            ("one blank of s6-log", "2026-11-23 01:27:12.1 a"),
            ("a number", "250 ok"),
        ];
        for (what, line) in table {
            assert_eq!(stamps(Tai::Auto).split(line.as_bytes()), (None, line.as_bytes()), "{what}");
        }
    }

    #[test]
    fn one_true_nanosecond_tells_s6_from_then_on() {
        let (first, second) = ("@400000006b0396a600000001 a", "@400000006b0396a6000001f4 a");
        let mut auto = stamps(Tai::Auto);
        assert_eq!(seconds(&mut auto, second), 1_795_397_276);
        assert_eq!(seconds(&mut auto, first), 1_795_397_249);
        assert_eq!(seconds(&mut auto, second), 1_795_397_249);
        assert_eq!(seconds(&mut stamps(Tai::Daemontools), first), 1_795_397_276);
        assert_eq!(seconds(&mut stamps(Tai::S6), second), 1_795_397_249);
    }

    #[test]
    fn names_of_files_have_their_moment() {
        let time = of_file_name(b"@400000006b0393100ea68aac.s").unwrap();
        assert_eq!(time.strftime("%F %T").to_string(), "2026-11-23 01:12:38");
        assert_eq!(of_file_name(b"current"), None);
    }

    fn stamps(tai: Tai) -> Stamps {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        Stamps::new(tai, &"2026-11-26T21:00:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone))
    }

    fn seconds(stamps: &mut Stamps, line: &str) -> i64 {
        stamps.split(line.as_bytes()).0.unwrap().as_second()
    }
}
