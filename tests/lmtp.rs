//! A real dovecot-lmtpd behind the proxy, by its unix socket and by TCP. Of a message that one mailbox has no room for, the
//! client hears that it has to come again, and nobody gets it twice. No test may sleep.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/dovecot.rs"]
mod dovecot;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/root.rs"]
mod root;

use std::net::Ipv4Addr;

use client::Client;
use client::expect;
use dovecot::Dovecot;
use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::until;

/// Dovecot and the proxy are restarted between the tries.
#[test]
fn one_mailbox_over_quota() {
    let first = letter(1);
    for unix in [true, false] {
        let mut dovecot = Dovecot::start(RETRIED, "");
        let site = site(&if unix { dovecot.socket() } else { dovecot.address.to_string() }, "");
        let proxy = Proxy::start(&site);
        let partly = "451 4.2.0 Delivered to 1 of 2 recipients, try again later for the others";
        expect(partly, &send(&proxy, &["joe", "full"], &first));
        let line = proxy.line("rcpt session=");
        assert!(line.contains("recipients=full@example.org"), "{line}");
        assert!(line.contains("code=452") && line.contains("Quota exceeded"), "{line}");
        let line = proxy.line("mail session=");
        assert!(line.contains("verdict=defer code=451 reason=backend_deferred"), "{line}");
        assert!(line.contains("<joe@example.org>") && line.contains("<full@example.org> Quota exceeded"), "{line}");
        assert_eq!(mails(&dovecot), [1, 0]);
        proxy.stop();
        dovecot.restart();
        let proxy = Proxy::start(&site);
        expect("452 4.2.2 <full@example.org> Quota exceeded", &send(&proxy, &["full", "joe"], &first));
        assert_eq!(mails(&dovecot), [1, 0]);
        // Another message is for both.
        expect(partly, &send(&proxy, &["joe", "full"], &letter(2)));
        assert_eq!(mails(&dovecot), [2, 0]);
        dovecot.allow("100000");
        dovecot.restart();
        expect("250 2.0.0 <full@example.org>", &send(&proxy, &["joe", "full"], &first));
        assert_eq!(mails(&dovecot), [2, 1]);
        let delivered = dovecot.mails("full").remove(0);
        assert!(delivered.contains("Received: from client.example") && delivered.contains("by mx.example.org"));
        assert!(delivered.contains("the text of letter 1"), "{delivered}");
    }
}

/// By Dovecot's default a full mailbox is refused for good. The client hears that once the others have the message.
#[test]
fn one_mailbox_refuses_for_good() {
    let first = letter(1);
    let dovecot = Dovecot::start("", "");
    let site = site(&dovecot.socket(), "");
    let proxy = Proxy::start(&site);
    expect("451 4.2.0 Delivered to 2 of 3 ", &send(&proxy, &["joe", "full", "mary"], &first));
    expect("552 5.2.2 <full@example.org> Quota exceeded", &send(&proxy, &["joe", "full", "mary"], &first));
    expect("552 5.2.2 <full@example.org> Quota exceeded", &send(&proxy, &["full"], &first));
    assert_eq!((mails(&dovecot), dovecot.mails("mary").len()), ([1, 0], 1));
    let mut client = Client::new(proxy.addresses[0]);
    expect("250", &client.command("MAIL FROM:<a@b.example>"));
    expect("550 5.1.1 <nobody@example.org> User doesn't exist", &client.command("RCPT TO:<nobody@example.org>"));
    expect("554 5.5.1 No valid recipients", &client.command("DATA"));
}

/// Through a file and the socket's own buffer, a dot at the head of a line included.
#[test]
fn a_large_message_arrives_whole() {
    for unix in [true, false] {
        let dovecot = Dovecot::start("", "");
        let site = site(&if unix { dovecot.socket() } else { dovecot.address.to_string() }, "");
        let proxy = Proxy::start(&site);
        let text: String = (0..200_000).map(|line| format!("{line:040}\r\n.{line}\r\n")).collect();
        let stuffed = text.replace("\r\n.", "\r\n..");
        expect("250 2.0.0 ", &send(&proxy, &["joe", "mary"], &(letter(1) + &stuffed)));
        for user in ["joe", "mary"] {
            let mail = dovecot.mails(user).remove(0);
            assert!(mail.ends_with(&text.replace("\r\n", "\n")), "{} octets", mail.len());
        }
    }
}

