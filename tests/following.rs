//! `status --sessions` and `status --session ID --follow` on the running program, in front of the real smtpfront-qmail: what
//! is told, what never is, and that a reader that is slow or gone holds up nobody. It must not use fixed ports, nor sleep.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use proxy::Outcome;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;
use proxy::host::until;
use proxy::lines_of;
use qmail::QmailHome;
use serde_json::Value;

/// A proxy with a smtpfront-qmail for each session.
fn start(qmail: &QmailHome) -> (Site, Proxy) {
    let site = Site::new("auth = \"always\"", "");
    let [home, queue, front] = ["", "qmail-queue", "smtpfront"].map(|name| qmail.path(name));
    let backend = format!("spawn = [{front:?}]\nenv = {{ QMAILHOME = {home:?}, QMAILQUEUE = {queue:?} }}");
    site.write("portcullis.toml", &proxy::configuration("auth = \"always\"", &backend, ""));
    let proxy = Proxy::start(&site);
    (site, proxy)
}

/// A command that follows a session.
struct Follow {
    child: Child,
    out: Option<Receiver<String>>,
    err: Receiver<String>,
}

impl Follow {
    fn begin(site: &Site, session: &str, more: &[&str]) -> Self {
        let mut command = site.command();
        command.args(["status", "--session", session, "--follow"]).args(more).env("TZ", "UTC");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
        let begun = err.recv_timeout(LONG).unwrap();
        assert!(begun.starts_with(&format!("following {session}; ")), "{begun}");
        Self { child, out: Some(out), err }
    }

    fn line(&self) -> String {
        self.out.as_ref().unwrap().recv_timeout(LONG).unwrap()
    }

