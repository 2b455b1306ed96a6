//! Dates and times of day in front of a line, as loggers write them. It must not look at the text behind them.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::Offset;
use jiff::tz::TimeZone;

use crate::logs::words::number;
use crate::logs::words::word;

/// The zone of times without one, and what is known of the time.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: TimeZone,
    /// The latest time that is known, for dates without a year.
    latest: Timestamp,
    /// The time by which a line may be later than that.
    ahead: SignedDuration,
    /// The time of the line before, for the hour that a clock shows twice.
    last: Option<Timestamp>,
}

/// A moment, what follows it, and whether it is in a zone of its own.
pub(super) struct Moment<'a> {
    pub(super) time: Timestamp,
    pub(super) rest: &'a [u8],
    pub(super) has_offset: bool,
}

impl Calendar {
    pub(super) fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self { zone, latest: now, ahead: TWO_DAYS, last: None }
    }

    /// Lines may come weeks after the last one from now on: a log is followed.
    pub(super) fn follow(&mut self) {
        self.ahead = MONTH;
    }

    /// Remembers the time of a line.
    pub(super) fn note(&mut self, time: Timestamp) {
        self.last = Some(time);
        // Years ahead is no time to go by.
        if time.duration_since(self.latest) < self.ahead {
            self.latest = self.latest.max(time);
        }
    }

    /// `2026-11-23_01:27:12.74247 ` and `2026-11-23T01:27:12.74658 ` (svlogd, UTC), `2026-11-23 02:27:29.713191001 ` (local
    /// time: s6-log with two blanks, tai64nlocal, patched multilog), each also with a zone; `2026/11/23 02:27:29 `.
    pub(super) fn date<'a>(&self, line: &'a [u8]) -> Option<Moment<'a>> {
        let (head, rest) = line.split_at_checked(19)?;
        let [y, e, a, r, b'-' | b'/', m, n, b'-' | b'/', d, f, mark @ (b'T' | b'_' | b' '), clock @ ..] = head else {
            return None;
        };
        let date = civil::Date::new(number(&[*y, *e, *a, *r])?, number(&[*m, *n])?, number(&[*d, *f])?).ok()?;
        let (nanoseconds, rest) = fraction(rest)?;
        let civil = date.to_datetime(self::clock(clock, nanoseconds)?);
        if let Some((offset, rest)) = offset(rest) {
            return Some(Moment { time: offset.to_timestamp(civil).ok()?, rest: end(rest)?, has_offset: true });
        }
        let time = if *mark == b' ' { self.local(civil)? } else { Offset::UTC.to_timestamp(civil).ok()? };
        let rest = end(rest)?;
        let rest = if *mark == b' ' { rest.strip_prefix(b" ").unwrap_or(rest) } else { rest };
        Some(Moment { time, rest, has_offset: false })
    }

    /// `Nov 26 20:00:00 `, `Nov  6 20:00:00.123456 ` (RFC 3164 section 4.1.2; the fraction is that of `journalctl -o
    /// short-precise`), `Nov 26 2026 20:00:00 `.
    pub(super) fn month<'a>(&self, line: &'a [u8]) -> Option<(Timestamp, &'a [u8])> {
        let (name, rest) = line.split_at_checked(3)?;
        let month = MONTHS.iter().zip(1..).find(|(month, _)| **month == name)?.1;
        let [b' ', day @ .., b' '] = rest.get(..4)? else { return None };
        let day = number(day.trim_ascii_start())?;
        let rest = &rest[4..];
        let (year, rest) = match rest {
            [y, e, a, r, b' ', behind @ ..] => (Some(number(&[*y, *e, *a, *r])?), behind),
            _ => (None, rest),
        };
        let (head, rest) = rest.split_at_checked(8)?;
        let (nanoseconds, rest) = fraction(rest)?;
        let time = clock(head, nanoseconds)?;
        let date = |year| Some(civil::Date::new(year, month, day).ok()?.to_datetime(time));
        let time = match year {
            Some(year) => self.local(date(year)?)?,
            None => self.recent(&date)?,
        };
        // FreeBSD and Cisco put a colon behind the time.
        Some((time, end(rest.strip_prefix(b":").unwrap_or(rest))?))
    }

    /// `Mon 2026-11-23 02:27:29 CET ` (journalctl -o short-full), `Mon Nov 23 02:27:29 2026 ` (ctime), `Mon, 23 Nov 2026
    /// 02:27:29 +0100 ` (RFC 5322).
    pub(super) fn weekday<'a>(&self, line: &'a [u8]) -> Option<Moment<'a>> {
        let (name, rest) = line.split_at_checked(3)?;
        DAYS.iter().find(|day| **day == name)?;
        let rest = rest.strip_prefix(b",").unwrap_or(rest).strip_prefix(b" ")?;
        if let Some(moment) = self.date(rest) {
            let (zone, behind) = word(moment.rest);
            let is_zone = !moment.has_offset && (2..6).contains(&zone.len()) && zone.iter().all(u8::is_ascii_uppercase);
            return Some(if is_zone { Moment { rest: behind, ..moment } } else { moment });
        }
        let year_behind =
            |rest: &[u8], at: usize| Some((rest.get(..at)?.to_vec(), number::<i16>(rest.get(at + 1..at + 5)?)?));
        // Nov 23 02:27:29 2026
        if let Some((head, year)) = year_behind(rest, 15) {
            let turned = [&head[..7], year.to_string().as_bytes(), b" ", &head[7..], b" "].concat();
            let (time, _) = self.month(&turned)?;
            return Some(Moment { time, rest: end(&rest[20..])?, has_offset: false });
        }
        // 23 Nov 2026 02:27:29 +0100
        let (day, rest) = word(rest);
        let (month, rest) = word(rest);
        let (year, rest) = word(rest);
        let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
        let (head, rest) = rest.split_at_checked(8)?;
        let civil = civil::Date::new(number(year)?, month, number(day)?).ok()?.to_datetime(clock(head, 0)?);
        let (offset, rest) = offset(rest)?;
        Some(Moment { time: offset.to_timestamp(civil).ok()?, rest: end(rest)?, has_offset: true })
    }

    /// The latest of the years in which the moment is not in the future.
    fn recent(&self, date: &impl Fn(i16) -> Option<civil::DateTime>) -> Option<Timestamp> {
        let latest = self.latest.checked_add(self.ahead).ok()?;
        let year = self.latest.to_zoned_datetime(self.zone.clone()).year();
        // The 29th of February is not there in three years of four, and once not in seven.
        let mut years = [year.checked_add(1)?].into_iter().chain((0..9).map(|back| year - back));
        years.find_map(|year| self.local(date(year)?).filter(|moment| *moment <= latest))
    }

    /// Local time. Of an hour that the clock shows twice the second is meant where the line before was later than the
    /// first.
    fn local(&self, civil: civil::DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let first = ambiguous.compatible().ok()?;
        let is_second = self.last.is_some_and(|last| last.duration_since(first) > DISORDER);
        match ambiguous.is_ambiguous() && is_second {
            true => ambiguous.later().ok(),
            false => Some(first),
        }
    }
}

