//! The configuration: the file as written (`file`, `sections`), and the checked values made from it (`checked`). Every
//! fault is found at once and has its place. Nothing on the path of a session names this module. It must not read the
//! files that a configuration names.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::backend::Target;
use crate::config::checked::Config;
use crate::config::checked::Draft;
use crate::config::faults::At;
use crate::config::faults::Fault;
use crate::config::faults::Findings;
use crate::config::faults::Places;
use crate::config::file::File;
use crate::config::file::Overrides;
use crate::text::bounded;

mod build;
mod check;
pub mod checked;
pub mod faults;
pub mod file;
mod key;
mod meant;
mod needs;
mod reader;
pub mod schema;
mod sections;
pub mod units;
pub mod watch;

#[cfg(test)]
mod remedies;
#[cfg(test)]
mod tests;

/// A configuration without faults.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Checked values; what a control file may fill in is still open.
    pub config: Draft,
    /// Warnings: values that are probably not as they were meant.
    pub warnings: Vec<Fault>,
    /// Where each key was written.
    pub places: Places,
}

/// A configuration with faults.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Every fault, in the file's order.
    pub faults: Vec<Fault>,
    /// Warnings: values that are probably not as they were meant.
    pub warnings: Vec<Fault>,
    /// The values that could be read all the same: good enough to look for faults in the files that they name, for
    /// nothing else.
    pub readable: Option<Box<Draft>>,
    /// Where each key was written, as far as it could be read.
    pub places: Box<Places>,
}

