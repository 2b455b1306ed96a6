//! Real backends that offer CHUNKING: what Postfix and Exim have stored is what the client sent, octet for octet, and came
//! as one chunk each, without DATA. Postfix and Exim have to be started by root.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/exim.rs"]
mod exim;
#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;
#[path = "support/root.rs"]
mod root;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use client::Client;
use client::expect;
use exim::Exim;
use nix::unistd::chown;
use postfix::Postfix;
use proxy::Proxy;
use proxy::host::until;
use qmail::Lines;
use qmail::QmailHome;

#[test]
fn postfix_stores_what_was_sent() {
    let postfix = Postfix::start(STORES);
    let mail = mailbox(&postfix);
    sends_all(postfix.address, "", &mail);
    postfix_has_heard(&postfix, "bdat");
}

/// Under TLS no file goes to the socket by itself.
#[test]
fn postfix_under_tls_stores_what_was_sent() {
    let postfix = Postfix::start(&format!("{STORES}{CERTIFICATE}"));
    let mail = mailbox(&postfix);
    sends_all(postfix.address, "tls = \"starttls\"\nverify = false\n", &mail);
    postfix_has_heard(&postfix, "bdat");
}

/// The same without CHUNKING: the dots that are not held are there.
#[test]
fn postfix_without_chunking_stores_what_was_sent() {
    let postfix = Postfix::start(&format!("{STORES}smtpd_discard_ehlo_keywords = chunking\n"));
    let mail = mailbox(&postfix);
    sends_all(postfix.address, "", &mail);
    postfix_has_heard(&postfix, "data");
}

#[test]
fn exim_stores_what_was_sent() {
    let exim = Exim::start("");
    sends_all(exim.address, "", &exim.mail());
    let log = exim.log();
    let arrivals: Vec<&str> = log.lines().filter(|line| line.contains(" <= ")).collect();
    assert_eq!(arrivals.len(), letters().len(), "{log}");
    // K: it came by CHUNKING.
    assert!(arrivals.iter().all(|line| line.contains(" K ")), "{log}");
}

#[test]
fn exim_without_chunking_stores_what_was_sent() {
    let exim = Exim::start("chunking_advertise_hosts =\n");
    sends_all(exim.address, "", &exim.mail());
    let log = exim.log();
    assert!(!log.contains(" K "), "{log}");
}

/// The refusal is the client's, nothing is stored, and its next message gets through on the same session.
#[test]
fn a_refused_chunk_ends_only_its_message() {
    let postfix = Postfix::start(&format!("{STORES}body_checks = regexp:HOME/etc/body\n"));
    fs::write(postfix.path("etc/body"), "/^no/ REJECT no\n").unwrap();
    let mail = mailbox(&postfix);
    let (_qmail, proxy) = proxy_before(postfix.address, "");
    let mut client = Client::new(proxy.addresses[0]);
    expect("550 5.7.1 no", &client.deliver("a@b.example", "joe@example.org", "Subject: x\r\n\r\nno\r\n"));
    expect("250", &client.deliver("a@b.example", "joe@example.org", "Subject: x\r\n\r\nyes\r\n"));
    until("a letter is stored", || stored(&mail).len() == 1);
    expect("221", &client.command("QUIT"));
    let line = counted(&postfix);
    assert!(line.contains(" mail=2 ") && line.contains(" bdat=1/2 ") && line.contains(" rset=1 "), "{line}");

    let exim = Exim::start("acl_smtp_data = deny\n");
    let (_qmail, proxy) = proxy_before(exim.address, "");
    let mut client = Client::new(proxy.addresses[0]);
    for _ in 0..2 {
        expect("550", &client.deliver("a@b.example", "joe@example.org", "Subject: x\r\n\r\nno\r\n"));
    }
    assert!(stored(&exim.mail()).is_empty());
}

