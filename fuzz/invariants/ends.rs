//! Where other servers take a message to end: models of their rules, held to what the real ones were seen to do
//! (tests/samples/eod-variants.tsv). None of them may see an end in what we pass on but the one that is ours.

/// What becomes of the octets behind a 354.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The message ends before this octet.
    Ends(usize),
    /// 451 and close: at this octet.
    Refused(usize),
    /// More is waited for.
    Continues,
}

/// All of them.
pub(super) const SERVERS: [(&str, fn(&[u8]) -> Fate); 4] =
    [("qmail-smtpd", qmail_smtpd), ("mailfront", mailfront), ("Postfix", postfix), ("OpenSMTPD", opensmtpd)];

/// notqmail's `blast`: CRLF.CRLF, also behind a run of CR; any LF without CR is refused (`straynewline`).
fn qmail_smtpd(octets: &[u8]) -> Fate {
    #[derive(Clone, Copy)]
    enum Seen {
        Text,
        Crlf,
        Dot,
        DotCr,
        Cr,
    }
    let mut seen = Seen::Crlf;
    for (at, octet) in octets.iter().enumerate() {
        seen = match (seen, octet) {
            (Seen::DotCr, b'\n') => return Fate::Ends(at + 1),
            (Seen::Cr, b'\n') => Seen::Crlf,
            (_, b'\n') => return Fate::Refused(at),
            (Seen::Crlf, b'.') => Seen::Dot,
            (Seen::Dot, b'\r') => Seen::DotCr,
            (_, b'\r') => Seen::Cr,
            _ => Seen::Text,
        };
    }
    Fate::Continues
}

/// mailfront 2.12's `copy_body`: a dot alone on a line, where one CR, before the dot or before the LF, makes no
/// difference, and a line ends at LF.
fn mailfront(octets: &[u8]) -> Fate {
    let (mut saw_period, mut saw_cr, mut position) = (false, false, 0);
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            b'\n' if saw_period && position == 0 => return Fate::Ends(at + 1),
            b'\n' => (saw_period, saw_cr, position) = (false, false, 0),
            b'\r' => {
                position += usize::from(saw_cr);
                saw_cr = true;
            }
            b'.' if position == 0 && !saw_period => saw_period = true,
            _ => {
                saw_cr = false;
                position += 1;
            }
        }
    }
    Fate::Continues
}

/// Postfix before 3.9, as it is delivered: lines end at LF, any run of CR before it is dropped.
fn postfix(octets: &[u8]) -> Fate {
    lone_dot(octets, |line| &line[..line.iter().rposition(|octet| *octet != b'\r').map_or(0, |last| last + 1)])
}

/// OpenSMTPD: lines end at LF, one CR before it is dropped, and a line is a C string.
fn opensmtpd(octets: &[u8]) -> Fate {
    lone_dot(octets, |line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|octet| *octet == 0).next().unwrap_or(line)
    })
}

fn lone_dot(octets: &[u8], text: impl Fn(&[u8]) -> &[u8]) -> Fate {
    let mut end = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        end += line.len();
        let Some(line) = line.strip_suffix(b"\n") else { break };
        if text(line) == b"." {
            return Fate::Ends(end);
        }
    }
    Fate::Continues
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::data;
    use super::*;

    #[test]
    fn the_models_do_what_the_real_servers_were_seen_to_do() {
        let rows = include_str!("../../tests/samples/eod-variants.tsv").lines().skip(1);
        let mut count = 0;
        for row in rows {
            let columns: Vec<&str> = row.split('\t').collect();
            let variant = columns[0].replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
            let octets = [b"a", variant.as_bytes(), b"z"].concat();
            for (server, model, seen) in
                [("qmail-smtpd", SERVERS[0].1, columns[1]), ("mailfront", SERVERS[1].1, columns[2])]
            {
                let fate = match model(&octets) {
                    Fate::Ends(at) if at == octets.len() - 1 => "ends",
                    Fate::Ends(_) => "ends elsewhere",
                    Fate::Refused(_) => "451 and close",
                    Fate::Continues => "continues",
                };
                assert_eq!(fate, seen.to_lowercase(), "{server}: {}", columns[0]);
            }
            count += 1;
        }
        assert_eq!(count, 15);
    }

    #[test]
    fn postfix_and_opensmtpd_end_at_more() {
        let rows: [(&[u8], bool, bool); 7] = [
            (b"a\r\n.\r\n", true, true),
            (b"a\n.\n", true, true),
            (b"a\r\n.\r\r\n", true, false),
            (b"a\r\n.\0b\r\n", false, true),
            (b"a\r\n\r.\r\n", false, false),
            (b"a\r.\r\n", false, false),
            (b".\r\n", true, true),
        ];
        for (octets, at_postfix, at_opensmtpd) in rows {
            let text = octets.escape_ascii();
            assert_eq!(postfix(octets) == Fate::Ends(octets.len()), at_postfix, "Postfix: {text}");
            assert_eq!(opensmtpd(octets) == Fate::Ends(octets.len()), at_opensmtpd, "OpenSMTPD: {text}");
        }
    }

    /// Octets from an alphabet that hits every transition.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![4 => Just(b'\r'), 4 => Just(b'\n'), 4 => Just(b'.'), 3 => Just(b'a'), 1 => Just(0)];
        prop::collection::vec(octet, 0..64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_server_sees_an_end_inside(octets in hostile()) {
            data(&octets);
        }
    }
}
