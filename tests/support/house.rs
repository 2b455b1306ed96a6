//! A throwaway house: a qmail home with a queue that can be counted, the proxy in front of the real smtpfront-qmail, and
//! the real tcpserver. Whatever was started is ended and reaped when its guard is dropped. It must not sleep: waiting is
//! for an event, with a time limit that fails the test.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use nix::unistd::mkfifo;
use tempfile::TempDir;

pub const SMTPFRONT: (&str, &str) = ("/usr/sbin/smtpfront-qmail", "mailfront");
pub const TCPSERVER: (&str, &str) = ("/usr/bin/tcpserver", "ucspi-tcp");
pub const TCPRULES: (&str, &str) = ("/usr/bin/tcprules", "ucspi-tcp");
pub const SWAKS: (&str, &str) = ("/usr/bin/swaks", "swaks");

/// How long anything may take on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The path of a real program.
pub fn program((path, package): (&str, &'static str)) -> String {
    assert!(
        Path::new(path).exists(),
        "{path} is missing; install Debian's package {package} (apt-get install {package})"
    );
    path.to_owned()
}

/// Waits until `reached`.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    let never = (Mutex::new(()), Condvar::new());
    let mut guard = never.0.lock().unwrap();
    while !reached() {
        assert!(Instant::now() < deadline, "waited {LONG:?} for: {what}");
        guard = never.1.wait_timeout(guard, Duration::from_millis(20)).unwrap().0;
    }
}

/// A message as qmail-queue was given it.
#[derive(Clone, Debug)]
pub struct Queued {
    pub message: String,
    /// `Fsender T recipient …`, with blanks for NUL.
    pub envelope: String,
}

/// A qmail home: `control`, and a qmail-queue that keeps what it is given.
#[derive(Debug)]
pub struct House {
    folder: TempDir,
}

/// Lines added to the sections of the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines<'a> {
    /// As they are without a word about them; else none.
    pub shipped_throttles: bool,
    pub server: &'a str,
    pub backend: &'a str,
    pub qmail: &'a str,
    pub message: &'a str,
}

