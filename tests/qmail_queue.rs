//! `backend.queue`: each message straight into qmail-queue. What it gets is compared with what the real smtpfront-qmail
//! gives it; its ends, its time and its processes are tried with programs in its place. It must not use fixed ports, nor
//! sleep.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;
#[path = "support/queue.rs"]
mod queue;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use client::Client;
use client::expect;
use proxy::Proxy;
use proxy::host::until;
use qmail::Lines;
use qmail::QmailHome;
use qmail::Queued;
use queue::TestQueue;

const LETTER: &str = "Subject: hello\r\n\r\nDear Fred\r\n";

/// Starts the proxy with its messages going straight to the home's qmail-queue.
fn straight(qmail: &QmailHome, lines: Lines<'_>) -> Proxy {
    qmail.serve_quietly(&format!("queue = {:?}\n", qmail.path("qmail-queue")), lines)
}

#[test]
fn a_mail_is_handed_over_with_its_envelope_and_trace() {
    let qmail = QmailHome::new();
    let proxy = straight(&qmail, Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    client.begin("Alice@example.net", "Fred@example.org");
    assert!(proxy.children().is_empty(), "nothing runs before the final dot");
    client.send(LETTER);
    let reply = client.command(".");
    let (words, pid) = reply.rsplit_once(" qp ").unwrap();
    assert!(words.starts_with("250 ok 1"), "{reply}");
    let Queued { message, envelope } = qmail.only_message();
    assert_eq!(envelope, "FAlice@example.net TFred@example.org");
    let (received, letter) = message.split_at(message.find("Subject:").unwrap());
    assert_eq!(letter, LETTER.replace("\r\n", "\n"));
    let expected = "Received: from unknown (HELO client.example.net) (127.0.0.5)\n  by mx.example.org with ESMTP; ";
    assert!(received.starts_with(expected) && received.ends_with(" -0000\n"), "{received}");
    // By this number qmail-send's log knows the message.
    assert!(
        fs::read_dir(qmail.path("saved"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_str().unwrap().ends_with(&format!(".{pid}.message")) })
    );
    expect("250 ok", &client.deliver("", "fred@example.org", LETTER));
    assert_eq!((qmail.queued().len(), qmail.queue_starts()), (2, 2));
    expect("221", &client.command("QUIT"));
    let line = proxy.line(" verdict=accept ");
    assert!(line.contains(&format!("backend=\"{reply}\"")), "{line}");
    proxy.until_childless();
}

/// The message but for the trace lines that each writes, and the envelope.
fn comparable(queued: &Queued) -> (String, String) {
    let start = queued.message.find("X-Begin").unwrap();
    (queued.message[start..].to_owned(), queued.envelope.clone())
}

#[test]
fn qmail_queue_gets_what_smtpfront_qmail_gives_it() {
    let large = "0123456789abcdef\r\n".repeat(200_000);
    let bodies = [
        "",
        "\r\n",
        "text\r\n",
        "..a dot\r\n...\r\n..\r\n\r\n",
        "8 bit \u{e9}\u{20ac}\r\n",
        "\ttab\r\n  blanks  \r\n\r\n\r\n",
        &large,
    ];
    let envelopes: [(&str, &[&str]); 5] = [
        ("", &["fred@example.org"]),
        ("Alice@Example.NET", &["Fred@Example.ORG", "joe@example.org"]),
        ("\"a b\"@example.net", &["\"c d\"@example.org"]),
        ("list-return-1-fred=example.org@example.net", &["fred-ext@example.org"]),
        ("SRS0=xyz=AB=example.net=joe@fwd.example", &["j.r+x@example.org"]),
    ];
    let (with, without) = (QmailHome::new(), QmailHome::new());
    let proxy = straight(&with, Lines { message: "hold_memory = \"64KiB\"", ..Lines::default() });
    let server = without.tcpserver(&[], "smtpfront");
    let mut clients = [Client::new(proxy.addresses[0]), Client::new(server.address)];
    for (number, body) in bodies.iter().enumerate() {
        let (sender, recipients) = envelopes[number % envelopes.len()];
        for client in &mut clients {
            expect("250", &client.command(&format!("MAIL FROM:<{sender}>")));
            for recipient in recipients {
                expect("250", &client.command(&format!("RCPT TO:<{recipient}>")));
            }
            expect("354", &client.command("DATA"));
            client.send(format!("X-Begin: {number}\r\n\r\n{body}"));
            expect("250", &client.command("."));
        }
    }
    let sorted = |qmail: &QmailHome| {
        let mut all: Vec<_> = qmail.queued().iter().map(comparable).collect();
        all.sort();
        all
    };
    let (ours, theirs) = (sorted(&with), sorted(&without));
    assert_eq!((ours.len(), theirs.len()), (bodies.len(), bodies.len()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.1, theirs.1);
        assert!(ours.0 == theirs.0, "{:?} and {:?}", head(&ours.0), head(&theirs.0));
    }
}

fn head(text: &str) -> &str {
    &text[..text.len().min(200)]
}

#[test]
fn every_exit_code_has_the_reply_of_qmail_smtpd() {
    let codes = include_str!("samples/qq-exit-codes.tsv");
    let qmail = QmailHome::new();
    let proxy = straight(&qmail, Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    for row in codes.lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (end, expected) = (columns[0], columns[1]);
        let script = match end {
            "signal" => "kill -9 $$".to_owned(),
            "not executable" => String::new(),
            code => format!("exit {code}"),
        };
        let program =
            qmail.script("qmail-queue", &format!("#!/bin/sh\ncat >/dev/null; cat <&1 >/dev/null; {script}\n"));
        if end == "not executable" {
            fs::remove_file(&program).unwrap();
        }
        let reply = client.deliver("a@example.net", "fred@example.org", LETTER);
        let fits = match expected.split_once("<unixtime>") {
            Some((before, _)) => reply.starts_with(before),
            None => reply == expected,
        };
        assert!(fits, "exit {end}: {reply}");
    }
    proxy.until_childless();
}

#[test]
fn an_upload_that_is_refused_or_given_up_starts_nothing() {
    let qmail = QmailHome::new();
    qmail.control("databytes", "100000\n");
    let proxy = straight(&qmail, Lines { message: "hold_memory = \"64KiB\"", ..Lines::default() });
    let long = "x".repeat(70) + "\r\n";
    let mut oversize = Client::new(proxy.addresses[0]);
    expect("552", &oversize.deliver("a@example.net", "fred@example.org", &long.repeat(3000)));
    expect("554", &oversize.command("MAIL FROM:<newsletter@sillyplace.com>"));
    let mut abandoned = Client::new(proxy.addresses[0]);
    abandoned.begin("a@example.net", "fred@example.org");
    abandoned.send(long.repeat(1200));
    drop(abandoned);
    proxy.line("reason=client_gone");
    let mut looping = Client::new(proxy.addresses[0]);
    let loops = "Received: by x\r\n".repeat(60);
    expect("554 5.4.6", &looping.deliver("a@example.net", "fred@example.org", &loops));
    assert_eq!((qmail.queue_starts(), proxy.children().len()), (0, 0));
}

#[test]
fn a_long_message_goes_over_in_the_holds_own_file() {
    let qmail = QmailHome::new();
    // The program copies nothing: it only tells what it was given.
    let program = qmail.script(
        "qmail-queue",
        "#!/bin/sh\nreadlink /proc/$$/fd/0 >HOME/descriptor\nsed -n '$=' >HOME/lines\ncat <&1 >/dev/null\n",
    );
    assert!(program.exists());
    let message = "hold_memory = \"64KiB\"\n[size]\nlimit = \"40MB\"";
    let proxy = straight(&qmail, Lines { message, ..Lines::default() });
    let mut client = Client::new(proxy.addresses[0]);
    client.begin("a@example.net", "fred@example.org");
    let thousand = format!("{}\r\n", "0123456789".repeat(7)).repeat(1000);
    for _ in 0..480 {
        client.send(&thousand);
    }
    expect("250 ok", &client.command("."));
    assert_eq!(fs::read_to_string(qmail.path("lines")).unwrap().trim(), "480002");
    let descriptor = fs::read_to_string(qmail.path("descriptor")).unwrap();
    assert!(descriptor.starts_with(qmail.path("").to_str().unwrap()), "the spool's file: {descriptor}");
    assert!(descriptor.trim().ends_with("(deleted)"), "which has no name: {descriptor}");
}

#[test]
fn tcprules_choose_the_program_and_its_environment() {
    let qmail = QmailHome::new();
    let scanner = qmail.script(
        "scanner",
        "#!/bin/sh\nenv >HOME/environment\ncat >/dev/null\ncat <&1 >HOME/envelope\n\
         echo 'DYour message contains a virus (#5.7.1)' >&4\necho told us on 2 >&2\nexit 82\n",
    );
    qmail.write(
        "tcp.smtp",
        &format!(
            "127.0.0.7:allow,RELAYCLIENT=\"@fixed.example\",QMAILQUEUE=\"{}\",TCPREMOTEINFO=\"joe\"\n:allow\n",
            scanner.display()
        ),
    );
    let rules = format!("tcprules = {:?}", qmail.path("tcp.smtp"));
    let proxy = straight(&qmail, Lines { qmail: &rules, backend: "env = { SCAN = \"yes\" }", ..Lines::default() });
    let mut scanned = Client::from(Ipv4Addr::new(127, 0, 0, 7), proxy.addresses[0]);
    let reply = scanned.deliver("a@example.net", "joe@else.example", LETTER);
    assert_eq!(reply, "554 Your message contains a virus (#5.7.1)");
    let envelope = fs::read(qmail.path("envelope")).unwrap();
    assert_eq!(String::from_utf8_lossy(&envelope), "Fa@example.net\0Tjoe@else.example@fixed.example\0\0");
    let environment = fs::read_to_string(qmail.path("environment")).unwrap();
    for variable in
        ["SCAN=yes", "RELAYCLIENT=@fixed.example", "TCPREMOTEIP=127.0.0.7", "TCPREMOTEINFO=joe", "PROTO=TCP"]
    {
        assert!(environment.lines().any(|line| line == variable), "{variable}: {environment}");
    }
    assert!(proxy.line("told us on 2").contains("backend pid="));
    assert!(proxy.line(" verdict=reject ").contains("reason=backend_rejected"));
    let mut plain = Client::new(proxy.addresses[0]);
    expect("250 ok", &plain.deliver("a@example.net", "fred@example.org", LETTER));
    expect("553", &{
        expect("250", &plain.command("MAIL FROM:<a@example.net>"));
        plain.command("RCPT TO:<joe@else.example>")
    });
}

#[test]
fn a_program_that_hangs_is_ended_and_the_client_hears_a_deferral() {
    let qmail = QmailHome::new();
    qmail.script("qmail-queue", "#!/bin/sh\necho $$ >HOME/pid\ntrap '' TERM\nwhile :; do sleep 1000; done\n");
    let backend = "timeout = { reply = \"1s\" }";
    let proxy = straight(&qmail, Lines { backend, ..Lines::default() });
    let mut client = Client::new(proxy.addresses[0]);
    expect("451 qq timeout (#4.3.0)", &client.deliver("a@example.net", "fred@example.org", LETTER));
    expect("250", &client.command("NOOP"));
    proxy.until_childless();
    assert!(!Path::new("/proc").join(fs::read_to_string(qmail.path("pid")).unwrap().trim()).exists());
}

/// A parent that ignores SIGCHLD hands that down: the system would reap the program, and nobody would know its end.
#[test]
fn the_end_of_a_program_is_heard_whatever_the_parent_ignores() {
    let qmail = QmailHome::new();
    // It writes the configuration.
    drop(straight(&qmail, Lines::default()));
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD", proxy::PORTCULLIS, "serve", "-c"]).arg(qmail.path("portcullis.toml"));
    let proxy = Proxy::launch(&mut command, 1);
    let mut client = Client::new(proxy.addresses[0]);
    expect("250 ok", &client.deliver("a@example.net", "fred@example.org", LETTER));
    assert_eq!(qmail.queued().len(), 1);
}

/// RFC 1047: the client is gone before it hears the 250; the copy that it sends is not queued again.
#[test]
fn a_client_that_is_gone_does_not_make_a_second_copy() {
    let qmail = QmailHome::new();
    let mut gate = qmail.gate();
    let proxy = straight(&qmail, Lines::default());
    let now = Command::new("date").arg("-R").output().unwrap().stdout;
    let date = String::from_utf8(now).unwrap();
    let letter = format!("Date: {}\r\nMessage-ID: <1@example.net>\r\n\r\ntext\r\n", date.trim());
    let mut client = Client::new(proxy.addresses[0]);
    client.begin("a@example.net", "fred@example.org");
    client.send(format!("{letter}.\r\n"));
    until("qmail-queue runs", || qmail.queue_starts() == 1);
    client.reset();
    gate.open();
    let line = proxy.line(" verdict=accept ");
    assert!(line.contains("reason=client_gone"), "{line}");
    gate.open();
    let mut again = Client::new(proxy.addresses[0]);
    expect("250 2.0.0 Already delivered", &again.deliver("a@example.net", "fred@example.org", &letter));
    assert_eq!((qmail.queue_starts(), qmail.queued().len()), (1, 1));
}

#[test]
fn a_stop_waits_for_qmail_queue() {
    let qmail = QmailHome::new();
    let mut gate = qmail.gate();
    let mut proxy = straight(&qmail, Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    client.begin("a@example.net", "fred@example.org");
    client.send(format!("{LETTER}.\r\n"));
    until("qmail-queue runs", || qmail.queue_starts() == 1);
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    proxy.line("stopping");
    gate.open();
    expect("250 ok", &client.reply());
    assert_eq!(qmail.queued().len(), 1);
    drop(client);
    assert!(proxy.wait().success());
}

/// No more than `backend.max` at one time, of one client a quarter at most; who waits too long is deferred.
#[test]
fn programs_are_limited() {
    let qmail = QmailHome::new();
    let mut gate = qmail.gate();
    let backend = "max = 2\ntimeout = { connect = \"1s\" }";
    let proxy = straight(&qmail, Lines { backend, ..Lines::default() });
    let hand_over = |host: u8| {
        let mut client = Client::from(Ipv4Addr::new(127, 0, host, 1), proxy.addresses[0]);
        client.begin("a@example.net", "fred@example.org");
        client.send(format!("{LETTER}.\r\n"));
        client
    };
    let mut running = [hand_over(1), hand_over(2)];
    until("both run", || qmail.queue_starts() == 2);
    expect("451 4.3.2", &hand_over(3).reply());
    gate.open();
    gate.open();
    running.iter_mut().for_each(|client| expect("250 ok", &client.reply()));
    assert_eq!(qmail.queued().len(), 2);
}

/// What is handed over is read back from the queue. It is one of qmail's layout; PORTCULLIS_TEST_QMAIL=/var/qmail names the
/// home of a real qmail in its place, whose user the tests then have to be.
#[test]
fn what_is_handed_over_stands_in_the_queue() {
    let made = TestQueue::new();
    let home = std::env::var_os("PORTCULLIS_TEST_QMAIL").map_or_else(|| made.home().to_owned(), PathBuf::from);
    let qmail = QmailHome::new();
    let stand_in = qmail.script("stand-in", &IN_QMAILS_LAYOUT.replace("QUEUE", made.path("").to_str().unwrap()));
    fs::copy(stand_in, made.home().join("bin/qmail-queue")).unwrap();
    let proxy = qmail.serve_quietly(&format!("queue = {:?}\n", home.join("bin/qmail-queue")), Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    let mark = format!("mark-{}@example.net", std::process::id());
    let reply = client.deliver(&mark, "fred@example.org", LETTER);
    assert!(reply.starts_with("250 ok ") && reply.contains(" qp "), "{reply}");
    let listed = Command::new(proxy::PORTCULLIS)
        .args(["queue", "list", "--json", "--sender", &mark, "--queue"])
        .arg(home.join("queue"))
        .output()
        .unwrap();
    let rows = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success(), "{listed:?}");
    for part in [mark.as_str(), "fred@example.org", "hello"] {
        assert!(rows.contains(part), "{part}: {rows}");
    }
}

/// Makes a message in S4 as qmail-queue does: named by its inode, its envelope in intd and linked to todo.
const IN_QMAILS_LAYOUT: &str = "#!/bin/sh
cd QUEUE || exit 61
exec 3<&1
made=pid/$$
{ echo \"Received: (qmail $$ invoked from network)\"; cat; } >\"$made\" || exit 53
number=$(stat -c %i \"$made\") || exit 64
mv \"$made\" \"mess/$((number % 23))/$number\" || exit 64
{ printf 'u7791\\0p%s\\0' $$; head -c -1 <&3; } >\"intd/$number\" || exit 65
ln \"intd/$number\" \"todo/$number\" || exit 66
";
