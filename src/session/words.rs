//! The words of a line that was refused, for the log: its beginning. It must not let a secret out.

use crate::smtp::command;
use crate::smtp::command::Command;
use crate::smtp::command::CommandFault;

/// The beginning of `line`; octets that are not UTF-8 are read as Latin-1. `after_auth`: AUTH was said in this session,
/// so that a line that is no command may be part of an exchange that was refused, and none of it is shown.
pub(super) fn words(line: &[u8], after_auth: bool) -> Option<String> {
    let shown = shown(line);
    if line.is_empty() || after_auth && is_no_command(line) {
        return None;
    }
    let length = shown.len().min(MOST_OCTETS);
    let mut words = String::with_capacity(length + CUT.len());
    for chunk in shown[..length].utf8_chunks() {
        words.push_str(chunk.valid());
        words.extend(chunk.invalid().iter().map(|octet| char::from(*octet)));
    }
    if length < line.len() {
        words.push_str(CUT);
    }
    Some(words)
}

/// Whether a line begins as AUTH does, well formed or not.
pub(super) fn is_auth(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
}

/// Whether a line is no command, well formed or not.
pub(super) fn is_no_command(line: &[u8]) -> bool {
    matches!(
        command::parse(line),
        Ok(Command::Http | Command::Unknown) | Err(CommandFault::ControlOctet | CommandFault::Syntax)
    )
}

/// The line up to where a secret may begin: AUTH up to its mechanism, login commands of POP3 and IMAP up to their
/// arguments, XCLIENT up to the user's name, a field of HTTP up to its colon.
pub(super) fn shown(line: &[u8]) -> &[u8] {
    let end_of_word = |from: usize| {
        let start = from + line[from..].iter().take_while(|octet| octet.is_ascii_whitespace()).count();
        start + line[start..].iter().take_while(|octet| !octet.is_ascii_whitespace()).count()
    };
    let first = end_of_word(0);
    let second = end_of_word(first);
    let is = |word: &[u8], names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    let (verb, argument) = (line[..first].trim_ascii_start(), line[first..second].trim_ascii());
    let is_mechanism = argument.len() <= MOST_OF_MECHANISM && !argument.iter().any(|octet| b"=+/".contains(octet));
    if is(verb, &["AUTH"]) && is_mechanism || is(argument, &["AUTHENTICATE", "LOGIN"]) {
        &line[..second]
    } else if is(verb, &["APOP", "PASS"]) || verb.ends_with(b":") {
        &line[..first]
    } else if is(verb, &["XCLIENT"]) {
        &line[..end_of_login(line).unwrap_or(line.len())]
    } else if is_auth(line) {
        &line[..line.len() - line.trim_ascii_start().len() + 4]
    } else {
        line
    }
}

/// The end of `LOGIN=`, an attribute of XCLIENT.
fn end_of_login(line: &[u8]) -> Option<usize> {
    let at = line.windows(LOGIN.len()).position(|window| window.eq_ignore_ascii_case(LOGIN))?;
    Some(at + LOGIN.len())
}

const LOGIN: &[u8] = b" LOGIN=";
/// Octets of a line that are shown at most.
const MOST_OCTETS: usize = 200;
/// Octets of the longest name of a mechanism (RFC 4422 section 3.1).
const MOST_OF_MECHANISM: usize = 20;
const CUT: &str = "...";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_told() {
        let long = "x".repeat(201);
        let rows: &[(&str, &[u8], Option<&str>, Option<&str>)] = &[
            ("a command", b"RCPT TO:<a..b@c d>", Some("RCPT TO:<a..b@c d>"), Some("RCPT TO:<a..b@c d>")),
            ("no command", b"BLA bla", Some("BLA bla"), None),
            ("a secret without its command", b"c2VjcmV0", Some("c2VjcmV0"), None),
            ("AUTH", b"AUTH PLAIN AGEAYg==", Some("AUTH PLAIN..."), Some("AUTH PLAIN...")),
            ("AUTH alone", b"auth login", Some("auth login"), Some("auth login")),
            ("AUTH with blanks", b" AUTH\t\tPLAIN  x y", Some(" AUTH\t\tPLAIN..."), None),
            ("AUTH without a mechanism", b"AUTH AGEAYg==", Some("AUTH..."), Some("AUTH...")),
            ("AUTH of old", b"AUTH=PLAIN AGEAYg==", Some("AUTH..."), None),
            ("AUTH and no blank", b"AUTH\x0bPLAIN AGEAYg==", Some("AUTH..."), None),
            ("POP3", b"PASS secret", Some("PASS..."), None),
            ("IMAP", b"a1 LOGIN joe secret", Some("a1 LOGIN..."), None),
            ("HTTP", b"Authorization: Basic YTpi", Some("Authorization:..."), None),
            ("Latin-1", b"MAIL FROM:<b\xfcro@x>", Some("MAIL FROM:<b\u{fc}ro@x>"), Some("MAIL FROM:<b\u{fc}ro@x>")),
            ("UTF-8", "VRFY b\u{fc}ro".as_bytes(), Some("VRFY b\u{fc}ro"), Some("VRFY b\u{fc}ro")),
            ("nothing", b"", None, None),
            ("long", long.as_bytes(), Some(&format!("{}...", &long[1..])), None),
        ];
        for (what, line, told, after_auth) in rows {
            assert_eq!(words(line, false).as_deref(), *told, "{what}");
            assert_eq!(words(line, true).as_deref(), *after_auth, "{what}, after AUTH");
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_told(
            verb in "[Aa][Uu][Tt][Hh]",
            between in "[ \\t]{1,3}",
            mechanism in "[A-Z0-9-]{1,20}",
            secret in "[a-z]{3,40}={1,2}",
            before in "[ ]{0,2}",
        ) {
            for line in [
                format!("{before}{verb}{between}{mechanism}{between}{secret}"),
                format!("{before}{verb}{between}{secret}"),
                format!("{before}{verb}{secret}"),
            ] {
                let told = words(line.as_bytes(), false).unwrap();
                prop_assert!(!told.contains(&secret), "{told}");
            }
        }

        #[test]
        fn it_is_short(line in any::<Vec<u8>>(), after_auth in any::<bool>()) {
            let told = words(&line, after_auth).unwrap_or_default();
            prop_assert!(told.chars().count() <= MOST_OCTETS + CUT.len());
        }
    }
}
