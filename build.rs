//! Tells the program which commit it is built from, for which target, and with which TLS library. It must not depend on
//! the time or the machine: two builds of one source are the same.

#![allow(clippy::disallowed_methods, reason = "it reads its own repository, and nobody waits for it but the builder")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PORTCULLIS_COMMIT");
    println!("cargo:rerun-if-changed={ARCHIVED}");
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rustc-env=PORTCULLIS_COMMIT={}", commit());
    println!("cargo:rustc-env=PORTCULLIS_TARGET={}", env::var("TARGET").unwrap_or_default());
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    println!("cargo:rustc-env=PORTCULLIS_RUSTLS={}", locked(&lock, "rustls"));
    println!("cargo:rustc-env=PORTCULLIS_RING={}", locked(&lock, "ring"));
}

/// As the packager says, else as the source archive says, else as git says.
fn commit() -> String {
    let told = env::var("PORTCULLIS_COMMIT").ok().filter(|text| is_commit(text));
    let archived = || fs::read_to_string(ARCHIVED).ok().map(|text| text.trim().to_owned());
    let found = told.or_else(|| archived().filter(|text| is_commit(text))).or_else(|| {
        // A change of branch, and a new commit.
        for part in ["HEAD", "logs/HEAD"] {
            let path = git(&["rev-parse", "--git-path", part]).filter(|path| Path::new(path).exists());
            path.iter().for_each(|path| println!("cargo:rerun-if-changed={path}"));
        }
        // The repository that these sources are in may be somebody else's: it has to have this very file.
        git(&["ls-files", "--error-unmatch", ARCHIVED]).and_then(|_| git(&["rev-parse", "HEAD"]))
    });
    found.filter(|text| is_commit(text)).map_or_else(|| "unknown".to_owned(), |text| text[..12].to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|octet| octet.is_ascii_hexdigit())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

/// The version of a crate in Cargo.lock.
fn locked<'a>(lock: &'a str, name: &str) -> &'a str {
    let found = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""));
    found.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown")
}

/// `git archive` writes the commit into this file (.gitattributes).
const ARCHIVED: &str = "src/text/commit";