/// The file to read: `explicit`, else `$PORTCULLIS_CONFIG`, else the first of [`DEFAULT_FILES`] that exists. A file that
/// was named and is missing is a fault, not a reason to look elsewhere.
pub fn find(explicit: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os("PORTCULLIS_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
    find_in(explicit, named, &DEFAULT_FILES.map(Path::new))
}

/// The file that a process in `folder` reads, by its option and its `$PORTCULLIS_CONFIG`: as [`find`] does.
pub fn find_for(explicit: Option<&Path>, named: Option<PathBuf>, folder: &Path) -> Option<PathBuf> {
    let defaults = DEFAULT_FILES.map(|file| folder.join(file));
    let found = find_in(explicit, named, &defaults.each_ref().map(PathBuf::as_path));
    found.map(|file| folder.join(file))
}

/// Reads and checks the file and what it names: the backend's program, lists and certificates must be there.
///
/// # Errors
/// All faults, in the file's order.
pub fn load(path: &Path) -> Result<Loaded, Vec<Fault>> {
    load_with(path, &Overrides::default()).map_err(|refused| refused.faults)
}

/// Reads and checks as [`load`] does, with the command line's values over the file's.
///
/// # Errors
/// All faults, those of the command line first.
pub fn load_with(path: &Path, overrides: &Overrides) -> Result<Loaded, Refused> {
    let unreadable = |faults| Refused { faults, warnings: Vec::new(), readable: None, places: Box::default() };
    let octets = bounded::read(path, LARGEST_FILE)
        .map_err(|error| unreadable(vec![Fault::of_file(path, unread(path, &error))]))?;
    let text = match str::from_utf8(&octets) {
        Ok(text) => text,
        Err(error) => {
            let readable = str::from_utf8(&octets[..error.valid_up_to()]).expect("valid up to there");
            let findings = Findings::default();
            findings.fault(At::Octet(readable.len()), "is not UTF-8 from here on; save the file as UTF-8");
            let faults = findings.placed(path, readable).0;
            // In a comment, as a rule: the rest can be read.
            let lossy = String::from_utf8_lossy(&octets);
            let source = Source { name: path, text: &lossy, default_backend: false, look_at_files: false };
            let readable =
                read(&source, overrides).map_or_else(|refused| refused.readable, |it| Some(Box::new(it.config)));
            return Err(Refused { faults, warnings: Vec::new(), readable, places: Box::default() });
        }
    };
    read(&Source { name: path, text, default_backend: false, look_at_files: true }, overrides)
}

fn unread(path: &Path, error: &io::Error) -> String {
    let inside = path.join(FILE_NAME);
    match error.kind() {
        io::ErrorKind::NotFound => "no such file; `portcullis init` writes one for this host. Without -c and \
                                    PORTCULLIS_CONFIG the built-in default is used"
            .to_owned(),
        io::ErrorKind::PermissionDenied => format!("{error}; run this as root or as server.user"),
        io::ErrorKind::IsADirectory if inside.is_file() => format!("is a folder; write -c {}", inside.display()),
        io::ErrorKind::IsADirectory => format!("is a folder without a {FILE_NAME}; write the path of a configuration"),
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => {
            "not a regular file, or over 1 MiB; write the path of a configuration".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The configuration without a file: 127.0.0.1:2525 and the Maildir `./portcullis-mail`, unless the command line says
/// otherwise.
///
/// # Errors
/// All faults of the command line.
pub fn without_file(overrides: &Overrides) -> Result<Loaded, Refused> {
    read(&Source { name: Path::new(""), text: "", default_backend: true, look_at_files: true }, overrides)
}

/// Checks `text`, which is or would be the file `name`. Looks at no file.
///
/// # Errors
/// All faults, in the text's order.
pub fn parse(name: &Path, text: &str) -> Result<Loaded, Vec<Fault>> {
    let source = Source { name, text, default_backend: false, look_at_files: false };
    read(&source, &Overrides::default()).map_err(|refused| refused.faults)
}

impl Config {
    /// The configuration that holds when there is no file at all.
    pub fn default_without_file() -> Draft {
        let source = Source { name: Path::new(""), text: "", default_backend: true, look_at_files: false };
        read(&source, &Overrides::default()).expect("the defaults have no faults").config
    }
}

/// Every section and key that a file may have, in the order in which they are read. The reference of keys is held
/// against it.
pub fn known_keys() -> Vec<(String, &'static str)> {
    let findings = Findings::default();
    File::read("", &findings);
    findings.keys().into_iter().map(|(section, key)| (section, key.name)).collect()
}

/// The commented default configuration, for `init` and as a list of all keys.
pub const DEFAULT_TEXT: &str = include_str!("../../config/portcullis.toml");

struct Source<'t> {
    name: &'t Path,
    text: &'t str,
    default_backend: bool,
    look_at_files: bool,
}

fn read(source: &Source<'_>, overrides: &Overrides) -> Result<Loaded, Refused> {
    let findings = Findings::default();
    let mut file = File::read(source.text, &findings);
    if source.default_backend {
        file.set_target(At::Octet(0), Target::Maildir(build::DEFAULT_MAILDIR.into()));
    }
    file.override_with(overrides, &findings);
    check::check(&file, &findings);
    let folder = source.name.parent().unwrap_or(Path::new(""));
    if source.look_at_files {
        needs::check(&file, folder, &findings);
    }
    let (faults, warnings) = findings.placed(source.name, source.text);
    let places = findings.places(source.name, source.text);
    let config = build::build(&file, folder);
    match faults.is_empty() {
        true => Ok(Loaded { config, warnings, places }),
        false => Err(Refused { faults, warnings, readable: Some(Box::new(config)), places: Box::new(places) }),
    }
}

fn find_in(explicit: Option<&Path>, named: Option<PathBuf>, defaults: &[&Path]) -> Option<PathBuf> {
    let existing = || defaults.iter().find(|path| path.exists()).map(|path| path.to_path_buf());
    explicit.map(Path::to_owned).or(named).or_else(existing)
}

/// Where a configuration is looked for that is not named, in this order; `init --to /etc/portcullis` writes the last.
pub const DEFAULT_FILES: [&str; 3] = ["portcullis.toml", "/etc/portcullis.toml", "/etc/portcullis/portcullis.toml"];
const FILE_NAME: &str = "portcullis.toml";

/// Octets of a configuration.
const LARGEST_FILE: u64 = 1 << 20;
