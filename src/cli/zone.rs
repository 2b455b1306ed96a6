//! The zone in which commands print times. A `TZ` that means nothing here is said once, and UTC is used. It must not read the
//! clock.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::text::zone;

/// The operator's zone.
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
    let (zone, doubt) = zone::find();
    doubt.iter().for_each(|doubt| eprintln!("{doubt}"));
    zone
}
