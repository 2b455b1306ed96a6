//! What `check` and the start say of `backend.queue`: the variables whose effect ends with the program that spoke SMTP
//! before, and whether qmail-queue, or a program in its place, can work. It must not start them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Uid;
use nix::unistd::User;

use crate::backend::Target;
use crate::backend::chosen_queue;
use crate::backend::qmail_home;
use crate::config::checked::Config;
use crate::config::faults::Fault;
use crate::config::faults::Places;
use crate::control::instead;
use crate::policy::client::ClientRules;

/// Notes: variables by which a program did what nothing does now, one line each, where they are set.
pub(super) fn notes(config: &Config, clients: &ClientRules, places: &Places) -> Vec<Fault> {
    if !matches!(config.backend.target, Target::Queue(_)) {
        return Vec::new();
    }
    let noted = |name: &str| Some(format!("{name}: {}", instead::of_variable(name)?.note()));
    // The first place of each name: what stands over the others.
    let mut all: BTreeMap<String, Fault> = BTreeMap::new();
    for (name, value, place) in variables(config, clients, places) {
        let what = match name.as_str() {
            // Empty: the configured program.
            "QMAILQUEUE" if value.is_empty() => None,
            "QMAILQUEUE" => Some(format!("QMAILQUEUE: {value} gets the messages, in place of backend.queue")),
            name => noted(name),
        };
        if let Some(what) = what {
            all.entry(name).or_insert(Fault { what, ..place });
        }
    }
    all.into_values().collect()
}

/// Warnings: programs that cannot do their work.
pub(super) fn warnings(config: &Config, clients: &ClientRules, places: &Places) -> Vec<Fault> {
    let Target::Queue(program) = &config.backend.target else { return Vec::new() };
    let queue = not_setuid(program, config.user.as_deref()).map(|what| places.fault("backend.queue", what));
    let all = variables(config, clients, places);
    let search = all.iter().find(|(name, ..)| name == "PATH").map(|(_, value, _)| OsString::from(value));
    let others = all.into_iter().filter(|(name, ..)| name == "QMAILQUEUE");
    let others = others.filter_map(|(_, value, place)| {
        let why = not_executable(&chosen_queue(program, Some(&OsString::from(&value)), search.as_ref()))?;
        let what = format!("QMAILQUEUE: {value}: {why}, so its clients get 451; write the path of a program");
        Some(Fault { what, ..place })
    });
    queue.into_iter().chain(others).collect()
}

/// Names and values that programs get, each with its place: those of tcprules stand over `backend.env`, and these over
/// the inherited ones.
fn variables(config: &Config, clients: &ClientRules, places: &Places) -> Vec<(String, String, Fault)> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let of_rules = clients.with_variables().into_iter().flat_map(|rule| {
        let place = Fault {
            file: PathBuf::from(&*rule.location.source),
            line: rule.location.line,
            column: 0,
            what: String::new(),
        };
        rule.variables.iter().map(move |(name, value)| (text(name), text(value), place.clone()))
    });
    let of_file = config.backend_environment.iter().map(|(name, value)| {
        let name = text(name);
        let place = places.fault(&format!("backend.env.{name}"), "");
        (name, text(value), place)
    });
    let inherited = std::env::vars_os().map(|(name, value)| {
        let text = |text: &OsStr| String::from_utf8_lossy(text.as_bytes()).into_owned();
        let place = Fault { file: PathBuf::from("environment"), line: 0, column: 0, what: String::new() };
        (text(&name), text(&value), place)
    });
    of_rules.chain(of_file).chain(inherited).collect()
}

fn not_executable(program: &Path) -> Option<&'static str> {
    match program.metadata() {
        _ if program.components().count() == 1 => Some("not found in PATH"),
        Err(_) => Some("no such file"),
        Ok(metadata) if metadata.is_dir() => Some("is a folder"),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => Some("cannot be executed"),
        Ok(_) => None,
    }
}

/// The reason why qmail-queue cannot write to its queue: it has to become the queue's owner.
fn not_setuid(program: &Path, user: Option<&str>) -> Option<String> {
    let program = fs::canonicalize(program).ok()?;
    let folder = qmail_home(&program).join("queue/pid");
    let (found, owner) = (program.metadata().ok()?, folder.metadata().ok()?.uid());
    let is_setuid = |found: &Metadata| found.permissions().mode() & 0o4000 != 0 && found.uid() == owner;
    let ours = match user {
        Some(user) => User::from_name(user).ok().flatten()?.uid,
        None => Uid::effective(),
    };
    if is_setuid(&found) || ours.as_raw() == owner {
        return None;
    }
    let name = User::from_uid(Uid::from_raw(owner)).ok().flatten().map_or_else(|| owner.to_string(), |user| user.name);
    let path = program.display();
    Some(format!(
        "{path} is not setuid to {name}, the owner of {}, so it cannot write there: chown {name} {path}; chmod 4711 {path}",
        folder.display()
    ))
}
