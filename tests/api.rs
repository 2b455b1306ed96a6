//! `/api/v1` on the running program: every answer as its description has it, who may ask what, and what neither a foreign
//! page nor a hand-made request can do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/api.rs"]
mod api;
#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use api::Api;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use proxy::Proxy;
use proxy::Site;
use proxy::host::LONG;
use proxy::host::until;
use serde_json::Value;
use serde_json::json;

/// A proxy whose interface is at a TCP port.
fn start() -> (Site, Proxy, Api) {
    let site = Site::new("", SLOW).with_throttles();
    let address = site.admin_over_tcp();
    let proxy = Proxy::start(&site);
    let api = Api::of(&site, &address);
    (site, proxy, api)
}

const SLOW: &str = "[[throttle]]\nname = \"slow\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/hour\"\n";

/// Each request, who asks (`-` anyone, `t` the operator), the code, and a part of the answer.
const ANSWERS: &[(&str, &str, &str, u16, &str)] = &[
    ("GET /api/v1/status", "-", "", 200, "\"tone\":\"storm\""),
    ("GET /api/v1/top", "-", "", 200, "\"sender\":\"<joe@b.example>\""),
    ("GET /api/v1/storms", "-", "", 200, "\"key\":\"127.0.0.0/24 <joe@b.example>\""),
    ("GET /api/v1/records", "-", "", 200, "\"verdict\":\"defer\",\"code\":450,\"reason\":\"throttled\""),
    ("GET /api/v1/records?search=JOE%20250&limit=1", "-", "", 200, "\"verdict\":\"accept\""),
    ("GET /api/v1/records?before=1", "-", "", 200, "{\"records\":[]}"),
    ("GET /api/v1/records?limit=501", "-", "", 400, "limit: write a number from 1 to 500"),
    ("GET /api/v1/records?limit=-1", "-", "", 400, "limit: invalid digit"),
    ("GET /api/v1/sessions", "-", "", 200, "\"total\":"),
    ("GET /api/v1/sessions?order=longest&limit=1", "-", "", 200, "\"sessions\":["),
    ("GET /api/v1/sessions?order=newest", "-", "", 400, "unknown variant `newest`"),
    ("GET /api/v1/sessions?limit=0", "-", "", 400, "limit: write a number from 1 to 500"),
    ("GET /api/v1/sessions/0123456789ab", "-", "", 404, "no session 0123456789ab is open"),
    ("GET /api/v1/sessions/%1b[2J", "-", "", 404, "no session \\\\x1b[2J is open"),
    ("GET /api/v1/sessions/%ff", "-", "", 400, "is not UTF-8"),
    ("GET /api/v1/sessions/", "-", "", 404, "there is no"),
    ("GET /api/v1/sessions/0123456789ab/events", "-", "", 401, "a conversation needs the token"),
    ("GET /api/v1/sessions/0123456789ab/events", "t", "", 404, "portcullis status --sessions lists those"),
    ("GET /api/v1/history", "-", "", 200, "\"reasons\":{\"throttled\":6}"),
    ("GET /api/v1/history?range=year", "-", "", 200, "\"step\":86400"),
    ("GET /api/v1/history?range=century", "-", "", 400, "unknown variant `century`"),
    ("GET /api/v1/history?rang=day", "-", "", 400, "unknown field `rang`"),
    ("GET /api/v1/blocks", "-", "", 200, "{\"blocks\":[]}"),
    ("GET /api/v1/openapi.json", "-", "", 200, "\"openapi\":\"3.1.0\""),
    ("GET /api/v1/check", "-", "", 200, "\"faults\":[]"),
    ("POST /api/v1/reload", "t", "", 200, "\"reloaded\":true"),
    // Blocks, and what lifts them.
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\",\"seconds\":60}", 200, "\"before\":null"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"A@b.example\",\"seconds\":90,\"why\":\"storm\"}", 200, "\"before\":1"),
    ("GET /api/v1/blocks", "-", "", 200, "\"why\":\"storm\""),
    ("POST /api/v1/blocks/preview", "-", "{\"key\":\"@b.example\"}", 200, "\"senders\":[\"<joe@b.example>\"]"),
    ("POST /api/v1/blocks/preview", "-", "{\"key\":\"127.0.0.1\"}", 200, "loopback"),
    ("POST /api/v1/blocks/preview", "-", "{\"key\":\"b.example\"}", 400, "write an address"),
    ("DELETE /api/v1/blocks?key=a%40b.example", "t", "", 200, "\"by\":\"operator\""),
    ("DELETE /api/v1/blocks?key=a%40b.example", "t", "", 404, "no block or throttle applies to a@b.example"),
    ("DELETE /api/v1/blocks?key=slow:joe@b.example", "t", "", 200, "\"throttles\":[\"slow\"]"),
    ("DELETE /api/v1/blocks", "t", "", 400, "missing field `key`"),
    ("DELETE /api/v1/blocks?key=%00%ff", "t", "", 404, "no block"),
    // What would hit mail of our own is asked twice.
    ("POST /api/v1/blocks", "t", "{\"key\":\"@example.org\",\"seconds\":60}", 409, "control/rcpthosts:1"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"127.0.0.1\",\"seconds\":60}", 409, "loopback"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"0.0.0.0/0\",\"seconds\":60}", 409, "every IPv4 client"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"@example.org\",\"seconds\":60,\"force\":true}", 200, "@example.org"),
    ("DELETE /api/v1/blocks?key=@example.org", "t", "", 200, "@example.org"),
    // Bodies.
    ("POST /api/v1/blocks", "t", "{\"key\":\"*@b.example\",\"seconds\":60}", 400, "patterns do not work"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"b.example\",\"seconds\":60}", 400, "write an address"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\",\"seconds\":0}", 400, "a second or more"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\",\"seconds\":-1}", 400, "invalid value"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\",\"seconds\":\"60\"}", 400, "expected u64"),
    ("POST /api/v1/blocks", "t", "{\"key\":7,\"seconds\":60}", 400, "expected a string"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\"}", 400, "missing field `seconds`"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\",\"for\":\"1h\",\"seconds\":1}", 400, "unknown field `for`"),
    ("POST /api/v1/blocks", "t", "[\"a@b.example\",60]", 400, "the body is not a JSON object"),
    ("POST /api/v1/blocks", "t", "{\"key\":\"a@b.example\"", 400, "the body is not valid JSON"),
    ("POST /api/v1/blocks", "t", "{\"key\":[[[[[[[[", 400, "the body is not what is expected"),
    (
        "POST /api/v1/blocks",
        "t",
        "{\"key\":\"a@b.example\",\"seconds\":1,\"why\":\"a\\u0007\"}",
        400,
        "control character",
    ),
    // What would happen.
    ("GET /api/v1/explain?sender=a@b.example&recipient=r@example.org", "-", "", 200, "\"verdict\":\"accept\""),
    ("GET /api/v1/explain?sender=a@b.example&recipient=r@else.example", "-", "", 200, "\"reason\":\"not_local\""),
    (
        "GET /api/v1/explain?sender=%3C%3E&client=2001:db8::1&tls=true&size=9",
        "-",
        "",
        200,
        "\"client\":\"2001:db8::1\"",
    ),
    ("GET /api/v1/explain", "-", "", 400, "missing field `sender`"),
    ("GET /api/v1/explain?sender=no%20address", "-", "", 400, "is not a valid address"),
    ("GET /api/v1/explain?sender=a@b.example&client=x", "-", "", 400, "client: invalid IP address"),
    ("POST /api/v1/explain", "-", "{\"sender\":\"<a@b.example>\",\"recipients\":[\"<r@example.org>\"]}", 200, "accept"),
    ("POST /api/v1/explain", "-", "{\"sender\":\"a@b.example\",\"recipients\":\"r\"}", 400, "expected a sequence"),
    ("POST /api/v1/rehearsal?message={}", "-", "", 400, "missing field"),
    // Paths and methods.
    ("GET /api/v1", "-", "", 404, "there is no /api/v1"),
    ("GET /api/v1/status/", "-", "", 404, "there is no"),
    ("GET //api/v1/status", "-", "", 404, "there is no"),
    ("GET /api/v1/%2e%2e/v1/status", "-", "", 404, "there is no"),
    ("GET /api/v1/../v1/status", "-", "", 404, "there is no"),
    ("GET /api/status", "-", "", 404, "there is no"),
    ("POST /api/v1/status", "t", "", 405, "POST is not possible here"),
    ("PUT /api/v1/blocks", "t", "", 405, "PUT is not possible here"),
    ("OPTIONS /api/v1/blocks", "-", "", 405, "OPTIONS is not possible here"),
    ("TRACE /api/v1/blocks", "t", "", 405, "TRACE is not possible here"),
];

