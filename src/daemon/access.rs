//! What the user that the process will become can do with the files that a configuration names: a key of mode 0600 that
//! root owns could be read at the start and never again. It goes by the files' modes, because the process is still another
//! user. It must not open the files.

use std::ffi::CString;
use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use nix::sys::statvfs::FsFlags;
use nix::sys::statvfs::statvfs;
use nix::unistd::AccessFlags;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::access;
use nix::unistd::getgrouplist;

/// The reason why `server.user` cannot be used.
pub(super) fn unknown_user(user: Option<&str>) -> Option<String> {
    let user = user?;
    let is_known = matches!(User::from_name(user), Ok(Some(_)));
    (!is_known).then(|| match user.bytes().all(|octet| octet.is_ascii_digit()) {
        true => format!("server.user: {user:?} is a number; write the name of the user (getent passwd {user})"),
        false => format!("server.user: no user {user:?} on this host; create it, or write another name"),
    })
}

/// The reason why `server.group` cannot be used.
pub(super) fn unknown_group(group: Option<&str>) -> Option<String> {
    let group = group?;
    let is_known = matches!(Group::from_name(group), Ok(Some(_)));
    (!is_known).then(|| format!("server.group: no group {group:?} on this host; create it, or write another name"))
}

/// The `files` that the user could not read, each with the obstacle.
pub(super) fn unreadable(user: &str, files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let Some(account) = Account::of(Some(user), None) else { return Vec::new() };
    files.iter().filter_map(|file| Some((file.clone(), account.cannot_read(file)?))).collect()
}

/// A user, and what it may.
#[derive(Debug)]
pub(super) struct Account {
    /// `None`: the process is that user already, and the kernel is asked.
    reader: Option<Reader>,
}

#[derive(Debug)]
struct Reader {
    uid: u32,
    gids: Vec<u32>,
}

impl Account {
    /// `server.user` and `server.group`, or the user that we are; `None` where they do not exist.
    pub(super) fn of(user: Option<&str>, group: Option<&str>) -> Option<Self> {
        let Some(user) = user else { return Some(Self { reader: None }) };
        let found = User::from_name(user).ok().flatten()?;
        if found.uid == Uid::effective() {
            return Some(Self { reader: None });
        }
        let gid = match group {
            Some(group) => Group::from_name(group).ok().flatten()?.gid,
            None => found.gid,
        };
        let groups = CString::new(user).ok().and_then(|name| getgrouplist(&name, gid).ok()).unwrap_or_default();
        let gids = groups.iter().map(|gid| gid.as_raw()).collect();
        Some(Self { reader: Some(Reader { uid: found.uid.as_raw(), gids }) })
    }

    /// The obstacle to reading the file. A missing file is none: most control files may be absent.
    pub(super) fn cannot_read(&self, file: &Path) -> Option<String> {
        self.obstacle(file, AccessFlags::R_OK).map(|folder| folder.unwrap_or_else(|| "it cannot be read".to_owned()))
    }

    /// Whether the user may read and write this file, which is there.
    pub(super) fn may_write_file(&self, file: &Path) -> bool {
        self.obstacle(file, AccessFlags::R_OK | AccessFlags::W_OK).is_none() && !is_read_only(file)
    }

    /// Whether the user may connect to this socket, which is there.
    pub(super) fn may_connect(&self, socket: &Path) -> bool {
        self.obstacle(socket, AccessFlags::W_OK).is_none()
    }

    /// Whether the user may make files in this folder, which is there.
    pub(super) fn may_write_in(&self, folder: &Path) -> bool {
        self.obstacle(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_none() && !is_read_only(folder)
    }

    /// Whether the user may execute this program, which is there.
    pub(super) fn may_execute(&self, program: &Path) -> bool {
        self.obstacle(program, AccessFlags::X_OK).is_none()
    }

    /// `Some(None)`: the file itself; else the folder that cannot be entered.
    fn obstacle(&self, file: &Path, wanted: AccessFlags) -> Option<Option<String>> {
        let Some(reader) = &self.reader else {
            return (access(file, wanted).is_err() && file.exists()).then_some(None);
        };
        let file = fs::canonicalize(file).ok()?;
        let closed = file.ancestors().skip(1).find(|folder| !reader.may(folder, AccessFlags::X_OK));
        match closed {
            Some(folder) => Some(Some(format!("{} cannot be entered", folder.display()))),
            None if reader.may(&file, wanted) => None,
            None => Some(None),
        }
    }
}

impl Reader {
    fn may(&self, path: &Path, wanted: AccessFlags) -> bool {
        // R_OK, W_OK and X_OK are the bits of a mode. What an access control list (acl(5)) adds, the mode does not tell.
        let bits = u32::try_from(wanted.bits()).unwrap_or_default();
        fs::metadata(path).is_ok_and(|metadata| self.has(&metadata, bits)) || has_acl(path)
    }

    /// The first class that fits decides, as in the kernel.
    fn has(&self, metadata: &Metadata, permission: u32) -> bool {
        let shift = match () {
            () if self.uid == 0 => return true,
            () if metadata.uid() == self.uid => 6,
            () if self.gids.contains(&metadata.gid()) => 3,
            () => 0,
        };
        metadata.mode() >> shift & permission == permission
    }
}

fn has_acl(path: &Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0]).is_ok_and(|length| length > 0)
}

fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
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
        let stranger = Account { reader: Some(Reader { uid: owner.uid() + 1, gids: vec![owner.gid() + 1] }) };
        let colleague = Account { reader: Some(Reader { uid: owner.uid() + 1, gids: vec![owner.gid()] }) };
        let myself = Account { reader: Some(Reader { uid: owner.uid(), gids: vec![] }) };
        // Mode of the folder, of the file; users that cannot read it.
        let table = [
            (0o755, 0o644, [false, false, false]),
            (0o755, 0o640, [true, false, false]),
            (0o755, 0o600, [true, true, false]),
            (0o700, 0o644, [true, true, false]),
            (0o755, 0o044, [false, false, owner.uid() != 0]),
        ];
        for (folder_mode, file_mode, expected) in table {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(file_mode)).unwrap();
            let kept_out = [&stranger, &colleague, &myself].map(|account| account.cannot_read(&file).is_some());
            assert_eq!(kept_out, expected, "{folder_mode:o} {file_mode:o}");
        }
        assert_eq!(stranger.cannot_read(&folder.path().join("absent")), None);
    }
}
