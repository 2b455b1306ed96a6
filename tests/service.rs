//! The service files under the real daemontools, runit and s6 and their loggers, socket activation and what systemd is told.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/service.rs"]
mod service;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use proxy::Client;
use proxy::PORTCULLIS;
use proxy::Site;
use proxy::configuration;
use proxy::host::LONG;
use proxy::host::free_address;
use proxy::host::until;
use proxy::lines_of;
use service::Service;
use service::Supervisor;
use service::Word;

#[test]
fn under_the_real_supervise_and_multilog() {
    serves_under(Supervisor::Daemontools, "@4");
}

#[test]
fn under_the_real_runsv_and_svlogd() {
    serves_under(Supervisor::Runit, "2");
}

#[test]
fn under_the_real_s6_and_its_log() {
    serves_under(Supervisor::S6, "@4");
}

fn serves_under(supervisor: Supervisor, stamp: &str) {
    let port = free_address().unwrap().port();
    let site = site_on(port, "");
    let service = Service::start(supervisor, &site);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    service.wait_until_ready();
    until("it answers", || TcpStream::connect(address).is_ok());
    Client::connect(address).hello().mail("a@b.example", "Subject: supervised");

    site.write("control/badmailfrom", "bad@b.example\n");
    service.tell(Word::Reload);
    until("the log tells of the reload", || service.log().contains("reloaded blocked_senders=1"));
    Client::connect(address).hello().dialog(&[("MAIL FROM:<bad@b.example>", "554")]);
    assert!(service.log().lines().all(|line| line.starts_with(stamp)), "{}", service.log());

    restarts(&service, address);
    assert_eq!(site.mails(), 2);

    service.tell(Word::Down);
    until("the port is closed", || TcpStream::connect(address).is_err());
    until("the supervisor says that it is down", || service.is_down());
    service.tell(Word::Up);
    service.wait_until_ready();
    until("it is up again", || TcpStream::connect(address).is_ok());
    reads_its_log(&site);
}

/// TERM: what runs ends well, who comes is told to come again, and the supervisor starts the next.
fn restarts(service: &Service<'_>, address: SocketAddr) {
    let mut running = Client::connect(address).hello();
    running.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("DATA", "354")]);
    service.tell(Word::Restart);
    until("newcomers are told", || greeting(address).starts_with("421 4.3.2 "));
    running.dialog(&[("Subject: graceful\r\n\r\nx\r\n.", "250")]);
    let mut closed = None;
    until("the next one answers", || {
        if TcpStream::connect(address).is_err() {
            closed.get_or_insert_with(Instant::now);
        }
        greeting(address).starts_with("220 ")
    });
    println!("the port was closed for {:?}", closed.map_or(Duration::ZERO, |since| since.elapsed()));
}

/// `portcullis log` understands the logger's stamps, whichever it is.
fn reads_its_log(site: &Site) {
    let told = site.run(&["log", "log", "--json"]);
    assert_eq!(told.code, 0, "{told:?}");
    let told = told.json();
    assert_eq!((&told["messages"]["accepted"], &told["untimed_lines"]), (&2.into(), &0.into()), "{told}");
    let last: jiff::Timestamp = told["last"].as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(last).as_secs();
    assert!((0..20).contains(&age), "s6's stamps are 27 seconds ahead of the others: {age}");
}

#[test]
fn a_restart_under_socket_activation_refuses_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let site = site_on(address.port(), "");
    let mut first = activated(&site, &socket, &[]);
    assert!(first.wait_for("listening").contains("from=supervisor"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::Relaxed) {
                let mut client = Client::over(TcpStream::connect(address).expect("nobody is refused"));
                // One that was let in just before the stop is told to come again.
                let greeting = client.reply();
                assert!(greeting.starts_with("220 ") || greeting.starts_with("421 4.3.2 "), "{greeting:?}");
                served += 1;
            }
            served
        });
        for _ in 0..3 {
            first.stop();
            first = activated(&site, &socket, &[]);
            first.wait_for("listening");
            Client::connect(address).hello().mail("a@b.example", "Subject: activated");
        }
        done.store(true, Ordering::Relaxed);
        assert!(clients.join().unwrap() > 3);
    });
    assert_eq!(site.mails(), 3);
}

