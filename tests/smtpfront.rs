//! The proxy in front of the real smtpfront-qmail (Debian's mailfront), spawned and under the real tcpserver: who is
//! refused at once, how often qmail-queue is started, and what is left when something dies. A missing program is a
//! failure that names its package. It must not use fixed ports, nor sleep.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;
use std::time::Instant;

use client::Client;
use client::expect;
use proxy::Proxy;
use proxy::host::until;
use qmail::Gate;
use qmail::Lines;
use qmail::QmailHome;
use qmail::SWAKS;
use qmail::program;

#[test]
fn a_mail_comes_through_with_the_clients_true_address() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    expect("250 2.6.0 Accepted message", &client.deliver("Alice@example.net", "Fred@example.org", LETTER));
    let queued = qmail.only_message();
    assert_eq!(queued.envelope, "FAlice@example.net TFred@example.org");
    let (received, letter) = queued.message.split_at(queued.message.find("Subject:").unwrap());
    assert_eq!(letter, LETTER.replace("\r\n", "\n"));
    let expected =
        "Received: from client.example.net ([127.0.0.5])\n  by mx.example.org ([127.0.0.1])\n  with ESMTP via TCP; ";
    assert!(received.starts_with(expected), "{received}");
    assert_eq!(received.matches("Received:").count(), 1);
    // The next mail on the same connection, behind the same backend session.
    expect("250", &client.deliver("", "fred@example.org", LETTER));
    assert_eq!((qmail.queued().len(), qmail.sessions().len()), (2, 1));
    expect("221", &client.command("QUIT"));
    let line = proxy.line(" verdict=accept ");
    for part in ["client=127.0.0.5 ", "sender=<Alice@example.net> ", "recipients=Fred@example.org ", " code=250 "] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // What smtpfront-qmail says on its stderr is in our log.
    let said = proxy.line("MAIL FROM:<Alice@example.net>");
    assert!(said.contains("backend pid=") && said.contains("line=\"mailfront["), "{said}");
    proxy.until_childless();
}

/// Each habit of the drill, before the real smtpfront-qmail alone and behind us.
#[test]
fn honest_traffic_arrives_as_it_does_without_us() {
    let qmail = QmailHome::new();
    qmail.write("tcp.smtp", ":allow\n");
    qmail.control("databytes", "1000000\n");
    let drill = |address: std::net::SocketAddr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["drill", "--copies", "1", "--size", "1kB", "--json", "--against", &address.to_string()]);
        let output = command.output().unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows["honest"].as_array().unwrap().clone()
    };
    let alone = qmail.tcpserver(&[], "smtpfront");
    let without = drill(alone.address);
    drop(alone);
    let proxy = qmail.spawn(Lines { shipped_throttles: true, ..Lines::default() });
    let before = qmail.queued().len();
    let with = drill(proxy.addresses[0]);
    // The newsletter of all three scenarios is one message: its first acknowledgement is lost, and its copies are absorbed.
    let mut accepted = 1;
    for (with, without) in with.iter().zip(&without) {
        assert!(with["accepted"].as_u64() >= without["accepted"].as_u64(), "{with} {without}");
        // mailfront wants a domain. (It wants brackets too; we write them.)
        if with["habit"] != "no domain" {
            assert_eq!(with["accepted"], with["sent"], "{with}");
        }
        accepted += with["accepted"].as_u64().unwrap();
    }
    assert_eq!(with.len(), 20);
    assert_eq!((qmail.queued().len() - before) as u64, accepted);
    let lost = proxy.log().matches("unacknowledged session=").count();
    assert_eq!(lost, 1, "the incident's: {}", proxy.log());
}

