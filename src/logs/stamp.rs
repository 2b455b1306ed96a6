//! The stamp in front of a line: TAI64N as multilog, svlogd and s6-log write it, what tai64nlocal and a multilog with
//! readable times make of it, svlogd's and s6-log's dates, RFC 3339 as we write it, seconds since the epoch, and what
//! syslogd, journald and containers put there. What only looks like a stamp is text: the real tai64nlocal dies of
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
use jiff::civil::Date;
use jiff::tz::Offset;

use crate::logs::civil::Calendar;
use crate::logs::civil::Moment;
use crate::logs::civil::fraction;
use crate::logs::syslog;
use crate::logs::words::number;
use crate::logs::words::word;

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
    calendar: Calendar,
}

impl Stamps {
    /// A splitter for one log. Times without a zone are in that of `now`, times without a year not after it.
    pub fn new(tai: Tai, now: &ZonedDateTime) -> Self {
        Self { tai, calendar: Calendar::new(now.time_zone().clone(), now.timestamp()) }
    }

    /// From now on lines may be weeks later than the last one: the log is followed.
    pub fn follow(&mut self) {
        self.calendar.follow();
    }

    /// The time in front of `line`, and what follows it. Of several, one behind the other, the last is that of the program.
    pub fn split<'a>(&mut self, line: &'a [u8]) -> (Option<Timestamp>, &'a [u8]) {
        let (mut time, mut text) = (None, container(line).unwrap_or(line));
        for _ in 0..MOST_STAMPS {
            let Some((found, rest)) = self.stamp(text) else { break };
            (time, text) = (Some(found), rest);
        }
        let Some(time) = time else { return (None, line) };
        self.calendar.note(time);
        (Some(time), text)
    }

    fn stamp<'a>(&mut self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        match line.first()? {
            b'@' => self.tai64n(line),
            b'0'..=b'9' => epoch(line).or_else(|| self.date(line)),
            b'A'..=b'Z' => self.named(line),
            b'<' => self.wire(syslog::behind_priority(line)?),
            _ => None,
        }
    }

    fn date<'a>(&self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let Moment { time, rest, has_offset } = self.calendar.date(line)?;
        // A zone in numbers is syslogd's and journald's, or a container's, where there is no host.
        let is_syslog = has_offset && line.get(10) == Some(&b'T') && !rest.starts_with(b"std");
        Some((time, if is_syslog { syslog::text(rest) } else { syslog::sure_text(rest) }))
    }

    /// A time that begins with the name of a month or a day.
    fn named<'a>(&self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let (time, rest) = self.calendar.month(line).or_else(|| {
            let Moment { time, rest, .. } = self.calendar.weekday(line)?;
            Some((time, rest))
        })?;
        Some((time, syslog::text(rest)))
    }

    /// Behind `<22>`: RFC 5424, else RFC 3164.
    fn wire<'a>(&self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        match line {
            [b'1', b' ', rest @ ..] => {
                let (time, text) = syslog::rfc5424(rest)?;
                Some((self.calendar.date(time)?.time, text))
            }
            _ => self.named(line),
        }
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

/// The moment that a rotated file is named by: its lines are older. Right to half a minute, because s6-log uses the names of
/// multilog; a name that can be read (`2026-11-23 01:27:12.5.s`) is in local time, so that it is right to a day.
pub fn of_file_name(name: &[u8]) -> Option<Timestamp> {
    if let Some((seconds, nanoseconds)) = name.get(..STAMP).and_then(label) {
        return Timestamp::new(seconds - 10, nanoseconds).ok();
    }
    let mut digits = name.get(..19)?.split(|octet| !octet.is_ascii_digit());
    let mut next = || digits.next();
    let date = Date::new(number(next()?)?, number(next()?)?, number(next()?)?).ok()?;
    let time = date.at(number(next()?)?, number(next()?)?, number(next()?)?, 0);
    Offset::UTC.to_timestamp(time).ok()
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

/// `1795726502.113926 `: splogger without syslogd, cyclog, accustamp, tai64nfrac.
fn epoch(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, rest) = word(line);
    let dot = memchr::memchr(b'.', stamp).filter(|dot| (9..=11).contains(dot))?;
    let (nanoseconds, behind) = fraction(&stamp[dot..])?;
    let time = Timestamp::new(number(&stamp[..dot])?, nanoseconds).ok()?;
    // journalctl -o short-unix has host and program.
    behind.is_empty().then(|| (time, syslog::sure_text(rest)))
}

