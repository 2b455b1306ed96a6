//! Whether the user that the process will become can read the files of a reload: a key of mode 0600 that root owns
//! could be read at the start and never again. It goes by the files' modes, because the process is still another user.
//! It must not open the files.

use std::ffi::CString;
use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::getgrouplist;

/// The `files` that the user could not read, each with the obstacle.
///
/// # Errors
/// The user does not exist.
pub(super) fn unreadable(user: &str, files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, String> {
    let found = User::from_name(user).ok().flatten();
    let found = found.ok_or_else(|| format!("server.user: there is no user {user:?} on this host"))?;
    if found.uid.is_root() || found.uid == Uid::effective() {
        return Ok(Vec::new());
    }
    let groups = CString::new(user).ok().and_then(|name| getgrouplist(&name, found.gid).ok()).unwrap_or_default();
    let reader = Reader { uid: found.uid.as_raw(), gids: groups.iter().map(|gid| gid.as_raw()).collect() };
    let refused = |file: &PathBuf| Some((file.clone(), reader.obstacle(file)?));
    Ok(files.iter().filter_map(refused).collect())
}

struct Reader {
    uid: u32,
    gids: Vec<u32>,
}

impl Reader {
    /// The obstacle to reading the file. A missing file is none: most control files may be absent.
    fn obstacle(&self, file: &Path) -> Option<String> {
        let file = fs::canonicalize(file).ok()?;
        let closed = file.ancestors().skip(1).find(|folder| !self.may(folder, 0o1));
        match closed {
            Some(folder) => Some(format!("{} cannot be entered", folder.display())),
            None if self.may(&file, 0o4) => None,
            None => Some("it cannot be read".to_owned()),
        }
    }

    fn may(&self, path: &Path, permission: u32) -> bool {
        fs::metadata(path).is_ok_and(|metadata| self.has(&metadata, permission))
    }

    /// The first class that fits decides, as in the kernel.
    fn has(&self, metadata: &Metadata, permission: u32) -> bool {
        let shift = match () {
            () if metadata.uid() == self.uid => 6,
            () if self.gids.contains(&metadata.gid()) => 3,
            () => 0,
        };
        metadata.mode() >> shift & permission != 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_modes_of_the_file_and_of_its_folders_decide() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, "").unwrap();
        let owner = fs::metadata(&file).unwrap();
        let stranger = Reader { uid: owner.uid() + 1, gids: vec![owner.gid() + 1] };
        let colleague = Reader { uid: owner.uid() + 1, gids: vec![owner.gid()] };
        let myself = Reader { uid: owner.uid(), gids: vec![] };
        // Mode of the folder, of the file; users that cannot read it.
        let table = [
            (0o755, 0o644, [false, false, false]),
            (0o755, 0o640, [true, false, false]),
            (0o755, 0o600, [true, true, false]),
            (0o700, 0o644, [true, true, false]),
            (0o755, 0o044, [false, false, true]),
        ];
        for (folder_mode, file_mode, expected) in table {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(file_mode)).unwrap();
            let kept_out = [&stranger, &colleague, &myself].map(|reader| reader.obstacle(&file).is_some());
            assert_eq!(kept_out, expected, "{folder_mode:o} {file_mode:o}");
        }
        assert_eq!(stranger.obstacle(&folder.path().join("absent")), None);
    }
}
