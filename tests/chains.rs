//! What qmail people put between tcpserver and smtpfront-qmail, as words of `spawn`: each of the real programs, alone and in
//! one chain. It must not know how a chain is started.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::fs;
use std::net::Ipv4Addr;

use client::Client;
use client::expect;
use proxy::Proxy;
use proxy::host::until;
use qmail::Lines;
use qmail::QmailHome;

#[test]
fn each_of_them_before_smtpfront() {
    let qmail = QmailHome::new();
    fs::create_dir(qmail.path("env")).unwrap();
    qmail.write("env/DATABYTES", "2000\n");
    let env = qmail.path("env");
    let env = env.to_str().unwrap();
    let mut chains = vec![
        vec!["envdir", env],
        vec!["softlimit", "-m", "200000000"],
        vec!["recordio"],
        vec!["rblsmtpd", "-b"],
        vec!["envdir", env, "softlimit", "-m", "200000000", "recordio", "rblsmtpd", "-b"],
    ];
    if nix::unistd::Uid::effective().is_root() {
        chains.push(vec!["setuidgid", "root"]);
    }
    for (number, chain) in chains.iter().enumerate() {
        let proxy = serve(&qmail, chain);
        let mut client = Client::new(proxy.addresses[0]);
        let reply = client.deliver("a@example.net", "fred@example.org", LETTER);
        assert!(reply.starts_with("250 "), "{chain:?} {reply}");
        assert_eq!(qmail.queued().len(), number + 1, "{chain:?}");
        if chain[0] == "envdir" {
            // What envdir sets is the child's, and its EHLO tells us.
            until("its limit is learned", || {
                Client::new(proxy.addresses[0]).command("EHLO c.example").contains("SIZE 2000")
            });
        }
        if chain.contains(&"recordio") {
            until("its records are logged", || proxy.log().contains("< MAIL FROM:<a@example.net>"));
        }
        expect("221", &client.command("QUIT"));
        proxy.until_childless();
    }
}

#[test]
fn whom_rblsmtpd_refuses_hears_what_it_says() {
    let qmail = QmailHome::new();
    qmail.write("tcp.smtp", "127.0.0.66:allow,RBLSMTPD=\"-listed somewhere\"\n:allow,RBLSMTPD=\"\"\n");
    qmail.tcprules("tcp.smtp");
    let proxy = serve(&qmail, &["rblsmtpd", "-b"]);
    let mut listed = Client::from(Ipv4Addr::new(127, 0, 0, 66), proxy.addresses[0]);
    expect("250", &listed.command("MAIL FROM:<a@example.net>"));
    expect("553 listed somewhere", &listed.command("RCPT TO:<fred@example.org>"));
    expect("554 5.5.1", &listed.command("DATA"));
    assert_eq!(qmail.queue_starts(), 0);
    let mut other = Client::new(proxy.addresses[0]);
    expect("250", &other.deliver("a@example.net", "fred@example.org", LETTER));
    assert_eq!(qmail.only_message().envelope, "Fa@example.net Tfred@example.org");
}

/// The chain, then the real smtpfront-qmail; no lookup of DNS lists goes out.
fn serve(qmail: &QmailHome, chain: &[&str]) -> Proxy {
    let smtpfront = qmail.path("smtpfront");
    // The first word is a path; the others are found by their own programs.
    let first = format!("/usr/bin/{}", chain[0]);
    let rest = chain[1..].iter().copied().chain([smtpfront.to_str().unwrap()]);
    let words: Vec<&str> = [first.as_str()].into_iter().chain(rest).collect();
    if !qmail.path("tcp.smtp").exists() {
        qmail.write("tcp.smtp", ":allow,RBLSMTPD=\"\"\n");
        qmail.tcprules("tcp.smtp");
    }
    qmail.serve(&format!("spawn = {words:?}\n"), Lines { qmail: "tcprules = \"tcp.smtp.cdb\"", ..Lines::default() })
}

const LETTER: &str = "Subject: chain\r\n\r\nx\r\n";