#[test]
fn addresses_come_through_as_people_have_them() {
    let qmail = QmailHome::new();
    qmail.write("tcp.smtp", ":allow\n");
    let proxy = qmail.spawn(Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    expect("250", &client.command("EHLO Bob's PC"));
    let pairs = [
        ("<Try..this..0511@docomo.example>", "<a..b@example.org>"),
        ("<foo.@x.example>", "<.c@example.org>"),
        ("<a@cabinet-.example>", "<b.@Example.org>"),
        ("raid@nas.example SIZE=50", " fred@example.org"),
        (" raid@nas.example", "joe..@example.org"),
    ];
    for (sender, recipient) in pairs {
        expect("250", &client.command(&format!("MAIL FROM:{sender}")));
        expect("250", &client.command(&format!("RCPT TO:{recipient}")));
        expect("354", &client.command("DATA"));
        client.send(LETTER);
        expect("250 2.6.0 Accepted message", &client.command("."));
    }
    let mut envelopes: Vec<_> = qmail.queued().into_iter().map(|queued| queued.envelope).collect();
    envelopes.sort();
    let bare = |path: &str| path.trim().split(' ').next().unwrap().trim_matches(['<', '>']).to_owned();
    let mut expected: Vec<_> = pairs.iter().map(|(from, to)| format!("F{} T{}", bare(from), bare(to))).collect();
    expected.sort();
    assert_eq!(envelopes, expected);
    assert!(qmail.queued()[0].message.contains("Received: from Bob's ("), "{}", qmail.queued()[0].message);
    // Without a domain the backend says; mailfront wants one.
    expect("554 5.1.2", &client.command("MAIL FROM:<root>"));
    let refusal = proxy.line(" sender=<root> ");
    assert!(refusal.contains(" reason=backend_rejected "), "{refusal}");
    expect("250", &client.command("MAIL FROM:<a@b.example>"));
    expect("554 5.1.2", &client.command("RCPT TO:<joe>"));
    expect("553 5.7.1", &client.command("RCPT TO:<a%elsewhere.example@example.org>"));
    expect("221", &client.command("QUIT"));
    proxy.until_childless();
}

#[test]
fn the_child_has_the_environment_that_tcpserver_gives() {
    let qmail = QmailHome::new();
    qmail.write("tcp.smtp", "127.0.0.7:allow,DATABYTES=\"1000\",RELAYCLIENT=\"\"\n:allow\n");
    qmail.tcprules("tcp.smtp");
    let script =
        "#!/bin/sh\nenv >HOME/environment.tmp\nmv HOME/environment.tmp HOME/environment\nexec HOME/smtpfront\n";
    let dump = qmail.script("dump", script);
    for (client, own) in [(7, ["DATABYTES=1000", "RELAYCLIENT="].as_slice()), (8, &[])] {
        let ip = Ipv4Addr::new(127, 0, 0, client);
        let rules = qmail.path("tcp.smtp.cdb");
        let tcpserver = qmail.tcpserver(&["-x", rules.to_str().unwrap()], "dump");
        let direct = Client::from(ip, tcpserver.address);
        let expected = environment(&qmail, direct.port(), tcpserver.address.port());
        let proxy = qmail.serve(
            &format!("spawn = [{dump:?}]\n"),
            Lines { qmail: "tcprules = \"tcp.smtp.cdb\"", ..Lines::default() },
        );
        let mut through = Client::from(ip, proxy.addresses[0]);
        expect("250", &through.command("MAIL FROM:<a@example.net>"));
        assert_eq!(environment(&qmail, through.port(), proxy.addresses[0].port()), expected);
        for line in own.iter().copied().chain(["PROTO=TCP", "TCPLOCALHOST=mx.example.org"]) {
            let (name, value) = line.split_once('=').unwrap();
            assert_eq!(expected.get(name).map(String::as_str), Some(value), "{name}");
        }
        drop(direct);
    }
}

/// What the last child had; the ports are checked, then taken out, and so is what the shell counts.
fn environment(qmail: &QmailHome, client_port: u16, port: u16) -> BTreeMap<String, String> {
    let file = qmail.path("environment");
    until("the environment is dumped", || file.exists());
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut environment: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(environment.remove("TCPREMOTEPORT"), Some(client_port.to_string()));
    assert_eq!(environment.remove("TCPLOCALPORT"), Some(port.to_string()));
    for name in ["PWD", "OLDPWD", "SHLVL", "_"] {
        environment.remove(name);
    }
    environment
}

#[test]
fn tcprules_deny_and_let_relay_as_text_and_cdb() {
    for file in ["tcp.smtp", "tcp.smtp.cdb"] {
        let qmail = QmailHome::new();
        qmail.write("tcp.smtp", "127.0.0.66:deny\n127.0.0.7:allow,RELAYCLIENT=\"\"\n:allow\n");
        qmail.tcprules("tcp.smtp");
        let proxy = qmail.spawn(Lines { qmail: &format!("tcprules = {file:?}"), ..Lines::default() });
        let mut denied = Client::from(Ipv4Addr::new(127, 0, 0, 66), proxy.addresses[0]);
        expect("554 5.7.1 Client 127.0.0.66 is blocked", &denied.command("MAIL FROM:<a@example.net>"));
        expect("221", &denied.command("QUIT"));
        assert!(qmail.sessions().is_empty(), "{file}");
        let mut stranger = Client::new(proxy.addresses[0]);
        expect("250", &stranger.command("MAIL FROM:<a@example.net>"));
        expect("553 5.7.1", &stranger.command("RCPT TO:<someone@elsewhere.example>"));
        expect("554 5.5.1", &stranger.command("DATA"));
        assert_eq!(qmail.queue_starts(), 0, "{file}");
        let mut friend = Client::from(Ipv4Addr::new(127, 0, 0, 7), proxy.addresses[0]);
        expect("250", &friend.deliver("a@example.net", "someone@elsewhere.example", LETTER));
        assert_eq!(qmail.only_message().envelope, "Fa@example.net Tsomeone@elsewhere.example", "{file}");
        // RELAYCLIENT exempts nobody from badmailfrom.
        expect("554 5.7.1", &friend.command("MAIL FROM:<newsletter@sillyplace.com>"));
    }
}

#[test]
fn a_blocked_sender_is_refused_in_every_spelling_and_starts_nothing() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines { server: "max_errors = 100", ..Lines::default() });
    let mut client = Client::new(proxy.addresses[0]);
    for argument in [
        "FROM:<newsletter@sillyplace.com>",
        "FROM: <newsletter@sillyplace.com>",
        "from:<NEWSLETTER@SILLYPLACE.COM>",
        "FROM:<Newsletter@SillyPlace.Com>",
        "FROM:<newsletter@sillyplace.com.>",
        "FROM:<\"newsletter\"@sillyplace.com>",
        "FROM:<\"news\\letter\"@sillyplace.com>",
        "FROM:<\"\\n\\e\\w\\s\\l\\e\\t\\t\\e\\r\"@sillyplace.com>",
        "FROM:<@relay.example:newsletter@sillyplace.com>",
        "FROM:<@a.example,@b.example:newsletter@sillyplace.com>",
        "FROM:<newsletter@sillyplace.com> SIZE=100",
        "FROM:<newsletter@sillyplace.com> BODY=8BITMIME",
        "FROM:<\"Newsletter\"@SILLYPLACE.COM.>  ",
        "FROM:<anybody@blocked.example>",
        "FROM:<\"any body\"@Blocked.Example.>",
    ] {
        let reply = client.command(&format!("MAIL {argument}"));
        expect("554 5.7.1", &reply);
        expect("503", &client.command("RCPT TO:<fred@example.org>"));
    }
    expect("501", &client.command("MAIL FROM:<newsletter @sillyplace.com>"));
    expect("501", &client.command("MAIL FROM:<newsletter(x)@sillyplace.com>"));
    assert_eq!((qmail.sessions().len(), qmail.queue_starts()), (0, 0));
    // A neighbour is nobody's victim.
    expect("250", &client.deliver("newsletter@www.sillyplace.com", "fred@example.org", LETTER));
    let line = proxy.line(" reason=blocked_sender ");
    assert!(line.contains("badmailfrom:1"), "{line}");
}