/// All letters over kept sessions, from two clients.
fn sends_all(backend: SocketAddr, keys: &str, mail: &Path) {
    let (_qmail, proxy) = proxy_before(backend, &format!("keepalive = 4\n{keys}"));
    let letters = letters();
    for half in letters.chunks(4) {
        let mut client = Client::new(proxy.addresses[0]);
        for letter in half {
            let reply = client.deliver("a@b.example", "joe@example.org", &on_the_wire(letter));
            assert!(reply.starts_with("250"), "{reply}\n{}", proxy.log());
        }
        expect("221", &client.command("QUIT"));
    }
    until("all letters are stored", || stored(mail).len() == letters.len());
    let stored = stored(mail);
    for letter in &letters {
        let copies = stored.iter().filter(|file| file.ends_with(format!("\n{letter}").as_bytes())).count();
        assert_eq!(copies, 1, "{} octets beginning with {:?}", letter.len(), &letter[..40]);
    }
}

fn proxy_before(backend: SocketAddr, keys: &str) -> (QmailHome, Proxy) {
    let qmail = QmailHome::new();
    let message = "hold_memory = \"64KiB\"\n[size]\nlimit = \"0\"";
    let proxy = qmail.serve(&format!("tcp = \"{backend}\"\n{keys}"), Lines { message, ..Lines::default() });
    (qmail, proxy)
}

/// Both clients were served by one session.
fn postfix_has_heard(postfix: &Postfix, command: &str) {
    let line = counted(postfix);
    let other = if command == "bdat" { " data=" } else { " bdat=" };
    assert!(line.contains(&format!(" {command}={} ", letters().len())) && !line.contains(other), "{line}");
}

/// The commands of the session that had mail, as Postfix counts them at its end.
fn counted(postfix: &Postfix) -> String {
    let mut counted = None;
    until("Postfix has ended the session", || {
        let log = postfix.log();
        counted = log.lines().find(|line| line.contains(" disconnect ") && line.contains(" mail=")).map(str::to_owned);
        counted.is_some()
    });
    counted.unwrap()
}

/// As they are stored, with LF line ends; each has a subject of its own.
fn letters() -> Vec<String> {
    let text = |octets: usize, line: &str| line.repeat(octets / line.len() + 1);
    let plain = format!("{}\n", "x".repeat(75));
    let bodies = [
        text(4 << 10, &plain),
        "..\n.\n\n.\nRSET\nMAIL FROM:<c@b.example>\n..two\n.one\n.\n".to_owned(),
        ".".repeat(997) + "\n",
        "no end of a chunk: BDAT 3 LAST\nQUIT\n".to_owned(),
        text(3 << 20, &plain),
        text(3 << 20, &format!("{plain}.a line with a dot\n.\n")),
        text(34 << 20, &plain),
    ];
    // Nothing is missing that Postfix would add at the end of the header.
    let head = "From: a@b.example\nDate: Mon, 30 Nov 2026 12:00:00 +0000\nTo: joe@example.org\n";
    let letter = |(number, body)| format!("Message-ID: <{number}@b.example>\n{head}\n{body}");
    bodies.into_iter().enumerate().map(letter).collect()
}

/// With CRLF line ends and stuffed dots (RFC 5321 section 4.5.2).
fn on_the_wire(letter: &str) -> String {
    letter.replace("\n.", "\n..").replace('\n', "\r\n")
}

fn stored(mail: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(mail) else { return Vec::new() };
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// The Maildir of the whole domain.
fn mailbox(postfix: &Postfix) -> PathBuf {
    let folder = postfix.path("mail");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&folder, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    folder.join("box/new")
}

const NOBODY: u32 = 65534;

/// It takes mail of any size, and keeps it.
const STORES: &str = "\
mydestination =
virtual_mailbox_domains = example.org
virtual_mailbox_base = HOME/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
smtpd_data_restrictions = reject_unauth_pipelining
message_size_limit = 0
mailbox_size_limit = 0
";

const CERTIFICATE: &str = "\
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = HOME/tls/key.pem, HOME/tls/certificate.pem
";
