//! What a status says in words: storms, times in the host's zone, octets for people. It must not decide what is a problem.

use indicatif::DecimalBytes;
use jiff::Timestamp;
use jiff::ZonedDateTime;

use crate::report::storms::Storm;
use crate::store::clock::Time;
use crate::text::number;
use crate::text::zone;

/// A storm of copies: its sender, how many since when, what became of them, and whether anything is to be done.
pub(crate) fn storm(storm: &Storm, now: Time) -> String {
    let (network, sender) = storm.key.split_once(' ').unwrap_or(("", &storm.key));
    let since = since(storm.since, now);
    let verb = if storm.similar == 1 { "differs" } else { "differ" };
    let alike = || format!("{} that {verb} only in Date and Message-ID", number::count(storm.similar, "message"));
    let sent = match (storm.copies, storm.similar) {
        (0, _) => format!("{} since {since}", alike()),
        (copies, 0) => format!("{} since {since}; {}", number::count(copies, "copy"), fates(storm)),
        (copies, _) => {
            format!("{} since {since}; {}; and {}", number::count(copies, "copy"), fates(storm), alike())
        }
    };
    // What comes through now and then is as the rules want it: every few copies one has to prove itself.
    let end = match storm.delivered + storm.similar {
        through if through * 2 <= storm.copies + storm.similar => "nothing waits for you".to_owned(),
        _ => format!("most of it reaches the queue: block {sender}, unless it is wanted"),
    };
    format!("A storm: {sender} from {network} has sent {sent}; {end}.")
}

/// What became of the copies: `47 were refused, 1 delivered`.
fn fates(storm: &Storm) -> String {
    let Storm { refused, absorbed, deferred, delivered, .. } = storm;
    let fates = [(refused, "refused"), (absorbed, "absorbed"), (deferred, "deferred"), (delivered, "delivered")];
    let told: Vec<_> = fates.into_iter().filter(|(count, _)| **count > 0).collect();
    let word = |(index, (count, fate)): (usize, &(&u64, &str))| match (index, count) {
        (0, 1) => format!("1 was {fate}"),
        (0, _) => format!("{count} were {fate}"),
        _ => format!("{count} {fate}"),
    };
    told.iter().enumerate().map(word).collect::<Vec<_>>().join(", ")
}

/// A client network that guesses passwords.
pub(crate) fn guessing(storm: &Storm, now: Time) -> String {
    let (network, _) = storm.key.rsplit_once(' ').unwrap_or((&storm.key, ""));
    let failures = number::count(storm.refused + storm.deferred, "AUTH failure");
    format!("{network} guesses passwords: {failures} since {}.", since(storm.since, now))
}

/// What came of the last question to the backend, with its place once.
pub(crate) fn backend_error(target: &str, error: &str) -> String {
    let error = error.trim_end_matches('.');
    let place = target.split_once("://").map_or(target, |(_, place)| place);
    match error.starts_with(place) {
        true => error.to_owned(),
        false => format!("{target}: {error}"),
    }
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
    let zone = zone::find().0;
    zone.iana_name().unwrap_or("UTC").trim_start_matches("Etc/").to_owned()
}

/// Octets for people.
pub(crate) fn bytes(octets: u64) -> String {
    DecimalBytes(octets).to_string()
}

fn zoned(at: u32) -> ZonedDateTime {
    Timestamp::from(Time::from_seconds(at)).to_zoned_datetime(zone::find().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_sentence() {
        let now = Time::from_seconds(1_795_395_525);
        let at = since(now.seconds(), now);
        // Refused, absorbed, deferred, delivered, and messages that are alike.
        let of = |[refused, absorbed, deferred, delivered, similar]: [u64; 5]| {
            let mut storm = Storm::new("192.0.2.0/24 <n@s.example>".to_owned(), now.seconds());
            storm.copies = refused + absorbed + deferred + delivered;
            (storm.refused, storm.absorbed, storm.deferred) = (refused, absorbed, deferred);
            (storm.delivered, storm.similar) = (delivered, similar);
            storm
        };
        let opening = "A storm: <n@s.example> from 192.0.2.0/24 has sent ";
        let let_through = "most of it reaches the queue: block <n@s.example>, unless it is wanted.";
        for (counts, told) in [
            ([47, 0, 0, 1, 0], format!("48 copies since {at}; 47 were refused, 1 delivered; nothing waits for you.")),
            (
                [1, 3, 2, 0, 0],
                format!("6 copies since {at}; 1 was refused, 3 absorbed, 2 deferred; nothing waits for you."),
            ),
            ([0, 0, 0, 5, 0], format!("5 copies since {at}; 5 were delivered; {let_through}")),
            ([0, 0, 0, 0, 9], format!("9 messages that differ only in Date and Message-ID since {at}; {let_through}")),
            (
                [8, 0, 0, 0, 1],
                format!(
                    "8 copies since {at}; 8 were refused; and 1 message that differs only in Date and Message-ID; \
                     nothing waits for you."
                ),
            ),
        ] {
            assert_eq!(storm(&of(counts), now), format!("{opening}{told}"));
        }
    }

    #[test]
    fn the_place_of_a_backend_is_named_once() {
        for (target, error, told) in [
            ("tcp://[::1]:25", "[::1]:25: Connection refused", "[::1]:25: Connection refused"),
            ("lmtp://127.0.0.1:24", "it hung up.", "lmtp://127.0.0.1:24: it hung up"),
            ("spawn:./backend", "./backend: No such file", "spawn:./backend: ./backend: No such file"),
        ] {
            assert_eq!(backend_error(target, error), told);
        }
    }

    #[test]
    fn guessing_counts_what_failed() {
        let now = Time::from_seconds(1_795_395_525);
        let mut storm = Storm::new("192.0.2.0/24 auth".to_owned(), now.seconds());
        (storm.refused, storm.deferred) = (6, 2);
        let told = format!("192.0.2.0/24 guesses passwords: 8 AUTH failures since {}.", since(now.seconds(), now));
        assert_eq!(guessing(&storm, now), told);
    }
}