#[test]
fn an_oversize_message_never_starts_qmail_queue() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    expect("552 5.3.4", &client.command("MAIL FROM:<a@example.net> SIZE=34000000"));
    assert!(qmail.sessions().is_empty());
    let line = format!("{}\r\n", "x".repeat(998));
    let message = line.repeat(34_000);
    expect("552 5.3.4", &client.deliver("a@example.net", "fred@example.org", &message));
    expect("250", &client.command("MAIL FROM:<a@example.net> SIZE=1000"));
    expect("250", &client.command("RCPT TO:<fred@example.org>"));
    expect("354", &client.command("DATA"));
    client.send(&message);
    expect("552 5.3.4", &client.command("."));
    assert_eq!(qmail.queue_starts(), 0);
    expect("250", &client.deliver("a@example.net", "fred@example.org", LETTER));
    assert_eq!((qmail.queue_starts(), qmail.queued().len()), (1, 1));
}

#[test]
fn databytes_counts_line_ends_once() {
    for hold in [true, false] {
        let qmail = QmailHome::new();
        qmail.control("databytes", "1000\n");
        let proxy = qmail.spawn(Lines { message: &format!("hold = {hold}"), ..Lines::default() });
        let mut client = Client::new(proxy.addresses[0]);
        // 100 lines of 10 octets as qmail stores them; 1100 on the wire.
        let exactly = "123456789\r\n".repeat(100);
        expect("250", &client.deliver("a@example.net", "fred@example.org", &exactly));
        let one_more = format!("{}1234567890\r\n", "123456789\r\n".repeat(99));
        expect("552 5.3.4", &client.deliver("a@example.net", "fred@example.org", &one_more));
        // A dot that was stuffed is no octet of the message.
        let stuffed = format!("..23456789\r\n{}", "123456789\r\n".repeat(99));
        expect("250", &client.deliver("a@example.net", "fred@example.org", &stuffed));
        assert_eq!(qmail.queued().len(), 2, "hold = {hold}");
        assert_eq!(qmail.queue_starts(), if hold { 2 } else { 3 }, "hold = {hold}");
    }
}

