//! The daemon as a supervisor and strangers see it: signals, limits, time limits, PROXY, its log, what it leaves.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::children;
use proxy::host::descriptors;
use proxy::host::sockets;
use proxy::host::until;

#[test]
fn term_drains() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut idle = proxy.client().hello();
    let mut fresh = proxy.client();
    assert!(fresh.reply().starts_with("220 "));
    let mut sending = in_its_body(proxy.client());
    proxy.signal(Signal::SIGTERM);
    for client in [&mut idle, &mut fresh] {
        assert!(client.reply().starts_with("421 4.3.2 "));
        assert_eq!(client.rest(), "");
    }
    drop((idle, fresh));
    assert!(proxy.client().reply().starts_with("421 4.3.2 "), "who comes now is told to come again");
    sending.send("second half\r\n.\r\n");
    assert!(sending.reply().starts_with("250 "));
    assert!(sending.reply().starts_with("421 4.3.2 "), "and another does not begin");
    drop(sending);
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(site.mails(), 1);
    assert!(proxy.seen().last().unwrap().starts_with("stopped connections=0"), "{:?}", proxy.seen());
}

#[test]
fn a_drain_has_its_limit() {
    let site = Site::new("drain = \"1s\"", "");
    let mut proxy = Proxy::start(&site);
    let mut sending = in_its_body(proxy.client());
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert!(sending.reply().starts_with("421 4.3.2 "));
    // A machine that is slow makes it later, and nothing earlier.
    assert!(began.elapsed().as_millis() >= 990, "not before");
    drop(sending);
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(site.mails(), 0);
    assert_eq!(count(&proxy.seen(), "mail session="), 1);
}

#[test]
fn a_second_term_ends_at_once() {
    let mut proxy = Proxy::start(&Site::new("drain = \"10m\"", ""));
    // This one keeps its connection open, whatever it is told.
    let mut sending = in_its_body(proxy.client());
    proxy.signal(Signal::SIGTERM);
    proxy.wait_for("stopping");
    proxy.signal(Signal::SIGTERM);
    assert!(sending.reply().starts_with("421 4.3.2 "));
    // Nobody waits for ten minutes here.
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn connections_are_limited_in_all_and_per_client() {
    let server = "max_connections = 3\nmax_connections_per_client = 2\nproxy_protocol_from = [\"127.0.0.0/8\"]";
    let proxy = Proxy::start(&Site::new(server, ""));
    let from = |client: &str| {
        let mut session = Client::connect(proxy.addresses[0]);
        session.send(&format!("PROXY TCP4 {client} 127.0.0.1 4000 25\r\n"));
        let greeting = session.reply();
        (session, greeting)
    };
    let (_first, greeting) = from("192.0.2.1");
    assert!(greeting.starts_with("220 "));
    let (second, greeting) = from("192.0.2.1");
    assert!(greeting.starts_with("220 "));
    let (mut refused, greeting) = from("192.0.2.1");
    assert_eq!(greeting, "421 4.3.2 Too many connections from 192.0.2.1, try again later");
    assert_eq!(refused.rest(), "");
    drop(refused);
    let mut third = None;
    until("another client has the place", || {
        // One that was refused has a place until it is closed.
        drop(third.take());
        let (session, greeting) = from("192.0.2.2");
        third = Some(session);
        greeting.starts_with("220 ")
    });
    let (_, greeting) = from("192.0.2.3");
    assert_eq!(greeting, "421 4.3.2 Too many connections, try again later");
    drop(second);
    until("a place that is given back is used", || from("192.0.2.1").1.starts_with("220 "));
}

#[test]
fn nearly_full_is_told_and_ends() {
    let site = Site::new("max_connections = 10", "");
    let mut proxy = Proxy::start(&site);
    let mut open: Vec<Client> = (0..9).map(|_| proxy.client().hello()).collect();
    assert!(proxy.wait_for("nearly full").contains("level=warn connections=9 max=10"), "{:?}", proxy.seen());
    let status = site.run(&["status"]);
    assert!(status.out.contains("\nstress         connections are nearly used up"), "{status:?}");
    let mut newcomer = proxy.client().hello();
    assert!(newcomer.say("FOO").starts_with("500 "));
    assert!(newcomer.say("FOO").starts_with("421 "), "one that comes meanwhile is under it too");
    open.truncate(5);
    proxy.wait_for("back to normal");
    assert!(!site.run(&["status"]).out.contains("stress"));
    assert!(open[0].say("NOOP").starts_with("250 "));
}

#[test]
fn silent_clients_are_told_so() {
    let site = Site::new("timeout = { greeting = \"1s\", command = \"1s\", data = \"1s\" }\nmin_rate = \"1MB/s\"", "");
    let mut proxy = Proxy::start(&site);
    let mut greeted = proxy.client();
    greeted.reply();
    let mut idle = proxy.client().hello();
    let mut half = proxy.client().hello();
    half.send("NOO");
    let mut sending = in_its_body(proxy.client());
    for (what, client) in
        [("greeting", &mut greeted), ("command", &mut idle), ("half", &mut half), ("data", &mut sending)]
    {
        assert_eq!(client.reply(), "421 4.4.2 Time limit exceeded", "{what}");
        assert_eq!(client.rest(), "", "{what}");
    }
    proxy.wait_for("reason=timeout");
}

#[test]
fn a_proxy_header_brings_the_client_and_is_demanded() {
    let site = Site::new("proxy_protocol_from = [\"127.0.0.0/8\"]\ntimeout = { greeting = \"1s\" }", "");
    let mut proxy = Proxy::start(&site);
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 8, 127, 0, 0, 1, 9, 9, 0, 25]].concat();
    for (header, client) in [(&b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n"[..], "192.0.2.7"), (&v2, "192.0.2.8")] {
        let mut session = proxy.client();
        session.stream().write_all(header).unwrap();
        session = session.hello();
        session.mail("a@b.example", "Subject: proxy");
        let line = proxy.wait_for("mail session=");
        assert!(line.contains(&format!(" client={client} ")), "{line}");
    }
    let mut early = proxy.client();
    early.send("PROXY TCP4 192.0.2.9 127.0.0.1 4000 25\r\nEHLO client.example\r\n");
    assert!(early.reply().starts_with("220 "));
    assert!(early.reply().starts_with("250"), "served in order all the same");
    assert!(proxy.wait_for("talked before the greeting").contains(" client=192.0.2.9"));
    for header in ["EHLO client.example\r\n", "PROXY TCP4 nonsense\r\n", ""] {
        let mut session = proxy.client();
        session.send(header);
        assert_eq!(session.rest(), "", "{header:?}");
    }
}

