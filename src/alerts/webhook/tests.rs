//! Receivers as they are found: willing, busy, silent, endless, broken.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use hyper::header::HeaderName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::checked::alert::Template;

/// A receiver for one connection: it reads the request as a whole, writes `answer`, and then hangs until the client
/// leaves, or not. Gives the request.
async fn receiver(answer: Vec<u8>, hangs: bool) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the client has left");
        }
        // A client that has heard enough does not wait for the rest.
        let _ = stream.write_all(&answer).await;
        if hangs {
            let _ = stream.read_buf(&mut Vec::new()).await;
        }
        String::from_utf8(request).unwrap()
    });
    (port, served)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn webhook(port: u16) -> Webhook {
    let url = Url::parse(&format!("http://127.0.0.1:{port}/hook/s3cret?x=1")).unwrap();
    Webhook { url, template: Template::Json, headers: Vec::new(), token_file: None }
}

#[tokio::test]
async fn what_an_answer_means() {
    let huge = ["HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", &"x".repeat(1 << 20)].concat();
    let table: [(&str, &str, bool, Outcome); 10] = [
        ("taken", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false, Outcome::Sent("200 OK: ok".to_owned())),
        ("no words", "HTTP/1.1 204 No Content\r\n\r\n", false, Outcome::Sent("204 No Content".to_owned())),
        ("words that do not end", &huge, true, Outcome::Sent(format!("200 OK: {}", "x".repeat(200)))),
        (
            "wrong",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nno\x1b[31m \x00",
            false,
            Outcome::Never("403 Forbidden: no\\x1b[31m \\x00".to_owned()),
        ),
        ("broken", "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", false, later("500 Internal Server Error", None)),
        (
            "busy",
            "HTTP/1.1 429 Slow\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n",
            false,
            later("429 Too Many Requests", Some(60)),
        ),
        (
            "busy until a date",
            "HTTP/1.1 503 No\r\nretry-after: Tue, 01 Dec 2026 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n",
            false,
            later("503 Service Unavailable", None),
        ),
        (
            "elsewhere",
            "HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            false,
            Outcome::Never(
                "301 Moved Permanently (a redirect, which is not followed: write the URL it leads to)".to_owned(),
            ),
        ),
        ("closed", "", false, later("HTTP: connection closed before message completed", None)),
        (
            "in the middle of words",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
            false,
            Outcome::Sent("200 OK: ok".to_owned()),
        ),
    ];
    for (what, answer, hangs, expected) in table {
        let (port, served) = receiver(answer.as_bytes().to_vec(), hangs).await;
        assert_eq!(send(&webhook(port), &Event::test("mx", 1), 0).await, expected, "{what}");
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /hook/s3cret?x=1 HTTP/1.1\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_receiver_that_repeats_the_request_tells_no_secret() {
    let echo = "Cannot POST /hook/s3cret?x=1 nor s3cret, key k3yk3y";
    let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{echo}", echo.len());
    let (port, served) = receiver(answer.into_bytes(), false).await;
    let key = (HeaderName::from_static("authorization"), HeaderValue::from_static("Key k3yk3y"));
    let webhook = Webhook { headers: vec![key], ..webhook(port) };
    let Outcome::Never(what) = send(&webhook, &Event::test("mx", 1), 0).await else { panic!() };
    assert_eq!(what, "404 Not Found: Cannot POST *** nor ***, key ***");
    served.await.unwrap();
}

#[tokio::test]
async fn what_is_taken_is_not_sent_again_because_the_body_does_not_come() {
    let (port, served) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec(), true).await;
    tokio::time::pause();
    let outcome = send(&webhook(port), &Event::test("mx", 1), 0).await;
    assert_eq!(outcome, Outcome::Sent("200 OK: ok".to_owned()));
    served.await.unwrap();
}

fn later(what: &str, wish: Option<u32>) -> Outcome {
    Outcome::Later(what.to_owned(), wish)
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_not_waited_for() {
    let (port, served) = receiver(Vec::new(), true).await;
    // The clock goes on by itself as soon as nothing else can.
    tokio::time::pause();
    let outcome = send(&webhook(port), &Event::test("mx", 1), 0).await;
    assert_eq!(outcome, later("no answer within 10 s", None));
    served.await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_speaks_no_http() {
    let (port, served) = receiver(b"220 mx ESMTP\r\n".to_vec(), false).await;
    let outcome = send(&webhook(port), &Event::test("mx", 1), 0).await;
    assert_eq!(outcome, later("HTTP: invalid HTTP version parsed", None));
    served.await.unwrap();
}

#[tokio::test]
async fn nobody_listens_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let Outcome::Later(what, None) = send(&webhook(port), &Event::test("mx", 1), 0).await else { panic!() };
    assert!(what.starts_with("cannot connect: ") && !what.contains("s3cret"), "{what}");
}

#[tokio::test]
async fn headers_and_a_token_go_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let ok = || b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
    let with = |port, template, headers: &[(&'static str, &'static str)]| Webhook {
        template,
        headers: headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect(),
        token_file: Some(file.clone()),
        ..webhook(port)
    };
    for (text, what) in
        [(None, "No such file"), (Some("\n"), "the file is empty"), (Some("a\nb"), "not a line of ASCII")]
    {
        text.iter().for_each(|text| std::fs::write(&file, text).unwrap());
        let Outcome::Later(told, None) = send(&with(1, Template::Json, &[]), &Event::test("mx", 1), 0).await else {
            panic!("{what}")
        };
        assert!(told.contains(what), "{told}");
    }
    std::fs::write(&file, "T0KEN\n").unwrap();
    let table: [(Template, &[(&str, &str)], &[&str], &[&str]); 4] = [
        (Template::Json, &[("x-key", "k")], &["authorization: Bearer T0KEN\r\n", "x-key: k\r\n"], &[]),
        (Template::Json, &[("authorization", "Basic x")], &["authorization: Basic x\r\n"], &["T0KEN"]),
        (Template::Ntfy, &[("title", "Mine")], &["title: Mine\r\n", "tags: ", "Bearer T0KEN"], &["on mx"]),
        (Template::PagerDuty, &[], &["\"routing_key\":\"T0KEN\""], &["authorization"]),
    ];
    for (template, headers, there, not_there) in table {
        let (port, served) = receiver(ok(), false).await;
        let outcome = send(&with(port, template, headers), &Event::test("mx", 1), 0).await;
        assert_eq!(outcome, Outcome::Sent("200 OK".to_owned()));
        let request = served.await.unwrap();
        assert!(there.iter().all(|text| request.contains(text)), "{request}");
        assert!(!not_there.iter().any(|text| request.contains(text)), "{request}");
        assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
    }
}
