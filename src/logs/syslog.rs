//! The prefix that syslogd, journald and splogger put before a line: a time, the host, the program's name. It must not
//! judge the program's text.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::Offset;
use jiff::tz::TimeZone;

use crate::logs::words::number;
use crate::logs::words::word;

/// The time of a line and what the program said. `zone` is that of a time without one; `near` is a moment not more than
/// eleven months after such a line and one before it, because it has no year either.
pub(super) fn split<'a>(line: &'a [u8], zone: &TimeZone, near: Timestamp) -> Option<(Timestamp, &'a [u8])> {
    let (time, rest) = match line.first()? {
        b'0'..=b'9' => rfc3339(line)?,
        _ => rfc3164(line, zone, near)?,
    };
    let text = behind_tag(rest)?;
    Some(splogger(text).unwrap_or((time, text)))
}

/// `Nov 26 20:00:00 `, `Nov  6 20:00:00.123456 ` (RFC 3164 section 4.1.2; the fraction is that of `journalctl -o
/// short-precise`).
fn rfc3164<'a>(line: &'a [u8], zone: &TimeZone, near: Timestamp) -> Option<(Timestamp, &'a [u8])> {
    let (head, rest) = line.split_at_checked(15)?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| head.starts_with(name))?.1;
    let [b' ', day @ .., b' '] = &head[3..7] else { return None };
    let day = number(day.trim_ascii_start())?;
    let (nanoseconds, rest) = fraction(rest)?;
    let time = clock(&head[7..], nanoseconds)?;
    let year = near.to_zoned_datetime(zone.clone()).year();
    // The 29th of February is not there in three years of four.
    let moments = [year + 1, year, year - 1].into_iter().filter_map(|year| {
        let date = civil::Date::new(year, month, day).ok()?;
        Some(date.to_datetime(time).to_zoned_datetime(zone.clone()).ok()?.timestamp())
    });
    let latest = near.checked_add(MONTH).ok()?;
    let time = moments.into_iter().find(|moment| *moment <= latest)?;
    Some((time, rest.strip_prefix(b" ")?))
}

/// `2026-11-26T20:00:00.123456+01:00 `, as rsyslog writes it, and `journalctl -o short-iso` with or without the colon.
fn rfc3339(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, rest) = word(line);
    let sign = stamp.len().checked_sub(6).filter(|at| matches!(stamp[*at], b'+' | b'-'));
    let (civil, offset) = stamp.split_at_checked(sign.or_else(|| stamp.len().checked_sub(5))?)?;
    let seconds = match offset {
        [sign, hours @ .., b':', m, n] if hours.len() == 2 => offset_of(*sign, hours, &[*m, *n])?,
        [sign, hours @ .., m, n] if hours.len() == 2 => offset_of(*sign, hours, &[*m, *n])?,
        _ => return None,
    };
    let civil: civil::DateTime =
        str::from_utf8(civil).ok().filter(|text| text.get(10..11) == Some("T"))?.parse().ok()?;
    Some((Offset::from_seconds(seconds).ok()?.to_timestamp(civil).ok()?, rest))
}

fn offset_of(sign: u8, hours: &[u8], minutes: &[u8]) -> Option<i32> {
    let seconds = number::<i32>(hours)? * 3600 + number::<i32>(minutes)? * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// The text behind `host program[17]: `.
fn behind_tag(text: &[u8]) -> Option<&[u8]> {
    let (_, rest) = word(text);
    let (tag, rest) = word(rest);
    let name = tag.strip_suffix(b":")?;
    let name = match name.strip_suffix(b"]") {
        Some(name) => {
            let (name, pid) = name.split_at_checked(memchr::memrchr(b'[', name)?)?;
            number::<u32>(&pid[1..])?;
            name
        }
        None => name,
    };
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(rest)
}

/// `1795726502.113926 `: splogger writes the time once more, to the microsecond.
fn splogger(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, rest) = word(text);
    let (seconds, fraction) = stamp.split_at_checked(stamp.len().checked_sub(7)?)?;
    let [b'.', microseconds @ ..] = fraction else { return None };
    let nanoseconds = number::<i32>(microseconds)? * 1000;
    let seconds = number(seconds).filter(|_| (9..=11).contains(&seconds.len()))?;
    Some((Timestamp::new(seconds, nanoseconds).ok()?, rest))
}

/// `01:27:12`.
pub(super) fn clock(text: &[u8], nanoseconds: i32) -> Option<civil::Time> {
    let &[h, i, b':', m, n, b':', s, t] = text else { return None };
    civil::Time::new(number(&[h, i])?, number(&[m, n])?, number(&[s, t])?, nanoseconds).ok()
}

