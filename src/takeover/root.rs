//! The host's files below a root folder: links are followed inside it, so that a copy of a host is read as the host would
//! be. What cannot be read is noted and then treated as absent. It must not write anything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use crate::text::bounded;

/// A host, or a copy of one.
#[derive(Debug)]
pub(super) struct Root {
    base: PathBuf,
    unreadable: RefCell<Vec<(PathBuf, String)>>,
}

impl Root {
    pub(super) fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), unreadable: RefCell::default() }
    }

    /// Files that could not be read so far, and why.
    pub(super) fn unreadable(&self) -> Vec<(PathBuf, String)> {
        self.unreadable.borrow().clone()
    }

    /// The path without links, as the host would name it.
    pub(super) fn canonical(&self, path: &Path) -> PathBuf {
        self.resolve(path).unwrap_or_else(|_| path.to_owned())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut found = PathBuf::from("/");
        let mut rest = names_of(path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                found.pop();
                continue;
            }
            found.push(name);
            let Ok(target) = fs::read_link(self.below(&found)) else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::other("has too many links"));
            }
            found.pop();
            if target.is_absolute() {
                found = PathBuf::from("/");
            }
            let mut names = names_of(&target);
            names.append(&mut rest);
            rest = names;
        }
        Ok(found)
    }

    /// The whole file; `None` if there is none, or if it cannot be read, which is noted.
    pub(super) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.read_up_to(path, LARGEST)
    }

    /// The whole file as by `read`, with another limit, in octets.
    pub(super) fn read_up_to(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        match self.place(path).and_then(|place| bounded::read(&place, limit)) {
            Ok(octets) => Some(octets),
            Err(error) => {
                self.note(path, &error);
                None
            }
        }
    }

    /// The whole file as by `read`; octets that are no UTF-8 are replaced.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// The names in a folder, in order; none if it is not there.
    pub(super) fn names(&self, path: &Path) -> Vec<OsString> {
        let entries = match self.place(path).and_then(fs::read_dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.note(path, &error);
                return Vec::new();
            }
        };
        let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).take(MOST_NAMES).collect();
        names.sort();
        names
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.place(path).is_ok_and(|place| place.is_dir())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.place(path).is_ok_and(|place| place.exists())
    }

    /// What is there, followed through links; `Some(None)` if nothing is, `None` if that cannot be seen.
    pub(super) fn seen(&self, path: &Path) -> Option<Option<fs::Metadata>> {
        match self.place(path).and_then(fs::metadata) {
            Ok(found) => Some(Some(found)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Some(None),
            Err(_) => None,
        }
    }

    /// A file that somebody may execute.
    pub(super) fn is_program(&self, path: &Path) -> bool {
        let metadata = self.place(path).and_then(fs::metadata);
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }

    /// Octets of a file, if it can be seen.
    pub(super) fn length(&self, path: &Path) -> Option<u64> {
        self.place(path).and_then(fs::metadata).ok().map(|metadata| metadata.len())
    }

    /// The target of a link, as it is written. What cannot be seen is not noted: most processes belong to somebody
    /// else.
    pub(super) fn link(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(self.below(path)).ok()
    }

    /// The names in a folder that most users may not enter.
    pub(super) fn quiet_names(&self, path: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(self.below(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).take(MOST_NAMES).collect()
    }

    fn note(&self, path: &Path, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return;
        }
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a folder".to_owned(),
            _ => error.to_string(),
        };
        let noted = (path.to_owned(), why);
        let mut unreadable = self.unreadable.borrow_mut();
        if !unreadable.contains(&noted) && unreadable.len() < MOST_NAMES {
            unreadable.push(noted);
        }
    }

    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolve(path).map(|path| self.below(&path))
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.base.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

/// Octets of a script or a unit.
const LARGEST: u64 = 1 << 20;
const MOST_LINKS: u32 = 40;
const MOST_NAMES: usize = 100_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        fs::create_dir_all(base.join("var/lib/svc")).unwrap();
        fs::create_dir(base.join("service")).unwrap();
        fs::write(base.join("var/lib/svc/run"), "x").unwrap();
        symlink("/var/lib/svc", base.join("service/a")).unwrap();
        symlink("../var/lib/svc", base.join("service/b")).unwrap();
        symlink("../../../../../../etc", base.join("service/out")).unwrap();
        symlink("loop", base.join("service/loop")).unwrap();
        let root = Root::new(base);
        for (path, expected) in [
            ("/service/a/run", "/var/lib/svc/run"),
            ("/service/b/../svc/run", "/var/lib/svc/run"),
            ("/service/out/passwd", "/etc/passwd"),
            ("/none/x", "/none/x"),
        ] {
            assert_eq!(root.canonical(Path::new(path)), Path::new(expected), "{path}");
        }
        assert_eq!(root.text(Path::new("/service/a/run")).as_deref(), Some("x"));
        assert_eq!(root.text(Path::new("/service/out/passwd")), None, "the host's own is not read");
        assert_eq!(root.text(Path::new("/service/loop/run")), None);
        assert_eq!(root.read(Path::new("/service/a")), None);
        assert_eq!(root.read_up_to(Path::new("/service/a/run"), 0), None);
        let told = root.unreadable().into_iter().map(|(_, why)| why).collect::<Vec<_>>();
        assert_eq!(told, ["has too many links", "is a folder", "is over 0 octets"]);
    }
}
