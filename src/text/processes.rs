//! The processes of this host, as far as /proc shows them (proc(5)). It must not signal one, nor know what is looked for.

use std::fs;
use std::path::Path;

use crate::text::bounded;
use crate::text::readable;

/// The pids of all processes that can be seen, in no order.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The name of a process's program, 15 octets of it at most, made visible: a process may call itself anything. `None` if
/// the process is gone.
pub fn name(pid: u32) -> Option<String> {
    let comm = bounded::read(Path::new(&format!("/proc/{pid}/comm")), LONGEST_NAME).ok()?;
    Some(readable::text(comm.trim_ascii()))
}

/// Octets read of a name.
const LONGEST_NAME: u64 = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_one() {
        let own = std::process::id();
        assert!(all().any(|pid| pid == own));
        assert!(!name(own).unwrap().is_empty());
        assert_eq!(name(u32::MAX), None);
    }
}
