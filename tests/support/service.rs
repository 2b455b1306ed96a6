//! The service files of `config` under the real daemontools, runit or s6, in a folder of the test's own. What is started
//! here is ended here, by its own id or by the supervisor's own command.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::proxy::PORTCULLIS;
use crate::proxy::Site;
use crate::proxy::host::until;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supervisor {
    Daemontools,
    Runit,
    S6,
}

/// An operator's command to a supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    Reload,
    Restart,
    Down,
    Up,
}

impl Supervisor {
    /// The folder below `config`.
    fn folder(self) -> &'static str {
        match self {
            Self::Daemontools => "service",
            Self::Runit => "runit",
            Self::S6 => "s6",
        }
    }

    /// The files, and the program or path in each that differs on this host.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Daemontools => &[("run", "softlimit -o 32768"), ("log/run", "setuidgid qmaill ")],
            Self::Runit => {
                &[("run", "chpst -o 32768"), ("log/run", "chpst -u _runit-log "), ("check", "portcullis status")]
            }
            Self::S6 => {
                &[("run", "s6-softlimit -o 32768"), ("log/run", "s6-setuidgid qmaill "), ("notification-fd", "3")]
            }
        }
    }

    fn word(self, word: Word) -> [&'static str; 2] {
        let letter = match word {
            Word::Reload => ["-h", "hup"],
            Word::Restart => ["-t", "term"],
            Word::Down => ["-d", "down"],
            Word::Up => ["-u", "up"],
        };
        match self {
            Self::Daemontools => ["svc", letter[0]],
            Self::Runit => ["sv", letter[1]],
            Self::S6 => ["s6-svc", letter[0]],
        }
    }

    fn scanner(self, site: &Site) -> Command {
        let (program, folder) = match self {
            Self::Daemontools => ("svscan", "scan"),
            // A child of runsvdir, which has no other part in this.
            Self::Runit => ("runsv", "scan/portcullis"),
            Self::S6 => ("s6-svscan", "scan"),
        };
        let mut command = Command::new(program);
        command.arg(site.path(folder));
        command
    }
}

/// A supervisor over a folder with the service files of this repository.
pub(crate) struct Service<'a> {
    supervisor: Supervisor,
    site: &'a Site,
    scanner: Child,
}

impl<'a> Service<'a> {
    pub(crate) fn start(supervisor: Supervisor, site: &'a Site) -> Self {
        fs::create_dir_all(site.path("scan/portcullis/log")).unwrap();
        fs::create_dir(site.path("log")).unwrap();
        supervisor.files().iter().for_each(|(name, own)| install(supervisor, site, name, own));
        let scanner = supervisor.scanner(site).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { supervisor, site, scanner }
    }

    pub(crate) fn tell(&self, word: Word) {
        let [program, word] = self.supervisor.word(word);
        let output = Command::new(program).arg(word).arg(self.folder()).output().unwrap();
        assert!(output.status.success(), "{program} {word}: {output:?}");
    }

    /// Waits by the supervisor's own means, if it has any.
    pub(crate) fn wait_until_ready(&self) {
        let mut command = match self.supervisor {
            Supervisor::Daemontools => return,
            Supervisor::Runit => Command::new("sv"),
            Supervisor::S6 => Command::new("s6-svwait"),
        };
        match self.supervisor {
            Supervisor::Runit => command.args(["-w", "30", "start"]),
            _ => command.args(["-U", "-t", "30000"]),
        };
        // runsv and s6-supervise need a moment to start.
        until("the supervisor says that it is ready", || command.arg(self.folder()).output().unwrap().status.success());
    }

    pub(crate) fn is_down(&self) -> bool {
        let (program, said) = match self.supervisor {
            Supervisor::Daemontools => ("svstat", ": down "),
            Supervisor::Runit => ("sv", "down: "),
            Supervisor::S6 => ("s6-svstat", "down ("),
        };
        let mut command = Command::new(program);
        if self.supervisor == Supervisor::Runit {
            command.arg("status");
        }
        let output = command.arg(self.folder()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains(said)
    }

    /// The log that the logger has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.site.path("log/current")).unwrap_or_default()
    }

    fn folder(&self) -> PathBuf {
        self.site.path("scan/portcullis")
    }

    fn end_daemontools(&self) {
        let _ = Command::new("svc").arg("-dx").arg(self.folder()).arg(self.folder().join("log")).status();
        until("supervise has ended", || {
            let ended = |service: &Path| {
                let output = Command::new("svstat").arg(service).output().unwrap();
                String::from_utf8_lossy(&output.stdout).contains("supervise not running")
            };
            ended(&self.folder()) && ended(&self.folder().join("log"))
        });
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if self.supervisor == Supervisor::Daemontools {
            let _ = self.scanner.kill();
            let _ = self.scanner.wait();
            return self.end_daemontools();
        }
        // TERM: a supervisor ends its children, and then itself.
        let _ = kill(Pid::from_raw(i32::try_from(self.scanner.id()).unwrap()), Signal::SIGTERM);
        let _ = self.scanner.wait();
    }
}

/// Installs a file of `config` with the paths of the test, without settings that need root.
fn install(supervisor: Supervisor, site: &Site, name: &str, own: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(supervisor.folder()).join(name);
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(own), "{name}: {text}");
    let text = match own.contains("-o 32768") {
        true => text.replace("-o 32768", "-o 4096"),
        false if name == "log/run" => text.replace(own, ""),
        false => text,
    };
    let text = text
        .replace("portcullis serve -c /etc/portcullis.toml", &format!("{PORTCULLIS} serve -c portcullis.toml"))
        .replace("portcullis status -c /etc/portcullis.toml", &format!("{PORTCULLIS} status -c portcullis.toml"))
        .replace("/var/log/portcullis", &site.path("log").display().to_string());
    let path = format!("scan/portcullis/{name}");
    match text.starts_with("#!") {
        true => site.write(&path, &text.replacen('\n', &format!("\ncd {}\n", site.path("").display()), 1)),
        false => site.write(&path, &text),
    }
    fs::set_permissions(site.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
}
