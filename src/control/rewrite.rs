//! A file of qmail's, changed while others read it: they see the old one or the new one, never half of it. Owner and
//! mode stay. What goes wrong changes nothing. It must not know what is in the file.

use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::fs::Permissions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::control::badmailfrom::Change;
use crate::control::files;

/// Reads `path`, and puts what `change` makes of it in its place; a link stays one, and what it leads to is changed. A
/// file that is not there is empty, and is made with mode 0644. Other runs of this wait.
///
/// # Errors
/// The obstacle, and what to do; the file is as it was.
pub fn rewrite(path: &Path, change: impl Fn(&[u8]) -> Change) -> Result<Change, String> {
    let path = real(path)?;
    let fault = |error: &io::Error| format!("{}: {error}; nothing was changed{}", path.display(), remedy(error));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_file = File::open(folder).map_err(|error| fault(&error))?;
    lock(&folder_file).map_err(|error| fault(&error))?;
    for _ in 0..MOST_TRIES {
        let before = metadata(&path).map_err(|error| fault(&error))?;
        let text = files::read(&path).map_err(|what| what.to_string())?.unwrap_or_default();
        let changed = change(&text);
        let Change::Text { text: new, .. } = &changed else { return Ok(changed) };
        let written = write(folder, before.as_ref(), new).map_err(|error| fault(&error))?;
        // An editor may have saved it meanwhile.
        if is_same(before.as_ref(), metadata(&path).map_err(|error| fault(&error))?.as_ref()) {
            written.persist(&path).map_err(|error| fault(&error.error))?;
            folder_file.sync_all().map_err(|error| {
                format!("{}: changed, but the change may not survive a power failure: {error}", path.display())
            })?;
            return Ok(changed);
        }
    }
    Err(format!("{}: another program keeps changing it; nothing was changed", path.display()))
}

/// The path that links lead to. A file that is not there is where it is named.
fn real(path: &Path) -> Result<PathBuf, String> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            Ok(path.to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{}: is a link to a file that does not exist: remove it, or create the file", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
        Ok(path) => Ok(path),
    }
}

fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the lock of the folder, so that the file itself may be replaced.
fn lock(folder: &File) -> io::Result<()> {
    for _ in 0..MOST_WAITS {
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            #[expect(clippy::disallowed_methods, reason = "a command without a runtime; the lock tells nobody")]
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another program has locked the folder"))
}

/// Beside the file, on the disk, with owner and mode, and gone again unless it is given the file's name.
fn write(folder: &Path, like: Option<&Metadata>, text: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".portcullis-").tempfile_in(folder)?;
    file.write_all(text)?;
    if let Some(like) = like {
        let own = file.as_file().metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            let changed = fchown(file.as_file(), Some(like.uid()), Some(like.gid()));
            changed.map_err(|error| {
                let (uid, gid) = (like.uid(), like.gid());
                io::Error::new(error.kind(), format!("the file cannot be kept owned by uid {uid}, gid {gid}: {error}"))
            })?;
        }
    }
    // After the owner: changing that takes set-id bits away.
    let mode = like.map_or(0o644, |like| like.mode() & 0o7777);
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn is_same(before: Option<&Metadata>, now: Option<&Metadata>) -> bool {
    let what = |it: &Metadata| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec());
    before.map(what) == now.map(what)
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": run it as root, or as the owner of the file and with permission to write to its folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => ": the file system is mounted read-only",
        io::ErrorKind::StorageFull => ": make room first",
        _ => "",
    }
}

/// Readings of a file that changes each time.
const MOST_TRIES: usize = 5;
/// For the lock: 10 s in all.
const MOST_WAITS: usize = 500;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
