//! A throwaway qmail home with a queue that can be counted, the proxy in front of the real smtpfront-qmail, and the real
//! tcpserver. What is started here is ended and reaped when its guard is dropped. It must not sleep.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::proxy::PORTCULLIS;
use crate::proxy::Proxy;

pub(crate) const SMTPFRONT: (&str, &str) = ("/usr/sbin/smtpfront-qmail", "mailfront");
pub(crate) const TCPSERVER: (&str, &str) = ("/usr/bin/tcpserver", "ucspi-tcp");
pub(crate) const TCPRULES: (&str, &str) = ("/usr/bin/tcprules", "ucspi-tcp");
pub(crate) const SWAKS: (&str, &str) = ("/usr/bin/swaks", "swaks");

/// The path of a real program.
pub(crate) fn program((path, package): (&str, &'static str)) -> String {
    assert!(
        Path::new(path).exists(),
        "{path} is missing; install Debian's package {package} (apt-get install {package})"
    );
    path.to_owned()
}

/// A message as given to qmail-queue.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) message: String,
    /// `Fsender T recipient …`, with blanks for NUL.
    pub(crate) envelope: String,
}

/// A qmail home: `control`, and a qmail-queue that keeps its input; removed when dropped.
#[derive(Debug)]
pub(crate) struct QmailHome {
    folder: TempDir,
}

/// Lines added to the sections of the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines<'a> {
    /// Whether the shipped throttles hold; otherwise none do.
    pub(crate) shipped_throttles: bool,
    pub(crate) server: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) qmail: &'a str,
    pub(crate) message: &'a str,
}

