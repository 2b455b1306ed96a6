//! A real Postfix as tcp backend: it hears who the client is, by XCLIENT and by a PROXY header (its own rule, that only
//! one client may relay, shows that it believes it), and it is talked to under TLS. Postfix has to be started by root.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use nix::unistd::User;
use support::client::Client;
use support::client::expect;
use support::house::House;
use support::house::Lines;
use support::house::program;
use support::house::until;
use tempfile::TempDir;

const MASTER: (&str, &str) = ("/usr/lib/postfix/sbin/master", "postfix");

/// A Postfix of our own in a folder of its own, which throws the mail away.
struct Postfix {
    folder: TempDir,
    master: Child,
    address: SocketAddr,
}

impl Postfix {
    /// 127.0.0.5 may relay, nobody else.
    fn start(more: &str) -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "Postfix has to be started by root");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().display();
        let postfix = User::from_name("postfix").unwrap().unwrap();
        for name in ["etc", "data", "queue"].into_iter().chain(QUEUES) {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            if name != "etc" && name != "queue" && name != "queue/pid" {
                nix::unistd::chown(&path, Some(postfix.uid), None).unwrap();
            }
        }
        make_certificate(&folder.path().join("tls"));
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::write(folder.path().join("etc/main.cf"), (MAIN.to_owned() + more).replace("HOME", &home.to_string()))
            .unwrap();
        fs::write(folder.path().join("etc/master.cf"), SERVICES.replace("ADDRESS", &address.to_string())).unwrap();
        let mut command = Command::new(program(MASTER));
        command.args(["-c".as_ref(), folder.path().join("etc").as_os_str()]).env("MAIL_LOGTAG", "postfix");
        let master = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postfix = Self { folder, master, address };
        until("Postfix listens", || TcpStream::connect(address).is_ok());
        postfix
    }

    fn log(&self) -> String {
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

#[test]
fn by_xclient() {
    let postfix = Postfix::start("smtpd_authorized_xclient_hosts = 127.0.0.1\n");
    believes(&postfix, "xclient");
}

#[test]
fn by_a_proxy_header() {
    let postfix = Postfix::start("smtpd_upstream_proxy_protocol = haproxy\n");
    believes(&postfix, "proxy");
}

/// The client's own address counts, at the first mail and at the next, also on a connection of another client.
fn believes(postfix: &Postfix, identity: &str) {
    let house = House::new();
    house.control("rcpthosts", "example.org\nelse.example\n");
    let backend = format!("tcp = \"{}\"\nidentity = {identity:?}\n", postfix.address);
    let proxy = house.serve(&backend, Lines::default());
    let mut trusted = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.address);
    expect("250", &trusted.deliver("a@b.example", "joe@example.org", LETTER));
    expect("250", &trusted.deliver("a@b.example", "joe@else.example", LETTER));
    let mut stranger = Client::from(Ipv4Addr::new(127, 0, 0, 6), proxy.address);
    expect("250", &stranger.deliver("a@b.example", "joe@example.org", LETTER));
    expect("250", &stranger.command("MAIL FROM:<a@b.example>"));
    expect("454 4.7.1 <joe@else.example>: Relay access denied", &stranger.command("RCPT TO:<joe@else.example>"));
    until("Postfix has written its log", || postfix.log().contains("Relay access denied"));
    let log = postfix.log();
    for client in ["[127.0.0.5]", "[127.0.0.6]"] {
        assert!(log.lines().any(|line| line.contains("client=") && line.contains(client)), "{client}: {log}");
    }
    assert!(!log.contains("client=localhost[127.0.0.1]"), "it saw us: {log}");
}

/// A Postfix that we block gives the mail back at once, with our words, instead of coming back for days.
#[test]
fn one_that_is_blocked_gives_up_at_once() {
    let house = House::new();
    house.write("tcp.smtp", "127.:deny\n");
    let lines = Lines { qmail: "tcprules = \"tcp.smtp\"", server: "contact = \"ask@example.org\"", ..Lines::default() };
    let proxy = house.spawn(lines);
    let host = proxy.address;
    let to_us = format!("default_transport = smtp:[{}]:{}\nmyhostname = relay.example.net\n", host.ip(), host.port());
    let postfix = Postfix::start(&to_us);
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), postfix.address);
    expect("250", &client.deliver("a@b.example", "joe@else.example", LETTER));
    until("Postfix has given up", || postfix.log().contains("to=<joe@else.example>"));
    let log = postfix.log();
    let line = log.lines().find(|line| line.contains("to=<joe@else.example>")).unwrap();
    assert!(line.contains("dsn=5.7.1") && line.contains("status=bounced"), "{line}");
    assert!(line.contains("554 5.7.1 Client 127.0.0.1 is blocked; questions: ask@example.org"), "{line}");
    let line = proxy.line("reason=blocked_client");
    assert!(
        line.contains("mail session=") && line.contains("rule=") && line.contains("sender=<a@b.example>"),
        "{line}"
    );
    assert!(house.sessions().is_empty(), "no backend heard of it");
}