#[test]
fn every_answer_is_as_described() {
    let (_site, proxy, api) = start();
    let mut client = proxy.client().hello();
    client.mail("joe@b.example", "Subject: x");
    (0..6).for_each(|_| client.dialog(&[("MAIL FROM:<Joe@b.example> SIZE=1000000", "450")]));
    // The first status was made before the storm began.
    until("the storm is seen", || api.get("/api/v1/status").body.contains("\"tone\":\"storm\""));
    for (request, who, body, code, told) in ANSWERS {
        let answer = if *who == "t" { api.operator(request, body) } else { api.ask(request, "", body) };
        assert_eq!(answer.code, *code, "{request} {body}: {answer:?}");
        assert!(answer.body.contains(told), "{request} {body}: {answer:?}");
    }
    let large = format!("{{\"key\":\"a@b.example\",\"seconds\":60,\"why\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(api.operator("POST /api/v1/blocks", &large).code, 413);
    let form = format!("Authorization: Bearer {}\nContent-Type: application/x-www-form-urlencoded\n", api.token);
    let answer = api.ask("POST /api/v1/blocks", &form, "key=a@b.example&seconds=60");
    assert_eq!(
        (answer.code, answer.json()["remedy"].as_str()),
        (415, Some("send it with Content-Type: application/json"))
    );
}

#[test]
fn a_reload_tells_its_errors() {
    let (site, _proxy, api) = start();
    let text = std::fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replace("[backend]", "[server.x]\ny = 1\n[backend]"));
    let reloaded = api.operator("POST /api/v1/reload", "").json();
    assert_eq!(reloaded["reloaded"], false, "{reloaded}");
    assert!(reloaded["faults"][0].as_str().unwrap().contains("portcullis.toml:"), "{reloaded}");
    let checked = api.operator("GET /api/v1/check", "").json();
    assert_eq!(checked["faults"].as_array().unwrap().len(), reloaded["faults"].as_array().unwrap().len(), "{checked}");
    site.write("portcullis.toml", &text);
    assert_eq!(api.operator("POST /api/v1/reload", "").json()["reloaded"], true);
    assert_eq!(api.operator("GET /api/v1/check", "").json()["faults"], json!([]));
}

