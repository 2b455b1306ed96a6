//! The queue that a quarantine belongs to: the default path of its quarantine, and the file in the quarantine that
//! names the queue. It must not touch a message.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use crate::queue::look::layout::Queue;
use crate::queue::look::read::slurp;
use crate::queue::quarantine::dir::Dir;
use crate::text::readable;

/// The path of a queue's quarantine: beside the queue, or inside it where the queue has a file system of its own.
/// Several queues side by side have one each.
pub fn place(queue: &Queue, wanted: Option<&Path>) -> PathBuf {
    let inside = queue.path().join("quarantine");
    let beside = || {
        let home = fs::canonicalize(queue.path()).ok()?.parent()?.to_owned();
        let same = fs::metadata(&home).ok()?.dev() == fs::metadata(queue.path().join("mess")).ok()?.dev();
        let name = match fs::canonicalize(queue.path()).ok()?.file_name()?.to_str()? {
            "queue" => "quarantine".to_owned(),
            name => format!("quarantine-{name}"),
        };
        same.then(|| home.join(name))
    };
    match wanted {
        Some(wanted) => wanted.to_owned(),
        None if inside.is_dir() => inside,
        None => beside().unwrap_or(inside),
    }
}

/// The reason why `wanted` cannot be this queue's quarantine, if there is one: qmail's own folders must not be used for
/// it.
pub fn refusal(queue: &Queue, wanted: &Path) -> Option<String> {
    let root = fs::canonicalize(queue.path()).ok()?;
    let whole = std::path::absolute(wanted).ok()?;
    // A path that does not exist yet has no links in it.
    let (there, missing) = whole
        .ancestors()
        .find_map(|ancestor| Some((fs::canonicalize(ancestor).ok()?, whole.strip_prefix(ancestor).ok()?)))?;
    let place = there.join(missing);
    let is_inside = place.starts_with(&root) && place != root.join("quarantine");
    is_inside.then(|| format!("{}: is inside the queue: name a folder beside it", wanted.display()))
}

/// Checks that the folder may be this queue's quarantine.
///
/// # Errors
/// It belongs to another queue, or its owner cannot be read.
pub(super) fn check(dir: &Dir, queue: &Queue) -> Result<(), String> {
    match owner(dir).map_err(|error| format!("{OWNER}: {error}"))? {
        Some(owner) if owner != name_of(queue) => {
            let owner = readable::text(&owner);
            Err(format!("it is the quarantine of {owner}: {ANOTHER}; if that is this queue, write so there"))
        }
        _ => Ok(()),
    }
}

/// Makes the folder this queue's quarantine. Files are removed from a quarantine, so only an empty folder is taken.
///
/// # Errors
/// The folder is not empty, or the system's error.
pub(super) fn claim(dir: &Dir, queue: &Queue) -> io::Result<()> {
    if owner(dir)?.is_some() {
        return Ok(());
    }
    let mut is_used = false;
    dir.each_name(&mut |name| is_used |= name != NEW_OWNER.as_bytes())?;
    if is_used {
        let queue = readable::text(&name_of(queue));
        return Err(io::Error::other(format!(
            "it is not empty, and no quarantine: {ANOTHER}; if it is one, write {queue} into a file queue there"
        )));
    }
    dir.write(NEW_OWNER, &[&name_of(queue)[..], b"\n"].concat())?;
    dir.sync()?;
    dir.rename(NEW_OWNER, OWNER)
}

/// The name of the queue that the folder belongs to, if known.
fn owner(dir: &Dir) -> io::Result<Option<Vec<u8>>> {
    let mut octets = Vec::new();
    let length = match dir.file(OWNER, OFlag::O_RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => slurp(&outcome?, &mut octets, MAX_OWNER)?,
    };
    Ok(Some(octets[..length].trim_ascii_end().to_vec()))
}

/// The name of a queue: its path without links.
fn name_of(queue: &Queue) -> Vec<u8> {
    fs::canonicalize(queue.path()).unwrap_or_else(|_| queue.path().to_owned()).into_os_string().into_encoded_bytes()
}

/// The remedy when a folder cannot be the quarantine.
pub(super) const ANOTHER: &str = "name another folder with --quarantine DIR";
/// File with the queue's name.
const OWNER: &str = "queue";
const NEW_OWNER: &str = "queue.new";
const MAX_OWNER: usize = 4 << 10;
