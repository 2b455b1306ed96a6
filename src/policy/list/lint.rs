//! The warnings of `check` about lists that qmail reads without a word: lines that match nothing, or not what they seem
//! to. Each says what to write instead. It must not change what a list matches.

use std::net::IpAddr;

use memchr::memchr;

use crate::policy::list::entries::lines;
use crate::policy::list::entries::trim_end;
use crate::policy::list::extended::Pattern;
use crate::policy::list::extended::parse_entry;
use crate::policy::list::fault::Faults;
use crate::policy::list::fault::ListFault;
use crate::policy::list::remedy;
use crate::policy::list::remedy::Remedy;
use crate::policy::list::remedy::is_domain;
use crate::policy::list::remedy::is_live;
use crate::smtp::address::without_trailing_dot;

/// Warnings about badmailfrom and its like.
pub fn addresses(source: &str, text: &[u8]) -> Vec<ListFault> {
    warnings(source, text, |entry| if is_live(entry) { None } else { Some(told(entry, dead_address(entry))) })
}

/// Warnings about rcpthosts.
pub fn domains(source: &str, text: &[u8]) -> Vec<ListFault> {
    warnings(source, text, |entry| {
        let is_right = is_domain(entry.strip_prefix(b".").unwrap_or(entry)) || is_numeric(entry);
        let remedy = || if entry.len() > 900 { Remedy::default() } else { remedy::of_domains(entry) };
        (!is_right).then(|| {
            let instead =
                if remedy().lines.is_empty() { "write a domain, or .domain for all hosts below it" } else { "" };
            told(entry, Doubt { instead, ..Doubt::new("matches nothing", remedy()) })
        })
    })
}

/// The reason why an entry of the extended dialect, which could be read as `pattern`, matches nothing that was meant.
pub(super) fn in_extended(entry: &[u8], pattern: &Pattern) -> Option<String> {
    (!is_right(entry, pattern)).then(|| told(entry, dead_address(entry)))
}

fn is_right(entry: &[u8], pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Exact(_) => is_live(without_trailing_dot(entry)) || entry.contains(&b'*'),
        Pattern::Below(_) => {
            let below = entry.iter().position(|octet| *octet == b'.').map(|dot| &entry[dot + 1..]);
            below.is_none_or(|below| is_domain(without_trailing_dot(below)))
        }
        Pattern::Glob(_) => !entry.iter().any(|octet| b",;()".contains(octet)),
    }
}

/// The words about a regular expression, if an entry is one.
pub(super) fn regex(entry: &[u8]) -> Option<String> {
    is_regex(entry.strip_prefix(b"!").unwrap_or(entry)).then(|| told(entry, dead_address(entry)))
}

/// What is wrong with an entry, and what to write instead.
#[derive(Debug)]
struct Doubt {
    what: &'static str,
    remedy: Remedy,
    /// What to do where there is no remedy, or besides.
    instead: &'static str,
}

impl Doubt {
    fn new(what: &'static str, remedy: Remedy) -> Self {
        Self { what, remedy, instead: "" }
    }
}

/// The warning about an entry: `"a@b.example why" matches nothing: write "a@b.example"`.
fn told(entry: &[u8], Doubt { what, remedy, instead }: Doubt) -> String {
    let shown: String = String::from_utf8_lossy(&entry[..entry.len().min(MOST_SHOWN * 4)])
        .chars()
        .take(MOST_SHOWN)
        .map(visible)
        .collect();
    let more = if entry.len() > MOST_SHOWN { "..." } else { "" };
    let remedy = match (remedy::told(&remedy), instead) {
        (Some(remedy), "") => remedy,
        (Some(remedy), instead) => format!("{remedy}; {instead}"),
        (None, "") => "remove the line, or write an address or @domain".to_owned(),
        (None, instead) => instead.to_owned(),
    };
    format!("\"{shown}{more}\" {what}: {remedy}")
}

