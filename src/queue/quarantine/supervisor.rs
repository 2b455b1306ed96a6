//! How the running qmail-send is told to try all messages now: by the supervisor that it has. It must not signal anything.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::queue::look::layout::Queue;
use crate::queue::quarantine::running;
use crate::text::bounded;
use crate::text::processes;
use crate::text::shell;

/// The command that makes the qmail-send of this queue try all messages now; `None` where none is found to run.
pub fn try_now(queue: &Queue) -> Option<String> {
    let pid = running::lock_holder(queue)?;
    (processes::name(pid)? == "qmail-send").then(|| command(Path::new("/proc"), pid))
}

/// The command, as far as `proc` tells who supervises the process.
fn command(proc: &Path, pid: u32) -> String {
    let of = |pid: u32, name: &str| proc.join(pid.to_string()).join(name);
    let text = |path: &Path| bounded::read_text(path, LARGEST).unwrap_or_default();
    let parent = parent(&text(&of(pid, "stat"))).unwrap_or(0);
    let supervisor = text(&of(parent, "comm"));
    let tool = match supervisor.trim() {
        "supervise" => "svc -a",
        "runsv" => "sv alarm",
        "s6-supervise" => "s6-svc -a",
        _ => match unit(&text(&of(pid, "cgroup"))) {
            Some(unit) => return format!("systemctl kill --signal=ALRM {}", shell::word(&unit)),
            None => return format!("kill -ALRM {pid}"),
        },
    };
    match fs::read_link(of(parent, "cwd")) {
        Ok(folder) => format!("{tool} {}", shell::word(&service_name(&folder).display().to_string())),
        Err(_) => format!("kill -ALRM {pid}"),
    }
}

/// The link to this folder in a folder of services, which is what people type; else the folder itself.
fn service_name(folder: &Path) -> PathBuf {
    let link = |services: &str| {
        let link = Path::new(services).join(folder.file_name()?);
        (link.canonicalize().ok()? == folder.canonicalize().ok()?).then_some(link)
    };
    SERVICES.iter().find_map(|services| link(services)).unwrap_or_else(|| folder.to_owned())
}

/// The parent in `/proc/N/stat`, where the name in parentheses may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The service that systemd started the process for, in `/proc/N/cgroup`. A login's scope is none.
fn unit(cgroup: &str) -> Option<String> {
    let paths = cgroup.lines().filter_map(|line| line.rsplit_once(':'));
    let mut last = paths.filter_map(|(_, path)| path.rsplit('/').next());
    last.find(|name| name.ends_with(".service") && !name.starts_with("user@")).map(str::to_owned)
}

const SERVICES: [&str; 4] = ["/service", "/etc/service", "/var/service", "/run/service"];
/// Octets of a file below /proc.
const LARGEST: u64 = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_supervisor_has_its_command() {
        let rows = [
            ("supervise", "", "svc -a /var/qmail/supervise/qmail-send"),
            ("runsv", "", "sv alarm /var/qmail/supervise/qmail-send"),
            ("s6-supervise", "", "s6-svc -a /var/qmail/supervise/qmail-send"),
            ("systemd", "0::/system.slice/qmail.service\n", "systemctl kill --signal=ALRM qmail.service"),
            (
                "systemd",
                "1:name=systemd:/system.slice/qmail-send.service\n0::/\n",
                "systemctl kill --signal=ALRM qmail-send.service",
            ),
            ("init", "0::/user.slice/user-0.slice/session-1.scope\n", "kill -ALRM 7"),
            ("sh", "", "kill -ALRM 7"),
        ];
        for (supervisor, cgroup, expected) in rows {
            let proc = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| {
                let path = proc.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("7/stat", "7 (qmail) send) S 6 7 7");
            write("7/cgroup", cgroup);
            write("6/comm", &format!("{supervisor}\n"));
            symlink("/var/qmail/supervise/qmail-send", proc.path().join("6/cwd")).unwrap();
            assert_eq!(command(proc.path(), 7), expected, "{supervisor}");
        }
    }
}
