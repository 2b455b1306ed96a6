//! Who may name whom in `src/`, what the pure folders must not touch, and the form of every file. It reads tokens, not
//! text: comments and strings never count, and test modules are left out. No two files may name each other, nor several in
//! a circle, but for a module and what stands in its folder. It must not know any item of the crate.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fs;
use std::iter::successors;
use std::path::Path;
use std::path::PathBuf;

/// What each folder may name besides itself; `a::b` allows only that module of `a`. Arrows only go down.
const LAYERS: &[(&str, &[&str])] = &[
    ("smtp", &[]),
    ("policy", &["smtp"]),
    ("session", &["smtp", "policy"]),
    ("hold", &[]),
    ("backend", &["smtp", "policy::client", "policy::environment", "policy::net", "policy::list::location"]),
    ("store", &["policy", "text::bounded"]),
    (
        "report",
        &[
            "session::record",
            "policy::block",
            "policy::net",
            "policy::repeat::Before",
            "policy::verdict",
            "store::clock",
            "store::history",
            "text::processes",
            "text::readable",
        ],
    ),
    ("front", &["session", "smtp::reply_reader", "smtp::stuffing", "policy", "hold", "backend", "store", "report"]),
    ("text", &[]),
    ("control", &["smtp", "policy", "text"]),
    ("queue", &["smtp", "policy", "text"]),
    ("logs", &["smtp", "policy", "session::record", "text"]),
    ("takeover", &["control", "policy", "text"]),
    (
        "config",
        &[
            "policy",
            "control",
            "session::settings",
            "front::settings",
            "backend::Identity",
            "backend::Settings",
            "backend::Endpoint",
            "backend::Target",
            "backend::Tls",
            "hold::Settings",
            "store::state::Settings",
            "report::Settings",
            "report::Format",
            "report::Level",
            "report::Time",
            "smtp::data::BareNewline",
            "text::bounded",
        ],
    ),
    ("rehearsal", &["smtp", "policy", "session", "backend", "store", "front", "config", "text"]),
    ("status", &["policy", "session::record", "store", "report", "front", "backend", "config::checked", "text"]),
    ("alerts", &["status", "config::checked", "queue", "text"]),
    ("admin", &["policy", "store", "report", "front", "config::checked", "rehearsal", "status", "text"]),
    (
        "daemon",
        &[
            "smtp", "policy", "session", "hold", "backend", "store", "report", "front", "control", "config", "status",
            "alerts", "admin", "text",
        ],
    ),
    (
        "cli",
        &[
            "text",
            "control",
            "queue",
            "logs",
            "takeover",
            "config",
            "rehearsal",
            "alerts",
            "admin",
            "daemon",
            "policy",
            "status::readiness",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// No I/O, no clock, no logging in these.
const PURE: &[&str] = &["smtp", "policy", "session"];

/// What would make a pure folder impure. `.elapsed()` reads the clock as much as `now()` does.
const IMPURE: &[&[&str]] = &[
    &["async"],
    &["await"],
    &["dbg"],
    &["elapsed"],
    &["eprintln"],
    &["println"],
    &["tokio"],
    &["tracing"],
    &["File"],
    &["Instant", "::", "now"],
    &["SystemTime"],
    &["TcpListener"],
    &["TcpStream"],
    &["UdpSocket"],
    &["std", "::", "env"],
    &["std", "::", "fs"],
    &["std", "::", "process"],
    &["std", "::", "thread"],
];

/// The crates that a folder may name besides `std`, so that it can leave as a library. In `smtp`, `idna` compares domains
/// as RFC 6531 wants it, and `jiff` writes the date of a Received line.
const CRATES: &[(&str, &[&str])] = &[("smtp", &["bytes", "idna", "jiff", "memchr", "nom"])];

/// Without test modules.
const LONGEST_FILE: usize = 400;

/// Sentence, file, text behind the opening `//!` line, and a part of the fault (empty: none).
const SNIPPETS: &[(&str, &str, &str, &str)] = &[
    ("a lower layer names a higher one", "smtp/line.rs", "use crate::policy::list::List;", "names crate::policy"),
    ("not only in `use`", "policy/a.rs", "fn f() { crate::store::f() }", "names crate::store"),
    ("blanks hide nothing", "smtp/a.rs", "use crate :: session :: S;", "names crate::session"),
    ("nor does a comment between", "smtp/a.rs", "use crate/* x */::session::S;", "names crate::session"),
    ("nor a macro", "smtp/a.rs", "macro_rules! m { () => { $crate::policy::f() } }", "names crate::policy"),
    ("nothing on the path names config", "front/a.rs", "use crate::config::Config;", "names crate::config"),
    ("report sees the record only", "report/a.rs", "use crate::session::Session;", "names crate::session::Session"),
    ("the record itself is fine", "report/a.rs", "use crate::session::record::Record;", ""),
    ("a part by way of its folder", "config/a.rs", "use crate::hold; fn f(s: hold::Settings) {}", ""),
    ("another part that way", "config/a.rs", "use crate::hold; fn f(s: hold::Holds) {}", "names crate::hold::Holds"),
    ("a folder under another name", "config/a.rs", "use crate::hold as h; fn f(s: h::Holds) {}", "names crate::hold"),
    ("an own module of the same name", "config/a.rs", "use crate::config::hold; fn f() { hold::read() }", ""),
    ("a prefix of a name is not the name", "report/a.rs", "use crate::session::recorder::R;", "names crate"),
    ("a folder names itself", "smtp/a.rs", "use crate::smtp::line::LineReader;", ""),
    ("a lower folder may be named", "policy/a.rs", "use crate::smtp::address::Address;", ""),
    ("groups hide folders", "front/a.rs", "use crate::{policy::A, config::B};", "one crate:: path"),
    ("so do globs", "front/a.rs", "use crate::*;", "one crate:: path"),
    ("so do other names of the crate", "front/a.rs", "use crate as us;", "one crate:: path"),
    ("and its own name", "front/a.rs", "extern crate self as us;", "one crate:: path"),
    ("super twice", "smtp/a.rs", "use super::super::policy::A;", "super::super"),
    ("super twice, in a group", "smtp/a.rs", "use super::{line::L, super::policy::A};", "super::super"),
    ("super from a folder's mod.rs is the root", "smtp/mod.rs", "use super::policy::A;", "super is the root"),
    ("super from a file at the top as well", "lib.rs", "use super::daemon::A;", "super is the root"),
    ("super from elsewhere is the own folder", "smtp/a.rs", "use super::line::LineReader;", ""),
    ("visibility is no path", "smtp/mod.rs", "pub(super) fn f() {} pub(crate) fn g() {}", ""),
    ("a path in a visibility is no use", "smtp/a.rs", "pub(in crate::smtp) fn f() {}", ""),
    ("async in a pure folder", "session/a.rs", "async fn f() {}", "async"),
    ("tokio in a pure folder", "policy/a.rs", "use tokio::sync::Mutex;", "tokio"),
    ("the clock", "session/a.rs", "fn f() { let now = Instant::now(); }", "Instant::now"),
    ("the clock by another door", "session/a.rs", "fn f(t: Instant) { t.elapsed(); }", "elapsed"),
    ("an instant as an argument", "session/a.rs", "fn f(now: Instant) {}", ""),
    ("the wall clock", "policy/a.rs", "use std::time::SystemTime;", "SystemTime"),
    ("files", "smtp/a.rs", "use std::fs;", "std::fs"),
    ("logging", "smtp/a.rs", "use tracing::info;", "tracing"),
    ("the same elsewhere is fine", "front/a.rs", "async fn f() { std::fs::read(); tracing::info!() }", ""),
    ("a crate that is not its", "smtp/a.rs", "use serde::Serialize;", "smtp names the crate serde"),
    ("not only in `use`", "smtp/a.rs", "#[derive(serde::Serialize)] struct S;", "smtp names the crate serde"),
    (
        "from the root of all crates",
        "smtp/a.rs",
        "fn f() { ::rustls_native_certs::f() }",
        "the crate rustls_native_certs",
    ),
    ("in a group", "smtp/a.rs", "use {nom::Parser, serde::Serialize};", "smtp names the crate serde"),
    ("under another name", "smtp/a.rs", "use serde as s;", "smtp names the crate serde"),
    ("a crate that is its", "smtp/a.rs", "use nom::bytes::complete::tag; fn f() { memchr::memchr(0, b\"\"); }", ""),
    ("a module of a crate is no crate", "smtp/a.rs", "use nom::redb::f; fn f() { Vec::<u8>::redb(); }", ""),
    ("nor is a variable", "smtp/a.rs", "fn f(serde: u8) -> u8 { serde }", ""),
    ("any crate elsewhere", "policy/a.rs", "use serde::Serialize;", ""),
    ("a comment", "smtp/a.rs", "// crate::policy and tokio\n/* async /* await */ tokio */ fn f() {}", ""),
    ("a doc line", "smtp/a.rs", "/// See [`crate::policy`].\nfn f() {}", ""),
    ("a string", "smtp/a.rs", r#"const A: &str = "tokio \" async"; const B: &[u8] = b"crate::policy";"#, ""),
    ("a raw string", "smtp/a.rs", r###"const A: &str = r#"tokio " async"#;"###, ""),
    ("a quote is no string", "smtp/a.rs", "fn f<'a>(c: char) -> bool { c == '\"' } use tokio::A;", "tokio"),
    ("an escaped quote neither", "smtp/a.rs", r"const A: u8 = b'\''; const B: char = '\\'; use tokio::A;", "tokio"),
    ("a raw name", "smtp/a.rs", "fn f() { r#async() }", "async"),
    (
        "a test module",
        "smtp/a.rs",
        "fn f() {}\n#[cfg(test)]\nmod tests { use crate::policy::A; use super::super::B; }",
        "",
    ),
    (
        "with attributes between",
        "smtp/mod.rs",
        "#[cfg(test)]\n#[allow(x, reason = \"}\")]\nmod tests { use super::*; }",
        "",
    ),
    ("what follows a test module", "smtp/a.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse tokio::A;", "tokio"),
    ("other things of tests count", "smtp/a.rs", "#[cfg(test)]\nuse tokio::A;", "tokio"),
    ("main stands on cli", "main.rs", "use portcullis::daemon::run;", "names portcullis::daemon"),
    ("and only on it", "main.rs", "fn main() { portcullis::cli::main() }", ""),
    ("a folder that nobody knows", "misc/a.rs", "fn f() {}", "no row"),
];

/// Sentence, files with their texts, and the circle (empty: none).
const CIRCLES: &[(&str, &[(&str, &str)], &str)] = &[
    (
        "two files that name each other",
        &[("a/b.rs", "use crate::a::c::C;"), ("a/c.rs", "fn f() { crate::a::b::f() }")],
        "src/a/b.rs names src/a/c.rs names src/a/b.rs",
    ),
    (
        "three, across folders",
        &[("a/b.rs", "use crate::c::C;"), ("c/mod.rs", "use crate::d;"), ("d.rs", "use crate::a::b::B;")],
        "src/a/b.rs names src/c/mod.rs names src/d.rs names src/a/b.rs",
    ),
    (
        "the shortest of them",
        &[("a.rs", "use crate::b; use crate::c;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")],
        "src/a.rs names src/c.rs names src/a.rs",
    ),
    (
        "by way of super",
        &[("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b;")],
        "src/a/b.rs names src/a/c.rs names src/a/b.rs",
    ),
    (
        "a folder's module is not its files",
        &[("a/mod.rs", "use crate::b;"), ("a/c.rs", "use crate::a::A;"), ("b.rs", "use crate::a::c::C;")],
        "",
    ),
    ("a module and its child", &[("a/mod.rs", "use crate::a::b::B;"), ("a/b.rs", "use crate::a::A;")], ""),
    ("and what is below that", &[("a.rs", "use crate::a::b::c::C;"), ("a/b/c.rs", "use crate::a::A;")], ""),
    (
        "but not two children",
        &[("a/mod.rs", "use crate::a::b;"), ("a/b.rs", "use crate::a::c;"), ("a/c.rs", "use crate::a::b;")],
        "src/a/b.rs names src/a/c.rs names src/a/b.rs",
    ),
    ("a line of them", &[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "fn f() {}")], ""),
    ("two ways to one", &[("a.rs", "use crate::b; use crate::c;"), ("b.rs", "use crate::c;"), ("c.rs", "")], ""),
    ("a longer name is another", &[("a.rs", "use crate::bc;"), ("b.rs", "use crate::a;"), ("bc.rs", "")], ""),
    ("a comment", &[("a.rs", "use crate::b;"), ("b.rs", "/// [`crate::a`]\nfn f() {}")], ""),
    ("a test", &[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a; }")], ""),
    ("a file of tests", &[("a/b.rs", "use crate::a::tests;"), ("a/tests.rs", "use crate::a::b;")], ""),
];

#[test]
fn the_source_holds_the_layering() {
    let faults: Vec<String> = sources().iter().flat_map(|(name, text)| faults_of(name, text)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let circles = circles_of(&sources());
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
    for (sentence, files, circle) in CIRCLES {
        let files: Vec<(String, String)> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(circles_of(&files).join("; "), *circle, "{sentence}");
    }
}

#[test]
fn every_folder_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, allowed) in LAYERS {
        for named in allowed.iter().filter_map(|path| path.split("::").next()) {
            assert!(LAYERS.iter().any(|(row, _)| *row == named), "{folder} may name {named}, which has no row");
        }
    }
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = name.trim_end_matches(".rs");
        assert!(LAYERS.iter().any(|(row, _)| *row == folder), "src/{name} has no row in LAYERS");
    }
}

/// ARCHITECTURE.md has the same rows; its last column names the folders, with what is meant of each.
#[test]
fn the_architecture_has_these_layers() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    for (folder, allowed) in LAYERS.iter().filter(|(folder, _)| !["main", "lib"].contains(folder)) {
        let row = rows.iter().find(|cells| cells.len() == 5 && cells[1] == *folder);
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {folder}"));
        let words: BTreeSet<&str> = row[3].split(|letter: char| !letter.is_ascii_alphabetic()).collect();
        let told: BTreeSet<&str> = LAYERS.iter().map(|(row, _)| *row).filter(|row| words.contains(row)).collect();
        let held: BTreeSet<&str> = allowed.iter().filter_map(|path| path.split("::").next()).collect();
        assert_eq!(told, held, "ARCHITECTURE.md, the row of {folder}");
    }
}

#[test]
fn what_it_catches_and_what_it_lets_pass() {
    for (sentence, file, text, fault) in SNIPPETS {
        let found = faults_of(file, &format!("//! A file.\n\n{text}\n")).join("\n");
        let as_expected = if fault.is_empty() { found.is_empty() } else { found.contains(fault) };
        assert!(as_expected, "{sentence}: expected {fault:?}, found {found:?}");
    }
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    let table = [
        ("no first line", "use std::fmt;\n".to_owned(), "//!"),
        ("a plain comment", "// Lines.\n".to_owned(), "//!"),
        ("400 lines", format!("//! A file.\n{}", "fn f() {}\n".repeat(399)), ""),
        ("401 lines", format!("//! A file.\n{}", "fn f() {}\n".repeat(400)), "401 lines"),
        (
            "tests do not count",
            format!("//! A file.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(900)),
            "",
        ),
    ];
    for (sentence, text, fault) in table {
        let found = faults_of("smtp/a.rs", &text).join("\n");
        let as_expected = if fault.is_empty() { found.is_empty() } else { found.contains(fault) };
        assert!(as_expected, "{sentence}: expected {fault:?}, found {found:?}");
    }
}

/// The path of each file below `src/`, and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "only {} files below {}", files.len(), root.display());
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every fault of one file; `name` is its path below `src/`.
fn faults_of(name: &str, text: &str) -> Vec<String> {
    let folder = name.split('/').next().unwrap().trim_end_matches(".rs");
    let Some((_, allowed)) = LAYERS.iter().find(|(row, _)| *row == folder) else {
        return vec![format!("src/{name}: {folder} has no row in LAYERS")];
    };
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push("1: begins with `//!` and what the file is for".to_owned());
    }
    // A module of tests may stand in a file of its own; nothing of it is in the program.
    if !name.ends_with("/tests.rs") {
        let (tokens, test_lines) = without_test_modules(tokens_of(text));
        let lines = text.lines().count() - test_lines;
        if lines > LONGEST_FILE {
            faults.push(format!("1: {lines} lines without tests, more than {LONGEST_FILE}: is it still one thing?"));
        }
        for at in 0..tokens.len() {
            faults.extend(path_fault(name, folder, allowed, &tokens[at..], at.checked_sub(1).map(|at| &tokens[at])));
            faults.extend(parts_fault(folder, allowed, &tokens, at));
            faults.extend(purity_fault(folder, &tokens[at..]));
            faults.extend(crate_fault(folder, &tokens, at));
        }
    }
    faults.into_iter().map(|fault| format!("src/{name}:{fault}")).collect()
}

fn path_fault(name: &str, folder: &str, allowed: &[&str], rest: &[Token], before: Option<&Token>) -> Option<String> {
    let line = rest[0].line;
    let text = |at: usize| rest.get(at).map_or("", |token| token.text.as_str());
    let in_visibility = before.is_some_and(|token| token.text == "(" || token.text == "in");
    let fault = match text(0) {
        "crate" if in_visibility && (text(1) == ")" || before.is_some_and(|token| token.text == "in")) => return None,
        "crate" if text(1) != "::" || !is_name(text(2)) => "write one crate:: path per `use`".to_owned(),
        "crate" | "portcullis" if text(1) == "::" => {
            let path = path_of(rest);
            let (root, named) = path.split_once("::").unwrap();
            let followed = before.is_some_and(|token| token.text == "use") && only_parts_of(named, allowed);
            if may_name(folder, allowed, named) || followed && text(3) == ";" {
                return None;
            }
            format!("{folder} names {root}::{named}")
        }
        "super" if text(1) == "::" && matches!(text(2), "super" | "{") => {
            "write crate:: instead of super::super".to_owned()
        }
        "super" if text(1) == "::" && (name.ends_with("/mod.rs") || !name.contains('/')) => {
            "super is the root here: write crate::".to_owned()
        }
        _ => return None,
    };
    Some(format!("{line}: {fault}"))
}

/// `use crate::backend;` where only parts of `backend` may be named: what is named through it counts.
fn parts_fault(folder: &str, allowed: &[&str], tokens: &[Token], at: usize) -> Option<String> {
    let (first, rest) = tokens[at..].split_first()?;
    let is_path = rest.first().is_some_and(|token| token.text == "::");
    let begins = at == 0 || tokens[at - 1].text != "::";
    if !is_path || !begins || !only_parts_of(&first.text, allowed) {
        return None;
    }
    let import = ["use", "crate", "::", &first.text, ";"];
    let imported =
        tokens.windows(import.len()).any(|five| five.iter().zip(import).all(|(token, word)| token.text == word));
    let named = path_of(&tokens[at..]);
    (imported && !may_name(folder, allowed, &named)).then(|| format!("{}: {folder} names crate::{named}", first.line))
}

fn may_name(folder: &str, allowed: &[&str], named: &str) -> bool {
    is_within(folder, named) || allowed.iter().any(|prefix| is_within(prefix, named))
}

/// Whether `path` is the module `prefix`, or stands in it.
fn is_within(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn only_parts_of(named: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|prefix| prefix.strip_prefix(named).is_some_and(|rest| rest.starts_with("::")))
}

/// The names and `::` that stand first.
fn path_of(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).take_while(|text| *text == "::" || is_name(text)).collect()
}

fn purity_fault(folder: &str, rest: &[Token]) -> Option<String> {
    if !PURE.contains(&folder) {
        return None;
    }
    let starts =
        |words: &[&str]| rest.len() >= words.len() && words.iter().zip(rest).all(|(word, token)| token.text == *word);
    let words = IMPURE.iter().find(|words| starts(words))?;
    Some(format!("{}: {folder} is pure, without {}", rest[0].line, words.concat()))
}

fn crate_fault(folder: &str, tokens: &[Token], at: usize) -> Option<String> {
    let (_, allowed) = CRATES.iter().find(|(row, _)| *row == folder)?;
    let Token { text: name, line } = &tokens[at];
    let before = |by: usize| at.checked_sub(by).map_or("", |at| tokens[at].text.as_str());
    let is_root = before(1) != "::" || !is_name(before(2)) && before(2) != ">";
    let is_path = before(1) == "use" || tokens.get(at + 1).is_some_and(|next| next.text == "::");
    let is_fault = is_root && is_path && !allowed.contains(&name.as_str()) && is_dependency(name);
    is_fault.then(|| format!("{line}: {folder} names the crate {name}"))
}

fn is_dependency(name: &str) -> bool {
    let manifest = include_str!("../Cargo.toml").split("\n[").find_map(|it| it.strip_prefix("dependencies]"));
    let names = manifest.unwrap().lines().filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).any(|dependency| dependency == name)
}

