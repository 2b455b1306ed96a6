//! The times of `--since` and `--until`: so long ago, or a moment of the local calendar. It must not read the clock.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::ZonedDateTime;
use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::civil::Time;

use crate::config::units;

/// Reads `2h` (before `now`), `14:00` (the last one), `2026-11-25`, `2026-11-25 14:00`, or RFC 3339 with a zone.
pub(super) fn read(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    let forms = || {
        format!("{text:?} is not a valid time: write 2h, 14:00, 2026-11-25, '2026-11-25 14:00' or 2026-11-25T13:00:00Z")
    };
    if let Ok(ago) = units::duration(text.strip_suffix(" ago").unwrap_or(text)) {
        let ago = SignedDuration::try_from(ago).map_err(|_| forms())?;
        return now.timestamp().checked_sub(ago).map_err(|_| forms());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let zone = now.time_zone();
    // A date or time alone would be parsed as something else.
    let moment = match text.len() {
        ..=8 => text.parse::<Time>().ok().and_then(|time| last(time, now)),
        10 => text.parse::<Date>().ok().and_then(|date| date.to_zoned_datetime(zone.clone()).ok()),
        _ => text.parse::<DateTime>().ok().and_then(|moment| moment.to_zoned_datetime(zone.clone()).ok()),
    };
    moment.map(|moment| moment.timestamp()).ok_or_else(forms)
}

/// The last moment at which the clock showed this time: at one in the morning 23:00 was yesterday.
fn last(time: Time, now: &ZonedDateTime) -> Option<ZonedDateTime> {
    let today = now.date().to_datetime(time).to_zoned_datetime(now.time_zone().clone()).ok()?;
    if today <= *now {
        return Some(today);
    }
    now.date().yesterday().ok()?.to_datetime(time).to_zoned_datetime(now.time_zone().clone()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now: ZonedDateTime = "2026-11-25T15:30:00+01:00[Europe/Berlin]".parse().unwrap_or_else(|_| {
            let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
            "2026-11-25T14:30:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone)
        });
        let table = [
            ("2h", Some("2026-11-25T12:30:00Z")),
            ("90m ago", Some("2026-11-25T13:00:00Z")),
            ("2d", Some("2026-11-23T14:30:00Z")),
            ("14:00", Some("2026-11-25T13:00:00Z")),
            ("14:00:05", Some("2026-11-25T13:00:05Z")),
            ("23:00", Some("2026-11-24T22:00:00Z")),
            ("2026-11-25", Some("2026-11-24T23:00:00Z")),
            ("2026-11-25 14:00", Some("2026-11-25T13:00:00Z")),
            ("2026-11-25T14:00:01.5", Some("2026-11-25T13:00:01.5Z")),
            ("2026-11-25T14:00:00Z", Some("2026-11-25T14:00:00Z")),
            ("2026-11-25T14:00:00+02:00", Some("2026-11-25T12:00:00Z")),
            ("yesterday", None),
            ("2026-13-25", None),
            ("25:00", None),
            ("", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|it| it.parse::<Timestamp>().unwrap());
            assert_eq!(read(text, &now).ok(), expected, "{text}");
        }
    }
}
