//! A real Exim that takes mail, in a root folder of its own, entered by chroot: a copy of what tests/support/mta.sh
//! unpacked. It keeps all mail in one Maildir. It has to be started by root, and is ended with the value.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use nix::unistd::chown;
use tempfile::TempDir;

use crate::proxy::PORTCULLIS;
use crate::proxy::host;
use crate::proxy::host::until;

pub(crate) struct Exim {
    root: TempDir,
    daemon: Child,
    pub(crate) address: SocketAddr,
}

impl Exim {
    /// Starts it; `more` are main options.
    pub(crate) fn start(more: &str) -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "Exim has to be started by root");
        let unpacked = Path::new(PORTCULLIS).ancestors().nth(2).unwrap().join("mta/exim");
        assert!(unpacked.exists(), "{} is missing; tests/support/mta.sh makes it", unpacked.display());
        let (root, address) = (tempfile::tempdir().unwrap(), host::free_address().unwrap());
        let path = |name: &str| root.path().join(name);
        run(Command::new("cp").arg("-a").arg(unpacked.join(".")).arg(root.path()));
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (device, minor) in [("null", "3"), ("urandom", "9")] {
            run(Command::new("mknod").args(["-m", "666"]).arg(path("dev").join(device)).args(["c", "1", minor]));
        }
        fs::create_dir(path("etc/exim4")).unwrap();
        let configuration = format!("{more}{CONFIGURATION}").replace("PORT", &address.port().to_string());
        fs::write(path("etc/exim4/exim4.conf"), configuration).unwrap();
        FILES.iter().for_each(|(file, text)| fs::write(path(file), text).unwrap());
        for folder in ["var/spool/exim", "var/log", "var/mail"] {
            fs::create_dir_all(path(folder)).unwrap();
            chown(&path(folder), Some(EXIM.into()), Some(EXIM.into())).unwrap();
        }
        let log = File::create(path("log")).unwrap();
        let mut command = Command::new("chroot");
        command.arg(root.path()).args(["/usr/sbin/exim4", "-bdf"]).env_clear().env("PATH", "/usr/sbin:/usr/bin");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let daemon = command.spawn().unwrap();
        let exim = Self { root, daemon, address };
        until("Exim listens", || TcpStream::connect(address).is_ok());
        exim
    }

    /// The folder with the mail that has arrived.
    pub(crate) fn mail(&self) -> PathBuf {
        self.root.path().join("var/mail/new")
    }

    pub(crate) fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.root.path().join(name)).unwrap_or_default();
        read("var/log/exim.main") + &read("var/log/exim.panic") + &read("log")
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(i32::try_from(self.daemon.id()).unwrap()), Signal::SIGKILL);
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            eprintln!("--- log of Exim ---\n{}", self.log());
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

const EXIM: u32 = 901;

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/false\nDebian-exim:x:901:901::/:/bin/false\n"),
    ("etc/group", "root:x:0:\nDebian-exim:x:901:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/nsswitch.conf", "hosts: files\n"),
];

const CONFIGURATION: &str = "\
primary_hostname = mx.example.org
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim
log_file_path = /var/log/exim.%s
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
tls_advertise_hosts =
keep_environment =
message_size_limit = 100M
acl_smtp_rcpt = accept
begin routers
all:
  driver = accept
  transport = mail
begin transports
mail:
  driver = appendfile
  directory = /var/mail
  maildir_format
  message_prefix =
  message_suffix =
  user = Debian-exim
";