#[test]
fn no_client_forges_a_line() {
    for format in ["logfmt", "json", "pretty"] {
        let site = Site::new("", &format!("[log]\nformat = \"{format}\""));
        let proxy = Proxy::start(&site);
        let mut client = proxy.client();
        client.reply();
        client.dialog(&[("EHLO a\"code=999", "")]);
        client.dialog(&[("EHLO [a]verdict=reject", "")]);
        client.dialog(&[("HELO client.example", "250")]);
        let header = "Message-ID: <x\x1b[31m\" verdict=reject code=999\u{202e}\x07@h>\r\n\tmail session=forged";
        client.mail("\"a verdict=reject\\\" code=999 \\\\\"@b.example", header);
        client.mail("plain@b.example", "Message-ID: <one\rmail session=forged verdict=reject@h>");
        client.dialog(&[("MAIL FROM:<a\x0bmail@b.example>", "5"), ("FROB\x1b[31m\" verdict=accept\u{202e}\\", "500")]);
        client.dialog(&[("RCPT TO:<\" code=999 verdict=accept mail session=forged\">", "5"), ("QUIT", "221")]);
        drop(client);
        let log = proxy.stop();
        let (commands, others): (Vec<_>, Vec<_>) = log.iter().partition(|line| line.contains("words"));
        let mails: Vec<&String> = others.into_iter().filter(|line| line.contains("b.example")).collect();
        assert_eq!((mails.len(), commands.len()), (2, 3), "{format}: {log:#?}");
        for line in &log {
            assert!(!line.contains(|it: char| it.is_control() || it == '\u{202e}'), "{format}: {line:?}");
        }
        assert!(!log.iter().any(|line| line.starts_with("mail session=forged")), "{log:#?}");
        match format {
            "json" => {
                for line in &log {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    let verdict = if value["message"] == "command" { "reject" } else { "accept" };
                    assert!(value["verdict"].is_null() || value["verdict"] == verdict, "{line}");
                }
            }
            "logfmt" => mails.iter().chain(&commands).for_each(|line| {
                let words = words(line);
                let verdicts: Vec<&String> = words.iter().filter(|word| word.starts_with("verdict=")).collect();
                let verdict = if line.starts_with("command ") { "verdict=reject" } else { "verdict=accept" };
                assert_eq!(verdicts, [verdict], "{line}");
                assert_eq!(words.iter().filter(|word| word.starts_with("code=")).count(), 1, "{line}");
            }),
            _ => {}
        }
    }
}