/// Who asks, and what for: the code.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn who_may_ask_what() {
    let (_site, _proxy, api) = start();
    let cookie = format!("Cookie: other=1; {}\n", api.log_in());
    let page = format!("{cookie}Origin: http://{}\n", api.address);
    let who = [
        ("anyone", String::new()),
        ("a wrong token", "Authorization: Bearer 0123456789abcdef\n".to_owned()),
        ("no bearer", format!("Authorization: Basic {}\n", api.token)),
        ("the token", format!("Authorization: bearer {}\n", api.token)),
        ("a cookie alone", cookie.clone()),
        (
            "a stale cookie",
            format!("Cookie: portcullis={}\nOrigin: http://{}\nX-Portcullis: 1\n", "0".repeat(64), api.address),
        ),
        ("the page's script", format!("{page}X-Portcullis: 1\n")),
        ("the page without its header", page.clone()),
        ("a foreign page", format!("{cookie}Origin: http://evil.example\nX-Portcullis: 1\n")),
        ("a page at another port", format!("{cookie}Origin: http://localhost:1\nX-Portcullis: 1\n")),
        ("a page in a sandbox", format!("{cookie}Origin: null\nX-Portcullis: 1\n")),
        ("a foreign fetch", "Sec-Fetch-Site: cross-site\n".to_owned()),
        ("one of the same site", "Sec-Fetch-Site: same-site\nSec-Fetch-Mode: no-cors\n".to_owned()),
        ("another name", "Host: evil.example\n".to_owned()),
        ("another name's token", format!("Host: evil.example\nAuthorization: Bearer {}\n", api.token)),
    ];
    let block = "{\"key\":\"a@b.example\",\"seconds\":60}";
    let asked = "{\"sender\":\"a@b.example\"}";
    // As many codes as there are rows above.
    let requests: [(&str, &str, [u16; 15]); 11] = [
        ("GET /", "", [200, 401, 401, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403]),
        ("GET /metrics", "", [200, 401, 401, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403]),
        ("GET /api/v1/status", "", [200, 401, 401, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403]),
        ("HEAD /api/v1/status", "", [200, 401, 401, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403]),
        (
            "GET /api/v1/sessions/x/events",
            "",
            [401, 401, 401, 404, 404, 401, 404, 404, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "HEAD /api/v1/sessions/x/events",
            "",
            [401, 401, 401, 404, 404, 401, 404, 404, 403, 403, 403, 403, 403, 403, 403],
        ),
        ("POST /api/v1/explain", asked, [200, 401, 401, 200, 200, 200, 200, 200, 403, 403, 403, 403, 403, 403, 403]),
        ("POST /api/v1/blocks", block, [401, 401, 401, 200, 403, 401, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
        (
            "DELETE /api/v1/blocks?key=x@b.example",
            "",
            [401, 401, 401, 404, 403, 401, 404, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        ("POST /api/v1/reload", "", [401, 401, 401, 200, 403, 401, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
        ("POST /nowhere", "", [401, 401, 401, 404, 403, 401, 404, 403, 403, 403, 403, 403, 403, 403, 403]),
    ];
    for (request, body, codes) in requests {
        for ((who, headers), code) in who.iter().zip(codes) {
            let answer = api.ask(request, headers, body);
            assert_eq!(answer.code, code, "{request} by {who}: {answer:?}");
        }
    }
    // A link on another page leads to the page, and to nothing else.
    let link = "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\n";
    assert_eq!((api.ask("GET /", link, "").code, api.ask("GET /api/v1/status", link, "").code), (200, 403));
}

#[test]
fn a_page_logs_in_and_out() {
    let (_site, mut proxy, api) = start();
    let token = json!({ "token": api.token }).to_string();
    let answer = api.ask("POST /login", "", &token);
    let cookie = answer.header("set-cookie").unwrap();
    let (id, flags) = cookie.strip_prefix("portcullis=").unwrap().split_once("; ").unwrap();
    assert_eq!((id.len(), flags), (64, "HttpOnly; SameSite=Strict; Path=/"));
    assert!(id != api.token && !answer.body.contains(id));
    let page = format!("Cookie: portcullis={id}\nOrigin: http://{}\nX-Portcullis: 1\n", api.address);
    let block =
        |headers: &str| api.ask("POST /api/v1/blocks", headers, "{\"key\":\"a@b.example\",\"seconds\":60}").code;
    assert_eq!(block(&page), 200);
    let gone = api.ask("POST /logout", &page, "");
    assert!(gone.header("set-cookie").unwrap().starts_with("portcullis=; ") && gone.code == 200, "{gone:?}");
    assert_eq!(block(&page), 401, "the login is over, whoever still has the cookie");
    let form = "Content-Type: application/x-www-form-urlencoded\n";
    let answer = api.ask("POST /login", form, &format!("token={}", api.token));
    assert_eq!((answer.code, answer.header("location")), (303, Some("/")), "{answer:?}");
    for (headers, body, code) in [
        ("", "{\"token\":\"no\"}", 401),
        (form, "token=no", 401),
        (form, "tokens=no", 400),
        ("", "{}", 400),
        ("Origin: http://evil.example\n", &*token, 403),
    ] {
        assert_eq!(api.ask("POST /login", headers, body).code, code, "{headers}{body}");
    }
    proxy.wait_for("wrong token");
    // Guessing is slow, whatever is guessed.
    let mut codes = (0..40).map(|_| api.ask("POST /login", "", &token)).map(|answer| (answer.code, answer));
    let (_, limited) = codes.find(|(code, _)| *code == 429).unwrap();
    assert_eq!(limited.header("retry-after"), Some("10"));
    assert!(!proxy.log().contains(&api.token) && !proxy.log().contains(id), "{}", proxy.log());
}

/// A form without JavaScript: it carries a word that is its login's.
#[test]
fn a_form_of_the_page_carries_its_word() {
    let (site, _proxy, api) = start();
    let [cookie, other] = [api.log_in(), api.log_in()];
    site.run(&["block", "a@b.example"]);
    let page = |headers: &str| api.ask("GET /?lift=a@b.example", headers, "").body;
    let word = |page: &str| page.split("name=\"csrf\" value=\"").nth(1)?.split('"').next().map(str::to_owned);
    let ours = word(&page(&format!("Cookie: {cookie}\n"))).unwrap();
    assert!(ours.len() == 64 && Some(&ours) != word(&page(&format!("Cookie: {other}\n"))).as_ref());
    assert_ne!(word(&page("")).as_ref(), Some(&ours));
    let press = |cookie: &str, origin: &str, form: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let answer = api.ask("POST /unblock", &format!("Cookie: {cookie}\n{origin}{kind}\n"), form);
        (answer.code, answer.header("location").map(str::to_owned))
    };
    let (origin, key) = (format!("Origin: http://{}\n", api.address), "key=a%40b.example");
    let good = format!("{key}&csrf={ours}");
    for (cookie, origin, form) in [
        (&*cookie, &*origin, key.to_owned()),
        (&cookie, &origin, format!("{key}&csrf=")),
        (&cookie, &origin, format!("{key}&csrf={}", &ours[1..])),
        (&cookie, &origin, format!("{key}&csrf={ours}&csrf={ours}")),
        (&other, &origin, good.clone()),
        (&cookie, "", good.clone()),
        (&cookie, "Origin: http://evil.example\n", good.clone()),
        (&cookie, "Origin: null\n", good.clone()),
    ] {
        assert_eq!(press(cookie, origin, &form).0, 403, "{cookie} {origin} {form}");
    }
    assert_eq!(press(&cookie, &origin, &good), (303, Some("/?lifted=a%40b.example".to_owned())));
    assert_eq!(site.run(&["blocks"]).out, "nothing is blocked\n");
}

/// docs/reference/api.md: its table, and what it tells to type.
#[test]
fn the_reference_is_what_there_is() {
    let (site, _proxy, api) = start();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/api.md")).unwrap();
    let rows = text.lines().filter(|line| line.contains(" /api/v1/") && line.starts_with("| `"));
    let rows: BTreeMap<String, bool> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            (cells[0].trim_matches(['|', ' ', '`']).to_owned(), cells[1] == "token")
        })
        .collect();
    let document = api.get("/api/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation["security"].is_array())
        })
    });
    assert_eq!(rows, operations.collect::<BTreeMap<_, _>>());
    let mut examples = 0;
    for block in text.split("```sh\n").skip(1) {
        let script = block.split("```").next().unwrap();
        let token = site.path("portcullis-token").display().to_string();
        let script =
            script.replace("127.0.0.1:8025", &api.address).replace("/var/lib/portcullis/portcullis-token", &token);
        let outcome = Command::new("sh").args(["-ec", &script]).output().unwrap();
        let told = String::from_utf8(outcome.stdout).unwrap();
        assert!(outcome.status.success() && !told.contains("{\"error\""), "{script}\n{told}");
        examples += told.matches('{').count().min(1);
    }
    assert_eq!(examples, 2);
}

