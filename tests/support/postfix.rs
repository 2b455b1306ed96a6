//! A Postfix of our own in a folder of its own: its configuration, queue and log. It has to be started by root, and is
//! ended with the value.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::proxy::host;
use crate::proxy::host::until;
use crate::qmail::program;

const MASTER: (&str, &str) = ("/usr/lib/postfix/sbin/master", "postfix");

/// A running Postfix. It throws mail away, unless its lines say otherwise.
#[derive(Debug)]
pub(crate) struct Postfix {
    folder: TempDir,
    master: Child,
    pub(crate) address: SocketAddr,
}

impl Postfix {
    /// Starts it. 127.0.0.5 may relay, nobody else. `more` are lines of main.cf that replace ours of the same name;
    /// HOME is the folder.
    pub(crate) fn start(more: &str) -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "Postfix has to be started by root");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().display();
        fs::create_dir(folder.path().join("etc")).unwrap();
        host::make_postfix_folders(folder.path()).unwrap();
        host::make_certificate(&folder.path().join("tls"), &["127.0.0.1"]).unwrap();
        let address = host::free_address().unwrap();
        let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let replaced: Vec<String> = more.lines().map(name).collect();
        let kept = MAIN.lines().filter(|line| !replaced.contains(&name(line)));
        let main = kept.chain(more.lines()).collect::<Vec<_>>().join("\n") + "\n";
        fs::write(folder.path().join("etc/main.cf"), main.replace("HOME", &home.to_string())).unwrap();
        fs::write(folder.path().join("etc/master.cf"), SERVICES.replace("ADDRESS", &address.to_string())).unwrap();
        let mut command = Command::new(program(MASTER));
        command.args(["-c".as_ref(), folder.path().join("etc").as_os_str()]).env("MAIL_LOGTAG", "postfix");
        let master = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postfix = Self { folder, master, address };
        until("Postfix listens", || TcpStream::connect(address).is_ok());
        postfix
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.master.id()).unwrap()), Signal::SIGTERM);
        let _ = self.master.wait();
        if std::thread::panicking() {
            eprintln!("--- log of Postfix ---\n{}", self.log());
        }
    }
}

const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = HOME/queue
data_directory = HOME/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination = example.org
mynetworks = 127.0.0.5/32
local_transport = discard
default_transport = discard
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination
maillog_file = HOME/log
maillog_file_prefixes = /
";

const SERVICES: &str = "\
ADDRESS inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
smtp unix - - n - - smtp
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
virtual unix - n n - - virtual
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
";