#[test]
fn without_hold_an_oversize_message_is_not_queued() {
    let qmail = QmailHome::new();
    qmail.control("databytes", "100000\n");
    let proxy = qmail.spawn(Lines { message: "hold = false", ..Lines::default() });
    let mut client = Client::new(proxy.addresses[0]);
    expect("250", &client.deliver("a@example.net", "fred@example.org", LETTER));
    let message = format!("{}\r\n", "x".repeat(998)).repeat(1000);
    expect("552 5.3.4", &client.deliver("a@example.net", "fred@example.org", &message));
    expect("250", &client.deliver("b@example.net", "fred@example.org", LETTER));
    assert_eq!(qmail.queued().len(), 2);
    expect("221", &client.command("QUIT"));
    proxy.until_childless();
}

#[test]
fn a_second_data_never_reaches_the_backend() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    expect("250", &client.deliver("a@example.net", "fred@example.org", LETTER));
    expect("503", &client.command("DATA"));
    expect("503", &client.command("RCPT TO:<fred@example.org>"));
    expect("503", &client.command("DATA"));
    expect("250", &client.deliver("b@example.net", "fred@example.org", LETTER));
    assert_eq!((qmail.queue_starts(), qmail.queued().len(), qmail.sessions().len()), (2, 2, 1));
    let queued = qmail.queued();
    assert!(queued.iter().all(|queued| queued.envelope.ends_with("@example.net Tfred@example.org")), "{queued:?}");
}

#[test]
fn nothing_is_smuggled() {
    for hold in ["hold = true", "hold = false"] {
        let qmail = QmailHome::new();
        let proxy = qmail.spawn(Lines { message: hold, ..Lines::default() });
        let attempts = [
            "\n.\n",
            "\r\n.\n",
            "\n.\r\n",
            "\r\n\r.\r\n",
            "\r\n.\r",
            "\r.\r\n",
            "\r.\r",
            "\n.\r",
            "\n\n.\n\n",
            "\r\n.\r\r\n",
            "\r\r\n.\n",
            "\n\r.\r\n",
            "\r\n.\n\r\n",
            "\r\n .\r\n",
            "\r\n..\n.\n",
        ];
        for (number, attempt) in attempts.iter().enumerate() {
            let mut client = Client::new(proxy.addresses[0]);
            client.begin("a@example.net", "fred@example.org");
            client.send(format!("Subject: {number}\r\n\r\nfirst{attempt}{SMUGGLED}"));
            expect("250", &client.reply());
            assert_eq!(client.command("QUIT").get(..3), Some("221"), "{attempt:?} {hold}");
            assert_eq!(qmail.queued().len(), number + 1, "{attempt:?} {hold}");
        }
        assert_eq!(qmail.queue_starts(), attempts.len());
        for queued in qmail.queued() {
            assert_eq!(queued.envelope, "Fa@example.net Tfred@example.org");
            assert!(queued.message.contains("\nRCPT TO:<fred@example.org>\nDATA\n"), "{queued:?}");
        }
    }
}

/// What a smuggler would have the backend take for commands; its end is the end of the one message.
const SMUGGLED: &str = "MAIL FROM:<newsletter@sillyplace.com>\r\nRCPT TO:<fred@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";