impl QmailHome {
    /// A home with one local domain and two blocked entries.
    pub(crate) fn new() -> Self {
        let qmail = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["control", "queue", "starts", "saved", "sessions"] {
            fs::create_dir(qmail.path(folder)).unwrap();
        }
        qmail.control("me", "mx.example.org\n");
        qmail.control("rcpthosts", "example.org\n");
        qmail.control("badmailfrom", "newsletter@sillyplace.com\n@blocked.example\n");
        qmail.script("qmail-queue", QMAIL_QUEUE);
        qmail.script("smtpfront", &SMTPFRONT_COUNTED.replace("PROGRAM", &program(SMTPFRONT)));
        qmail
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as an editor does: aside, then renamed.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let aside = self.path(&format!("{name}.tmp"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.path(name)).unwrap();
    }

    pub(crate) fn control(&self, name: &str, text: &str) {
        self.write(&format!("control/{name}"), text);
    }

    /// Writes a script; HOME in the text is this folder.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let aside = self.path(&format!("{name}.tmp"));
        fs::write(&aside, text.replace("HOME", self.path("").to_str().unwrap().trim_end_matches('/'))).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&aside, self.path(name)).unwrap();
        self.path(name)
    }

    /// Lets qmail-queue fail with this code from now on, losing its input.
    pub(crate) fn queue_fails(&self, code: u8) {
        self.write("exit", &format!("{code}\n"));
    }

    /// Makes qmail-queue wait before reading, once for each octet LF that opens the gate.
    pub(crate) fn gate(&self) -> Gate {
        let path = self.path("gate");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        Gate(fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// Number of starts of qmail-queue.
    pub(crate) fn queue_starts(&self) -> usize {
        fs::read_dir(self.path("starts")).unwrap().count()
    }

    /// The backend processes started, in no order.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.path("sessions")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    fn forget_sessions(&self) {
        for entry in fs::read_dir(self.path("sessions")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let _ = fs::remove_file(self.path("environment"));
    }

    /// The messages handed over whole: an envelope without its end is no message to qmail-queue.
    pub(crate) fn queued(&self) -> Vec<Queued> {
        let mut queued = Vec::new();
        for entry in fs::read_dir(self.path("saved")).unwrap() {
            let path = entry.unwrap().path();
            let envelope = fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "envelope") && envelope.ends_with(b"\0\0") {
                let message = String::from_utf8_lossy(&fs::read(path.with_extension("message")).unwrap()).into_owned();
                let envelope = String::from_utf8_lossy(&envelope).replace('\0', " ").trim_end().to_owned();
                queued.push(Queued { message, envelope });
            }
        }
        queued
    }

    /// The only message in the queue.
    pub(crate) fn only_message(&self) -> Queued {
        let mut queued = self.queued();
        assert_eq!(queued.len(), 1, "{queued:?}");
        queued.pop().unwrap()
    }

    /// Starts the proxy, with one smtpfront-qmail a session.
    pub(crate) fn spawn(&self, lines: Lines<'_>) -> Proxy {
        let smtpfront = self.path("smtpfront");
        self.serve(&format!("spawn = [{smtpfront:?}]\n"), lines)
    }

    /// Starts the proxy in front of any backend with a conversation.
    pub(crate) fn serve(&self, backend: &str, lines: Lines<'_>) -> Proxy {
        let proxy = self.serve_quietly(backend, lines);
        // The backend was asked for its offer; further lines are the clients'.
        proxy.line(" answer");
        proxy.until_childless();
        self.forget_sessions();
        proxy
    }

    /// Starts the proxy in front of a backend that is not asked for anything.
    pub(crate) fn serve_quietly(&self, backend: &str, lines: Lines<'_>) -> Proxy {
        let (home, queue) = (self.path(""), self.path("qmail-queue"));
        let env = if backend.contains("spawn") {
            format!("env = {{ QMAILHOME = {home:?}, QMAILQUEUE = {queue:?} }}")
        } else {
            String::new()
        };
        let text = format!(
            "{}\n[admin]\nlisten = \"\"\n[server]\nlisten = [\"127.0.0.1:0\"]\n{}\n[backend]\n{backend}{env}\n{}\n[qmail]\ncontrol = {:?}\n{}\n\
             [message]\nmin_free = \"16MiB\"\nspool = {home:?}\n{}\n",
            if lines.shipped_throttles { "" } else { "throttle = []" },
            lines.server,
            lines.backend,
            self.path("control"),
            lines.qmail,
            lines.message
        );
        let file = self.path("portcullis.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(PORTCULLIS);
        command.args(["serve".as_ref(), "-c".as_ref(), file.as_os_str()]).env_clear().env("PATH", PATH);
        // The authority of a backend's certificate, where there is one.
        let authority = self.path("ca.pem");
        if authority.exists() {
            command.env("SSL_CERT_FILE", authority);
        }
        Proxy::launch(command.stdout(Stdio::null()), 1)
    }

    /// Starts the real tcpserver with the counted smtpfront-qmail.
    pub(crate) fn tcpserver(&self, arguments: &[&str], program_name: &str) -> Tcpserver {
        let mut command = Command::new(program(TCPSERVER));
        command.args(["-1", "-R", "-H", "-l", "mx.example.org", "-b", "100"]).args(arguments);
        command.args(["127.0.0.1", "0"]).arg(self.path(program_name));
        command
            .env_clear()
            .env("PATH", PATH)
            .env("QMAILHOME", self.path(""))
            .env("QMAILQUEUE", self.path("qmail-queue"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("tcpserver -1 prints its port");
        Tcpserver { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Makes NAME.cdb of NAME with the real tcprules.
    pub(crate) fn tcprules(&self, name: &str) {
        let (cdb, aside) = (self.path(&format!("{name}.cdb")), self.path(&format!("{name}.cdb.tmp")));
        let source = fs::File::open(self.path(name)).unwrap();
        let made = Command::new(program(TCPRULES)).args([cdb, aside]).stdin(source).status().unwrap();
        assert!(made.success());
    }
}

/// The gate that qmail-queue waits at.
#[derive(Debug)]
pub(crate) struct Gate(fs::File);

impl Gate {
    pub(crate) fn open(&mut self) {
        self.0.write_all(b"\n").unwrap();
    }
}

/// A running tcpserver.
#[derive(Debug)]
pub(crate) struct Tcpserver {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Tcpserver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Reads the message from fd 0, then the envelope from fd 1, as qmail-queue does.
const QMAIL_QUEUE: &str = "#!/bin/sh
: >HOME/starts/$PPID.$$
if [ -p HOME/gate ]; then read -r opened <HOME/gate; fi
if [ -f HOME/exit ]; then
  read -r code <HOME/exit
  cat >/dev/null
  cat 0<&1 1>/dev/null
  exit \"$code\"
fi
cat >HOME/saved/$PPID.$$.message
cat 0<&1 1>HOME/saved/$PPID.$$.envelope
";

/// Writes one file a session, named by its pid, and becomes smtpfront-qmail.
const SMTPFRONT_COUNTED: &str = "#!/bin/sh
: >HOME/sessions/$$
exec PROGRAM
";
