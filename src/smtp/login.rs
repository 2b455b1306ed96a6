//! The name in an AUTH exchange (RFC 4954), read from the client's first line of it, for counting and for the log. The
//! exchange itself is the backend's. It must not give out any part of a password.

/// The user that the first response of this mechanism names, if it can be read: cut, but otherwise as it was written.
/// `line` is base64.
pub fn user(mechanism: &str, line: &[u8]) -> Option<String> {
    // Bounded: a name stands at the front in every mechanism.
    let text = decode(&line[..line.len().min(MOST_READ)]);
    let named: &[u8] = match mechanism.to_ascii_uppercase().as_str() {
        // RFC 4616: authorization identity, NUL, user, NUL, password.
        "PLAIN" => {
            let mut parts = text.splitn(3, |octet| *octet == 0);
            let (user, _password) = (parts.nth(1)?, parts.next()?);
            user
        }
        // Of LOGIN the first line is the user, the second the password.
        "LOGIN" => &text,
        // RFC 2195: the user, a blank, a digest in hexadecimal.
        "CRAM-MD5" => {
            let blank = text.iter().rposition(|octet| *octet == b' ')?;
            text[blank + 1..].iter().all(u8::is_ascii_hexdigit).then_some(&text[..blank])?
        }
        "XOAUTH2" => text.strip_prefix(b"user=")?.split(|octet| *octet == 1).next()?,
        // RFC 7628: a GS2 header, a^= in front of the user.
        "OAUTHBEARER" => text.strip_prefix(b"n,a=")?.split(|octet| *octet == b',').next()?,
        // RFC 5802 section 7: a GS2 header of two commas, then n= and the user.
        mechanism if mechanism.starts_with("SCRAM-") => {
            text.splitn(4, |octet| *octet == b',').nth(2)?.strip_prefix(b"n=")?
        }
        _ => return None,
    };
    let name: String = String::from_utf8_lossy(named).trim().chars().take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// Decodes up to the first octet that is no base64 (RFC 4648 section 4).
fn decode(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for octet in text {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    octets
}

/// Octets of base64 that are read.
const MOST_READ: usize = 2048;
/// Characters of the longest name; longer ones are cut (RFC 5321 section 4.5.3.1: a local part and a domain are shorter
/// together).
const LONGEST_NAME: usize = 128;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_in_each_mechanism() {
        let long = encode(&[b'x'; 500]);
        let table: &[(&str, &str, Option<&str>)] = &[
            ("PLAIN", "AGpvZUBleGFtcGxlLm9yZwBzZWNyZXQ=", Some("joe@example.org")),
            ("plain", "YW5uAGpvZQBzZWNyZXQ=", Some("joe")),
            ("PLAIN", "am9lc2VjcmV0", None),
            ("PLAIN", "AHNlY3JldA==", None),
            ("PLAIN", "=", None),
            ("LOGIN", "am9l", Some("joe")),
            ("LOGIN", "IGpvZSA=", Some("joe")),
            ("LOGIN", "=", None),
            ("LOGIN", "*", None),
            ("LOGIN", "", None),
            ("CRAM-MD5", "am9lIGIgMTIzYWJj", Some("joe b")),
            ("CRAM-MD5", "am9lc2VjcmV0", None),
            ("CRAM-MD5", "am9lIHNlY3JldA==", None),
            ("XOAUTH2", "dXNlcj1qb2VAZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgc2VjcmV0AQE=", Some("joe@example.org")),
            ("XOAUTH2", "YXV0aD1CZWFyZXIgc2VjcmV0AQE=", None),
            ("OAUTHBEARER", "bixhPWpvZSwBYXV0aD1CZWFyZXIgc2VjcmV0AQE=", Some("joe")),
            ("SCRAM-SHA-256", "biwsbj1qb2Uscj1ub25jZQ==", Some("joe")),
            ("EXTERNAL", "am9l", None),
            ("GSSAPI", "am9l", None),
        ];
        for (mechanism, line, name) in table {
            assert_eq!(user(mechanism, line.as_bytes()).as_deref(), *name, "{mechanism} {line}");
        }
        assert_eq!(user("LOGIN", long.as_bytes()).unwrap().len(), LONGEST_NAME);
    }

    proptest! {
        #[test]
        fn any_octets_come_back(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&octets).as_bytes()), octets);
        }

        #[test]
        fn a_password_is_never_a_name(name in "[a-z]{1,20}", password in "[0-9]{8,40}") {
            let lines = [
                ("PLAIN", format!("\0{name}\0{password}")),
                ("XOAUTH2", format!("user={name}\x01auth=Bearer {password}\x01\x01")),
                ("OAUTHBEARER", format!("n,a={name},\x01auth=Bearer {password}\x01\x01")),
            ];
            for (mechanism, text) in lines {
                prop_assert_eq!(user(mechanism, encode(text.as_bytes()).as_bytes()), Some(name.clone()));
            }
        }
    }

    fn encode(octets: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in octets.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - three.len()));
            for place in 0..=three.len() {
                text.push(char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
            }
        }
        text + ["", "==", "="][octets.len() % 3]
    }
}