#[test]
fn a_listener_that_nothing_names_is_a_fault() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::new("", "");
    let mut refused = activated(&site, &socket, &[]);
    let told = refused.wait_for("the supervisor hands over a listener on 127.0.0.1:");
    assert!(told.ends_with("name it in one of them"), "{told}");
    assert_eq!(refused.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_descriptor_that_is_not_there_is_a_fault() {
    let refused = Site::new("", "").run(&["serve", "-c", "portcullis.toml", "--notify-fd", "99"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--notify-fd 99: No such file"), "{refused:?}");
    assert!(refused.err.contains("notification-fd of s6 has to have the same number"), "{refused:?}");
}

#[test]
fn systemd_is_told() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = site_on(socket.local_addr().unwrap().port(), "");
    let heard = UnixDatagram::bind(site.path("notify")).unwrap();
    heard.set_read_timeout(Some(LONG)).unwrap();
    let next = || {
        let mut octets = [0; 512];
        let length = heard.recv(&mut octets).unwrap();
        String::from_utf8(octets[..length].to_vec()).unwrap()
    };
    let path = site.path("notify");
    let mut running =
        activated(&site, &socket, &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    assert_eq!(next().trim_end(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next().trim_end(), "WATCHDOG=1");
    }
    let next = || loop {
        let word = next();
        if word.trim_end() != "WATCHDOG=1" {
            return word;
        }
    };
    running.signal(Signal::SIGHUP);
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(next().trim_end(), "READY=1");
    running.wait_for("reloaded");
    running.stop();
    assert_eq!(next().trim_end(), "STOPPING=1");
}

/// The oldest that we know of is Debian 12's: it ignored `Type=notify-reload`.
#[test]
fn systemd_accepts_the_units_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for unit in ["portcullis.service", "portcullis.socket", "portcullis-tcp.service", "portcullis-tcp.socket"] {
        let text = fs::read_to_string(Path::new(UNITS).join(unit)).unwrap();
        let installed = folder.path().join(unit);
        fs::write(&installed, text.replace("=portcullis serve", &format!("={PORTCULLIS} serve"))).unwrap();
        verify.arg(installed);
    }
    let output = verify.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn the_unit_for_a_backend_over_tcp_is_exposed_to_little() {
    let unit = Path::new(UNITS).join("portcullis-tcp.service");
    let mut security = Command::new("systemd-analyze");
    // In tenths: it fails above.
    security.args(["security", "--no-pager", "--offline=yes", "--threshold=20"]).arg(unit);
    let output = security.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("Overall exposure level"), "{told}\n{output:?}");
}

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd");

/// Empty when nobody listens, or when the one who did ends.
fn greeting(address: SocketAddr) -> String {
    let mut line = String::new();
    if let Ok(stream) = TcpStream::connect(address) {
        let _ = BufReader::new(stream).read_line(&mut line);
    }
    line
}

fn site_on(port: u16, server: &str) -> Site {
    let site = Site::new("", "");
    let text = configuration(server, "maildir = \"mail\"", "").replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    site.write("portcullis.toml", &text);
    site
}

/// `serve` with a listener handed over as descriptor 3, as systemd does.
struct Activated {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

fn activated(site: &Site, socket: &TcpListener, environment: &[(&str, &str)]) -> Activated {
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve -c portcullis.toml";
    let mut command = Command::new("sh");
    command.args(["-c", script, PORTCULLIS]).current_dir(site.path("")).envs(environment.iter().copied());
    let handed: std::os::fd::OwnedFd = socket.try_clone().unwrap().into();
    let mut child = command.stdin(handed).stderr(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(child.stderr.take().unwrap());
    Activated { child, lines }
}

impl Activated {
    fn wait_for(&mut self, what: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LONG).unwrap_or_else(|_| panic!("no line with {what:?}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
