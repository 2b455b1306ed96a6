//! What a status says in words: storms, times in the host's zone, octets for people. It must not decide what is a problem.

use indicatif::DecimalBytes;
use jiff::Timestamp;
use jiff::ZonedDateTime;

use crate::report::storms::Storm;
use crate::store::clock::Time;
use crate::text::number;
use crate::text::zone;

/// A storm of copies: who, how many since when, what became of them, and whether anything is to be done.
pub(crate) fn storm(storm: &Storm, now: Time) -> String {
    let (network, sender) = storm.key.split_once(' ').unwrap_or(("", &storm.key));
    let Storm { copies, absorbed, refused, deferred, delivered, similar, .. } = storm;
    let parts = [(refused, "refused"), (absorbed, "absorbed"), (deferred, "deferred"), (delivered, "delivered")];
    let mut parts: Vec<String> =
        parts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if let Some(first) = parts.first_mut() {
        let count: u64 = first.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
        let verb = if count == 1 { "was" } else { "were" };
        *first = first.replacen(' ', &format!(" {verb} "), 1);
    }
    let alike = match similar {
        0 => String::new(),
        count => {
            format!(" {} more that differ only in Date and Message-ID came through.", number::count(*count, "message"))
        }
    };
    let end = match delivered + similar {
        0 => "nothing waits for you".to_owned(),
        through if through * 2 <= storm.copies + similar => "nothing waits for you".to_owned(),
        _ => format!("most of it reaches the queue: block {sender}, if that is not wanted"),
    };
    let copies = number::count(*copies, "copy");
    let since = since(storm.since, now);
    format!("A storm: {sender} from {network} has sent {copies} since {since}; {}; {end}.{alike}", parts.join(", "))
}

/// A client network that guesses passwords.
pub(crate) fn guessing(storm: &Storm, now: Time) -> String {
    let (network, _) = storm.key.rsplit_once(' ').unwrap_or((&storm.key, ""));
    let failures = number::count(storm.refused + storm.deferred, "AUTH failure");
    format!("{network} guesses passwords: {failures} since {}.", since(storm.since, now))
}

/// A time of today as `02:14`, of another day with its date, in the host's zone.
pub(crate) fn since(at: u32, now: Time) -> String {
    let (at, today) = (zoned(at), Timestamp::from(now).to_zoned_datetime(zone::find().0));
    let form = if at.date() == today.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(form).to_string()
}

/// A time with its date, in the host's zone.
pub(crate) fn moment(at: u32) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// The name of the host's zone.
pub(crate) fn zone_name() -> String {
    zone::find().0.iana_name().unwrap_or("UTC").to_owned()
}

/// Octets for people.
pub(crate) fn bytes(octets: u64) -> String {
    DecimalBytes(octets).to_string()
}

fn zoned(at: u32) -> ZonedDateTime {
    Timestamp::from(Time::from_seconds(at)).to_zoned_datetime(zone::find().0)
}
