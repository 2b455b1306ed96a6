//! What `init` writes takes over for real: the real svscan, supervise and multilog, the real tcpserver and smtpfront-qmail
//! before, and every command of STEPS as it stands there. No fixed port; what is started here is ended by its own id.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use client::Client;
use client::expect;
use proxy::Proxy;
use proxy::host::LONG;
use proxy::host::free_address;
use proxy::host::until;
use qmail::QmailHome;
use qmail::SMTPFRONT;
use qmail::TCPSERVER;
use qmail::program;

const SVSCAN: (&str, &str) = ("/usr/bin/svscan", "daemontools");

#[test]
fn every_step_does_what_it_says() {
    let qmail = QmailHome::new();
    open_to_all(&qmail);
    let port = free_address().unwrap().port();
    service(&qmail, port);
    let init = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["init", "--service"])
        .arg(qmail.path("service/smtp"))
        .arg("--to")
        .arg(qmail.path("new"))
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    // The one thing that a test host must not share.
    let file = qmail.path("new/portcullis.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[admin]\n", "[admin]\nlisten = \"unix:state/admin.sock\"\n")).unwrap();
    let steps = fs::read_to_string(qmail.path("new/STEPS")).unwrap();
    let commands: Vec<&str> = steps.lines().filter_map(|line| line.strip_prefix("       ")).collect();
    let [prepare, check, _drill, _try, link, switch, status, _explain, _log, back, stay] = commands.as_slice() else {
        panic!("{commands:#?}")
    };
    run(prepare);
    assert!(run(check).ends_with(": no errors\n"));

    let scan = Svscan::start(&qmail);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("tcpserver listens", || TcpStream::connect(address).is_ok());
    deliver(&qmail, address, 1);
    assert!(is_up(&qmail.path("service/smtp")), "what was found runs");

    run(link);
    until("svscan has found the new one", || supervised(&qmail.path("service/portcullis")));
    let closed = closed_while(address, || run(switch), || has_admin(&qmail));
    eprintln!("switch: the port was closed for {closed:?}");
    deliver(&qmail, address, 2);
    assert!(run(status).contains("connections"), "the running proxy answers");
    let logged = |name: &str, what: &str| {
        let current = qmail.path("log").join(name).join("current");
        until("multilog has the line", || fs::read_to_string(&current).is_ok_and(|log| log.contains(what)));
    };
    logged("portcullis", " verdict=accept ");

    let closed = closed_while(address, || run(back), || !has_admin(&qmail));
    eprintln!("back: the port was closed for {closed:?}");
    deliver(&qmail, address, 3);
    // Both loggers run side by side, each with folders and files of its own.
    assert!(["smtp/log", "portcullis/log"].iter().all(|log| is_up(&qmail.path("service").join(log))));
    let status = || fs::read_to_string(qmail.path("log/status")).is_ok_and(|status| status.contains(" status: "));
    until("the old logger keeps its file", status);
    logged("smtp", " status: ");
    run(stay);
    assert!(!qmail.path("new/service/down").exists() && qmail.path("service/smtp/down").exists());
    drop(scan);
}

/// As `init --backend queue` wrote it: the envdir that stays in front names the program that gets the messages.
#[test]
fn straight_into_qmail() {
    let qmail = QmailHome::new();
    open_to_all(&qmail);
    let port = free_address().unwrap().port();
    service(&qmail, port);
    fs::create_dir(qmail.path("bin")).unwrap();
    qmail.script("bin/qmail-queue", "#!/bin/sh\nexit 81\n");
    let init = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["init", "--backend", "queue", "--service"])
        .args([qmail.path("service/smtp").as_path(), "--to".as_ref(), &qmail.path("new")])
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    let told = String::from_utf8(init.stdout).unwrap();
    assert!(told.contains("/env/QMAILQUEUE: its program gets the messages, as before\n"), "{told}");
    assert!(told.contains("plug-in check-fqdn: ") && told.contains("SMTPGREETING: set the greeting: "), "{told}");
    let file = qmail.path("new/portcullis.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[admin]\n", "[admin]\nlisten = \"unix:state/admin.sock\"\n")).unwrap();
    let steps = fs::read_to_string(qmail.path("new/STEPS")).unwrap();
    let mut commands = steps.lines().filter_map(|line| line.strip_prefix("       "));
    run(commands.next().unwrap());
    assert!(run(commands.next().unwrap()).ends_with(": no errors\n"));
    let script = qmail.path("new/service/run");
    let proxy = Proxy::launch(Command::new("/bin/sh").arg("-c").arg(format!("exec {} >&2", script.display())), 1);
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), SocketAddr::from(([127, 0, 0, 1], port)));
    expect("250 ok ", &client.deliver("a@example.net", "fred@example.org", &letter(1)));
    assert!(qmail.sessions().is_empty());
    let queued = qmail.queued();
    assert!(queued.len() == 1 && queued[0].envelope == "Fa@example.net Tfred@example.org", "{queued:?}");
    drop(proxy);
}