/// A letter, or its number where it does not show.
fn visible(letter: char) -> String {
    match letter {
        ' '..='~' => letter.to_string(),
        _ if letter.is_alphanumeric() || letter == char::REPLACEMENT_CHARACTER => letter.to_string(),
        _ => letter.escape_default().to_string(),
    }
}

/// Finds one doubt a line.
fn warnings(source: &str, text: &[u8], check: impl Fn(&[u8]) -> Option<String>) -> Vec<ListFault> {
    let mut found = Faults::new(source);
    for (line, raw) in lines(text) {
        let entry = trim_end(raw);
        if matches!(entry, [] | [b'#', ..] | [b'\r']) {
            continue;
        }
        let what = match entry {
            _ if entry.contains(&0) => {
                Some("has a NUL octet: qmail ends the entry there and begins another; write the line again".to_owned())
            }
            // The rest of the line is judged without it, so that one warning has all that is to be done.
            [entry @ .., b'\r'] => check(trim_end(entry)).or_else(|| Some(CR.to_owned())),
            _ => check(entry),
        };
        what.into_iter().for_each(|what| found.push(line, what));
    }
    found.into_vec()
}

/// The doubt about an entry that is not live. What is proposed would not be doubted itself.
fn dead_address(entry: &[u8]) -> Doubt {
    let mut doubt = judge(entry);
    let extended = doubt.remedy.extended;
    doubt.remedy.lines.retain(|line| stands(line.as_bytes(), extended));
    doubt
}

fn stands(line: &[u8], extended: bool) -> bool {
    if !extended {
        return is_live(line);
    }
    let entry = line.strip_prefix(b"!").unwrap_or(line);
    !is_regex(entry) && parse_entry(entry).is_ok_and(|pattern| is_right(entry, &pattern))
}

fn judge(entry: &[u8]) -> Doubt {
    let remedy = || remedy::of_addresses(entry);
    match entry {
        _ if entry.len() > 900 => Doubt::new("is longer than any address", Remedy::default()),
        [0xEF, 0xBB, 0xBF, rest @ ..] => match rest {
            [] | [b'#', ..] => Doubt { instead: "save the file without it", ..Doubt::new(BOM, Remedy::default()) },
            _ => Doubt { instead: "save the file without it", ..Doubt::new(BOM, remedy()) },
        },
        [b'!', rest @ ..] if is_regex(rest) => Doubt {
            instead: "it refused every sender that does not match; remove the line",
            ..Doubt::new(REGEX, Remedy::default())
        },
        _ if is_regex(entry) => Doubt {
            instead: if remedy::of_regex(entry).lines.is_empty() { "write addresses, @domain or globs" } else { "" },
            ..Doubt::new(REGEX, remedy::of_regex(entry))
        },
        [b'~', ..] => Doubt {
            instead: "deny the client's addresses in qmail.tcprules",
            ..Doubt::new("is s/qmail's (a client's name): not read here", Remedy::default())
        },
        [address @ .., mark @ (b'+' | b'-' | b'=')] if is_live(address) => of_sqmail(address, *mark),
        _ if is_client(entry) => Doubt {
            instead: "block the client (portcullis block), or deny it in qmail.tcprules",
            ..Doubt::new("is not a sender", Remedy::default())
        },
        [b';', ..] | [b'/', b'/', ..] => {
            Doubt { instead: "write # before a comment", ..Doubt::new("matches nothing", Remedy::default()) }
        }
        [b'@'] => Doubt::new("matches only senders without a domain", Remedy::default()),
        [.., b'.'] if is_live(&entry[..entry.len() - 1]) => Doubt::new("is read without its trailing dot", remedy()),
        _ if !entry.contains(&b'@') && is_domain(entry) && !entry.contains(&b'.') => {
            let instead = "write a whole address, or @domain";
            Doubt { instead, ..Doubt::new("matches only an address without a domain", Remedy::default()) }
        }
        _ if str::from_utf8(entry).is_err() && remedy().lines.is_empty() => {
            Doubt { instead: "save the file as UTF-8", ..Doubt::new("is not UTF-8", Remedy::default()) }
        }
        _ => Doubt::new("matches nothing", remedy()),
    }
}