#[test]
fn under_multilog_there_is_one_stamp() {
    let site = Site::new("", "");
    let mut multilog = Command::new("multilog");
    multilog.args(["t", "./log"]).current_dir(site.path("")).stdin(Stdio::piped());
    let mut multilog = Ended(multilog.spawn().expect("multilog, of Debian's package daemontools"));
    let mut command = site.command();
    command.arg("serve").stderr(Stdio::from(multilog.0.stdin.take().unwrap()));
    let mut serve = Ended(command.spawn().unwrap());
    drop(command);
    let current = || fs::read_to_string(site.path("log/current")).unwrap_or_default();
    until("it listens", || current().contains("listening address=") && current().ends_with('\n'));
    let line = current().lines().find(|line| line.contains("listening")).unwrap().to_owned();
    let address: SocketAddr = line.rsplit_once("address=").unwrap().1.trim_matches('"').parse().unwrap();
    let mut client = Client::connect(address).hello();
    client.mail("a@b.example", "Subject: multilog");
    drop(client);
    let pid = i32::try_from(serve.0.id()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(serve.0.wait().unwrap().code(), Some(0));
    multilog.0.wait().unwrap();
    let current = current();
    assert!(current.contains(" mail session="), "{current}");
    for line in current.lines() {
        let (stamp, rest) = line.split_once(' ').unwrap();
        assert!(stamp.len() == 25 && stamp.starts_with("@4"), "{line}");
        assert!(rest.starts_with(|it: char| it.is_ascii_lowercase()), "{line}");
    }
}

/// What `serve` writes to a pipe that this program reads.
#[test]
fn who_reads_the_log_decides_whether_lines_have_a_time() {
    let first_line = |program: &str, arguments: &[&str], file: &str| {
        let site = Site::new("", "");
        let mut reader = Command::new(program);
        let mut reader = reader
            .args(arguments)
            .current_dir(site.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pipe = reader.stdin.take().unwrap();
        let mut serve = site.command().arg("serve").stderr(pipe).spawn().unwrap();
        let mut text = String::new();
        until("it listens", || {
            text = fs::read_to_string(site.path(file)).unwrap_or_default();
            text.contains("started ")
        });
        serve.kill().unwrap();
        serve.wait().unwrap();
        reader.wait().unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let of_tee = first_line("tee", &["log"], "log");
    assert!(of_tee.starts_with("20") && of_tee[10..].starts_with('T'), "{of_tee}");
    let of_multilog = first_line("multilog", &["t", "./main"], "main/current");
    let (stamp, rest) = of_multilog.split_once(' ').unwrap();
    assert!(stamp.starts_with('@') && !rest.starts_with("20"), "{of_multilog}");
}

#[test]
fn the_journal_is_told_priorities_and_a_variable_that_is_left_over_means_nothing() {
    let site = Site::new("", "");
    let file = fs::File::create(site.path("log")).unwrap();
    let serve = |journal: &str| {
        let mut command = site.command();
        command.args(["serve", "-c", "none.toml"]).env("JOURNAL_STREAM", journal).stderr(file.try_clone().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(78));
        fs::read_to_string(site.path("log")).unwrap()
    };
    let metadata = file.metadata().unwrap();
    assert!(serve("1:2").starts_with("none.toml: "));
    let told = serve(&format!("{}:{}", metadata.dev(), metadata.ino()));
    assert!(told.contains("\n<3>none.toml: "), "{told}");
}

#[test]
fn no_privilege_is_left_after_binding() {
    if !nix::unistd::Uid::effective().is_root() {
        return eprintln!("only root can give privileges up");
    }
    let begins = |server: &str, before: &[&str]| {
        let site = Site::new(server, "");
        std::os::unix::fs::chown(site.path(""), Some(65534), Some(65534)).unwrap();
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(proxy::PORTCULLIS).args(["serve", "-c", "portcullis.toml"]);
        command.current_dir(site.path("")).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = proxy::lines_of(child.stderr.take().unwrap());
        let running = Ended(child);
        while !lines.recv_timeout(proxy::host::LONG).unwrap().contains("listening") {}
        fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap()
    };
    let lent = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+net_bind_service",
        "--ambient-caps=+net_bind_service",
    ];
    for (server, before) in [("user = \"nobody\"", &["env"][..]), ("", &lent)] {
        let status = begins(server, before);
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(value(set), "0000000000000000", "{server:?} {set}");
        }
        assert_eq!(value("Uid:"), "65534\t65534\t65534\t65534", "{server:?}");
        assert!(!value("Groups:").split(' ').any(|group| group == "0"), "{server:?}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let relay = "[server]\nlisten = [\"0.0.0.0:0\"]\n[backend]\ntcp = \"127.0.0.1:25\"\n";
    let good = configuration("", "maildir = \"mail\"", "");
    let rows = [
        (1, "taken", good.replace("127.0.0.1:0", &address.to_string()), format!("cannot listen on {address}: ")),
        (
            78,
            "user",
            configuration("user = \"no-such-user\"", "maildir = \"mail\"", ""),
            "no user \"no-such-user\"".into(),
        ),
        (
            78,
            "group",
            configuration("user = \"root\"\ngroup = \"no-such-group\"", "maildir = \"mail\"", ""),
            "no-such-group".into(),
        ),
        (78, "open relay", relay.to_owned(), "portcullis.toml:4:".into()),
    ];
    for (code, what, text, told) in rows {
        let site = Site::new("", "");
        site.write("portcullis.toml", &text);
        let outcome = site.run(&["serve"]);
        assert_eq!(outcome.code, code, "{what}: {outcome:?}");
        assert!(outcome.err.contains(&told), "{what}: {outcome:?}");
    }
}

#[test]
fn two_hundred_sessions_leave_nothing() {
    let site = Site::new("max_connections_per_client = 500", "");
    site.write("control/badmailfrom", "bad@b.example\n");
    site.write("backend", BACKEND);
    site.write("portcullis.toml", &configuration("", "spawn = [\"/bin/sh\", \"backend\"]", ""));
    let proxy = Proxy::start(&site);
    let pid = proxy.pid();
    let address = proxy.addresses[0];
    let session = move |way: usize| {
        let mut client = Client::connect(address).hello();
        match way {
            0 => client.dialog(&[("QUIT", "221")]),
            1 => client.send("MAIL FR"),
            2 => client.dialog(&[("MAIL FROM:<bad@b.example>", "554"), ("QUIT", "221")]),
            3 => client.dialog(&[("MAIL FROM:<a@b.example>", "250")]),
            4 => client.mail("a@b.example", "Subject: whole"),
            5 => drop(in_its_body(Client::connect(address))),
            6 => reset(in_its_body(Client::connect(address)).into_stream()),
            7 => client.send("MAIL FROM:<a@b.example>\r\nRCPT TO:<r@example.org>\r\nDATA\r\n"),
            8 => reset(client.into_stream()),
            _ => client.send("GET / HTTP/1.0\r\n\r\n"),
        }
    };
    (0..10).for_each(session);
    until("the first children are gone", || children(pid).is_empty());
    until("the first connections are closed", || sockets(pid) == 1);
    let before = descriptors(pid);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || (0..50).map(|number| number % 10).for_each(session));
        }
    });
    until("no children", || children(pid).is_empty());
    until("no connections", || sockets(pid) == 1);
    until("as many descriptors as before", || descriptors(pid) <= before);
    let log = proxy.stop();
    assert_eq!(count(&log, "panic"), 0, "{log:#?}");
    let mails = log.iter().filter(|line| line.starts_with("mail ") && line.contains(" verdict=accept "));
    assert_eq!(mails.count(), 21, "whole messages");
}