/// The circles of files, each once, from the file whose name is first: `src/a.rs names src/b.rs names src/a.rs`.
fn circles_of(files: &[(String, String)]) -> Vec<String> {
    let counted = files.iter().filter(|(name, _)| !name.ends_with("/tests.rs"));
    let modules: BTreeMap<String, &(String, String)> = counted.map(|file| (module_of(&file.0), file)).collect();
    let named: BTreeMap<&str, BTreeSet<&str>> =
        modules.iter().map(|(module, (_, text))| (module.as_str(), modules_named(module, text, &modules))).collect();
    let shown = |module: &&str| format!("src/{}", modules[*module].0);
    let circles = modules.keys().filter_map(|module| circle_from(module, &named));
    circles.map(|circle| circle.iter().map(shown).collect::<Vec<_>>().join(" names ")).collect()
}

/// `admin::page` of `admin/page.rs`, `admin` of `admin/mod.rs`.
fn module_of(name: &str) -> String {
    let path = name.strip_suffix(".rs").unwrap_or(name);
    path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
}

/// The modules that a file names, but for those that it stands in, and those in it.
fn modules_named<'a>(module: &str, text: &str, modules: &'a BTreeMap<String, &(String, String)>) -> BTreeSet<&'a str> {
    let found = paths_named(module, text).into_iter().filter_map(|path| {
        let mut prefixes = successors(Some(path.as_str()), |path| path.rsplit_once("::").map(|(before, _)| before));
        prefixes.find_map(|path| modules.get_key_value(path))
    });
    found.map(|(name, _)| name.as_str()).filter(|name| !is_within(name, module) && !is_within(module, name)).collect()
}