/// The second client is served by the session that the first has left, also under TLS, and told apart by our own Received
/// line. (With XCLIENT it could not be: Postfix takes that once a session.)
#[test]
fn a_kept_session_serves_the_next_client() {
    let encrypted = format!("{CERTIFICATE}smtpd_tls_security_level = encrypt\n");
    for (more, keys) in [("", ""), (&*encrypted, "tls = \"starttls\"\nverify = false\n")] {
        let postfix = Postfix::start(more);
        let house = House::new();
        house.control("rcpthosts", "example.org\n");
        let target = format!("tcp = \"{}\"\nkeepalive = 4\n{keys}", postfix.address);
        let proxy = house.serve(&target, Lines::default());
        let clients: Vec<Client> = [5, 6, 7]
            .map(|last| {
                let mut client = Client::from(Ipv4Addr::new(127, 0, 0, last), proxy.address);
                expect("250", &client.deliver("a@b.example", "joe@example.org", LETTER));
                expect("221", &client.command("QUIT"));
                client
            })
            .into();
        let served = || postfix.log().matches(": client=").count();
        until("Postfix has written its log", || served() == clients.len());
        // One more, by which the test waits for Postfix to listen, says nothing.
        let log = postfix.log();
        let silent = log.matches("lost connection after CONNECT").count();
        assert_eq!(log.matches(": connect from ").count() - silent, 1, "{log}");
        assert!(!log.contains("lost connection after EHLO"), "{log}");
    }
}

fn make_certificate(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make.sh");
    let output = Command::new(script).arg("-o").arg(folder).arg("127.0.0.1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Postfix takes mail under TLS only; its certificate is verified, when `trusts` says by whom.
fn under_tls(more: &str, keys: &str, trusts: bool) -> (Postfix, House, String) {
    let postfix = Postfix::start(&format!("{CERTIFICATE}{more}"));
    let house = House::new();
    if trusts {
        fs::copy(postfix.folder.path().join("tls/ca.pem"), house.path("ca.pem")).unwrap();
    }
    let proxy = house.serve(&format!("tcp = \"{}\"\n{keys}\n", postfix.address), Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.address);
    let reply = client.command("MAIL FROM:<a@b.example>");
    if reply.starts_with("250") {
        expect("250", &client.command("RSET"));
        expect("250", &client.deliver("a@b.example", "joe@example.org", LETTER));
    } else {
        expect("451 4.3.0", &reply);
    }
    proxy.line(if reply.starts_with("250") { "verdict=accept" } else { "verdict=defer" });
    let log = proxy.log();
    (postfix, house, log)
}

#[test]
fn under_tls_of_each_kind() {
    let encrypt = "smtpd_tls_security_level = encrypt\n";
    let wrapped = "smtpd_tls_security_level = encrypt\nsmtpd_tls_wrappermode = yes\n";
    for (more, keys) in [
        (encrypt, "tls = \"starttls\""),
        (wrapped, "tls = \"implicit\""),
        (
            &*format!("{encrypt}smtpd_authorized_xclient_hosts = 127.0.0.1\n"),
            "tls = \"starttls\"\nidentity = \"xclient\"",
        ),
        (&*format!("{wrapped}smtpd_upstream_proxy_protocol = haproxy\n"), "tls = \"implicit\"\nidentity = \"proxy\""),
    ] {
        let (postfix, _house, log) = under_tls(more, keys, true);
        assert!(log.contains("verdict=accept"), "{keys}: {log}");
        until("Postfix has written its log", || postfix.log().contains("TLS connection established"));
    }
}

#[test]
fn a_certificate_of_a_stranger_is_refused_unless_told_otherwise() {
    let encrypt = "smtpd_tls_security_level = encrypt\n";
    let (_postfix, _house, log) = under_tls(encrypt, "tls = \"starttls\"", false);
    assert!(log.contains("reason=backend_unavailable") && !log.contains("verdict=accept"), "{log}");
    let (_postfix, _house, log) = under_tls(encrypt, "tls = \"starttls\"\nverify = false", false);
    assert!(log.contains("verdict=accept"), "{log}");
}

#[test]
fn a_postfix_that_would_see_us_is_not_used() {
    let postfix = Postfix::start("");
    let house = House::new();
    let backend = format!("tcp = \"{}\"\nidentity = \"xclient\"\n", postfix.address);
    let proxy = house.serve(&backend, Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.address);
    expect("451 4.3.0", &client.command("MAIL FROM:<a@b.example>"));
    let line = proxy.line("reason=backend_unavailable");
    assert!(line.contains("smtpd_authorized_xclient_hosts"), "{line}");
}

const CERTIFICATE: &str = "\
smtpd_tls_chain_files = HOME/tls/key.pem, HOME/tls/certificate.pem
smtpd_tls_loglevel = 1
";

const LETTER: &str = "Subject: x\r\n\r\ntext\r\n";

const QUEUES: [&str; 14] = [
    "queue/active",
    "queue/bounce",
    "queue/corrupt",
    "queue/defer",
    "queue/deferred",
    "queue/flush",
    "queue/hold",
    "queue/incoming",
    "queue/maildrop",
    "queue/pid",
    "queue/private",
    "queue/public",
    "queue/saved",
    "queue/trace",
];

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
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
";