#[test]
fn a_nul_is_refused_and_nothing_is_queued() {
    for hold in ["hold = true", "hold = false"] {
        let qmail = QmailHome::new();
        let proxy = qmail.spawn(Lines { message: hold, ..Lines::default() });
        let mut client = Client::new(proxy.addresses[0]);
        expect("554 5.6.0", &client.deliver("a@example.net", "fred@example.org", "Subject: x\r\n\r\na\0b\r\n"));
        expect("250", &client.deliver("a@example.net", "fred@example.org", LETTER));
        assert_eq!(qmail.queued().len(), 1, "{hold}");
    }
}

#[test]
fn the_queues_refusal_is_relayed() {
    for (code, reply) in [
        (53, "451 4.3.0 Write error (queue full?)."),
        (31, "554 5.3.0 Message refused."),
        (91, "451 4.3.0 Envelope format error."),
    ] {
        for hold in ["hold = true", "hold = false"] {
            let qmail = QmailHome::new();
            qmail.queue_fails(code);
            let proxy = qmail.spawn(Lines { message: hold, ..Lines::default() });
            let mut client = Client::new(proxy.addresses[0]);
            assert_eq!(client.deliver("a@example.net", "fred@example.org", LETTER), reply, "{hold}");
            fs::remove_file(qmail.path("exit")).unwrap();
            expect("250", &client.deliver("a@example.net", "fred@example.org", LETTER));
            assert_eq!(qmail.queued().len(), 1);
        }
    }
}

#[test]
fn a_backend_killed_between_commands_loses_nothing() {
    for stage in ["mail", "rcpt", "data", "body"] {
        for hold in ["hold = true", "hold = false"] {
            let qmail = QmailHome::new();
            let proxy = qmail.spawn(Lines { message: hold, ..Lines::default() });
            let mut client = Client::new(proxy.addresses[0]);
            let accepted = delivered_although_killed(&mut client, &proxy, stage);
            assert_eq!(qmail.queued().len(), usize::from(accepted), "{stage} {hold}");
            // The connection is as good as new.
            expect("250", &client.command("RSET"));
            expect("250", &client.deliver("b@example.net", "fred@example.org", LETTER));
            assert_eq!(qmail.queued().len(), usize::from(accepted) + 1, "{stage} {hold}");
            expect("221", &client.command("QUIT"));
            proxy.until_childless();
        }
    }
}

/// Whether the client was told 250 in the end; every other answer must be 451, or follow from one.
fn delivered_although_killed(client: &mut Client, proxy: &Proxy, stage: &str) -> bool {
    let kill = |at: &str| {
        if stage == at {
            let pid = proxy.only_child();
            proxy.kill_child(pid);
            until("the killed child is reaped", || !proxy.children().contains(&pid));
        }
    };
    expect("250", &client.command("MAIL FROM:<a@example.net>"));
    kill("mail");
    let reply = client.command("RCPT TO:<fred@example.org>");
    if !reply.starts_with("250") {
        expect("451 4.3.0", &reply);
        expect("5", &client.command("DATA"));
        return false;
    }
    kill("rcpt");
    let reply = client.command("DATA");
    if !reply.starts_with("354") {
        expect("451 4.3.0", &reply);
        return false;
    }
    kill("data");
    client.send("Subject: x\r\n\r\nfirst half\r\n");
    kill("body");
    client.send("second half\r\n");
    let reply = client.command(".");
    if !reply.starts_with("250") {
        expect("451 4.3.0", &reply);
    }
    reply.starts_with("250")
}

#[test]
fn a_backend_killed_while_it_takes_the_message_acknowledges_nothing() {
    // A message that fills every pipe, and one that is with qmail-queue as a whole.
    for message in [LETTER.to_owned(), format!("{}\r\n", "x".repeat(998)).repeat(5000)] {
        for hold in ["hold = true", "hold = false"] {
            let qmail = QmailHome::new();
            let mut gate = qmail.gate();
            let proxy = qmail.spawn(Lines { message: hold, ..Lines::default() });
            let mut client = Client::new(proxy.addresses[0]);
            client.begin("a@example.net", "fred@example.org");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    client.send(&message);
                    client.send(".\r\n");
                    expect("451 4.3.0", &client.reply());
                });
                until("qmail-queue is started", || qmail.queue_starts() == 1);
                proxy.kill_child(proxy.only_child());
            });
            proxy.until_childless();
            // qmail-queue ends by itself; then the next one may pass too.
            open_twice(&mut gate);
            expect("250", &client.deliver("b@example.net", "fred@example.org", LETTER));
            let senders: Vec<_> = qmail.queued().iter().map(|queued| queued.envelope.clone()).collect();
            assert!(senders.contains(&"Fb@example.net Tfred@example.org".to_owned()), "{senders:?}");
            expect("221", &client.command("QUIT"));
            proxy.until_childless();
        }
    }
}

