//! Replays the committed fuzz corpora through the functions that the fuzz targets call: what was found once stays found.
//! Then each seed again, changed at random: a short fuzz run without a fuzzer. What it finds is kept and named.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

#[path = "../fuzz/invariants/mod.rs"]
#[allow(unreachable_pub, reason = "a library of the fuzz targets")]
mod invariants;

use std::fs;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::panic;
use std::path::Path;
use std::path::PathBuf;

#[test]
fn command() {
    replay("command", invariants::command);
}

#[test]
fn config() {
    replay("config", invariants::config);
}

#[test]
fn data() {
    replay("data", invariants::data);
}

#[test]
fn list() {
    replay("list", invariants::list);
}

#[test]
fn log() {
    replay("log", invariants::log);
}

#[test]
fn message() {
    replay("message", invariants::message);
}

#[test]
fn queue() {
    replay("queue", invariants::queue);
}

#[test]
fn reply() {
    replay("reply", invariants::reply);
}

#[test]
fn run_script() {
    replay("run_script", invariants::run_script);
}

#[test]
fn session() {
    replay("session", invariants::session);
}

#[test]
fn tcprules() {
    replay("tcprules", invariants::tcprules);
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
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let mut random = Random(RandomState::new().hash_one(target));
    for seed in seeds.iter().cycle().take(CHANGED) {
        let input = random.change(seed, &seeds);
        if panic::catch_unwind(|| holds(&input)).is_err() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found").join(target);
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("changed-{:016x}", random.0));
            fs::write(&file, &input).unwrap();
            panic!("does not hold for {}; mend it, then commit the file to fuzz/corpus/{target}", file.display());
        }
    }
}

/// xorshift64: enough to pick octets.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 |= 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// One to four changes: an octet, a piece that goes, comes twice, or comes from another seed.
    fn change(&mut self, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(16)).min(input.len());
            match self.below(5) {
                0 if at < input.len() => input[at] = TELLING[self.below(TELLING.len())],
                1 if at < input.len() => input[at] ^= 1 << self.below(8),
                2 => drop(input.drain(at..end)),
                3 => drop(input.splice(at..at, input[at..end].to_vec()).collect::<Vec<_>>()),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(64)).min(other.len());
                    drop(input.splice(at..at, other[from..to].to_vec()).collect::<Vec<_>>());
                }
            }
        }
        input
    }
}

/// Inputs of each target.
const CHANGED: usize = 3000;
/// Octets that mean something somewhere.
const TELLING: &[u8] = b"\r\n\0 \t.:@<>\"\\+=,-[]#!*0\xff";

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
