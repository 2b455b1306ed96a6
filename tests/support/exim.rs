//! A real Exim that takes mail, in a root folder of its own, entered by chroot. It keeps all mail in one Maildir. It has
//! to be started by root, and is ended with the value. It must not sleep.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use nix::unistd::chown;
use tempfile::TempDir;

use crate::proxy::host;
use crate::proxy::host::until;
use crate::root;

pub(crate) struct Exim {
    root: TempDir,
    daemon: Child,
    pub(crate) address: SocketAddr,
}

impl Exim {
    /// Starts it; `more` are main options.
    pub(crate) fn start(more: &str) -> Self {
        let (root, address) = (root::unpacked("exim"), host::free_address().unwrap());
        let path = |name: &str| root.path().join(name);
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
