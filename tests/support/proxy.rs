//! The built program under test: a folder with its configuration, the running proxy with its log, clients. What is started
//! here is ended here, by its own id. It must not sleep: a wait is for an event.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; each uses its part")]

#[path = "host.rs"]
pub(crate) mod host;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use host::LONG;
use host::until;

/// The path of the program.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// A folder with `portcullis.toml`, qmail's `control` and `tcp.smtp`.
pub(crate) struct Site(TempDir);

impl Site {
    /// A site where `example.org` is local and mail is kept in `mail`. `server` and `rest` are lines of the
    /// configuration.
    pub(crate) fn new(server: &str, rest: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::create_dir(site.path("control")).unwrap();
        site.write("control/me", "mx.example.org\n");
        site.write("control/rcpthosts", "example.org\n");
        site.write("control/badmailfrom", "");
        site.write("tcp.smtp", "");
        site.configure(server, rest);
        site
    }

    pub(crate) fn configure(&self, server: &str, rest: &str) {
        self.write("portcullis.toml", &configuration(server, "maildir = \"mail\"", rest));
    }

    /// Sets the admin interface to TCP, at a port that was free a moment ago.
    pub(crate) fn admin_over_tcp(&self) -> String {
        let address = host::free_address().unwrap().to_string();
        self.admin_at(&address);
        address
    }

    pub(crate) fn admin_at(&self, address: &str) {
        self.replace("unix:admin.sock", address);
    }

    /// Keeps the shipped throttles, or those in the rest of the configuration.
    pub(crate) fn with_throttles(self) -> Self {
        self.replace("throttle = []\n", "");
        self
    }

    /// Replaces a text in the configuration.
    fn replace(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.path("portcullis.toml")).unwrap();
        assert!(text.contains(old), "{text}");
        self.write("portcullis.toml", &text.replacen(old, new, 1));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in place, as some editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Replaces a file by renaming a new one.
    pub(crate) fn rename_over(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// A command of the program, in this folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PORTCULLIS);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("PORTCULLIS_CONFIG").env_remove("RELAYCLIENT").env_remove("DATABYTES");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&self.command().args(arguments).output().unwrap())
    }

    /// The running proxy's answer over the admin socket, with its head.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.path("admin.sock")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn mails(&self) -> usize {
        fs::read_dir(self.path("mail/new")).map_or(0, Iterator::count)
    }
}

pub(crate) fn configuration(server: &str, backend: &str, rest: &str) -> String {
    format!(
        "throttle = []\n[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n[backend]\n{backend}\n\
         [qmail]\ncontrol = \"control\"\ntcprules = \"tcp.smtp\"\n{rest}\n[admin]\nlisten = \"unix:admin.sock\"\n"
    )
}

/// Output and exit code of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The output as one line of JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A running `serve`, ended when the value is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    log: Arc<Log>,
    /// Lines of the log already waited for or skipped.
    seen: usize,
    /// The listeners' addresses, in the order of the configuration.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The lines of the log so far.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// The line behind the time that it has because we are no logger.
fn without_time(line: String) -> String {
    let is_time = |text: &str| text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    match line.split_once(' ') {
        Some((time, rest)) if is_time(time) => rest.to_owned(),
        _ => line,
    }
}

impl Proxy {
    pub(crate) fn start(site: &Site) -> Self {
        Self::start_with(site, 1, &[])
    }

    /// Starts the proxy, and waits for so many listeners.
    pub(crate) fn start_with(site: &Site, listeners: usize, environment: &[(&str, &str)]) -> Self {
        let mut command = site.command();
        command.args(["serve", "-c", "portcullis.toml"]).envs(environment.iter().copied());
        Self::launch(&mut command, listeners)
    }

