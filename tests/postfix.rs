//! A real Postfix as tcp backend: it hears who the client is, by XCLIENT and by a PROXY header (its own rule, that only
//! one client may relay, shows that it believes it), and it is talked to under TLS. Postfix has to be started by root.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::fs;
use std::net::Ipv4Addr;

use client::Client;
use client::expect;
use postfix::Postfix;
use proxy::host::until;
use qmail::Lines;
use qmail::QmailHome;

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
    let qmail = QmailHome::new();
    qmail.control("rcpthosts", "example.org\nelse.example\n");
    let backend = format!("tcp = \"{}\"\nidentity = {identity:?}\n", postfix.address);
    let proxy = qmail.serve(&backend, Lines::default());
    let mut trusted = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    expect("250", &trusted.deliver("a@b.example", "joe@example.org", LETTER));
    expect("250", &trusted.deliver("a@b.example", "joe@else.example", LETTER));
    let mut stranger = Client::from(Ipv4Addr::new(127, 0, 0, 6), proxy.addresses[0]);
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
    let qmail = QmailHome::new();
    qmail.write("tcp.smtp", "127.:deny\n");
    let lines = Lines { qmail: "tcprules = \"tcp.smtp\"", server: "contact = \"ask@example.org\"", ..Lines::default() };
    let proxy = qmail.spawn(lines);
    let host = proxy.addresses[0];
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
    assert!(qmail.sessions().is_empty(), "no backend heard of it");
}

/// The second client is served by the session that the first has left, also under TLS, and told apart by our own Received
/// line. (With XCLIENT it could not be: Postfix takes that once a session.)
#[test]
fn a_kept_session_serves_the_next_client() {
    let encrypted = format!("{CERTIFICATE}smtpd_tls_security_level = encrypt\n");
    for (more, keys) in [("", ""), (&*encrypted, "tls = \"starttls\"\nverify = false\n")] {
        let postfix = Postfix::start(more);
        let qmail = QmailHome::new();
        qmail.control("rcpthosts", "example.org\n");
        let target = format!("tcp = \"{}\"\nkeepalive = 4\n{keys}", postfix.address);
        let proxy = qmail.serve(&target, Lines::default());
        let clients: Vec<Client> = [5, 6, 7]
            .map(|last| {
                let mut client = Client::from(Ipv4Addr::new(127, 0, 0, last), proxy.addresses[0]);
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

/// Postfix takes mail under TLS only; its certificate is verified, when `trusts` says by whom.
fn under_tls(more: &str, keys: &str, trusts: bool) -> (Postfix, QmailHome, String) {
    let postfix = Postfix::start(&format!("{CERTIFICATE}{more}"));
    let qmail = QmailHome::new();
    if trusts {
        fs::copy(postfix.path("tls/ca.pem"), qmail.path("ca.pem")).unwrap();
    }
    let proxy = qmail.serve(&format!("tcp = \"{}\"\n{keys}\n", postfix.address), Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    let reply = client.command("MAIL FROM:<a@b.example>");
    if reply.starts_with("250") {
        expect("250", &client.command("RSET"));
        expect("250", &client.deliver("a@b.example", "joe@example.org", LETTER));
    } else {
        expect("451 4.3.0", &reply);
    }
    proxy.line(if reply.starts_with("250") { "verdict=accept" } else { "verdict=defer" });
    let log = proxy.log();
    (postfix, qmail, log)
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
        let (postfix, _qmail, log) = under_tls(more, keys, true);
        assert!(log.contains("verdict=accept"), "{keys}: {log}");
        until("Postfix has written its log", || postfix.log().contains("TLS connection established"));
    }
}

#[test]
fn a_certificate_of_a_stranger_is_refused_unless_told_otherwise() {
    let encrypt = "smtpd_tls_security_level = encrypt\n";
    let (_postfix, _qmail, log) = under_tls(encrypt, "tls = \"starttls\"", false);
    assert!(log.contains("reason=backend_unavailable") && !log.contains("verdict=accept"), "{log}");
    let (_postfix, _qmail, log) = under_tls(encrypt, "tls = \"starttls\"\nverify = false", false);
    assert!(log.contains("verdict=accept"), "{log}");
}

#[test]
fn a_postfix_that_would_see_us_is_not_used() {
    let postfix = Postfix::start("");
    let qmail = QmailHome::new();
    let backend = format!("tcp = \"{}\"\nidentity = \"xclient\"\n", postfix.address);
    let proxy = qmail.serve(&backend, Lines::default());
    let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
    expect("451 4.3.0", &client.command("MAIL FROM:<a@b.example>"));
    let line = proxy.line("reason=backend_unavailable");
    assert!(line.contains("smtpd_authorized_xclient_hosts"), "{line}");
}

const CERTIFICATE: &str = "\
smtpd_tls_chain_files = HOME/tls/key.pem, HOME/tls/certificate.pem
smtpd_tls_loglevel = 1
";

const LETTER: &str = "Subject: x\r\n\r\ntext\r\n";
