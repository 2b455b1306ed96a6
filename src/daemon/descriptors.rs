//! The limit of open files, and the connections that fit within it. It must not leave the admin interface, the backend
//! and our own files without descriptors.

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;

use crate::backend::Target;
use crate::config::checked::Config;

/// Raises the limit of open files as far as the system allows, and gives it.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "descriptors");
            soft
        }
    }
}

/// Lowers `server.max_connections` to the number that `limit` descriptors allow, with a warning.
pub(super) fn bound_connections(config: &mut Config, limit: u64) {
    let most = most_connections(config, limit);
    let wanted = config.front.max_connections;
    if wanted > most {
        config.front.max_connections = most;
        tracing::warn!(
            max_connections = most,
            configured = wanted,
            limit,
            remedy = "raise the limit of open files: LimitNOFILE= in the unit, softlimit -o, ulimit -n",
            "too few open files for server.max_connections"
        );
    }
}

/// The number of connections that fit: each has one descriptor, another where its message is in a file, and one or more
/// for a backend session.
fn most_connections(config: &Config, limit: u64) -> usize {
    let of_session = match config.backend.target {
        Target::Lmtp(_) | Target::Maildir(_) | Target::Tcp(_) => 1,
        // The program's log, its error text, its envelope, and the program itself.
        Target::Queue(_) => 5,
        Target::Spawn(_) => 3,
    };
    let most_files = config.hold.total / config.hold.memory.max(SMALLEST_IN_FILE);
    let others = (of_session * config.backend.max as u64).saturating_add(KEPT).min(limit / 2);
    let left = limit.saturating_sub(others);
    // With few connections each may have a file; with many only `most_files` of them.
    let most = left.saturating_sub(most_files).max(left / 2).max(1);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Descriptors kept back: listeners, state, log, lists and their watches, 64 requests to the admin interface, and 200
/// clients that are refused for lack of room.
const KEPT: u64 = 350;
/// Smallest message that is moved to a file where `message.hold_memory` is 0, in octets.
const SMALLEST_IN_FILE: u64 = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::config::checked::ControlValues;

    #[test]
    fn connections_are_what_descriptors_suffice_for() {
        let config = |backend: &str, message: &str| {
            let text = format!("[server]\nlisten = [\"127.0.0.1:25\"]\n[backend]\n{backend}\nmax = 40\n{message}");
            let loaded = config::parse(Path::new("/portcullis.toml"), &text).unwrap();
            loaded.config.complete(&ControlValues::default())
        };
        let table = [
            (1 << 20, "tcp = \"127.0.0.1:26\"", "", (1 << 20) - 390 - 4096),
            (1024, "tcp = \"127.0.0.1:26\"", "", 317),
            (1024, "spawn = [\"/bin/true\"]", "", 277),
            (1024, "tcp = \"127.0.0.1:26\"", "[message]\nhold_total = \"25MiB\"", 534),
            (64, "tcp = \"127.0.0.1:26\"", "", 16),
            (1, "tcp = \"127.0.0.1:26\"", "", 1),
        ];
        for (limit, backend, message, most) in table {
            assert_eq!(most_connections(&config(backend, message), limit), most, "{limit} {backend} {message}");
        }
    }
}
