//! The operator's time zone: `TZ`, else the host's. It must not read the clock, nor print.

use jiff::tz::TimeZone;

/// The zone in which times are shown, and where `TZ` means nothing here, what to say of it: it is UTC then.
pub fn find() -> (TimeZone, Option<String>) {
    match (TimeZone::try_system(), std::env::var_os("TZ")) {
        (Ok(zone), _) => (zone, None),
        // A host without /etc/localtime is in UTC (tzset(3)).
        (Err(_), None) => (TimeZone::UTC, None),
        (Err(_), Some(name)) => {
            let doubt = format!(
                "TZ={}: no such time zone in /usr/share/zoneinfo, so times are shown in UTC; install tzdata, or set a name \
                 such as Europe/Berlin or a rule such as CET-1CEST,M3.5.0,M10.5.0/3",
                name.to_string_lossy().escape_debug()
            );
            (TimeZone::UTC, Some(doubt))
        }
    }
}