    /// Starts any command that becomes `serve`.
    pub(crate) fn launch(command: &mut Command, listeners: usize) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stderr.take().unwrap();
        let log = Arc::new(Log::default());
        std::thread::spawn({
            let log = log.clone();
            move || log.read(output)
        });
        // A guard from here on: a proxy that does not listen is ended too.
        let mut proxy = Self { child, log, seen: 0, addresses: Vec::new() };
        for _ in 0..listeners {
            let line = proxy.wait_for("listening");
            let address = line.split("address").nth(1).unwrap().trim_start_matches(['=', '"', ':']);
            let end = address.find(['"', ' ']).unwrap_or(address.len());
            proxy.addresses.push(address[..end].parse().unwrap());
        }
        proxy
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addresses[0])
    }

    /// The next line of the log that contains `what`; waits for it.
    pub(crate) fn wait_for(&mut self, what: &str) -> String {
        let (at, line) = self.log.find(self.seen, what);
        self.seen = at + 1;
        line
    }

    /// The first line of the log that contains `what`; waits for it.
    pub(crate) fn line(&self, what: &str) -> String {
        self.log.find(0, what).1
    }

    /// The log up to the line that was waited for last.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.log.lines()[..self.seen].to_vec()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Skips the lines so far.
    pub(crate) fn forget_log(&mut self) {
        self.seen = 0;
        self.log.lines().clear();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process(), signal).unwrap();
    }

    fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// The children of the proxy, zombies included.
    pub(crate) fn children(&self) -> Vec<i32> {
        host::children(self.pid())
    }

    pub(crate) fn until_childless(&self) {
        until("no child of the proxy remains", || self.children().is_empty());
    }

    /// The only running backend process.
    pub(crate) fn only_child(&self) -> i32 {
        let children = self.children();
        assert_eq!(children.len(), 1, "{children:?}");
        children[0]
    }

    /// Kills a backend's process, which must be a child of this proxy.
    pub(crate) fn kill_child(&self, pid: i32) {
        assert!(self.children().contains(&pid), "{pid} is no child");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    /// Reads the log to its end, and waits for the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.seen = self.log.find(self.seen, END).0;
        self.child.wait().unwrap()
    }

    /// Sends TERM, and expects exit code 0; gives all lines of the log.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{:?}", self.seen());
        self.seen()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && !self.children().is_empty() {
            // In order first, so that its children are reaped; without waiting for a second signal.
            let _ = kill(self.process(), Signal::SIGTERM);
            let _ = kill(self.process(), Signal::SIGINT);
            host::happens_within(Duration::from_secs(10), || !matches!(self.child.try_wait(), Ok(None)));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}", self.log());
        }
    }
}

impl Log {
    fn read(&self, output: impl Read) {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for line in lines.chain([END.to_owned()]) {
            self.lines().push(without_time(line));
            self.more.notify_all();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap()
    }

    /// The first line from this one on that contains `what`; waits for it.
    fn find(&self, from: usize, what: &str) -> (usize, String) {
        let deadline = Instant::now() + LONG;
        let (mut lines, mut at) = (self.lines(), from);
        loop {
            while let Some(line) = lines.get(at) {
                if line.contains(what) {
                    return (at, line.clone());
                }
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let may_come = !left.is_zero() && lines.last().is_none_or(|line| line != END);
            assert!(may_come, "no line with {what:?} came in:\n{}", lines.join("\n"));
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// Marks the end of a log.
const END: &str = "(end of the log)";

/// The lines of a stream as they come; the channel closes at the end.
pub(crate) fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(100_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// An SMTP client that waits for each reply.
pub(crate) struct Client<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self::over(stream)
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, octets: &str) {
        self.stream.get_mut().write_all(octets.as_bytes()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Reads one reply, all its lines, without the session's id.
    pub(crate) fn reply(&mut self) -> String {
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| line.as_bytes()[3] == b'-') {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 4, "closed after {lines:?}");
            lines.push(without_session(line.trim_end()).to_owned());
        }
        lines.join("\n")
    }

    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.reply()
    }

    /// Sends each line, and expects its code.
    pub(crate) fn dialog(&mut self, rows: &[(&str, &str)]) {
        for (line, code) in rows {
            let reply = self.say(line);
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
    }

    /// Reads the greeting and does EHLO.
    pub(crate) fn hello(mut self) -> Self {
        let greeting = self.reply();
        assert!(greeting.starts_with("220 "), "{greeting}");
        self.dialog(&[("EHLO client.example", "250")]);
        self
    }

    /// Reads until the proxy closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    }

    /// Sends a whole message of this sender to `<r@example.org>`.
    pub(crate) fn mail(&mut self, sender: &str, header: &str) {
        self.dialog(&[
            (&format!("MAIL FROM:<{sender}>"), "250"),
            ("RCPT TO:<r@example.org>", "250"),
            ("DATA", "354"),
            (&format!("{header}\r\n\r\ntext\r\n."), "250"),
        ]);
    }
}

/// A refusal without the session in brackets at its end.
pub(crate) fn without_session(line: &str) -> &str {
    match (line.as_bytes()[0], line.rsplit_once(" [")) {
        (b'4' | b'5', Some((text, id))) if id.ends_with(']') => text,
        _ => line,
    }
}