fn open_twice(gate: &mut Gate) {
    gate.open();
    gate.open();
}

#[test]
fn a_client_that_leaves_takes_its_backend_with_it() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines::default());
    for last in ["MAIL FROM:<a@example.net>\r\n", "RCPT TO:<fred@example.org>\r\n", "DATA\r\n", "Subject: half\r\n"] {
        let mut client = Client::new(proxy.addresses[0]);
        for line in ["MAIL FROM:<a@example.net>\r\n", "RCPT TO:<fred@example.org>\r\n", "DATA\r\n", "Subject: half\r\n"]
        {
            client.send(line);
            if line != "Subject: half\r\n" {
                expect(if line == "DATA\r\n" { "354" } else { "250" }, &client.reply());
            }
            if line == last {
                break;
            }
        }
        drop(client);
        proxy.until_childless();
    }
    assert_eq!((qmail.queue_starts(), qmail.queued().len()), (0, 0));
}

#[test]
fn a_slow_upload_gives_its_backend_session_to_others() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines { backend: "max = 2\ntimeout = { connect = \"50s\" }", ..Lines::default() });
    let mut slow: Vec<Client> =
        (2..4).map(|net| Client::from(Ipv4Addr::new(127, 0, net, 1), proxy.addresses[0])).collect();
    for client in &mut slow {
        client.begin("slow@example.net", "fred@example.org");
        client.send("Subject: slow\r\n\r\nfirst half\r\n");
    }
    let held = proxy.children();
    assert_eq!(held.len(), 2);
    let mut third = Client::from(Ipv4Addr::new(127, 0, 4, 1), proxy.addresses[0]);
    let asked = Instant::now();
    expect("250", &third.deliver("c@example.net", "fred@example.org", LETTER));
    assert!(asked.elapsed() < Duration::from_secs(15), "it waited until a session was idle for 20 s");
    let left = proxy.children();
    assert_eq!(held.iter().filter(|pid| left.contains(pid)).count(), 1, "one of the two was given up");
    expect("221", &third.command("QUIT"));
    // Its place is free when its child was reaped; before that, the other slow one would be asked for its own.
    until("one child is left", || proxy.children().len() == 1);
    for client in &mut slow {
        client.send("second half\r\n");
        expect("250", &client.command("."));
        expect("221", &client.command("QUIT"));
    }
    proxy.until_childless();
    let queued = qmail.queued();
    let slow = queued.iter().filter(|queued| queued.envelope.starts_with("Fslow"));
    assert_eq!(slow.filter(|queued| queued.message.ends_with("first half\nsecond half\n")).count(), 2, "{queued:?}");
    assert_eq!((queued.len(), qmail.sessions().len()), (3, 4));
}

#[test]
fn a_list_edited_under_load_rules_within_a_second() {
    let qmail = QmailHome::new();
    let proxy = qmail.spawn(Lines::default());
    let mut client = Client::new(proxy.addresses[0]);
    let mut waited = Vec::new();
    for number in 0..3 {
        let mail = format!("MAIL FROM:<storm{number}@example.net>");
        expect("250", &client.command(&mail));
        expect("250", &client.command("RSET"));
        qmail.control("badmailfrom", &format!("newsletter@sillyplace.com\nstorm{number}@example.net\n"));
        let edited = Instant::now();
        loop {
            let reply = client.command(&mail);
            waited.push(edited.elapsed());
            if reply.starts_with("554 5.7.1") {
                break;
            }
            expect("250", &reply);
            expect("250", &client.command("RSET"));
            assert!(edited.elapsed() < Duration::from_secs(5), "edit {number} is not seen");
            waited.pop();
        }
    }
    // One of three: this machine may be busy with other tests.
    assert!(waited.iter().any(|waited| *waited < Duration::from_secs(1)), "{waited:?}");
    expect("250", &client.deliver("storm0@example.net", "fred@example.org", LETTER));
    assert_eq!(qmail.sessions().len(), 1);
}

