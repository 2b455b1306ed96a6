//! Other people's MTAs as clients, each in a root folder of its own, entered by chroot. A message that has a bounce goes to
//! a second proxy, which keeps the sender's mail. It must not sleep.

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

use crate::postfix::Postfix;
use crate::proxy::Client;
use crate::proxy::host::free_address;
use crate::proxy::host::until;
use crate::root;
use crate::root::run;
use crate::ways::FROM;
use crate::ways::Network;
use crate::ways::Sender;
use crate::ways::TO;
use crate::ways::Tls;

/// A temporary root folder.
pub(crate) struct Root {
    folder: TempDir,
    /// The network namespace to run in.
    within: Option<String>,
}

impl Root {
    pub(crate) fn new(name: &str, network: &Network) -> Self {
        let root = Self { folder: root::unpacked(name), within: network.within.clone() };
        fs::set_permissions(root.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        for (file, text) in [
            ("etc/passwd", PASSWD),
            ("etc/group", GROUP),
            ("etc/hosts", "127.0.0.1 localhost client.example\n"),
            ("etc/nsswitch.conf", "hosts: files\n"),
            ("etc/mailname", "client.example\n"),
        ] {
            root.write(file, text);
        }
        std::os::unix::fs::symlink("../run", root.path("var/run")).unwrap();
        root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, making the folders on the way.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Makes a folder of this user.
    fn folder(&self, name: &str, user: u32, mode: u32) {
        fs::create_dir_all(self.path(name)).unwrap();
        chown(&self.path(name), Some(user.into()), Some(user.into())).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.within.as_ref().map_or("chroot", |_| "ip"));
        if let Some(namespace) = &self.within {
            command.args(["netns", "exec", namespace, "chroot"]);
        }
        command.arg(self.folder.path()).arg(program).env_clear().env("PATH", PATH).stdin(Stdio::null());
        command
    }

    /// Starts a program that runs until the value is dropped; its output is in `log`.
    fn daemon(&self, command: &mut Command) -> Daemon {
        let log = File::create(self.path("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        Daemon(command.spawn().unwrap())
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}

/// A program and the processes that it has started.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// The files below this folder whose path matches.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.map(|path| if path.is_dir() { files(&path, wanted) } else { usize::from(wanted(&path)) }).sum()
}

/// Hands a letter to an MTA's own listener.
fn submit(address: SocketAddr, letter: &Path) {
    let mut client = Client::connect(address).hello();
    let text = fs::read_to_string(letter).unwrap();
    client.dialog(&[
        (&format!("MAIL FROM:<{FROM}>"), "250"),
        (&format!("RCPT TO:<{TO}>"), "250"),
        ("DATA", "354"),
        (&format!("{}\r\n.", text.trim_end()), "250"),
        ("QUIT", "221"),
    ]);
}

/// Exim: delivers while it is called; without TLS it sends QUIT after the dot, shuts down its sending side, then reads.
pub(crate) fn exim(network: &Network) -> Box<dyn Sender> {
    let root = Root::new("exim", network);
    root.folder("var/spool/exim", EXIM, 0o750);
    root.folder("var/log", EXIM, 0o750);
    let tls = if network.tls == Tls::Starttls { "hosts_require_tls = *" } else { "hosts_avoid_tls = *" };
    root.write("etc/exim4/exim4.conf", &network.fill(EXIM_CONF).replace("TLS", tls));
    Box::new(Exim(root))
}

struct Exim(Root);

impl Sender for Exim {
    fn send(&mut self, letter: &Path) {
        let mut command = self.0.command("/usr/sbin/exim4");
        run(command.args(["-odi", "-f", FROM, TO]).stdin(File::open(letter).unwrap()));
    }

    fn waiting(&self) -> usize {
        files(&self.0.path("var/spool/exim/input"), &|_| true)
    }

    fn try_again(&mut self) {
        run(self.0.command("/usr/sbin/exim4").arg("-qff"));
    }

    fn log(&self) -> String {
        self.0.read("var/log/exim.main") + &self.0.read("var/log/exim.panic")
    }

    fn bounces(&self) -> bool {
        true
    }
}

/// OpenSMTPD.
pub(crate) fn opensmtpd(network: &Network) -> Box<dyn Sender> {
    let root = Root::new("opensmtpd", network);
    for folder in ["var/spool/smtpd", "var/lib/opensmtpd/empty", "var/empty"] {
        root.folder(folder, 0, 0o711);
    }
    let address = free_address().unwrap();
    let (scheme, tls) = if network.tls == Tls::Starttls { ("smtp+tls", "tls no-verify") } else { ("smtp+notls", "") };
    let text = network.fill(SMTPD_CONF).replace("OWN", &address.port().to_string());
    let text = text.replace("SCHEME", scheme).replace("TLS", tls);
    root.write("etc/smtpd.conf", &text);
    let daemon = root.daemon(root.command("/usr/sbin/smtpd").args(["-d", "-v", "-f", "/etc/smtpd.conf"]));
    let smtpd = OpenSmtpd { _daemon: daemon, root, address };
    until("OpenSMTPD listens", || TcpStream::connect(address).is_ok());
    Box::new(smtpd)
}

struct OpenSmtpd {
    _daemon: Daemon,
    root: Root,
    address: SocketAddr,
}

impl Sender for OpenSmtpd {
    fn send(&mut self, letter: &Path) {
        submit(self.address, letter);
    }

    fn waiting(&self) -> usize {
        files(&self.root.path("var/spool/smtpd/queue"), &|_| true)
    }

    fn log(&self) -> String {
        self.root.read("log")
    }

    fn bounces(&self) -> bool {
        true
    }
}

/// nullmailer, with its queue and the daemon that empties it.
pub(crate) fn nullmailer(network: &Network) -> Box<dyn Sender> {
    let root = Root::new("nullmailer", network);
    for folder in ["queue", "tmp", "failed"] {
        root.folder(&format!("var/spool/nullmailer/{folder}"), 0, 0o755);
    }
    nix::unistd::mkfifo(&root.path("var/spool/nullmailer/trigger"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    root.write("etc/nullmailer/remotes", &network.fill("127.0.0.1 smtp --port=PROXY\n"));
    let daemon = root.daemon(&mut root.command("/usr/sbin/nullmailer-send"));
    Box::new(Nullmailer { _daemon: daemon, root })
}

struct Nullmailer {
    _daemon: Daemon,
    root: Root,
}

impl Sender for Nullmailer {
    fn send(&mut self, letter: &Path) {
        let mut command = self.root.command("/usr/bin/nullmailer-inject");
        run(command.args(["-f", FROM, TO]).stdin(File::open(letter).unwrap()));
    }

    fn waiting(&self) -> usize {
        files(&self.root.path("var/spool/nullmailer/queue"), &|_| true)
    }

    fn log(&self) -> String {
        self.root.read("log")
    }
}

/// Postfix: in parallel, with a connection for several messages.
pub(crate) fn postfix(network: &Network) -> Box<dyn Sender> {
    let postfix = Postfix::start(&network.fill(MAIN_CF));
    fs::write(postfix.path("etc/headers"), "/^Received:/ IGNORE\n").unwrap();
    Box::new(postfix)
}

impl Sender for Postfix {
    fn send(&mut self, letter: &Path) {
        submit(self.address, letter);
    }

    fn waiting(&self) -> usize {
        ["maildrop", "incoming", "active", "deferred"]
            .map(|name| files(&self.path("queue").join(name), &|_| true))
            .iter()
            .sum()
    }

    fn log(&self) -> String {
        Self::log(self)
    }

    fn bounces(&self) -> bool {
        true
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const EXIM: u32 = 901;

const PASSWD: &str = "\
root:x:0:0:root:/:/bin/false
mail:x:8:8::/:/bin/false
Debian-exim:x:901:901::/:/bin/false
opensmtpd:x:902:902::/:/bin/false
opensmtpq:x:903:903::/:/bin/false
";

const GROUP: &str = "root:x:0:\nmail:x:8:\nDebian-exim:x:901:\nopensmtpd:x:902:\nopensmtpq:x:903:\n";

/// Adds nothing to a message, so that two copies are the same to the octet.
const EXIM_CONF: &str = "\
primary_hostname = client.example
qualify_domain = client.example
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim
log_file_path = /var/log/exim.%s
received_header_text =
keep_environment =
begin routers
all:
  driver = manualroute
  route_list = client.example 127.0.0.1::BOUNCES; * HOST::PROXY
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = 25
  TLS
begin retry
* * F,2h,15m
";

const SMTPD_CONF: &str = "\
listen on 127.0.0.1 port OWN hostname client.example
action \"bounces\" relay host smtp+notls://127.0.0.1:BOUNCES helo client.example
action \"proxy\" relay host SCHEME://127.0.0.1:PROXY helo client.example TLS
match from any for domain client.example action \"bounces\"
match from any for any action \"proxy\"
";

/// Lines that replace those of tests/support/postfix.rs.
const MAIN_CF: &str = "\
myhostname = client.example
mydestination =
mynetworks = 127.0.0.0/8
local_transport = smtp
default_transport = smtp
relayhost = [127.0.0.1]:PROXY
transport_maps = inline:{client.example=smtp:[127.0.0.1]:BOUNCES}
smtp_header_checks = regexp:HOME/etc/headers
smtp_connection_cache_destinations = [127.0.0.1]:PROXY
initial_destination_concurrency = 10
minimal_backoff_time = 1s
queue_run_delay = 1s
smtp_tls_security_level = TLS
";
