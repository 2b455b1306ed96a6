//! `block`, `unblock`, `blocks` and `status` on the running program, and who may ask it what.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use proxy::Proxy;
use proxy::Site;

#[test]
fn a_block_holds_at_once_on_open_connections_and_through_a_kill() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut open = proxy.client().hello();
    open.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "250"), ("RSET", "250")]);
    let outcome = site.run(&["block", "Newsletter@SillyPlace.com", "--for", "1h", "--why", "storm"]);
    assert_eq!((outcome.code, outcome.out.trim()), (0, "newsletter@sillyplace.com is blocked for 1h"), "{outcome:?}");
    let reply = open.say("MAIL FROM:<newsletter@sillyplace.com>");
    assert_eq!(reply, "554 5.7.1 <newsletter@sillyplace.com> is blocked");
    assert!(proxy.wait_for("reason=blocked_sender").contains("rule=block:newsletter@sillyplace.com"));
    proxy.signal(Signal::SIGKILL);
    proxy.wait();
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<newsletter@sillyplace.com>", "554"), ("MAIL FROM:<joe@sillyplace.com>", "250")]);
    let listed = site.run(&["blocks"]).out;
    assert!(listed.contains("newsletter@sillyplace.com") && listed.contains("by operator storm"), "{listed}");
    assert_eq!(site.run(&["unblock", "<newsletter@sillyplace.com>"]).code, 0);
    client.dialog(&[("RSET", "250"), ("MAIL FROM:<newsletter@sillyplace.com>", "250")]);
    let again = site.run(&["unblock", "newsletter@sillyplace.com"]);
    assert_eq!((again.code, again.err.trim()), (1, "newsletter@sillyplace.com is not blocked"));
    assert_eq!(site.run(&["blocks"]).out.trim(), "nobody is blocked");
}

#[test]
fn a_client_is_blocked_at_the_greeting() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    assert_eq!(site.run(&["block", "127.0.0.0/8", "--for", "10m"]).code, 0);
    assert_eq!(proxy.client().reply(), "554 Client 127.0.0.1 is blocked");
    let status = site.run(&["status", "--json"]).out;
    assert!(status.contains("\"blocks\":1") && status.contains("\"state\":\"ok\""), "{status}");
}

#[test]
fn what_cannot_be_blocked_and_whom_nobody_answers() {
    let site = Site::new("", "");
    for (arguments, code, told) in [
        (&["block", "sillyplace.com"][..], 64, "write an address"),
        (&["block", "a@b.example", "--for", "0s"], 64, "at least a second"),
        (&["block", "a@b.example", "--for", "soon"], 64, "write a duration"),
        (&["blocks"], 1, "is it running with this configuration?"),
    ] {
        let outcome = site.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {}", outcome.err);
    }
}

/// One request over TCP; the first line of the answer.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn over_tcp_host_origin_and_token_are_checked() {
    let site = Site::new("", "");
    let text = std::fs::read_to_string(site.path("portcullis.toml")).unwrap();
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    site.write("portcullis.toml", &text.replace("unix:admin.sock", &address));
    let _proxy = Proxy::start(&site);
    let token = std::fs::read_to_string(site.path("portcullis-token")).unwrap();
    let body = "{\"key\":\"a@b.example\",\"seconds\":60}";
    let post = |headers: &str| {
        let length = body.len();
        format!(
            "POST /api/blocks HTTP/1.1\nHost: {address}\nContent-Type: application/json\nContent-Length: {length}\n{headers}\n{body}"
        )
    };
    let rows = [
        ("reading on this host", format!("GET /api/status HTTP/1.1\nHost: {address}\n\n"), "200"),
        ("the page", "GET / HTTP/1.1\nHost: localhost\n\n".to_owned(), "200"),
        ("the metrics", format!("GET /metrics HTTP/1.1\nHost: {address}\n\n"), "200"),
        ("another name for us", "GET /api/status HTTP/1.1\nHost: evil.example\n\n".to_owned(), "403"),
        ("another page's script", format!("GET / HTTP/1.1\nHost: {address}\nOrigin: http://evil.example\n\n"), "403"),
        ("a change without the token", post(""), "401"),
        ("with a wrong one", post("Authorization: Bearer no\n"), "401"),
        ("with the token", post(&format!("Authorization: Bearer {}\n", token.trim())), "200"),
    ];
    for (what, request, code) in rows {
        let line = ask(&address, &request);
        assert!(line.starts_with(&format!("HTTP/1.1 {code}")), "{what}: {line}");
    }
    assert!(site.run(&["blocks"]).out.contains("a@b.example"), "the command finds address and token by itself");
}
