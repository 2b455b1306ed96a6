//! Every file of tests/dialogs, played on a bare session: as it stands, and cut into single octets.
//! `BLESS=1 cargo test --test dialogs` rewrites the files; read the diff.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::path::PathBuf;

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
        let dialog = Dialog::parse(&text);
        let whole = Player::new(&dialog, usize::MAX).play(&dialog);
        let cut = Player::new(&dialog, 1).play(&dialog);
        // How much of a message that is too large has been streamed when that shows depends on the cuts.
        let streamed_oversize =
            text.contains("= hold off") && (text.contains("= limit") || text.contains("= max_hops"));
        for side in ["c ", "b ", "r ", "x", "o"].into_iter().filter(|side| !(*side == "b " && streamed_oversize)) {
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