/// `Z`, `+01:00`, `+0100`, `+01`, ` +0100`, ` UTC`, and what follows.
fn offset(text: &[u8]) -> Option<(Offset, &[u8])> {
    if let [b'Z', rest @ ..] = text {
        return Some((Offset::UTC, rest));
    }
    let spaced = text.strip_prefix(b" ").unwrap_or(text);
    for name in [&b"UTC"[..], b"GMT"] {
        if let Some(rest) = spaced.strip_prefix(name).filter(|rest| matches!(rest, [] | [b' ', ..])) {
            return Some((Offset::UTC, rest));
        }
    }
    let [sign @ (b'+' | b'-'), h, o, rest @ ..] = spaced else { return None };
    let (minutes, rest) = match rest {
        [b':', m, n, rest @ ..] => (number(&[*m, *n])?, rest),
        [m, n, rest @ ..] if m.is_ascii_digit() => (number(&[*m, *n])?, rest),
        _ => (0, rest),
    };
    let seconds = number::<i32>(&[*h, *o])? * 3600 + minutes * 60;
    Some((Offset::from_seconds(if *sign == b'-' { -seconds } else { seconds }).ok()?, rest))
}

/// The text behind the blank that ends a stamp, or nothing.
fn end(rest: &[u8]) -> Option<&[u8]> {
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

/// `01:27:12`.
fn clock(text: &[u8], nanoseconds: i32) -> Option<civil::Time> {
    let &[h, i, b':', m, n, b':', s, t] = text else { return None };
    civil::Time::new(number(&[h, i])?, number(&[m, n])?, number(&[s, t])?, nanoseconds).ok()
}

/// Nanoseconds of `.74247` or `,742`, and what follows.
pub(super) fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(text) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else { return Some((0, text)) };
    let length = text.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let digits = text.get(..length).filter(|digits| (1..=9).contains(&digits.len()))?;
    let scale = 10_i32.pow(u32::try_from(9 - length).ok()?);
    Some((number::<i32>(digits)? * scale, &text[length..]))
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// The time by which a line may be ahead of now: clocks and zones differ.
const TWO_DAYS: SignedDuration = SignedDuration::from_hours(48);
/// The same for a log that is followed: it grows older than its first look.
const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);
/// The time by which lines of one log may be out of their order.
const DISORDER: SignedDuration = SignedDuration::from_mins(5);
