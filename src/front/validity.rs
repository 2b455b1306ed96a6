//! The time in which a certificate is valid (RFC 5280 section 4.1.2.5), read from its DER. It must not verify anything.

use jiff::Timestamp;

/// The first and the last second of a certificate; `None` where it has another form.
pub(super) fn of(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, behind)) = element(fields, VERSION) {
        fields = behind;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // Serial number, algorithm, issuer.
        fields = element(fields, tag)?.1;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (first, behind) = time(validity)?;
    Some((first, time(behind)?.0))
}

/// `YYMMDDhhmmssZ`, whose years begin with 1950, or `YYYYMMDDhhmmssZ`.
fn time(octets: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (century, (text, behind)) = match element(octets, UTC_TIME) {
        Some(found) => (if found.0.first()? >= &b'5' { "19" } else { "20" }, found),
        None => ("", element(octets, GENERALIZED_TIME)?),
    };
    let text = format!("{century}{}", str::from_utf8(text).ok()?);
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some((time.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?.timestamp(), behind))
}

/// The contents of the first element, if it has this tag, and what follows it.
fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], mut rest) = octets.split_first_chunk()?;
    let mut length = usize::from(length);
    if length >= 0x80 {
        let (digits, behind) = rest.split_at_checked(length - 0x80)?;
        length = digits.iter().try_fold(0_usize, |sum, digit| Some(sum.checked_mul(256)? + usize::from(*digit)))?;
        rest = behind;
    }
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms() {
        let table: [(u8, &str, Option<&str>); 6] = [
            (UTC_TIME, "240131235959Z", Some("2024-01-31T23:59:59Z")),
            (UTC_TIME, "700101000000Z", Some("1970-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20510101000000Z", Some("2051-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "510101000000Z", None),
            (UTC_TIME, "241331235959Z", None),
            (INTEGER, "240131235959Z", None),
        ];
        for (tag, text, expected) in table {
            let mut octets = vec![tag, u8::try_from(text.len()).unwrap()];
            octets.extend(text.as_bytes());
            let read = time(&octets).map(|(time, _)| time);
            assert_eq!(read, expected.map(|it| it.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_none() {
        for octets in [&[][..], &[0x30], &[0x30, 0x82, 0x01], &[0x30, 0x05, 0x30], &[0x30, 0xff]] {
            assert_eq!(of(octets), None, "{octets:?}");
        }
    }
}