/// `@own.example+` and its kin (s/qmail, SPAMCONTROL): without the mark the entry refuses more than it did.
fn of_sqmail(address: &[u8], mark: u8) -> Doubt {
    let what = match mark {
        b'+' => "is s/qmail's (not from clients with RELAYCLIENT): not read here",
        b'-' => "is s/qmail's (only from clients without a name): not read here",
        _ => "is s/qmail's (only from clients of another name): not read here",
    };
    let remedy = Remedy { lines: vec![String::from_utf8_lossy(address).into_owned()], ..Remedy::default() };
    Doubt { instead: "but that refuses your own clients too, so rather remove the line", ..Doubt::new(what, remedy) }
}

/// Whether an entry is a regular expression, as qregex reads badmailfrom. `*.example` and `*@x.*` are none: there is
/// nothing that the star could repeat.
fn is_regex(entry: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(entry, part).is_some();
    let escaped = memchr(b'\\', entry).is_some() && !entry.contains(&b'"');
    let anchored = entry.starts_with(b"^") || entry.ends_with(b"$");
    let classes = has(b"[^") || has(b"[a-z") || has(b"[0-9") || has(b"[A-Z") || has(b"[[:");
    let repeats =
        [&b".*@"[..], b".+@", b"@.*", b"@.+", b".*\\", b")*", b")+", b"]*", b"]+"].iter().any(|part| has(part));
    let starts = entry.starts_with(b".*") || entry.starts_with(b".+");
    escaped || anchored || classes || starts || (repeats && !entry.starts_with(b"*"))
}

/// Whether an entry is the address or the network of a client.
fn is_client(entry: &[u8]) -> bool {
    let address = entry.split(|octet| *octet == b'/').next().unwrap_or_default();
    str::from_utf8(address).is_ok_and(|text| text.parse::<IpAddr>().is_ok()) || is_numeric(entry)
}

/// `192.0.2.`, `192.0.2.1`
fn is_numeric(entry: &[u8]) -> bool {
    let is_digit = |octet: &u8| octet.is_ascii_digit();
    entry.contains(&b'.') && entry.iter().any(is_digit) && entry.iter().all(|octet| is_digit(octet) || *octet == b'.')
}

