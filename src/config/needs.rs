//! The files that a configuration names and cannot work without: whether they are there, before anybody connects. It
//! must not read what is in them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::backend::Target;
use crate::config::build;
use crate::config::build::under;
use crate::config::faults::At;
use crate::config::faults::Findings;
use crate::config::faults::Written;
use crate::config::file::File;
use crate::config::sections::alert;

/// Reports every needed file that is not there or cannot be used.
pub(crate) fn check(file: &File, folder: &Path, findings: &Findings) {
    for Need { at, path, purpose } in needs(file, folder) {
        if let Err(error) = purpose.test(&path) {
            let instead = if is_for_shell(&path, folder) { IN_FULL } else { purpose.instead() };
            findings.fault(at, format!("{}: {}; {instead}", path.display(), reason(&error)));
        }
    }
    // It would be made. One that is there by such a name has mail in it.
    if let (Some(written), Target::Maildir(path)) = (file.backend.targets.first(), build::target(file, folder))
        && !path.exists()
        && is_for_shell(&path, folder)
    {
        let text = path.strip_prefix(folder).unwrap_or(&path).display();
        findings.fault(written.at, format!("backend.maildir cannot be \"{text}\"; {IN_FULL}"));
    }
}

/// Whether a shell would have replaced the beginning of the path.
fn is_for_shell(path: &Path, folder: &Path) -> bool {
    let written = path.strip_prefix(folder).unwrap_or(path);
    written.starts_with("~") || written.as_os_str().as_encoded_bytes().starts_with(b"$")
}

struct Need {
    at: At,
    path: PathBuf,
    purpose: Purpose,
}

#[derive(Clone, Copy)]
enum Purpose {
    Folder,
    Program,
    Text,
}

impl Purpose {
    fn test(self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        match self {
            Self::Folder => fs::read_dir(path).map(drop),
            _ if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Self::Program if metadata.permissions().mode() & 0o111 == 0 => Err(io::ErrorKind::PermissionDenied.into()),
            Self::Program => Ok(()),
            // A named pipe would wait here for its writer.
            Self::Text if !metadata.is_file() => Err(io::ErrorKind::InvalidInput.into()),
            Self::Text => fs::File::open(path).map(drop),
        }
    }

    fn instead(self) -> &'static str {
        match self {
            Self::Folder => "write the path of a folder that can be read",
            Self::Program => "write the path of a program that can be executed",
            Self::Text => "write the path of a file that can be read",
        }
    }
}

fn needs(file: &File, folder: &Path) -> Vec<Need> {
    let need = |path: &Written<PathBuf>, purpose| Need { at: path.at, path: under(folder, path), purpose };
    let mut all = Vec::new();
    if let Some(written) = file.backend.targets.first() {
        let program = match build::target(file, folder) {
            Target::Queue(program) => Some(program),
            Target::Spawn(words) => words.into_iter().next().map(PathBuf::from),
            Target::Lmtp(_) | Target::Maildir(_) | Target::Tcp(_) => None,
        };
        all.extend(program.map(|path| Need { at: written.at, path, purpose: Purpose::Program }));
    }
    let programs = file.alerts.iter().filter_map(|alert| match &alert.target {
        alert::Target::Command(words, at) => Some(Written { value: PathBuf::from(words.first()?), at: *at }),
        alert::Target::Webhook(..) => None,
    });
    all.extend(programs.map(|path| need(&path, Purpose::Program)));
    let folders = file.qmail.control.iter().chain(&file.qmail.queue).chain(&file.message.spool);
    all.extend(folders.map(|path| need(path, Purpose::Folder)));
    let lists = file.senders.blocked.iter().chain(&file.recipients.lists.blocked).chain(&file.recipients.known);
    let pairs = file.tls.pair.iter().chain(file.tls.more.iter().map(|more| &more.value));
    let tokens = file.alerts.iter().filter_map(|alert| alert.token_file.as_ref());
    let texts =
        lists.chain(tokens).chain(&file.qmail.tcprules).chain(pairs.flat_map(|pair| [&pair.certificate, &pair.key]));
    all.extend(texts.map(|path| need(path, Purpose::Text)));
    all
}

const IN_FULL: &str = "write the path of a file or folder in full: ~ and variables are not replaced";

/// The system's error in the operator's words, without its number.
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidInput => "not a regular file",
        io::ErrorKind::IsADirectory => "is a folder",
        io::ErrorKind::NotADirectory => "not a folder",
        io::ErrorKind::NotFound => "not found",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => "cannot be read",
    }
}