    /// What else it prints, to its end.
    fn rest(mut self) -> (Vec<String>, String, ExitStatus) {
        let lines = self.out.take().unwrap().into_iter().collect();
        let status = self.child.wait().unwrap();
        (lines, self.err.iter().collect::<Vec<_>>().join("\n"), status)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn only_session(site: &Site) -> Value {
    let listed = site.run(&["status", "--sessions", "--json"]).json();
    assert_eq!(listed["total"], 1, "{listed}");
    listed["sessions"][0].clone()
}

fn id(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

/// The lines without their times.
fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.get(13..).unwrap_or(line)).collect()
}

#[test]
fn one_conversation_is_shown_live_to_its_end() {
    let qmail = QmailHome::new();
    let (site, proxy) = start(&qmail);
    let none = site.run(&["status", "--sessions"]);
    assert_eq!((none.code, none.out.as_str()), (0, "no session is open\n"));
    let mut client = proxy.client().hello();
    let session = only_session(&site);
    let id = id(&session);
    let table = site.run(&["status", "--sessions", "--order", "longest"]);
    let row = table.out.lines().nth(1).unwrap();
    let shown = row.starts_with(&id) && row.contains(" 127.0.0.1 ") && row.ends_with(" client.example");
    assert!(table.out.starts_with("session ") && shown, "{}", table.out);
    // The brackets of a reply may be copied with it.
    let one = site.run(&["status", "--session", &format!("[{id}]")]);
    assert!(one.code == 0 && one.out.contains("phase        idle\n"), "{one:?}");
    assert_eq!(site.run(&["status", "--session", &id, "--json"]).json(), session);
    let (follow, as_json) = (Follow::begin(&site, &id, &[]), Follow::begin(&site, &id, &["--json"]));
    client.dialog(&[("AUTH PLAIN c2VjcmV0", "5"), ("MAIL FROM:<alice@example.net>", "250")]);
    assert_eq!(follow.line().get(13..), Some("client ->  AUTH PLAIN ****"), "at once");
    let message = "Subject: private\r\n\r\nvery private\r\n.";
    client.dialog(&[("RCPT TO:<fred@example.org>", "250"), ("DATA", "354"), (message, "250"), ("QUIT", "221")]);
    let (lines, err, status) = follow.rest();
    assert!(status.success() && err == "the session has ended", "{status} {err}");
    let texts = texts(&lines);
    let mut from = 0;
    for expected in [
        "client ->  MAIL FROM:<alice@example.net>",
        "-> backend MAIL FROM:<alice@example.net>",
        "backend -> 250 2.1.0 Sender accepted.",
        "-> client  250 2.1.0 Sender accepted.",
        "client ->  DATA",
        "-> client  354 End the message with a dot on a line by itself",
        "           the message begins",
        "           the message is complete: 34 octets",
        "-> backend DATA",
        "           the message goes to the backend: 34 octets",
        "           mail: accept 250",
        "client ->  QUIT",
    ] {
        let at = texts[from..].iter().position(|text| *text == expected);
        from += at.unwrap_or_else(|| panic!("{expected:?} behind {from} of {texts:#?}")) + 1;
    }
    let (objects, _, status) = as_json.rest();
    assert!(status.success() && objects.len() == lines.len() + 1, "{objects:#?}");
    let first: Value = serde_json::from_str(&objects[0]).unwrap();
    assert_eq!((&first["side"], &first["text"]), (&"client".into(), &"AUTH PLAIN ****".into()));
    let all = format!("{lines:?}{objects:?}");
    assert!(!all.contains("private") && !all.contains("c2VjcmV0"), "{all}");
    assert_eq!(qmail.queued().len(), 1);
}

#[test]
fn a_session_that_is_not_open_is_told_with_the_remedy() {
    let qmail = QmailHome::new();
    let (site, _proxy) = start(&qmail);
    for words in [&["status", "--session", "0123456789ab"][..], &["status", "--session", "0123456789ab", "--follow"]] {
        let outcome = site.run(words);
        assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{words:?}");
        let remedy = "no session 0123456789ab is open: portcullis status --sessions lists those that are";
        assert!(outcome.err.starts_with(remedy), "{outcome:?}");
    }
    for words in [
        &["status", "--follow"][..],
        &["status", "--session", ""],
        &["status", "--sessions", "--session", "x"],
        &["status", "--sessions", "--watch"],
        &["status", "--order", "longest"],
    ] {
        let Outcome { code, err, .. } = site.run(words);
        assert_eq!(code, 64, "{words:?}: {err}");
    }
}

#[test]
fn closed_output_ends_it_and_so_does_the_proxys_end() {
    let qmail = QmailHome::new();
    let (site, proxy) = start(&qmail);
    let mut client = proxy.client().hello();
    let id = id(&only_session(&site));
    let mut command = site.command();
    command.args(["status", "--session", &id, "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let err = lines_of(child.stderr.take().unwrap());
    assert!(err.recv_timeout(LONG).unwrap().starts_with("following"));
    drop(child.stdout.take());
    // A write to the closed pipe is what shows it.
    client.dialog(&[("NOOP", "250")]);
    assert!(child.wait().unwrap().success());
    assert_eq!(err.iter().next(), None);
    let follow = Follow::begin(&site, &id, &[]);
    client.dialog(&[("MAIL FROM:<a@b.example>", "250")]);
    assert!(follow.line().ends_with("MAIL FROM:<a@b.example>"));
    drop(proxy);
    let (_, err, status) = follow.rest();
    assert!(status.success() == (err == "the session has ended"), "{status}: {err}");
}

/// A reader that takes nothing: mail goes on, and it is told how much it missed.
#[test]
fn a_slow_reader_misses_lines_and_mail_goes_on() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let id = id(&only_session(&site));
    let mut slow = UnixStream::connect(site.path("admin.sock")).unwrap();
    slow.set_read_timeout(Some(LONG)).unwrap();
    write!(slow, "GET /api/v1/sessions/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 15];
    slow.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let sender = format!("{}@{}.example", "a".repeat(60), ["b".repeat(50).as_str(); 4].join("."));
    for _ in 0..500 {
        client.dialog(&[(&format!("MAIL FROM:<{sender}>"), "250"), ("RSET", "250")]);
    }
    client.mail("alice@example.net", "Subject: x");
    assert_eq!(site.mails(), 1);
    client.dialog(&[("QUIT", "221")]);
    let mut text = String::new();
    let mut reader = BufReader::new(slow);
    while !text.contains("event: end") {
        let mut some = [0; 4096];
        let octets = reader.read(&mut some).unwrap();
        assert!(octets > 0, "no end");
        text.push_str(str::from_utf8(&some[..octets]).unwrap());
    }
    assert!(text.contains(" lines were not shown: the reader is too slow"), "{}", text.len());
    until("the session is gone", || site.run(&["status", "--sessions", "--json"]).json()["total"] == 0);
}