/// Nanoseconds of `.74247`, and what follows.
pub(super) fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = text.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let digits = text.get(..length).filter(|digits| (1..=9).contains(&digits.len()))?;
    let scale = 10_i32.pow(u32::try_from(9 - length).ok()?);
    Some((number::<i32>(digits)? * scale, &text[length..]))
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// The time by which a line may be ahead: clocks differ, and a log that is followed grows older than its first look.
pub(super) const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(line: &str, near: &str) -> Option<(String, String)> {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let (time, text) = split(line.as_bytes(), &zone, near.parse().unwrap())?;
        Some((time.to_string(), String::from_utf8(text.to_vec()).unwrap()))
    }

    #[test]
    fn forms_of_lines() {
        let table = [
            ("syslogd", "Nov 26 21:00:00 mx qmail: new msg 7", "2026-11-26T20:00:00Z", "new msg 7"),
            ("a day of one digit", "Nov  6 21:00:00 mx p[1]: a", "2026-11-06T20:00:00Z", "a"),
            ("journalctl", "Nov 26 21:00:00 mx portcullis[71]: mail a=b", "2026-11-26T20:00:00Z", "mail a=b"),
            ("short-precise", "Nov 26 21:00:00.250000 mx p[1]: a", "2026-11-26T20:00:00.25Z", "a"),
            ("rsyslog", "2026-11-26T21:00:00.123456+01:00 mx p[1]: a", "2026-11-26T20:00:00.123456Z", "a"),
            ("short-iso", "2026-11-26T15:30:00-0430 mx p[1]: a", "2026-11-26T20:00:00Z", "a"),
            (
                "splogger",
                "Nov 26 21:00:01 mx qmail: 1795723200.113926 status: a",
                "2026-11-26T20:00:00.113926Z",
                "status: a",
            ),
            (
                "its next part",
                "Nov 26 21:00:01 mx qmail: 1795723200.113926+more",
                "2026-11-26T20:00:01Z",
                "1795723200.113926+more",
            ),
            ("an empty line", "Nov 26 21:00:00 mx p[1]: ", "2026-11-26T20:00:00Z", ""),
            ("a name with a path", "Nov 26 21:00:00 mx postfix/smtpd[1]: a", "2026-11-26T20:00:00Z", "a"),
            ("last year", "Dec 31 23:00:00 mx p: a", "2025-12-31T22:00:00Z", "a"),
            ("tomorrow", "Nov 27 21:00:00 mx p: a", "2026-11-27T20:00:00Z", "a"),
        ];
        for (what, line, time, text) in table {
            assert_eq!(read(line, "2026-11-26T21:00:00Z"), Some((time.to_owned(), text.to_owned())), "{what}");
        }
        let over_new_year = [
            ("2027-01-01T00:00:00Z", "Dec 31 23:59:00 mx p: a", "2026-12-31T22:59:00Z"),
            ("2026-12-31T22:00:00Z", "Jan  1 00:30:00 mx p: a", "2026-12-31T23:30:00Z"),
            ("2026-12-31T22:00:00Z", "Jan  2 01:00:00 mx p: a", "2027-01-02T00:00:00Z"),
            ("2025-02-01T00:00:00Z", "Feb 29 01:00:00 mx p: a", "2024-02-29T00:00:00Z"),
        ];
        for (near, line, time) in over_new_year {
            assert_eq!(read(line, near).map(|(time, _)| time).as_deref(), Some(time), "{line}");
        }
    }

    #[test]
    fn what_is_no_such_line() {
        let table = [
            "",
            "Nov",
            "Nov 26 21:00:00",
            "Nov 26 21:00:00 ",
            "Nov 26 21:00:00 mx",
            "Nov 26 21:00:00 mx words without a name",
            "Nov 26 21:00:00 mx [1]: a",
            "Nov 26 21:00:00 mx p[x]: a",
            "Nov 31 21:00:00 mx p: a",
            "Nov 26 24:00:00 mx p: a",
            "Nov 26 21-00-00 mx p: a",
            "Now 26 21:00:00 mx p: a",
            "November 21:00:00 mx p: a",
            "2026-11-26T21:00:00Z mx p: a",
            "2026-11-26 21:00:00+01:00 mx p: a",
            "2026-11-26T21:00:00*01:00 mx p: a",
            "2026-11-26T21:00:00+99:00 mx p: a",
            "+0000 mx p: a",
            "250 ok",
        ];
        for line in table {
            assert_eq!(read(line, "2026-11-26T21:00:00Z"), None, "{line}");
        }
    }
}
