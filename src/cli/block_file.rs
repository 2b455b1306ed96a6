//! `block --file` and `unblock --file`: edits badmailfrom itself, whether the proxy runs or not, through
//! `control::rewrite`. It must not write to the file itself.

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::BAD_USAGE;
use crate::cli::desk::Desk;
use crate::cli::print;
use crate::control::badmailfrom;
use crate::control::badmailfrom::Change;
use crate::control::files;
use crate::control::rewrite::rewrite;
use crate::policy::block::BlockKey;
use crate::policy::list::location::Location;

/// Adds an entry to the file.
pub(super) fn block(desk: &Desk, file: Option<&Path>, key: &BlockKey, json: bool) -> ExitCode {
    change(desk, file, key, json, true)
}

/// Removes an entry from the file.
pub(super) fn unblock(desk: &Desk, file: Option<&Path>, key: &str, json: bool) -> ExitCode {
    match key.parse() {
        Ok(key) => change(desk, file, &key, json, false),
        Err(what) => {
            eprintln!("{key:?}: {what}");
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// The entry in this line of a list, as `unblock --file` takes it; `None` of a line that it would not find.
pub(super) fn entry_at(location: &Location) -> Option<String> {
    let text = files::read(Path::new(&*location.source)).ok()??;
    let line = text.split(|octet| *octet == b'\n').nth(location.line.checked_sub(1)? as usize)?;
    let entry = str::from_utf8(line).ok()?.trim();
    let key: BlockKey = entry.parse().ok()?;
    may_be_listed(&key).is_ok().then(|| key.to_string())
}

fn change(desk: &Desk, file: Option<&Path>, key: &BlockKey, json: bool, adds: bool) -> ExitCode {
    if let Err(what) = may_be_listed(key) {
        eprintln!("{key}: {what}");
        return ExitCode::from(BAD_USAGE);
    }
    let path = match file.map(Path::to_owned).map_or_else(|| of_configuration(desk), Ok) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let key = key.to_string();
    let change = if adds { badmailfrom::add } else { badmailfrom::remove };
    match rewrite(&path, |text| change(text, &key)) {
        Ok(changed) => tell(&path, &key, &changed, adds, json),
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses keys that badmailfrom cannot hold: qmail knows senders and domains, and takes a line that begins with # as a
/// comment.
fn may_be_listed(key: &BlockKey) -> Result<(), &'static str> {
    match key {
        BlockKey::Client(_) => Err("badmailfrom lists senders: deny a client in tcprules, or block it without --file"),
        BlockKey::Sender(sender) if sender.starts_with('#') => Err("a line that begins with # is a comment to qmail"),
        BlockKey::Sender(_) | BlockKey::Domain(_) => Ok(()),
    }
}

fn of_configuration(desk: &Desk) -> Result<PathBuf, ExitCode> {
    desk.read.config.qmail.control.as_ref().map(|control| control.join("badmailfrom")).ok_or_else(|| {
        eprintln!("qmail.control is not set: name the file, --file /var/qmail/control/badmailfrom");
        ExitCode::from(BAD_USAGE)
    })
}

fn tell(path: &Path, key: &str, changed: &Change, adds: bool, json: bool) -> ExitCode {
    let place = |line: u32| format!("{}:{line}", path.display());
    let (done, line, text) = match *changed {
        Change::Text { line, .. } if adds => ("added", Some(line), format!("{key}: added at {}", place(line))),
        Change::Text { line, .. } => ("removed", Some(line), format!("{key}: removed from {}", place(line))),
        Change::None { line: Some(line) } => {
            ("already there", Some(line), format!("{key}: already there at {}", place(line)))
        }
        Change::None { line: None } => ("not there", None, format!("{key}: is not in {}", path.display())),
        Change::Nul { line } => {
            let what = "has a NUL octet and other entries: edit it by hand; nothing was changed";
            ("refused", Some(line), format!("{}: {what}", place(line)))
        }
    };
    match json {
        true => print(&json!({ "key": key, "file": path, "line": line, "done": done }).to_string()),
        false => print(&text),
    }
    if matches!(done, "not there" | "refused") { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