impl House {
    /// One local domain, two blocked entries.
    pub fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["control", "queue", "starts", "saved", "sessions"] {
            fs::create_dir(house.path(folder)).unwrap();
        }
        house.control("me", "mx.example.org\n");
        house.control("rcpthosts", "example.org\n");
        house.control("badmailfrom", "newsletter@sillyplace.com\n@blocked.example\n");
        house.script("qmail-queue", QMAIL_QUEUE);
        house.script("smtpfront", &SMTPFRONT_COUNTED.replace("PROGRAM", &program(SMTPFRONT)));
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as an editor does: aside, then renamed.
    pub fn write(&self, name: &str, text: &str) {
        let aside = self.path(&format!("{name}.tmp"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.path(name)).unwrap();
    }

    pub fn control(&self, name: &str, text: &str) {
        self.write(&format!("control/{name}"), text);
    }

    /// HOME in the text is this house.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let aside = self.path(&format!("{name}.tmp"));
        fs::write(&aside, text.replace("HOME", self.path("").to_str().unwrap().trim_end_matches('/'))).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&aside, self.path(name)).unwrap();
        self.path(name)
    }

    /// qmail-queue ends with this code from now on; what it read is gone.
    pub fn queue_fails(&self, code: u8) {
        self.write("exit", &format!("{code}\n"));
    }

    /// qmail-queue waits, before it reads, until the gate is opened: once for each octet LF.
    pub fn gate(&self) -> Gate {
        let path = self.path("gate");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        Gate(fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// How often qmail-queue was started.
    pub fn queue_starts(&self) -> usize {
        fs::read_dir(self.path("starts")).unwrap().count()
    }

    /// The processes that were started as backend, in no order.
    pub fn sessions(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.path("sessions")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    fn forget_sessions(&self) {
        for entry in fs::read_dir(self.path("sessions")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let _ = fs::remove_file(self.path("environment"));
    }

    /// What was handed over as a whole: an envelope without its end is no message for qmail-queue.
    pub fn queued(&self) -> Vec<Queued> {
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
    pub fn only_message(&self) -> Queued {
        let mut queued = self.queued();
        assert_eq!(queued.len(), 1, "{queued:?}");
        queued.pop().unwrap()
    }

    /// The proxy, with one smtpfront-qmail a session.
    pub fn spawn(&self, lines: Lines<'_>) -> Proxy {
        let smtpfront = self.path("smtpfront");
        self.serve(&format!("spawn = [{smtpfront:?}]\n"), lines)
    }

    /// The proxy in front of any backend.
    pub fn serve(&self, backend: &str, lines: Lines<'_>) -> Proxy {
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
        let proxy = Proxy::start(&file);
        // Asked what it offers; what comes from here on is the clients'.
        proxy.any_line(&["backend answers", "backend does not answer"]);
        proxy.until_childless();
        self.forget_sessions();
        proxy
    }

    /// The real tcpserver with the counted smtpfront-qmail; returns its port.
    pub fn tcpserver(&self, arguments: &[&str], program_name: &str) -> Tcpserver {
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
    pub fn tcprules(&self, name: &str) {
        let (cdb, aside) = (self.path(&format!("{name}.cdb")), self.path(&format!("{name}.cdb.tmp")));
        let source = fs::File::open(self.path(name)).unwrap();
        let made = Command::new(program(TCPRULES)).args([cdb, aside]).stdin(source).status().unwrap();
        assert!(made.success());
    }
}

/// What keeps qmail-queue waiting.
#[derive(Debug)]
pub struct Gate(fs::File);

impl Gate {
    pub fn open(&mut self) {
        self.0.write_all(b"\n").unwrap();
    }
}

/// A tcpserver that listens.
#[derive(Debug)]
pub struct Tcpserver {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Tcpserver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The proxy that listens.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Proxy {
    fn start(configuration: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["serve".as_ref(), "-c".as_ref(), configuration.as_os_str()]).env_clear().env("PATH", PATH);
        // Whom a backend's certificate has to be from, where the house says so.
        let authority = configuration.with_file_name("ca.pem");
        if authority.exists() {
            command.env("SSL_CERT_FILE", authority);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stderr.take().unwrap();
        let log = Arc::new(Log::default());
        let reader = std::thread::spawn({
            let log = log.clone();
            move || log.read(output)
        });
        // Already a guard: a proxy that does not listen is ended too.
        let mut proxy = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, reader: Some(reader) };
        let line = proxy.line("listening address=");
        let (_, address) = line.split_once("address=").unwrap();
        proxy.address = address.split_whitespace().next().unwrap().parse().unwrap();
        proxy
    }

    /// The first line of the log that has this text, as soon as it is there.
    pub fn line(&self, text: &str) -> String {
        self.any_line(&[text])
    }

    fn any_line(&self, texts: &[&str]) -> String {
        let deadline = Instant::now() + LONG;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| texts.iter().any(|text| line.contains(text))) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {LONG:?} for {texts:?} in the log:\n{}", lines.join("\n"));
            assert!(lines.last().is_none_or(|line| line != END), "no {texts:?} in the log:\n{}", lines.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// Its children, zombies included.
    pub fn children(&self) -> Vec<i32> {
        let parent = self.child.id().to_string();
        let processes =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let is_child = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name, which may hold anything: state, parent.
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(&parent)
        };
        processes.filter(is_child).collect()
    }

    pub fn until_childless(&self) {
        until("no child of the proxy remains", || self.children().is_empty());
    }

    /// Kills the backend's process, which must be a child of this proxy.
    pub fn kill_child(&self, pid: i32) {
        assert!(self.children().contains(&pid), "{pid} is no child");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    /// The one backend process that lives.
    pub fn only_child(&self) -> i32 {
        let children = self.children();
        assert_eq!(children.len(), 1, "{children:?}");
        children[0]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // In order first, so that children are reaped; a second word is not waited for.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = kill(pid, Signal::SIGINT);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut ended = self.child.try_wait();
        let never = (Mutex::new(()), Condvar::new());
        let mut guard = never.0.lock().unwrap();
        while matches!(ended, Ok(None)) && Instant::now() < deadline {
            guard = never.1.wait_timeout(guard, Duration::from_millis(10)).unwrap().0;
            ended = self.child.try_wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}", self.log());
        }
    }
}

impl Log {
    fn read(&self, output: impl Read) {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for line in lines.chain([END.to_owned()]) {
            self.lines.lock().unwrap().push(line);
            self.more.notify_all();
        }
    }
}

const END: &str = "(end of the log)";
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

/// One file a session, named by the process, which it stays.
const SMTPFRONT_COUNTED: &str = "#!/bin/sh
: >HOME/sessions/$$
exec PROGRAM
";