/// Requests as no library sends them. 0: no answer at all.
#[test]
fn hand_made_requests() {
    let (_site, _proxy, api) = start();
    let address = &api.address;
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let host = format!("Host: {address}\r\n");
    let status = "/api/v1/status";
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("plain", get(status, &host).into(), 200),
        ("a whole URL", get(&format!("http://{address}{status}"), &host).into(), 200),
        ("a whole URL of another host", get(&format!("http://evil.example{status}"), &host).into(), 403),
        ("with a user", get(status, "Host: localhost@evil.example\r\n").into(), 403),
        ("no Host", get(status, "").into(), 400),
        ("an empty Host", get(status, "Host:\r\n").into(), 400),
        ("two Hosts", get(status, &format!("{host}{host}")).into(), 400),
        ("two Hosts, one of them ours", get(status, &format!("{host}Host: evil.example\r\n")).into(), 400),
        ("HTTP/1.0", format!("GET {status} HTTP/1.0\r\n\r\n").into(), 400),
        ("in capitals", get(status, "Host: LocalHost:80\r\n").into(), 200),
        ("IPv6", get(status, "Host: [::1]:8025\r\n").into(), 200),
        ("an address of the wire", get(status, "Host: 192.0.2.1\r\n").into(), 403),
        ("a name that begins like ours", get(status, "Host: localhost.evil.example\r\n").into(), 403),
        ("a name that ends like ours", get(status, "Host: evil.localhost\r\n").into(), 403),
        ("CONNECT", format!("CONNECT {address} HTTP/1.1\r\n{host}Connection: close\r\n\r\n").into(), 401),
        ("OPTIONS *", format!("OPTIONS * HTTP/1.1\r\n{host}Connection: close\r\n\r\n").into(), 404),
        ("a NUL in the target", get("/api\0/v1", &host).into(), 400),
        ("a NUL in a header", get(status, &format!("{host}X: a\0b\r\n")).into(), 400),
        ("a header without a colon", get(status, &format!("{host}X\r\n")).into(), 400),
        ("a folded header", get(status, &format!("{host}X: a\r\n b\r\n")).into(), 400),
        ("too many headers", get(status, &format!("{host}{}", "X: a\r\n".repeat(100))).into(), 431),
        ("a large header", get(status, &format!("{host}X: {}\r\n", "a".repeat(300_000))).into(), 431),
        ("a long target", get(&format!("/{}", "a".repeat(70_000)), &host).into(), 414),
        ("no HTTP at all", b"EHLO client.example\r\n\r\n".to_vec(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
    ];
    for (what, octets, code) in rows {
        assert_eq!(api.raw(&octets), code, "{what}");
    }
    let post = |headers: &str, body: &str| {
        let head = format!("POST /api/v1/blocks HTTP/1.1\r\n{host}Authorization: Bearer {}\r\n", api.token);
        api.raw(format!("{head}Content-Type: application/json\r\nConnection: close\r\n{headers}\r\n{body}").as_bytes())
    };
    let body = "{\"key\":\"a@b.example\",\"seconds\":60}";
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(post("Transfer-Encoding: chunked\r\n", &chunked), 200);
    assert_eq!(post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400);
    assert_eq!(post("Transfer-Encoding: gzip\r\n", body), 400);
    assert_eq!(post("Content-Length: 35\r\nContent-Length: 3\r\n", body), 400);
    assert_eq!(post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", body.len()), &chunked), 200);
    assert_eq!(post("Content-Length: 99999999999999999999\r\n", body), 400);
    let endless = format!("ffff\r\n{}\r\n", "a".repeat(0xffff));
    assert_eq!(post("Transfer-Encoding: chunked\r\n", &endless), 413);
}

#[test]
fn a_connection_may_ask_again_and_pipeline() {
    let (_site, _proxy, api) = start();
    let mut stream = api.connect();
    let one = format!("GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
    let last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
}

#[test]
fn too_many_requests_are_told_to_wait_and_the_operator_is_not() {
    let (_site, _proxy, api) = start();
    let one = format!("GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
    // As many as it takes on this machine: they come back by the second.
    until("the limit is reached", || {
        let mut stream = api.connect();
        let last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        stream.write_all(format!("{}{last}", one.repeat(3000)).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let limited = text.find("HTTP/1.1 429").map(|at| &text[at..]);
        limited.is_some_and(|answer| answer.to_ascii_lowercase().contains("retry-after: 1\r\n"))
            && api.operator("GET /api/v1/status", "").code == 200
    });
}

#[test]
fn a_session_is_listed_with_what_it_does_until_it_ends() {
    let (_site, proxy, api) = start();
    let shown = || api.get("/api/v1/sessions").json();
    assert_eq!(shown(), json!({ "sessions": [], "total": 0 }));
    let mut client = proxy.client();
    assert!(client.reply().starts_with("220 "));
    let one = |wanted: &str| {
        let answer = shown();
        api.holds(&json!({ "$ref": "#/components/schemas/Sessions" }), &answer, wanted);
        assert_eq!((&answer["total"], &answer["sessions"][0]["phase"]), (&json!(1), &json!(wanted)), "{answer}");
        answer["sessions"][0].clone()
    };
    assert_eq!(one("connected")["helo"], Value::Null);
    client.dialog(&[("EHLO mx.example", "250")]);
    assert_eq!(one("idle")["helo"], "mx.example");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250")]);
    assert_eq!(one("mail")["sender"], "<a@b.example>");
    client.dialog(&[("RCPT TO:<joe@example.org>", "250")]);
    assert_eq!(one("rcpt")["recipients"], 1);
    client.dialog(&[("DATA", "354")]);
    let session = one("data");
    assert_eq!((&session["client"], &session["octets"]), (&json!("127.0.0.1"), &json!(0)), "{session}");
    drop(client);
    until("it is gone", || shown()["total"] == 0);
}

/// What client and backend say to one another is told as it is described, to as many as there may be.
#[test]
fn a_conversation_is_told_until_the_session_ends() {
    let (_site, proxy, api) = start();
    let mut client = proxy.client().hello();
    let session = api.get("/api/v1/sessions").json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    let one = api.get(&format!("/api/v1/sessions/{session}")).json();
    assert_eq!((&one["id"], &one["phase"]), (&json!(session), &json!("idle")), "{one}");
    let path = format!("/api/v1/sessions/{session}/events");
    let mut first = api.operator_events(&path);
    let line = |events: &mut api::Events| {
        let line = events.next("line");
        api.holds(&json!({ "$ref": "#/components/schemas/Line" }), &line, "a line");
        line
    };
    client.dialog(&[("NOOP", "250")]);
    let (asked, answered) = (line(&mut first), line(&mut first));
    let expected = (&json!("client"), &json!("from"), &json!("NOOP"));
    assert_eq!((&asked["side"], &asked["direction"], &asked["text"]), expected);
    assert_eq!((&answered["direction"], &answered["text"]), (&json!("to"), &json!("250 2.0.0 Ok")));
    let mut others: Vec<_> = (1..16).map(|_| api.operator_events(&path)).collect();
    let refused = api.operator(&format!("GET {path}"), "");
    assert_eq!((refused.code, refused.header("retry-after")), (503, Some("10")), "{refused:?}");
    // Strangers' words obey nobody.
    client.dialog(&[("VRFY \u{202e}moc", "252"), ("QUIT", "221")]);
    for events in others.iter_mut().chain([&mut first]) {
        assert_eq!(line(events)["text"], "VRFY \\u{202e}moc");
        let end = events.next("end");
        api.holds(&json!({ "$ref": "#/components/schemas/End" }), &end, "the end");
        assert_eq!((&end["session"], events.is_at_end()), (&json!(session), true));
    }
    until("the session is forgotten", || api.operator(&format!("GET {path}"), "").code == 404);
}

#[test]
fn all_streams_have_the_same_news_and_there_are_not_too_many() {
    let (site, proxy, api) = start();
    let mut first = api.events("/api/v1/events");
    let seen = first.next("status");
    api.holds(&json!({ "$ref": "#/components/schemas/Status" }), &seen, "the event");
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RSET", "250"), ("MAIL FROM:<a@b.example>", "450")]);
    let records = first.next("records");
    api.holds(&json!({ "$ref": "#/components/schemas/Records" }), &records, "the event");
    assert_eq!(records["records"][0]["sender"], "<a@b.example>", "{records}");
    site.run(&["block", "a@b.example"]);
    while first.next("status")["blocks"] != 1 {}
    let mut others: Vec<_> = (1..100).map(|_| api.events("/api/v1/events")).collect();
    let answer = api.get("/api/v1/events");
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("10")), "{answer:?}");
    let times = |events: &mut api::Events| events.next("status")["now"].as_u64().unwrap();
    let last: Vec<u64> = others.iter_mut().map(times).collect();
    assert!(last.iter().all(|now| *now >= seen["now"].as_u64().unwrap()));
    assert_eq!(site.run(&["block", "c@b.example"]).code, 0, "the operator is let in");
    let mut stream = api.connect();
    let head = format!("Host: {}\r\nAuthorization: Bearer {}\r\n", api.address, api.token);
    write!(stream, "GET /api/v1/events HTTP/1.1\r\n{head}\r\n").unwrap();
    let mut code = [0; 12];
    stream.read_exact(&mut code).unwrap();
    assert_eq!(&code, b"HTTP/1.1 200", "the operator has streams of his own");
    drop((first, others));
    until("there is room again", || !matches!(open(&api), Some(503)));
}

/// The code of a new stream.
fn open(api: &Api) -> Option<u16> {
    let mut stream = api.connect();
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", api.address).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    str::from_utf8(&head).ok()?.rsplit(' ').next()?.parse().ok()
}

/// Readers that read nothing, and requests that never end: the operator is answered meanwhile, and they are dropped.
#[test]
fn who_does_not_read_is_dropped_and_holds_up_nobody() {
    let (site, _proxy, api) = start();
    // The answers fill all buffers.
    let deaf = |_| {
        let mut stream = api.connect();
        let one = format!("GET /api/v1/openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
        stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        while stream.write_all(one.repeat(20).as_bytes()).is_ok() {}
        stream
    };
    let slow = |_| {
        let mut stream = api.connect();
        let head =
            format!("POST /api/v1/explain HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", api.address);
        write!(stream, "{head}Content-Length: 100\r\n\r\n{{").unwrap();
        stream
    };
    let deaf: Vec<TcpStream> = (0..50).map(deaf).collect();
    let _slow: Vec<TcpStream> = (0..50).map(slow).collect();
    assert_eq!(site.run(&["block", "a@b.example"]).code, 0);
    let status: Value = site.run(&["status", "--json"]).json();
    assert_eq!(status["blocks"], 1);
    let mut ends = [PollFd::new(deaf[0].as_fd(), PollFlags::POLLHUP)];
    let wait = PollTimeout::try_from(LONG).unwrap();
    assert_eq!(poll(&mut ends, wait).unwrap(), 1, "the connection was not closed");
}