/// The paths behind `crate::` and `super::`, from the root.
fn paths_named(module: &str, text: &str) -> Vec<String> {
    let (tokens, _) = without_test_modules(tokens_of(text));
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let root = |token: &Token| match token.text.as_str() {
        "crate" => Some(String::new()),
        "super" => Some(format!("{parent}::")),
        _ => None,
    };
    let starts = (0..tokens.len()).filter(|at| tokens.get(at + 1).is_some_and(|next| next.text == "::"));
    starts.filter_map(|at| Some(root(&tokens[at])? + &path_of(&tokens[at + 2..]))).collect()
}

/// The shortest way from a module back to it by way of those whose names are greater: the least of a circle tells of it.
fn circle_from<'a>(start: &'a str, named: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let (mut ways, mut seen) = (VecDeque::from([vec![start]]), BTreeSet::new());
    while let Some(way) = ways.pop_front() {
        for next in &named[way.last()?] {
            if *next == start {
                return Some([way, vec![start]].concat());
            }
            if *next > start && seen.insert(*next) {
                ways.push_back([way.clone(), vec![*next]].concat());
            }
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text != "as"
}

/// A name, `::`, or one other character. Strings, characters and comments are left out.
struct Token {
    text: String,
    line: usize,
}

/// Leaves out `#[cfg(test)] mod name { ... }` and says how many lines that were.
fn without_test_modules(tokens: Vec<Token>) -> (Vec<Token>, usize) {
    let (mut kept, mut lines, mut at) = (Vec::new(), 0, 0);
    let mut tokens: Vec<Option<Token>> = tokens.into_iter().map(Some).collect();
    let all: Vec<(String, usize)> = tokens.iter().flatten().map(|token| (token.text.clone(), token.line)).collect();
    while at < all.len() {
        match end_of_test_module(&all[at..]) {
            Some(length) => {
                lines += all[at + length - 1].1 - all[at].1 + 1;
                at += length;
            }
            None => {
                kept.extend(tokens[at].take());
                at += 1;
            }
        }
    }
    (kept, lines)
}

/// The number of tokens of the test module that begins here.
fn end_of_test_module(tokens: &[(String, usize)]) -> Option<usize> {
    let text = |at: usize| tokens.get(at).map_or("", |(text, _)| text.as_str());
    let cfg = ["#", "[", "cfg", "(", "test", ")", "]"];
    if !cfg.iter().enumerate().all(|(at, word)| text(at) == *word) {
        return None;
    }
    let mut at = cfg.len();
    while text(at) == "#" {
        at = past_bracket(tokens, at + 1)?;
    }
    if text(at) != "mod" {
        return None;
    }
    if text(at + 2) == ";" { Some(at + 3) } else { past_bracket(tokens, at + 2) }
}

/// Behind the bracket that closes the one at `at`.
fn past_bracket(tokens: &[(String, usize)], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match tokens.get(at)?.0.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn tokens_of(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = next_token(rest, first);
        let (taken, left) = rest.split_at(length);
        if is_token {
            let text = taken.strip_prefix("r#").unwrap_or(taken).to_owned();
            tokens.push(Token { text, line });
        }
        line += taken.matches('\n').count();
        rest = left;
    }
    tokens
}

/// Octets of what stands first, and whether it counts.
fn next_token(rest: &str, first: char) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if rest.starts_with("::") {
        return (2, true);
    }
    if let Some(length) = literal(rest) {
        return (length, false);
    }
    if first.is_alphabetic() || first == '_' || rest.starts_with("r#") {
        let from = if rest.starts_with("r#") { 2 } else { 0 };
        let end = rest[from..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest.len(), |end| from + end);
        return (end, true);
    }
    (first.len_utf8(), !first.is_whitespace())
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A string, octet string, raw string or character; not a lifetime.
fn literal(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let (before, quoted) = rest.split_at(prefix);
    if prefix > 2 {
        return None;
    }
    if before.ends_with('r') {
        let hashes = quoted.find(|c| c != '#')?;
        let body = quoted[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(prefix + hashes + 1 + body.find(&close)? + close.len());
    }
    let quote = quoted.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if quote == '\'' && !quoted.starts_with("'\\") && quoted.chars().nth(2) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(prefix + at + 1),
            _ => {}
        }
    }
    None
}