/// A server that takes everything.
const BACKEND: &str = r"printf '220 backend\r\n'
while read -r line; do
    case $line in
        DATA*) printf '354 go on\r\n'; while read -r line; do case $line in .?) break ;; esac; done; printf '250 taken\r\n' ;;
        QUIT*) printf '221 bye\r\n'; exit ;;
        *) printf '250 ok\r\n' ;;
    esac
done
";

/// A transaction half of whose body was sent.
fn in_its_body(client: Client) -> Client {
    let mut client = client.hello();
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("DATA", "354")]);
    client.send("Subject: half\r\n\r\nfirst half\r\n");
    client
}

fn reset(stream: TcpStream) {
    setsockopt(&stream, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|line| line.contains(what)).count()
}

/// The words of a logfmt line; blanks between quotes do not separate.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for character in line.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        if character == ' ' && !quoted {
            words.push(String::new());
        } else {
            words.last_mut().unwrap().push(character);
        }
    }
    words
}

/// Ended with the value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy whose log is read up to its start, and from there on when somebody reads it.
struct Unread {
    child: std::process::Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Unread {
    fn start(site: &Site) -> Self {
        let mut command = site.command();
        let mut child = command.args(["serve", "-c", "portcullis.toml"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        for line in log.by_ref().lines() {
            let line = line.unwrap();
            if let Some((_, listens)) = line.split_once("listening address=") {
                address = listens.parse().ok();
            }
            if line.contains("started version=") {
                break;
            }
        }
        Self { child, log, address: address.unwrap() }
    }

    /// Refusals with long lines, until what may wait for the log is full.
    fn fill(&self, site: &Site) {
        let sender = format!("{}@blocked.example", "x".repeat(60));
        until("the log is full", || {
            let mut client = Client::connect(self.address).hello();
            for _ in 0..10 {
                client.dialog(&[(&format!("MAIL FROM:<{sender}>"), "554")]);
            }
            site.get("/ready").contains("not ready: the log is not being read")
        });
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn ends(mut self) {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn with_a_blocked_sender(server: &str) -> Site {
    let site = Site::new(server, "");
    site.write("control/badmailfrom", "@blocked.example\n");
    site
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_mail_and_is_said() {
    let site = with_a_blocked_sender("");
    let mut proxy = Unread::start(&site);
    proxy.fill(&site);
    for number in 0..20 {
        Client::connect(proxy.address).hello().mail("ann@partner.example", &format!("Subject: {number}"));
    }
    assert_eq!(site.mails(), 20);
    let status = site.run(&["status"]).out;
    assert!(status.contains("\nlog            is not being read: its lines are discarded\n"), "{status}");
    assert!(site.get("/metrics").contains("\nportcullis_log_stalled 1\n"));
    // It is read again.
    let mut line = String::new();
    while !line.contains("log was not read") {
        line.clear();
        assert!(proxy.log.read_line(&mut line).unwrap() > 0);
    }
    let lost = line.split_once("lines=").unwrap().1.split(' ').next().unwrap().to_owned();
    assert!(line.contains(" level=error ") && lost.parse::<u64>().unwrap() >= 20, "{line}");
    assert!(site.get("/ready").contains("\r\n\r\nready\n"));
    assert!(site.get("/metrics").contains(&format!("\nportcullis_log_lines_lost_total {lost}\n")));
    proxy.signal(Signal::SIGTERM);
    let mut rest = String::new();
    proxy.log.read_to_string(&mut rest).unwrap();
    assert!(
        rest.lines().last().unwrap().contains("stopped connections="),
        "what comes behind is written again: {rest}"
    );
    proxy.ends();
}

#[test]
fn a_stop_does_not_wait_for_a_log_that_nobody_reads() {
    let site = with_a_blocked_sender("drain = \"1s\"");
    let proxy = Unread::start(&site);
    proxy.fill(&site);
    proxy.signal(Signal::SIGTERM);
    proxy.ends();
}

#[test]
fn a_second_term_does_not_wait_for_the_log_at_all() {
    let site = with_a_blocked_sender("drain = \"10m\"");
    let proxy = Unread::start(&site);
    proxy.fill(&site);
    proxy.signal(Signal::SIGTERM);
    until("it stops", || site.get("/ready").contains("stopping"));
    proxy.signal(Signal::SIGTERM);
    proxy.ends();
}

/// Of every thread.
fn gains_none(pid: u32) -> Vec<bool> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    status.map(|status| status.contains("NoNewPrivs:\t1\n")).collect()
}

#[test]
fn setuid_programs_are_given_up_where_no_backend_needs_one() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let threads = gains_none(proxy.pid());
    assert!(threads.len() > 3 && threads.iter().all(|given_up| *given_up), "{threads:?}");
    // It cannot be taken back.
    for backend in ["spawn = [\"/bin/true\"]", "queue = \"/bin/true\""] {
        site.rename_over("portcullis.toml", &configuration("", backend, ""));
        let line = proxy.wait_for("reload level=error fault=");
        let key = &backend[..5];
        assert!(line.contains(&format!("portcullis.toml: backend.{key} needs a restart")), "{line}");
    }
    proxy.client().hello().mail("ann@partner.example", "Subject: into the Maildir");
    assert_eq!(site.mails(), 1);
    proxy.stop();
    let mut proxy = Proxy::start(&site);
    assert!(gains_none(proxy.pid()).iter().all(|given_up| !*given_up));
    site.rename_over("portcullis.toml", &configuration("", "maildir = \"mail\"", ""));
    proxy.wait_for("reloaded");
}