#[test]
fn five_hundred_connections_at_once() {
    const COUNT: usize = 500;
    let qmail = QmailHome::new();
    let limits = "max = 40\ntimeout = { connect = \"60s\" }";
    let proxy = qmail.spawn(Lines { backend: limits, ..Lines::default() });
    let all_connected = Barrier::new(COUNT);
    std::thread::scope(|scope| {
        for number in 0..COUNT {
            let (all_connected, address) = (&all_connected, proxy.addresses[0]);
            scope.spawn(move || {
                let ip = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 50 + 1).unwrap());
                let mut client = Client::from(ip, address);
                all_connected.wait();
                let sender = format!("n{number}@example.net");
                expect("250", &client.deliver(&sender, "fred@example.org", LETTER));
                expect("221", &client.command("QUIT"));
            });
        }
    });
    let mut senders: Vec<_> = qmail.queued().into_iter().map(|queued| queued.envelope).collect();
    senders.sort();
    senders.dedup();
    assert_eq!((senders.len(), qmail.queue_starts()), (COUNT, COUNT));
    proxy.until_childless();
}

#[test]
fn under_the_real_tcpserver() {
    let qmail = QmailHome::new();
    let tcpserver = qmail.tcpserver(&[], "smtpfront");
    let proxy = qmail.serve(&format!("tcp = \"{}\"\n", tcpserver.address), Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    expect("554 5.7.1", &client.command("MAIL FROM:<newsletter@sillyplace.com>"));
    expect("552 5.3.4", &client.command("MAIL FROM:<a@example.net> SIZE=34000000"));
    assert!(qmail.sessions().is_empty());
    expect("250 2.6.0 Accepted message", &client.deliver("a@example.net", "fred@example.org", LETTER));
    let message = qmail.only_message().message;
    let (theirs, ours) = message.split_at(message.rfind("Received:").unwrap());
    assert!(theirs.contains("([127.0.0.1])"), "{theirs}");
    let expected = "Received: from client.example.net ([127.0.0.5])\n  by mx.example.org\n  with ESMTP id ";
    assert!(ours.starts_with(expected) && ours.ends_with(&LETTER.replace("\r\n", "\n")), "{ours}");
    expect("503", &client.command("DATA"));
    client.begin("b@example.net", "fred@example.org");
    client.send(format!("Subject: x\r\n\r\nfirst\n.\n{SMUGGLED}"));
    expect("250", &client.reply());
    expect("221", &client.command("QUIT"));
    assert_eq!(qmail.queue_starts(), 2);
    // Nobody listens any more: 451, and the connection lives on.
    drop(tcpserver);
    let mut client = Client::new(proxy.addresses[0]);
    expect("451 4.3.0", &client.command("MAIL FROM:<c@example.net>"));
    expect("250", &client.command("NOOP"));
}

#[test]
fn swaks_sees_the_three_answers() {
    let qmail = QmailHome::new();
    qmail.control("databytes", "10000\n");
    let proxy = qmail.spawn(Lines::default());
    let big = qmail.path("big");
    fs::write(&big, format!("{}\n", "x".repeat(99)).repeat(200)).unwrap();
    let (server, body) = (proxy.addresses[0].to_string(), format!("@{}", big.display()));
    let table: [(&str, &[&str], &str); 4] = [
        ("a mail", &["--from", "a@example.net"], "250 2.6.0 Accepted message"),
        ("a telephone's", &["--from", "try..this.@docomo.example"], "250 2.6.0 Accepted message"),
        ("a blocked sender", &["--from", "newsletter@sillyplace.com"], "554 5.7.1"),
        ("too large", &["--from", "a@example.net", "--body", &body], "552 5.3.4"),
    ];
    for (what, arguments, reply) in table {
        let output = Command::new(program(SWAKS))
            .args(["--server", &server, "--helo", "client.example.net", "--to", "fred@example.org"])
            .args(arguments)
            .output()
            .unwrap();
        let transcript = String::from_utf8_lossy(&output.stdout);
        assert!(transcript.contains(reply), "{what}:\n{transcript}");
        assert_eq!(output.status.success(), reply.starts_with("250"), "{what}:\n{transcript}");
    }
    assert_eq!(qmail.queue_starts(), 2);
}

const LETTER: &str = "Subject: greetings\r\nMessage-ID: <1@client.example.net>\r\n\r\nHello Fred\r\n";