/// The line behind `name  | ` (docker compose), `[pod/name/name] ` (kubectl), or `file:` and a stamp (grep).
fn container(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"[pod/") {
        return Some(&rest[memchr::memmem::find(rest.get(..rest.len().min(MOST_NAME))?, b"] ")? + 2..]);
    }
    let (name, _) = word(line);
    if let Some(at) = memchr::memmem::find(name, b":@4").filter(|at| name.len() == at + 1 + STAMP) {
        return Some(&line[at + 1..]);
    }
    let is_name = line.first()?.is_ascii_lowercase() && name.len() < MOST_NAME;
    let rest = line[name.len()..].trim_ascii_start();
    rest.strip_prefix(b"| ").filter(|_| is_name)
}

/// `@` and its digits.
const STAMP: usize = 25;
/// Stamps one behind the other: a container's, a logger's, a program's.
const MOST_STAMPS: usize = 4;
/// Octets of a container's name.
const MOST_NAME: usize = 200;
/// TAI is ahead of UTC by 37 seconds since 2017.
const AHEAD_OF_UTC: i64 = 37;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::proptest;

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
        for (what, line, expected, rest) in FORMS {
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
            ("no blank", "2026-11-23 01:27:12.1a"),
            ("no such zone", "2026-11-26T21:00:00+99:00 mx p: a"),
            ("a stray sign", "2026-11-26T21:00:00*01:00 mx p: a"),
            ("the 31st of November", "Nov 31 21:00:00 mx p: a"),
            ("hour 24 of syslogd", "Nov 26 24:00:00 mx p: a"),
            ("dashes", "Nov 26 21-00-00 mx p: a"),
            ("no month", "Now 26 21:00:00 mx p: a"),
            ("a month in full", "November 21:00:00 mx p: a"),
            ("cut", "Nov 26 21:0"),
            ("a weekday", "Monday is not a stamp"),
            ("an address", "<a@b.example> a"),
            ("eight digits", "12345678.5 a"),
            ("a number alone", "1795723200 a"),
            ("a pipe", "smtp | a"),
            ("a number", "250 ok"),
        ];
        for (what, line) in table {
            assert_eq!(stamps(Tai::Auto).split(line.as_bytes()), (None, line.as_bytes()), "{what}");
        }
    }

    #[test]
    fn over_new_year() {
        let table = [
            ("2027-01-01T00:00:00Z", "Dec 31 23:59:00 mx p: a", "2026-12-31T22:59:00Z"),
            ("2026-12-31T22:00:00Z", "Jan  1 00:30:00 mx p: a", "2026-12-31T23:30:00Z"),
            ("2026-12-31T22:00:00Z", "Jan  2 01:00:00 mx p: a", "2027-01-02T00:00:00Z"),
        ];
        for (now, line, time) in table {
            let zone = TimeZone::fixed(jiff::tz::offset(1));
            let mut stamps = Stamps::new(Tai::Auto, &now.parse::<Timestamp>().unwrap().to_zoned_datetime(zone));
            assert_eq!(stamps.split(line.as_bytes()).0.unwrap().to_string(), time, "{line}");
        }
        // A log that is followed may be silent for weeks.
        let mut followed = stamps(Tai::Auto);
        followed.follow();
        assert_eq!(seconds(&mut followed, "Dec 20 21:00:00 mx p: a"), 1_797_796_800);
    }

    #[test]
    fn the_hour_that_the_clock_shows_twice_and_the_one_it_leaves_out() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now = "2026-11-26T21:00:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone);
        let mut stamps = Stamps::new(Tai::Auto, &now);
        let table = [
            ("2026-03-29 01:59:59", "2026-03-29T00:59:59Z"),
            ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
            ("2026-03-29 03:00:00", "2026-03-29T01:00:00Z"),
            ("2026-10-25 01:59:59", "2026-10-24T23:59:59Z"),
            ("2026-10-25 02:00:00", "2026-10-25T00:00:00Z"),
            ("2026-10-25 02:59:59", "2026-10-25T00:59:59Z"),
            ("2026-10-25 02:00:00", "2026-10-25T01:00:00Z"),
            ("Oct 25 02:30:00", "2026-10-25T01:30:00Z"),
            ("2026-10-25 03:00:00", "2026-10-25T02:00:00Z"),
            ("2026-06-28 16:00:00", "2026-06-28T14:00:00Z"),
        ];
        for (line, time) in table {
            let line = format!("{line} a");
            assert_eq!(stamps.split(line.as_bytes()).0.unwrap().to_string(), time, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(
            octets in any::<Vec<u8>>(),
            line in "(<22>(1 )?)?(smtp \\| )?(Thu,? )?(@4000|2026|26 )?([A-Z][a-z]{2}|[-T_:.,+Z0-9 ]{1,12}){1,4}( [a-z]{1,5}(\\[7\\])?:?){0,3}",
        ) {
            for octets in [&octets[..], line.as_bytes()] {
                let (_, text) = stamps(Tai::Auto).split(octets);
                prop_assert!(octets.ends_with(text));
            }
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
        for name in ["2023-06-28 16:17:26.501278543.s", "2023-06-28_16:17:26.s", "2023-06-28T16-17-26.5.u"] {
            assert_eq!(of_file_name(name.as_bytes()).unwrap().to_string(), "2023-06-28T16:17:26Z", "{name}");
        }
        assert_eq!(of_file_name(b"current"), None);
        assert_eq!(of_file_name(b"2023-06-28.log.of.that.day.s"), None);
    }

    fn stamps(tai: Tai) -> Stamps {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        Stamps::new(tai, &"2026-11-26T21:00:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone))
    }

    fn seconds(stamps: &mut Stamps, line: &str) -> i64 {
        stamps.split(line.as_bytes()).0.unwrap().as_second()
    }

    /// A form, a line, its time, and what follows it.
    const FORMS: &[(&str, &str, &str, &str)] = &[
        ("multilog", "@400000006b03968b000009c4 a b", "2026-11-23T01:27:29.0000025Z", "a b"),
        ("an empty line of multilog", "@400000006b03968b000001f4", "2026-11-23T01:27:29.0000005Z", ""),
        ("s6-log, 27 seconds ahead", "@400000006b0396a600000001 a", "2026-11-23T01:27:29.000000001Z", "a"),
        ("svlogd -tt", "2026-11-23_01:27:12.74247 a", "2026-11-23T01:27:12.74247Z", "a"),
        ("svlogd -ttt", "2026-11-23T01:27:12.74658 a", "2026-11-23T01:27:12.74658Z", "a"),
        ("ours", "2026-11-23T01:27:12.746Z mail", "2026-11-23T01:27:12.746Z", "mail"),
        (
            "ours, with a value that has a colon",
            "2026-11-23T01:27:12Z configuration note=\"x: y\"",
            "2026-11-23T01:27:12Z",
            "configuration note=\"x: y\"",
        ),
        ("s6-log T", "2026-11-23 02:27:29.713191001  a", "2026-11-23T01:27:29.713191001Z", "a"),
        ("no fraction", "2026-11-23T01:27:12Z a", "2026-11-23T01:27:12Z", "a"),
        ("tai64nlocal", "2026-11-23 02:27:29.713191500 tcpserver: a", "2026-11-23T01:27:29.7131915Z", "tcpserver: a"),
        ("multilog with readable times", "2023-06-28 16:17:26.501278543 a", "2023-06-28T15:17:26.501278543Z", "a"),
        ("an empty line of it", "2026-11-23 02:27:29.713191500", "2026-11-23T01:27:29.7131915Z", ""),
        ("grep", "log/current:@400000006b03968b000009c4 a b", "2026-11-23T01:27:29.0000025Z", "a b"),
        ("a comma", "2026-11-23 02:27:29,713 a", "2026-11-23T01:27:29.713Z", "a"),
        ("slashes", "2026/11/23 02:27:29 a", "2026-11-23T01:27:29Z", "a"),
        ("with a zone", "2026-11-23 03:27:29.5+02:00 a", "2026-11-23T01:27:29.5Z", "a"),
        ("with a zone behind a blank", "2026-11-23 03:27:29 +0200 a", "2026-11-23T01:27:29Z", "a"),
        ("in UTC", "2026-11-23 01:27:29 UTC a", "2026-11-23T01:27:29Z", "a"),
        (
            "ISO 8601",
            "2026-11-23T03:27:29+02:00 delivery 8: success: x",
            "2026-11-23T01:27:29Z",
            "delivery 8: success: x",
        ),
        ("hours of a zone", "2026-11-23T03:27:29+02 a", "2026-11-23T01:27:29Z", "a"),
        ("splogger without syslogd", "1795397249.000002 status: a", "2026-11-23T01:27:29.000002Z", "status: a"),
        ("tai64nfrac", "1795397249.713191500 new msg 7", "2026-11-23T01:27:29.7131915Z", "new msg 7"),
        ("syslogd", "Nov 26 21:00:00 mx qmail: new msg 7", "2026-11-26T20:00:00Z", "new msg 7"),
        ("a day of one digit", "Nov  6 21:00:00 mx p[1]: a", "2026-11-06T20:00:00Z", "a"),
        ("with a year", "Nov  6 2023 21:00:00 mx p[1]: a", "2023-11-06T20:00:00Z", "a"),
        ("from the wire", "<22>Nov 26 21:00:00 qmail: a", "2026-11-26T20:00:00Z", "a"),
        ("RFC 5424", "<22>1 2026-11-26T21:00:00.5+01:00 mx qmail 7 - - a", "2026-11-26T20:00:00.5Z", "a"),
        ("short-precise", "Nov 26 21:00:00.250000 mx p[1]: a", "2026-11-26T20:00:00.25Z", "a"),
        ("short-iso", "2026-11-26T15:30:00-0430 mx p[1]: a", "2026-11-26T20:00:00Z", "a"),
        ("short-full", "Thu 2026-11-26 21:00:00 CET mx p[1]: a", "2026-11-26T20:00:00Z", "a"),
        ("short-unix", "1795723200.500000 mx p[1]: a", "2026-11-26T20:00:00.5Z", "a"),
        ("rsyslog", "2026-11-26T21:00:00.123456+01:00 mx p[1]: a", "2026-11-26T20:00:00.123456Z", "a"),
        ("in UTC too", "2026-11-26T20:00:00Z mx p[1]: a", "2026-11-26T20:00:00Z", "a"),
        ("ctime", "Thu Nov 26 21:00:00 2026 a", "2026-11-26T20:00:00Z", "a"),
        ("RFC 5322", "Thu, 26 Nov 2026 21:00:00 +0100 a", "2026-11-26T20:00:00Z", "a"),
        ("ts", "Nov 26 21:00:00 new msg 7", "2026-11-26T20:00:00Z", "new msg 7"),
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
        (
            "socklog",
            "2026-11-26_20:00:02.12345 mail.info: Nov 26 21:00:01 qmail: 1795723200.113926 new msg 7",
            "2026-11-26T20:00:00.113926Z",
            "new msg 7",
        ),
        ("docker", "2026-11-26T20:00:00.501278543Z tcpserver: a", "2026-11-26T20:00:00.501278543Z", "tcpserver: a"),
        ("docker compose", "smtp-1  | 2026-11-26T20:00:00.5Z mail a=b", "2026-11-26T20:00:00.5Z", "mail a=b"),
        ("kubectl", "[pod/smtp-0/smtp] 2026-11-26T20:00:00.5Z a", "2026-11-26T20:00:00.5Z", "a"),
        ("its files", "2026-11-26T20:00:00.5Z stderr F a", "2026-11-26T20:00:00.5Z", "a"),
        (
            "docker in front of multilog",
            "2026-11-26T20:00:00Z @400000006b03968b000009c4 a",
            "2026-11-23T01:27:29.0000025Z",
            "a",
        ),
        ("last year", "Dec 31 23:00:00 mx p: a", "2025-12-31T22:00:00Z", "a"),
        ("tomorrow", "Nov 27 21:00:00 mx p: a", "2026-11-27T20:00:00Z", "a"),
        ("not next week", "Dec  3 21:00:00 mx p: a", "2025-12-03T20:00:00Z", "a"),
        ("a leap day", "Feb 29 21:00:00 mx p: a", "2024-02-29T20:00:00Z", "a"),
    ];
}
