//! Every file of tests/dialogs, played on a bare session: as it stands, and cut into single octets.
//! `BLESS=1 cargo test --test dialogs` rewrites the files; read the diff.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use support::dialog::Dialog;
use support::dialog::Player;

#[test]
fn every_dialog_goes_as_it_stands() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for (path, text) in dialogs() {
        let dialog = Dialog::parse(&text);
        let transcript = Player::new(&dialog, usize::MAX).play(&dialog).join("\n") + "\n";
        if bless {
            fs::write(&path, &transcript).unwrap();
        } else if transcript != text {
            wrong.push(difference(&path, &text, &transcript));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the network cuts is no difference to anybody: each side sees the same lines in the same order.
#[test]
fn single_octets_make_no_difference() {
    let mut wrong = Vec::new();
    for (path, text) in dialogs() {
        // What comes behind STARTTLS in the same write is thrown away; what comes later is inside TLS.
        if text.contains("\nP STARTTLS\n") {
            continue;
        }
        // A spare reply that comes after the next command was sent cannot be told from the one to that.
        if text.contains("\nM ") {
            continue;
        }
        let dialog = Dialog::parse(&text);
        let whole = Player::new(&dialog, usize::MAX).play(&dialog);
        let cut = Player::new(&dialog, 1).play(&dialog);
        // How much of a message that is too large has been streamed when that shows depends on the cuts.
        let streamed_oversize =
            text.contains("= hold off") && (text.contains("= limit") || text.contains("= max_hops"));
        for side in ["c ", "b ", "r ", "x", "o", "f client", "f -> client", "f backend", "f -> backend", "f event"]
            .into_iter()
            .filter(|side| !(*side == "b " && streamed_oversize))
        {
            let of_side = |transcript: &[String]| -> String {
                let lines = transcript.iter().filter(|line| line.starts_with(side));
                lines.map(|line| format!("{line}\n")).collect()
            };
            if of_side(&whole) != of_side(&cut) {
                wrong.push(difference(&path, &of_side(&whole), &of_side(&cut)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever follows a session changes nothing in it, and each side is told wherever the network cuts.
#[test]
fn to_be_followed_makes_no_difference() {
    let (mut wrong, mut told) = (Vec::new(), 0);
    for (path, text) in dialogs() {
        let dialog = Dialog::parse(&text);
        let is_told = |line: &String| line.starts_with("f ");
        let mut followed = dialog.clone();
        if !dialog.head.iter().any(|line| line == "= followed") {
            followed.head.push("= followed".to_owned());
        }
        let mut alone = dialog;
        alone.head.retain(|line| line != "= followed");
        let (with, without) =
            (Player::new(&followed, usize::MAX).play(&followed), Player::new(&alone, usize::MAX).play(&alone));
        told += with.iter().filter(|line| is_told(line)).count();
        let of = |transcript: &[String], head: &Dialog| -> String {
            let lines = transcript.iter().skip(head.head.len()).filter(|line| !is_told(line));
            lines.map(|line| format!("{line}\n")).collect()
        };
        if of(&with, &followed) != of(&without, &alone) {
            wrong.push(difference(&path, &of(&without, &alone), &of(&with, &followed)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(told > 5000, "{told}");
}

/// Proof before refusal: no 4xx or 5xx of ours without a line that has its code, and none of them called accepted.
#[test]
fn every_refusal_leaves_a_line() {
    let mut checked = 0;
    for (path, text) in dialogs() {
        let mut codes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        // A client that has reset hears nothing.
        let heard = text.lines().position(|line| line == "R").unwrap_or(usize::MAX);
        for (_, line) in text.lines().enumerate().filter(|(at, line)| *at < heard || !line.starts_with("c ")) {
            if let Some(reply) = line.strip_prefix("c ").filter(|reply| reply.ends_with(" [S]")) {
                codes.entry(&reply[..3]).or_default().0 += 1;
            } else if let Some(code) = line.strip_prefix("r ").and_then(|record| word(record, "code")) {
                codes.entry(code).or_default().1 += 1;
            }
        }
        for (code, (replies, records)) in codes {
            checked += replies;
            assert!(replies <= records, "{}: {replies} times {code}, {records} lines", path.display());
        }
        for line in text.lines().filter(|line| line.starts_with("r ") && line.contains("verdict=accept")) {
            let mail = line.starts_with("r mail ") && word(line, "code").is_some_and(|code| code < "300");
            assert!(mail, "{}: {line}", path.display());
        }
    }
    assert!(checked > 300, "{checked}");
}

/// Sessions with a secret: in AUTH, in a message, and in what is sent in spite of a refusal.
const SECRET: &[&str] = &[
    "= auth always\n= offer AUTH=PLAIN,LOGIN\nC EHLO c\nC AUTH PLAIN SECRET\nB 220 b\nB 250-b\nB 250 AUTH PLAIN\nB 235 ok\nC QUIT\n",
    "= auth always\n= offer AUTH=PLAIN,LOGIN\nC EHLO c\nC AUTH PLAIN\nB 220 b\nB 250-b\nB 250 AUTH PLAIN\nB 334\nC SECRET\nB 535 no\nC QUIT\n",
    "= auth always\n= offer AUTH=PLAIN,LOGIN\nC EHLO c\nC AUTH LOGIN\nB 220 b\nB 250-b\nB 250 AUTH LOGIN\nB 334 VXNlcm5hbWU6\n\
     C am9l\nB 334 SECRET\nC SECRET\nB 235 ok\nC QUIT\n",
    "= auth always\n= offer AUTH=PLAIN,LOGIN\nC EHLO c\nC AUTH PLAIN SECRET SECRET\nC AUTH SECRET=\nC SECRET\nC QUIT\n",
    "C EHLO c\nP AUTH LOGIN\nP am9l\nP SECRET\nC QUIT\n",
    "C EHLO c\nC XCLIENT NAME=a LOGIN=SECRET\nC QUIT\n",
    "= starttls\n= offer AUTH=PLAIN\nC EHLO c\nC STARTTLS\nC EHLO c\nC AUTH PLAIN SECRET\nB 220 b\nB 250-b\nB 250 AUTH PLAIN\nB 535 no\n\
     C AUTH PLAIN SECRET\nB 235 ok\nC MAIL FROM:<a@b.example>\nB 250 ok\nC QUIT\n",
    "C EHLO c\nP MAIL FROM:<a@b.example>\nC RCPT TO:<joe@example.org>\nB 220 b\nB 250-b\nB 250 PIPELINING\nB 250 ok\nB 250 ok\nC DATA\n\
     P SECRET\nP ..SECRET\nC .\nB 354 go\nB 250 ok\nC QUIT\n",
    "C EHLO c\nP MAIL FROM:<a@b.example>\nC RCPT TO:<joe@example.org>\nB 220 b\nB 250-b\nB 250 CHUNKING\nB 250 ok\nB 250 ok\nC DATA\n\
     P SECRET\nC .\nB 250 ok\nC QUIT\n",
    "= hold off\nC EHLO c\nP MAIL FROM:<a@b.example>\nC RCPT TO:<joe@example.org>\nB 220 b\nB 250 b\nB 250 ok\nB 250 ok\nC DATA\n\
     B 354 go\nP SECRET\nC .\nB 250 ok\nC QUIT\n",
    "= backend queue\nC EHLO c\nP MAIL FROM:<a@b.example>\nP RCPT TO:<joe@example.org>\nC DATA\nP SECRET\nC .\nB 250 ok\nC QUIT\n",
    "C EHLO c\nP MAIL FROM:<newsletter@sillyplace.com>\nP DATA\nP SECRET\nP Send SECRET\nP help SECRET\nP MAIL FROM:<SECRET SECRET\nC .\nC QUIT\n",
    "C EHLO c\nP MAIL FROM:<a@b.example>\nP BDAT 100 LAST\nC SECRET\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever follows a session sees neither a password nor a letter of a message, wherever the network cuts.
    #[test]
    fn no_secret_is_told(secret in "[a-zA-Z0-9+/]{7,60}={0,2}", at in 0..SECRET.len(), cut in select(vec![1, 5, usize::MAX])) {
        let dialog = Dialog::parse(&format!("= followed\n{}", SECRET[at].replace("SECRET", &secret)));
        let transcript = Player::new(&dialog, cut).play(&dialog);
        let told: Vec<&String> = transcript.iter().filter(|line| line.starts_with("f ")).collect();
        prop_assert!(told.len() > 4, "{transcript:?}");
        prop_assert!(!told.iter().any(|line| line.contains(&secret)), "{told:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Twenty lines and two more, and what is not written is told by number.
    #[test]
    fn refusals_of_a_session_are_folded(refused in vec(select(REFUSED), 1..90)) {
        let begin = "= max_errors 100\n= rcpthosts example.org\nC EHLO c.example\nC MAIL FROM:<a@b.example>\n\
                     B 220 b\nB 250 b\nB 250 ok\n";
        let commands: String = refused.iter().map(|command| format!("C {command}\n")).collect();
        let dialog = Dialog::parse(&format!("{begin}{commands}C QUIT\n"));
        let transcript = Player::new(&dialog, usize::MAX).play(&dialog);
        let records: Vec<&str> = transcript.iter().filter_map(|line| line.strip_prefix("r ")).collect();
        let written = records.iter().filter(|record| !record.ends_with(" counted_only=yes")).count();
        prop_assert!(written <= 22, "{written}");
        let refusal = |record: &&&str| record.starts_with("rcpt ") || record.starts_with("command ");
        prop_assert_eq!(records.iter().filter(refusal).count(), refused.len(), "each has its record");
        let folded = records.iter().find_map(|record| record.split_once(" folded=")).map_or("", |(_, folded)| folded);
        let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
        for (count, of) in folded.split(", ").filter_map(|part| part.split_once(' ')) {
            *sums.entry(of).or_default() += count.parse::<usize>().unwrap();
        }
        let left_out = refused.iter().skip(20);
        let rcpt = left_out.clone().filter(|command| command.ends_with("@else.example>")).count();
        prop_assert_eq!(sums.get("rcpt not_local").copied().unwrap_or(0), rcpt);
        prop_assert_eq!(sums.get("command protocol").copied().unwrap_or(0), left_out.count() - rcpt);
        prop_assert_eq!(sums.len(), folded.split(", ").filter(|part| !part.is_empty()).count());
    }
}

/// In a transaction, each refused in another way.
const REFUSED: &[&str] =
    &["RCPT TO:<x@else.example>", "FROB", "RCPT TO:<a b>", "MAIL FROM:<c@b.example>", "DATA", "AUTH PLAIN AGEAYg=="];

fn word<'a>(record: &'a str, key: &str) -> Option<&'a str> {
    record.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn dialogs() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn difference(path: &Path, expected: &str, got: &str) -> String {
    let mut text = format!("{}:\n", path.display());
    let at = expected.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    for (mark, lines) in [("-", expected), ("+", got)] {
        for line in lines.lines().skip(at.saturating_sub(2)).take(10) {
            text.push_str(&format!("  {mark} {line}\n"));
        }
    }
    text
}