const CR: &str = "ends in CR, which qmail keeps: the entry matches nothing; save with LF line ends";
const BOM: &str = "begins with a byte order mark, so it matches nothing";
const REGEX: &str = "is a regular expression (badmailpatterns, qregex): not read here";
/// Letters of an entry that are shown.
const MOST_SHOWN: usize = 60;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::proptest;

    use super::*;
    use crate::policy::list::AddressList;
    use crate::policy::list::Dialect;

    /// Follows the remedy for a line: nothing is doubted any more, and it matches the senders that were meant.
    fn follow(line: &[u8], meant: &[&str]) {
        let shown = line.escape_ascii();
        let entry = trim_end(line.strip_suffix(b"\r").unwrap_or(line));
        let found = addresses("bad", line);
        assert_eq!(found.len(), 1, "{shown}");
        let remedy = dead_address(entry).remedy;
        for written in &remedy.lines {
            assert!(found[0].what.contains(&format!("\"{written}\"")), "{shown}: {}", found[0].what);
        }
        assert_eq!(found[0].what.contains("extended"), remedy.extended, "{shown}: {}", found[0].what);
        let dialect = if remedy.extended { Dialect::Extended } else { Dialect::Qmail };
        let text = remedy.lines.join("\n");
        assert!(AddressList::warnings("bad", dialect, text.as_bytes()).is_empty(), "{shown}: {text}");
        let list = AddressList::parse("bad".into(), dialect, text.as_bytes());
        let list = list.unwrap_or_else(|faults| panic!("{shown}: {text}: {faults:?}"));
        for sender in meant {
            assert!(list.find_folded(sender.as_bytes()).is_some(), "{shown}: {text} does not match {sender}");
        }
        assert!(list.find_folded(b"honest@other.example").is_none(), "{shown}: {text}");
        assert_eq!(list.len(), remedy.lines.len(), "{shown}: {text}");
    }

    #[test]
    fn a_remedy_works_when_it_is_followed() {
        for (line, meant) in DEAD {
            follow(line.as_bytes(), meant);
        }
    }

    #[test]
    fn exceptions_are_excepted() {
        for (line, domain) in
            [("!a@b.example", "@b.example"), ("?a@b.example", "@b.example"), ("!@b.example", "@b.example")]
        {
            let remedy = dead_address(line.as_bytes()).remedy;
            let text = format!("{}\n{domain}\n", remedy.lines[0]);
            let list = AddressList::parse("bad".into(), Dialect::Extended, text.as_bytes()).unwrap();
            assert!(remedy.extended && list.find_folded(b"a@b.example").is_none(), "{line}: {text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_proposed_is_not_doubted_again(
            line in "[ab@.,;:#!?*<>()'\"\\\\ /|+=~^$\\[\\]1-3\t\u{A0}\u{FF20}\u{FEFF}-]{1,24}",
            octets in any::<Vec<u8>>(),
        ) {
            for text in [line.as_bytes(), &octets] {
                addresses("bad", text);
                domains("rcpthosts", text);
            }
            let Doubt { remedy, .. } = dead_address(line.as_bytes());
            let dialect = if remedy.extended { Dialect::Extended } else { Dialect::Qmail };
            let text = remedy.lines.join("\n");
            prop_assert!(AddressList::warnings("bad", dialect, text.as_bytes()).is_empty(), "{line:?}: {text:?}");
            let list = AddressList::parse("bad".into(), dialect, text.as_bytes());
            prop_assert!(list.is_ok(), "{line:?}: {text:?}: {list:?}");
            for name in remedy::of_domains(line.as_bytes()).lines {
                prop_assert!(domains("rcpthosts", name.as_bytes()).is_empty(), "{line:?}: {name:?}");
            }
        }
    }

    #[test]
    fn a_line_that_is_not_read_is_never_proposed() {
        for line in ["<.*1\u{a0}", "<.*@x.example> why", "(.+spam", "\u{ff20}*.a!"] {
            assert!(dead_address(line.as_bytes()).remedy.lines.is_empty(), "{line}");
        }
    }

    #[test]
    fn each_is_told_in_its_words() {
        let table = [
            (
                "a@x.example  //why",
                "bad:1: \"a@x.example  //why\" matches nothing: write \"a@x.example\", and the rest on its own",
            ),
            (
                "a@b.example,c@d.example",
                "matches nothing: write one entry per line: \"a@b.example\" and \"c@d.example\"",
            ),
            (".*\\ @.*", "is a regular expression (badmailpatterns, qregex): not read here: write addresses"),
            (
                "!.*@.*\\..*",
                "is a regular expression (badmailpatterns, qregex): not read here: it refused every sender",
            ),
            (
                "@own.example+",
                "is s/qmail's (not from clients with RELAYCLIENT): not read here: write \"@own.example\"; but that",
            ),
            ("192.0.2.1", "is not a sender: block the client"),
            ("a@b.example\r", "ends in CR"),
            ("a\0b", "has a NUL octet"),
            ("\u{FEFF}# ours", "begins with a byte order mark, so it matches nothing: save the file without it"),
            ("@.b.example", "write \".b.example\" and set dialect = \"extended\""),
            ("@", "matches only senders without a domain: remove the line"),
            ("a@b.example\u{A0}", "\"a@b.example\\u{a0}\" matches nothing: write \"a@b.example\""),
        ];
        for (line, expected) in table {
            let told = addresses("bad", line.as_bytes())[0].to_string();
            assert!(told.contains(expected), "{line:?}: {told}");
        }
        let long = addresses("bad", format!("{}@b.example", "x".repeat(1000)).as_bytes())[0].to_string();
        assert!(long.len() < 150 && long.contains("is longer than any address"), "{long}");
    }

    #[test]
    fn what_is_right_is_not_doubted() {
        let right = "# all is well\n\na@b.example\n@C.example \nx y@d.example\n@[192.0.2.9]\n@[IPv6:2001:db8::1]\n\
                     o'neil@b.example\nbounce+x=y.example@b.example\n/S=joe/O=x/@gate.example\nroot@localhost\n\
                     a.b-c_d@sub_domain.b.example\n@b\u{FC}cher.example\n@xn--bcher-kva.example\nhost!user@b.example\n\
                     SRS0=ab=cd=x.example=a@b.example\njoe%x.example@b.example\n#\n@123.example\na#b@b.example\n\
                     root@192.0.2.1\na@cabinet-.example\na@-x.example\n";
        assert_eq!(addresses("bad", right.as_bytes()), []);
        let right = "localhost\nexample.org\n.example.net\n# no @\n192.0.2.1\nb\u{FC}cher.example\nmy_host.example\n";
        assert_eq!(domains("rcpthosts", right.as_bytes()), []);
    }

    #[test]
    fn rcpthosts_has_traps_of_its_own() {
        let table: &[(&str, &[&str])] = &[
            ("@example.org", &["example.org"]),
            ("*.example.org", &[".example.org"]),
            ("*@example.org", &["example.org"]),
            ("example.org.", &["example.org"]),
            ("example.org  # ours", &["example.org"]),
            ("example.org,example.net", &["example.org", "example.net"]),
            ("example.org example.net", &["example.org", "example.net"]),
            (" example.org", &["example.org"]),
            ("example.org\u{A0}", &["example.org"]),
            ("\u{FEFF}example.org", &["example.org"]),
            ("example.org:smarthost", &["example.org"]),
            ("https://example.org/", &["example.org"]),
            ("!example.org", &[]),
            ("joe@example.org", &[]),
            ("example.org\r", &[]),
        ];
        for (line, lines) in table {
            let found = domains("rcpthosts", line.as_bytes());
            assert_eq!(found.len(), 1, "{line:?}");
            assert_eq!(
                remedy::of_domains(line.trim_end_matches('\r').as_bytes()).lines.len().min(lines.len()),
                lines.len()
            );
            for written in *lines {
                assert!(found[0].what.contains(&format!("\"{written}\"")), "{line:?}: {}", found[0]);
                assert_eq!(domains("rcpthosts", written.as_bytes()), [], "{line:?}");
            }
        }
    }

    const A: &str = "a@b.example";
    const C: &str = "c@d.example";
    const X: &str = "any@x.example";
    /// Lines that match nothing, and senders that were meant.
    const DEAD: &[(&str, &[&str])] = &[
        ("a@b.example  //why", &[A]),
        ("a@b.example//why", &[A]),
        ("a@b.example # why", &[A]),
        ("a@b.example#why", &[A]),
        ("a@b.example\t# why", &[A]),
        ("a@b.example -- why", &[A]),
        ("a@b.example (spam)", &[A]),
        ("a@b.example(spam)", &[A]),
        ("a@b.example: spam", &[A]),
        ("a@b.example:spam", &[A]),
        ("a@b.example\tREJECT", &[A]),
        ("@x.example  Sorry, no mail", &[X]),
        ("@x.example 550 5.7.1 go away.", &[X]),
        ("a@b.example,c@d.example", &[A, C]),
        ("a@b.example, c@d.example", &[A, C]),
        ("a@b.example;c@d.example", &[A, C]),
        ("a@b.example c@d.example", &[A, C]),
        ("a@b.example\tc@d.example", &[A, C]),
        ("a@b.example|c@d.example", &[A, C]),
        ("b.example, @d.example", &[A, C]),
        ("a@b.example;", &[A]),
        ("a@b.example,", &[A]),
        ("@ x.example", &[X]),
        ("@\tx.example", &[X]),
        ("a @b.example", &[A]),
        ("a@ b.example", &[A]),
        (" a@b.example", &[A]),
        ("\ta@b.example", &[A]),
        ("<a@b.example>", &[A]),
        ("Ann <a@b.example>", &[A]),
        ("\"Ann, Dr.\" <a@b.example> (spam)", &[A]),
        ("MAIL FROM:<a@b.example>", &[A]),
        ("<a@b.example>, <c@d.example>", &[A, C]),
        ("mailto:a@b.example", &[A]),
        ("From: a@b.example", &[A]),
        ("\"a@b.example\"", &[A]),
        ("'a@b.example'", &[A]),
        ("\u{201C}a@b.example\u{201D}", &[A]),
        ("a\u{FF20}b.example", &[A]),
        ("a@b\u{3002}example", &[A]),
        ("a@b.example\u{A0}", &[A]),
        ("\u{A0}a@b.example", &[A]),
        ("a@b.example\u{200B}", &[A]),
        ("\u{200B}a@b.example", &[A]),
        ("\u{FEFF}a@b.example", &[A]),
        ("\u{FEFF}*@x.example", &[X]),
        ("a@b.example.", &[A]),
        ("@x.example.", &[X]),
        ("a@b.example. # why", &[A]),
        ("x.example", &[X]),
        ("X.Example", &[X]),
        ("x.example # why", &[X]),
        ("x.example.", &[X]),
        ("http://x.example/unsubscribe", &[X]),
        ("https://x.example", &[X]),
        ("*@x.example", &[X]),
        ("*@X.EXAMPLE", &[X]),
        ("*@x.example\r", &[X]),
        (".x.example", &["any@y.x.example"]),
        ("*.x.example", &["any@y.x.example"]),
        ("@.x.example", &["any@y.x.example"]),
        ("@*.x.example", &["any@y.x.example"]),
        ("*@*.x.example", &["any@y.x.example"]),
        ("news*@x.example", &["newsletter@x.example"]),
        ("a?@b.example", &["ab@b.example"]),
        ("*spam*@x.example", &["myspammer@x.example"]),
        ("newsletter@", &["newsletter@any.example"]),
        ("@192.0.2.1", &["any@[192.0.2.1]"]),
        (".*@x\\.example", &[X]),
        (".*@x\\.example$", &[X]),
        ("^.*@x.example$", &[X]),
        ("@x\\.example$", &[X]),
        ("^newsletter@.*", &["newsletter@any.example"]),
        (".*@.*\\.x\\.example", &["any@y.x.example"]),
        ("^a@b\\.example$", &[A]),
        ("@x.example+", &[X]),
        ("@x.example-", &[X]),
        ("@x.example=", &[X]),
        // Nothing can be written instead.
        ("root", &[]),
        ("; honest@other.example", &[]),
        ("// a@b.example", &[]),
        ("~x.example", &[]),
        ("!.*@.*\\..*", &[]),
        (".*\\ @.*", &[]),
        (".*[0-9]{5}@.*", &[]),
        (".*@(a|b)\\.example", &[]),
        ("192.0.2.1", &[]),
        ("192.0.2.0/24", &[]),
        ("192.0.2.", &[]),
        ("2001:db8::1", &[]),
        ("@", &[]),
        ("*", &[]),
        ("*@*", &[]),
        ("//", &[]),
        ("; a comment", &[]),
    ];
}
