//! What keeps a backend without a conversation from taking mail, as far as its files tell. It must not start or write
//! anything.

use std::path::Path;

use nix::unistd::AccessFlags;
use nix::unistd::access;

use crate::backend::settings::Target;

/// The reason why a Maildir or a queue program cannot take mail now; `None` for the others, which have to be asked.
pub fn obstacle(target: &Target) -> Option<String> {
    match target {
        Target::Maildir(folder) => denied(folder, AccessFlags::W_OK | AccessFlags::X_OK),
        Target::Queue(program) => denied(program, AccessFlags::X_OK),
        Target::Lmtp(_) | Target::Spawn(_) | Target::Tcp(_) => None,
    }
}

fn denied(path: &Path, wanted: AccessFlags) -> Option<String> {
    access(path, wanted).err().map(|error| format!("{}: {}", path.display(), error.desc()))
}
