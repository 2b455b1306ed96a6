//! The operator's time zone: `TZ`, else the host's. A `TZ` that means nothing here is said once, and UTC is used. It must
//! not read the clock.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The zone in which commands print times.
pub(super) fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(find).clone()
}

/// Seconds since the epoch as date and time, with the zone's abbreviation behind them.
pub(super) fn moment(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned_datetime(zone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn find() -> TimeZone {
    match (TimeZone::try_system(), std::env::var_os("TZ")) {
        (Ok(zone), _) => zone,
        // A host without /etc/localtime is in UTC (tzset(3)).
        (Err(_), None) => TimeZone::UTC,
        (Err(_), Some(name)) => {
            eprintln!(
                "TZ={}: no such time zone in /usr/share/zoneinfo, so times are shown in UTC; install tzdata, or set a name \
                 such as Europe/Berlin or a rule such as CET-1CEST,M3.5.0,M10.5.0/3",
                name.to_string_lossy().escape_debug()
            );
            TimeZone::UTC
        }
    }
}
