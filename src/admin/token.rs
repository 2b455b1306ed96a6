//! The token that a change over TCP needs. It must not be taken from a file that others could have read or written, nor
//! be told to anybody who cannot read that file.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::text::bounded;

/// Reads the token of `file`, and makes one if the file is missing or empty.
///
/// # Errors
/// The file, its fault, and the remedy.
pub(super) fn read_or_make(file: &Path) -> Result<String, String> {
    let fault = |what: &dyn std::fmt::Display, remedy: &str| format!("admin: {}: {what}; {remedy}", file.display());
    let refused = |error: io::Error| fault(&error, "let server.user write there, or set admin.token_file");
    // A link could lead us to read or fill another user's choice of file; a FIFO would block.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    let mut opened = match options.clone().create_new(true).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // A process that may only read it (root's file, and server.user) need not write.
            let again = |error: io::Error| match error.kind() {
                ErrorKind::PermissionDenied => OpenOptions::new().read(true).custom_flags(flags).open(file),
                _ => Err(error),
            };
            match options.open(file).or_else(again) {
                Err(_) if file.is_symlink() => return Err(fault(&"is a link", "remove it, or set admin.token_file")),
                opened => opened,
            }
        }
        made => made,
    }
    .map_err(refused)?;
    if let Some((what, remedy)) = flaw(&opened.metadata().map_err(refused)?, file) {
        return Err(fault(&what, &remedy));
    }
    let text = bounded::rest_of(&opened, LARGEST).map_err(refused)?;
    if !text.trim().is_empty() {
        return Ok(text.trim().to_owned());
    }
    let mut octets = [0; 32];
    let random = fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut octets));
    random.map_err(refused)?;
    let token = blake3::hash(&octets).to_hex().to_string();
    opened.write_all(format!("{token}\n").as_bytes()).map_err(refused)?;
    Ok(token)
}

/// The reason why the file keeps no secret, and the remedy. A group may have been given it on purpose.
pub(super) fn flaw(metadata: &fs::Metadata, file: &Path) -> Option<(String, String)> {
    let mode = metadata.permissions().mode() & 0o777;
    let remedy = format!("chmod 600 {}, or remove it: the next start makes a new one", file.display());
    match () {
        () if metadata.is_symlink() => Some(("is a link".to_owned(), "remove it, or set admin.token_file".to_owned())),
        () if !metadata.is_file() => {
            Some(("is not a regular file".to_owned(), "remove it, or set admin.token_file".to_owned()))
        }
        () if mode & 0o006 != 0 => Some((format!("others may read or write it (mode {mode:04o})"), remedy)),
        () => None,
    }
}

/// Octets of the token's file.
pub(super) const LARGEST: u64 = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = read_or_make(&file).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&file).unwrap(), token);
        fs::write(&file, "").unwrap();
        assert_ne!(read_or_make(&file).unwrap(), token, "an empty one is filled");
    }

    #[test]
    fn a_file_that_anybody_could_have_made_or_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let write = |mode| {
            fs::write(&file, "secret\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        };
        let target = folder.path().join("target");
        fs::write(&target, "precious\n").unwrap();
        let table: [(&str, &dyn Fn(), Result<&str, &str>); 8] = [
            ("its owner's", &|| write(0o600), Ok("secret")),
            ("read only", &|| write(0o400), Ok("secret")),
            ("a group's on purpose", &|| write(0o640), Ok("secret")),
            ("everybody's", &|| write(0o666), Err("mode 0666); chmod 600 ")),
            ("everybody can read it", &|| write(0o644), Err("mode 0644); chmod 600 ")),
            ("a link", &|| symlink("target", &file).unwrap(), Err("is a link; remove it")),
            ("a link to nothing", &|| symlink("nothing", &file).unwrap(), Err("is a link; remove it")),
            (
                "a FIFO",
                &|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap(),
                Err("is not a regular file; remove"),
            ),
        ];
        for (what, make, expected) in table {
            make();
            let token = read_or_make(&file);
            match expected {
                Ok(expected) => assert_eq!(token.as_deref(), Ok(expected), "{what}"),
                Err(remedy) => assert!(token.as_ref().is_err_and(|told| told.contains(remedy)), "{what}: {token:?}"),
            }
            fs::remove_file(&file).unwrap();
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious\n");
        assert!(!folder.path().join("nothing").exists());
        fs::create_dir(&file).unwrap();
        assert!(read_or_make(&file).is_err());
    }
}
