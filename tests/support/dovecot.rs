//! A real dovecot-lmtpd in a root folder of its own, entered by chroot. It listens on a unix socket and on TCP, keeps each
//! user's mail in a Maildir, and knows no quota but that of `full`. It has to be started by root, and is ended with the
//! value. It must not sleep.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use nix::unistd::chown;
use tempfile::TempDir;

use crate::proxy::host;
use crate::proxy::host::until;
use crate::root;

pub(crate) struct Dovecot {
    root: TempDir,
    master: Option<Child>,
    pub(crate) address: SocketAddr,
}

impl Dovecot {
    /// Starts it. `more` are lines of dovecot.conf, `listener` those of the TCP listener.
    pub(crate) fn start(more: &str, listener: &str) -> Self {
        let address = host::free_address().unwrap();
        let mut dovecot = Self { root: root::unpacked("dovecot"), master: None, address };
        for (file, text) in FILES {
            dovecot.write(file, text);
        }
        symlink("../run", dovecot.path("var/run")).unwrap();
        fs::create_dir(dovecot.path("var/mail")).unwrap();
        chown(&dovecot.path("var/mail"), Some(VMAIL.into()), Some(VMAIL.into())).unwrap();
        host::make_certificate(&dovecot.path("etc/tls"), &["127.0.0.1"]).unwrap();
        let configuration = CONFIGURATION.replace("PORT", &address.port().to_string()).replace("LISTENER", listener);
        dovecot.write("etc/dovecot.conf", &(configuration + more));
        dovecot.allow("100");
        dovecot.restart();
        dovecot
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The unix socket, as `backend.lmtp` takes it.
    pub(crate) fn socket(&self) -> String {
        format!("unix:{}", self.path("run/dovecot/lmtp").display())
    }

    /// Sets the number of octets that `full` may have, from the next start on.
    pub(crate) fn allow(&self, octets: &str) {
        self.write("etc/users", &USERS.replace("OCTETS", octets));
    }

    /// The mails of this user.
    pub(crate) fn mails(&self, user: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("var/mail").join(user).join("new")) else { return Vec::new() };
        entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new("chroot");
        command
            .arg(self.root.path())
            .args(["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot.conf"])
            .env_clear()
            .env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.master = Some(command.spawn().unwrap());
        until("Dovecot listens", || UnixStream::connect(self.path("run/dovecot/lmtp")).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut master) = self.master.take() {
            let _ = kill(Pid::from_raw(i32::try_from(master.id()).unwrap()), Signal::SIGTERM);
            let _ = master.wait();
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- log of Dovecot ---\n{}", self.log());
        }
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const VMAIL: u32 = 5000;

const FILES: [(&str, &str); 4] = [
    (
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nvmail:x:5000:5000::/var/mail:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\nvmail:x:5000:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

const USERS: &str = "\
joe::5000:5000::/var/mail/joe::
mary::5000:5000::/var/mail/mary::
full::5000:5000::/var/mail/full::userdb_quota_rule=*:bytes=OCTETS
";

const CONFIGURATION: &str = "\
protocols = lmtp
base_dir = /run/dovecot
log_path = /dev/stderr
info_log_path = /dev/stderr
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
hostname = lmtp.example.org
mail_location = maildir:/var/mail/%n
ssl_cert = </etc/tls/certificate.pem
ssl_key = </etc/tls/key.pem
protocol lmtp {
  mail_plugins = quota
}
plugin {
  quota = maildir:User quota
}
service anvil {
  chroot =
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
    LISTENER
  }
}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = username_format=%n /etc/users
}
";
