//! Root folders for programs that are entered by chroot: each is a copy of what tests/support/mta.sh unpacked, so that
//! nothing of the system is read or changed. Only root can make them. It must not know what runs there.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::proxy::PORTCULLIS;

/// A copy of the root folder of this name, with the devices that any program needs.
pub(crate) fn unpacked(name: &str) -> TempDir {
    assert!(nix::unistd::Uid::effective().is_root(), "{name} has to be started by root");
    let unpacked = Path::new(PORTCULLIS).ancestors().nth(2).unwrap().join("mta").join(name);
    assert!(unpacked.exists(), "{} is missing; tests/support/mta.sh makes it", unpacked.display());
    let root = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-a").arg(unpacked.join(".")).arg(root.path()));
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (device, minor) in [("null", "3"), ("urandom", "9")] {
        let path = root.path().join("dev").join(device);
        run(Command::new("mknod").args(["-m", "666"]).arg(path).args(["c", "1", minor]));
    }
    root
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
