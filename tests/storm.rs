//! The incident against the built program: the same message again and again, with the acknowledgement lost or taken, and
//! restarts in between.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;

const REST: &str = "[repeat]\nmin_size = \"100B\"\n";

/// How one try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Accepted,
    RefusedAtDot,
    DeferredAtData,
}

/// One copy. A client that does not take its acknowledgement closes when it is there and has not been read.
fn send(proxy: &mut Proxy, message: &str, takes: bool, before: usize, site: &Site) -> Try {
    let mut client = proxy.client().hello();
    let mail = format!("MAIL FROM:<newsletter@sillyplace.com> SIZE={}", message.len());
    client.dialog(&[(&mail, "250"), ("RCPT TO:<joe@example.org>", "250")]);
    let reply = client.say("DATA");
    if reply.starts_with("450") {
        return Try::DeferredAtData;
    }
    client.send(&format!("{message}.\r\n"));
    let mut code = [0; 3];
    while client.stream().peek(&mut code).unwrap() < code.len() {}
    if takes {
        client.reply();
        client.dialog(&[("QUIT", "221")]);
        client.rest();
    } else {
        drop(client);
        if site.mails() > before {
            proxy.wait_for("unacknowledged");
        }
    }
    if code == *b"250" { Try::Accepted } else { Try::RefusedAtDot }
}

/// Dated now.
fn newsletter(octets: usize) -> String {
    let date = jiff::fmt::rfc2822::to_string(&jiff::ZonedDateTime::now()).unwrap();
    let line = format!("{}\r\n", "x".repeat(74));
    format!(
        "Message-ID: <1@sillyplace.com>\r\nDate: {date}\r\nSubject: news\r\n\r\n{}",
        line.repeat(octets / line.len())
    )
}

/// The state has been written, and nothing more of it is being written.
fn until_written(site: &Site) {
    let never = (Mutex::new(()), Condvar::new());
    let (latest, mut quiet, mut last) = (Instant::now() + LONG, 0, SystemTime::UNIX_EPOCH);
    // The thread writes once a second what has changed.
    while quiet < 75 {
        assert!(Instant::now() < latest, "the state goes on changing");
        let now = site.path("portcullis-state.redb").metadata().unwrap().modified().unwrap();
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
        drop(never.1.wait_timeout(never.0.lock().unwrap(), Duration::from_millis(20)).unwrap());
    }
}

/// 72 copies through a TERM and a kill -9: deliveries, and bodies that crossed the wire.
fn storm(octets: usize, takes: bool, heeds: bool) -> (usize, usize) {
    let message = newsletter(octets);
    let site = Site::new("", REST);
    let mut proxy = Proxy::start(&site);
    let mut bodies = 0;
    for copy in 0..72 {
        if copy == 2 {
            proxy.stop();
            proxy = Proxy::start(&site);
        }
        if copy == 4 || copy == 40 {
            until_written(&site);
            proxy.signal(Signal::SIGKILL);
            proxy.wait();
            proxy = Proxy::start(&site);
        }
        let before = site.mails();
        let outcome = send(&mut proxy, &message, takes, before, &site);
        if copy == 10 {
            let status = site.run(&["status"]).out;
            assert!(
                status.contains("STORM          127.0.0.0/24 <newsletter@sillyplace.com> for joe@example.org"),
                "{status}"
            );
        }
        bodies += usize::from(outcome != Try::DeferredAtData);
        if heeds && outcome != Try::Accepted {
            break;
        }
    }
    (site.mails(), bodies)
}

#[test]
fn seventy_two_copies_whose_acknowledgement_is_lost() {
    let (delivered, bodies) = storm(300, false, false);
    assert_eq!((delivered, bodies), (1, 72));
}

#[test]
fn seventy_two_copies_that_are_acknowledged() {
    let (delivered, bodies) = storm(300, true, false);
    assert_eq!((delivered, bodies), (3, 72), "small ones are looked at each time");
    let (delivered, bodies) = storm(1 << 20, true, false);
    assert_eq!(delivered, 3);
    assert!(bodies <= 3 + 10 + 59 / 5 + 1, "{bodies} bodies of a megabyte");
}

#[test]
fn a_sender_that_heeds_a_refusal() {
    let (delivered, bodies) = storm(300, true, true);
    assert_eq!((delivered, bodies), (3, 4));
}

#[test]
fn a_second_process_cannot_have_the_same_state() {
    let site = Site::new("", REST);
    let _first = Proxy::start(&site);
    let second = site.run(&["serve", "-c", "portcullis.toml"]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("portcullis-state.redb: another process has it"), "{}", second.err);
}
