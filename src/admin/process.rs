//! What the system says of this process, under the names that every program's metrics have. Its cost does not grow with
//! the open files. It must not look at other processes.

use std::fmt;
use std::fs;
use std::path::Path;

use nix::sys::resource::Resource;
use nix::sys::resource::UsageWho;
use nix::sys::resource::getrlimit;
use nix::sys::resource::getrusage;
use nix::sys::time::TimeVal;

use crate::report::metrics::families::Families;
use crate::store::clock::Time;
use crate::text::bounded;

/// Writes what is known of the process, which started then.
///
/// # Errors
/// What the encoder cannot take.
pub(super) fn write(started: Time, to: &mut Families<'_>) -> fmt::Result {
    to.of_process(|to| {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds = seconds(usage.user_time()) + seconds(usage.system_time());
            to.counter("cpu_seconds", "User and system time of the process.", seconds)?;
        }
        let status = bounded::read_text(Path::new("/proc/self/status"), LARGEST_STATUS).unwrap_or_default();
        for (name, help, field, unit) in [
            ("resident_memory_bytes", "Resident memory.", "VmRSS:", KIBIBYTE),
            ("virtual_memory_bytes", "Virtual memory.", "VmSize:", KIBIBYTE),
            ("threads", "Threads of the process.", "Threads:", 1),
        ] {
            if let Some(value) = value(&status, field) {
                to.gauge(name, help, value * unit)?;
            }
        }
        if let Some(open) = open_files() {
            to.gauge("open_fds", "Open file descriptors.", open)?;
        }
        if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            to.gauge("max_fds", "File descriptors that may be open.", limit)?;
        }
        let seconds = started.nanoseconds() as f64 / 1e9;
        to.gauge("start_time_seconds", "Start of the process, in seconds since the epoch.", seconds)
    })
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// The number in a line of /proc/PID/status (proc(5)).
fn value(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// From Linux 6.2 on the size of the folder is the number of its files; before, they have to be counted.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => u64::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        count => Some(count),
    }
}

const KIBIBYTE: u64 = 1024;
/// Octets of a status file, which has some sixty short lines.
const LARGEST_STATUS: u64 = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::metrics::families;
    use crate::report::metrics::families::Format;

    #[test]
    fn this_process_has_all_of_it() {
        let text = families::text(Format::Text, |to| write(Time::from_seconds(1_700_000_000), to)).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert_eq!(value("process_start_time_seconds"), 1_700_000_000.0);
    }
}
