//! A small file system of its own, which is full, has room again or cannot be written on command. It must not outlive its
//! test.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system, unmounted when dropped.
pub(crate) struct Small(TempDir);

impl Small {
    /// Mounts one; `None` where mounting is not permitted.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("no tmpfs can be mounted here: not tried");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }

    /// Fills it up, but for so many pages.
    pub(crate) fn fill(&self, but: usize) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        let mut pages = 0;
        while filler.write_all(&[0; 4096]).is_ok() {
            pages += 1;
        }
        filler.set_len((pages - but as u64) * 4096).unwrap();
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
