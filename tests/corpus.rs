//! Replays the committed fuzz corpora through the functions that the fuzz targets call: what was found once stays found.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;

#[test]
fn command() {
    replay("command", portcullis::fuzzing::command);
}

#[test]
fn config() {
    replay("config", portcullis::fuzzing::config);
}

#[test]
fn data() {
    replay("data", portcullis::fuzzing::data);
}

#[test]
fn list() {
    replay("list", portcullis::fuzzing::list);
}

#[test]
fn message() {
    replay("message", portcullis::fuzzing::message);
}

#[test]
fn reply() {
    replay("reply", portcullis::fuzzing::reply);
}

#[test]
fn session() {
    replay("session", portcullis::fuzzing::session);
}

#[test]
fn tcprules() {
    replay("tcprules", portcullis::fuzzing::tcprules);
}

fn replay(target: &str, holds: fn(&[u8])) {
    let files = files(target);
    assert!(files.len() >= 20, "only {} seeds for {target}", files.len());
    let failed: Vec<_> = files
        .iter()
        .filter(|file| {
            let input = fs::read(file).unwrap();
            panic::catch_unwind(|| holds(&input)).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "does not hold for {failed:#?}");
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