/// Backends run as nobody, where the test may change users.
fn open_to_all(qmail: &QmailHome) {
    fs::set_permissions(qmail.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for folder in ["queue", "starts", "saved", "sessions"] {
        fs::set_permissions(qmail.path(folder), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::create_dir_all(qmail.path("log")).unwrap();
}

/// As an operator would have it: tcpserver, a chain, exported variables, a log.
fn service(qmail: &QmailHome, port: u16) {
    let root = nix::unistd::Uid::effective().is_root();
    let (user, log) = if root { ("-u 65534 -g 65534", "setuidgid nobody") } else { ("", "") };
    let (tcpserver, smtpfront) = (program(TCPSERVER), program(SMTPFRONT));
    fs::create_dir_all(qmail.path("service/smtp/log")).unwrap();
    let home = qmail.path("").display().to_string();
    let home = home.trim_end_matches('/');
    let run = format!(
        "#!/bin/sh\nexec 2>&1\nQMAILHOME={home}; export QMAILHOME\n\
         LOCAL=`head -1 {home}/control/me`\nexport SMTPGREETING=\"$LOCAL ready\"\n\
         exec envdir {home}/env softlimit -m 300000000 {tcpserver} -v -R -H -l \"$LOCAL\" -c 20 {user} \\\n  \
         127.0.0.1 {port} {smtpfront}\n"
    );
    // Nothing would be queued if this did not reach the backend.
    fs::create_dir(qmail.path("env")).unwrap();
    qmail.script("env/QMAILQUEUE", "HOME/qmail-queue\n");
    script(&qmail.path("service/smtp/run"), &run);
    // The idiom of multilog's manual: a folder, then patterns and a file of its own.
    let log = format!("{log} multilog t n5 {home}/log/smtp '-*' '+* * status: *' ={home}/log/status");
    script(&qmail.path("service/smtp/log/run"), &format!("#!/bin/sh\nexec {log}\n"));
    fs::create_dir(qmail.path("log/smtp")).unwrap();
    let log = qmail.path("log").display().to_string();
    run_as_root_only(root, &format!("chown nobody: {log} {log}/smtp"));
}

/// `QmailHome::script` would change the QMAILHOME in it.
fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn run_as_root_only(root: bool, line: &str) {
    if root {
        run(line);
    }
}

/// A line of STEPS, as the operator types it.
fn run(line: &str) -> String {
    let output = Command::new("/bin/sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn deliver(qmail: &QmailHome, address: SocketAddr, expected: usize) {
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), address);
    expect("250 2.6.0 Accepted message", &client.deliver("a@example.net", "fred@example.org", &letter(expected)));
    until("it is in the queue", || qmail.queued().len() == expected);
    let all = qmail.queued();
    assert!(all.iter().all(|queued| queued.message.contains("([127.0.0.5])")), "the client's own address: {all:?}");
}

fn letter(number: usize) -> String {
    format!("Subject: {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\ntext\r\n")
}

/// The socket is there while Portcullis serves.
fn has_admin(qmail: &QmailHome) -> bool {
    std::os::unix::net::UnixStream::connect(qmail.path("new/state/admin.sock")).is_ok()
}

fn is_up(service: &Path) -> bool {
    let status = Command::new("svstat").arg(service).output().unwrap();
    String::from_utf8_lossy(&status.stdout).contains(": up")
}

fn supervised(service: &Path) -> bool {
    Command::new("svok").arg(service).status().unwrap().success()
}

/// The longest time in which nobody could connect, until the other server has the port.
fn closed_while(address: SocketAddr, act: impl FnOnce() -> String, done: impl Fn() -> bool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    act();
    until("the other one has the port", || {
        if TcpStream::connect(address).is_ok() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        done() && TcpStream::connect(address).is_ok()
    });
    longest.max(last.elapsed())
}

/// svscan, its supervises, and what they run; all of it is ended with the value.
struct Svscan {
    child: Child,
    services: Vec<PathBuf>,
}

impl Svscan {
    fn start(qmail: &QmailHome) -> Self {
        let services = ["smtp", "portcullis"].into_iter().flat_map(|name| [name.to_owned(), format!("{name}/log")]);
        let services = services.map(|name| qmail.path("service").join(name)).collect();
        let child = Command::new(program(SVSCAN)).arg(qmail.path("service")).stdin(Stdio::null()).spawn().unwrap();
        Self { child, services }
    }
}

impl Drop for Svscan {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("svc").arg("-dx").args(&self.services).stderr(Stdio::null()).status();
        // Before the folder goes: a supervise without one never ends.
        let began = Instant::now();
        while self.services.iter().any(|service| supervised(service)) && began.elapsed() < LONG {
            std::thread::yield_now();
        }
    }
}