/// The second client is served by the session that the first has left, also under TLS.
#[test]
fn a_kept_session_serves_the_next_client() {
    let dovecot = Dovecot::start("", "");
    let tls = "keepalive = 4\ntls = \"starttls\"\nverify = false\n";
    for (address, keys) in [(dovecot.socket(), "keepalive = 4\n"), (dovecot.address.to_string(), tls)] {
        let connections = || dovecot.log().matches("Info: Connect from ").count();
        until("Dovecot knows of the test that it listens", || connections() > 0);
        let before = connections();
        let site = site(&address, keys);
        let proxy = Proxy::start(&site);
        for number in [1, 2, 3] {
            expect("250 ", &send(&proxy, &["joe", "mary"], &letter(number)));
        }
        proxy.stop();
        until("Dovecot has written its log", || connections() > before);
        // One that asks for the offer, and the first client, may come at the same time.
        assert!(connections() <= before + 2, "{}", dovecot.log());
    }
    assert_eq!((dovecot.mails("joe").len(), dovecot.mails("mary").len()), (6, 6));
}

/// Dovecot hears who the client is.
#[test]
fn the_client_is_told() {
    let first = letter(1);
    for (identity, more, listener) in [
        ("xclient", "login_trusted_networks = 127.0.0.1\n", ""),
        ("proxy", "haproxy_trusted_networks = 127.0.0.1\n", "haproxy = yes"),
    ] {
        let dovecot = Dovecot::start(more, listener);
        let keys = format!("identity = {identity:?}\n");
        let site = site(&dovecot.address.to_string(), &keys);
        let proxy = Proxy::start(&site);
        let mut client = Client::from(Ipv4Addr::new(127, 0, 0, 5), proxy.addresses[0]);
        expect("250", &client.deliver("a@b.example", "joe@example.org", &first));
        expect("221", &client.command("QUIT"));
        until("Dovecot has written its log", || dovecot.log().contains("Disconnect from 127.0.0.5"));
        assert!(dovecot.mails("joe")[0].contains("[127.0.0.5]"), "{:?}", dovecot.mails("joe"));
    }
}

/// What cannot work is said, and refuses nothing for good.
#[test]
fn one_that_is_not_there_or_is_no_lmtp_server() {
    let mut dovecot = Dovecot::start("", "");
    let here = site(&dovecot.socket(), "");
    assert_eq!(here.run(&["check", "-c", "portcullis.toml"]).code, 0);
    let proxy = Proxy::start(&here);
    let as_smtp = site(&dovecot.address.to_string(), "");
    as_smtp.write("portcullis.toml", &configuration("", &format!("tcp = \"{}\"", dovecot.address), ""));
    let wrong = Proxy::start(&as_smtp);
    expect("451 4.3.0 ", &Client::new(wrong.addresses[0]).command("MAIL FROM:<a@b.example>"));
    assert!(wrong.line("mail session=").contains("write backend.lmtp"), "{}", wrong.log());
    dovecot.stop();
    let mut client = Client::new(proxy.addresses[0]);
    expect("451 4.3.0 The mail server behind this one is not available", &client.command("MAIL FROM:<a@b.example>"));
    proxy.line("run/dovecot/lmtp: ");
    std::fs::remove_file(dovecot.path("run/dovecot/lmtp")).ok();
    let told = here.run(&["check", "-c", "portcullis.toml"]);
    assert!(
        told.code == 1 && format!("{}{}", told.out, told.err).contains("backend.lmtp: no such socket: "),
        "{told:?}"
    );
    // The other proxy speaks SMTP.
    let there = Site::new("", "");
    let smtp = Proxy::start(&there);
    let here = site(&smtp.addresses[0].to_string(), "");
    let lost = Proxy::start(&here);
    let mut client = Client::new(lost.addresses[0]);
    expect("451 4.3.0 ", &client.command("MAIL FROM:<a@b.example>"));
    let line = lost.line("mail session=");
    assert!(line.contains("LHLO is refused by the backend"), "{line}");
}

fn site(lmtp: &str, keys: &str) -> Site {
    let site = Site::new("", "");
    site.write("portcullis.toml", &configuration("", &format!("lmtp = \"{lmtp}\"\n{keys}"), ""));
    site
}

/// Sends a message to these users; gives the reply to its dot.
fn send(proxy: &Proxy, users: &[&str], letter: &str) -> String {
    let mut client = Client::new(proxy.addresses[0]);
    expect("250", &client.command("MAIL FROM:<alice@good.example>"));
    for user in users {
        expect("250", &client.command(&format!("RCPT TO:<{user}@example.org>")));
    }
    expect("354", &client.command("DATA"));
    client.send(letter);
    let reply = client.command(".");
    expect("221", &client.command("QUIT"));
    reply
}

/// The numbers of mails of joe and of the one whose mailbox is full.
fn mails(dovecot: &Dovecot) -> [usize; 2] {
    ["joe", "full"].map(|user| dovecot.mails(user).len())
}

const RETRIED: &str = "quota_full_tempfail = yes\n";

/// Dated, or it could not be known again.
fn letter(number: u32) -> String {
    let date = jiff::fmt::rfc2822::to_string(&jiff::ZonedDateTime::now()).unwrap();
    format!("Message-ID: <{number}@good.example>\r\nDate: {date}\r\n\r\nthe text of letter {number}\r\n")
}
