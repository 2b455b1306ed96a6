//! `block`, `unblock`, `blocks` and `status` on the running program, and who may ask it what.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use proxy::Outcome;
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
    assert_eq!(site.run(&["block", "newsletter@sillyplace.com", "--for", "2h"]).code, 0);
    let listed = site.run(&["blocks"]).out;
    assert!(listed.contains("newsletter@sillyplace.com") && listed.contains("by operator storm"), "{listed}");
    assert_eq!(site.run(&["unblock", "<newsletter@sillyplace.com>"]).code, 0);
    client.dialog(&[("RSET", "250"), ("MAIL FROM:<newsletter@sillyplace.com>", "250")]);
    site.write("control/badmailfrom", "newsletter@sillyplace.com\n");
    let listed = site.run(&["unblock", "newsletter@sillyplace.com"]).err;
    assert!(listed.contains("control/badmailfrom:1 still refuses newsletter@sillyplace.com"), "{listed}");
    // The remedy works.
    let remedy = listed.trim_end().split_once("portcullis ").unwrap().1;
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", &format!("{} {remedy}", proxy::PORTCULLIS)]).current_dir(site.path(""));
    assert!(shell.status().unwrap().success(), "{listed}");
    assert_eq!(fs::read_to_string(site.path("control/badmailfrom")).unwrap(), "");
    let again = site.run(&["unblock", "newsletter@sillyplace.com"]);
    assert_eq!(again.code, 1);
    assert!(again.err.starts_with("no block or throttle applies to newsletter@sillyplace.com"), "{again:?}");
    assert_eq!(site.run(&["blocks"]).out.trim(), "nothing is blocked");
}

#[test]
fn whom_a_throttle_has_blocked_begins_anew_when_it_is_unblocked() {
    let site = slow_site();
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replacen("limit = \"1/hour\"", "limit = \"1/hour\"\naction = \"block\"", 1));
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let mail = "MAIL FROM:<ann@partner.example>";
    client.dialog(&[(mail, "250"), ("RSET", "250"), (mail, "554"), (mail, "554")]);
    let blocks = site.run(&["blocks", "--json"]).json();
    assert_eq!(blocks[0]["throttled"].as_str().map(str::len), Some(32), "{blocks}");
    let outcome = site.run(&["unblock", "slow:ann@partner.example"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    client.dialog(&[(mail, "250"), ("RSET", "250"), (mail, "554")]);
}

#[test]
fn a_client_is_blocked_at_mail() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    assert_eq!(site.run(&["block", "127.0.0.0/8", "--for", "10m", "--yes"]).code, 0);
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<a@b.example>", "554 5.7.1 Client 127.0.0.1 is blocked"), ("QUIT", "221")]);
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

#[test]
fn who_would_block_everybody_is_asked() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    for (key, told) in
        [("0.0.0.0/0", "every IPv4 client"), ("::/0", "every IPv6 client"), ("128.0.0.0/1", "1/2 of all")]
    {
        let refused = site.run(&["block", key]);
        assert_eq!(refused.code, 64, "{refused:?}");
        assert!(refused.err.contains(told) && refused.err.contains("--yes"), "{refused:?}");
    }
    let pattern = site.run(&["block", "*@sillyplace.com"]);
    assert_eq!(pattern.code, 64);
    assert!(pattern.err.contains("write @sillyplace.com for every sender there"), "{pattern:?}");
    assert_eq!(site.run(&["blocks"]).out, "nothing is blocked\n");
    assert_eq!(site.run(&["block", "0.0.0.0/0", "--yes"]).code, 0);
    assert_eq!(site.run(&["unblock", "0.0.0.0/0"]).code, 0);
}

#[test]
fn a_block_that_is_made_shorter_says_so() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    let block = |length: &str| site.run(&["block", "a@b.example", "--for", length]).out;
    assert_eq!(block("2d"), "a@b.example is blocked for 2d\n");
    assert_eq!(block("3d"), "a@b.example is blocked for 3d\n");
    let shortened = block("1h");
    assert!(shortened.starts_with("a@b.example is blocked for 1h; now ends 20"), "{shortened}");
    assert!(shortened.contains(" (was 20"), "{shortened}");
}

#[test]
fn times_are_in_the_operators_zone_which_is_shown() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    site.run(&["block", "a@b.example", "--for", "2d"]);
    let blocks = |zone: Option<&str>| {
        let mut command = site.command();
        command.arg("blocks").env_remove("TZ");
        zone.iter().for_each(|zone| _ = command.env("TZ", zone));
        Outcome::of(&command.output().unwrap())
    };
    let hour_and_zone = |outcome: &Outcome| {
        let words: Vec<&str> = outcome.out.split_whitespace().collect();
        (words[3][..2].parse::<i32>().unwrap(), words[4].to_owned())
    };
    let utc = blocks(Some("UTC"));
    let (hour, zone) = hour_and_zone(&utc);
    assert_eq!((zone.as_str(), utc.err.as_str()), ("UTC", ""));
    for (name, ahead, shown) in [
        ("", 0, "UTC"),
        ("Asia/Tokyo", 9, "JST"),
        (":Asia/Tokyo", 9, "JST"),
        ("/usr/share/zoneinfo/Asia/Tokyo", 9, "JST"),
        ("JST-9", 9, "JST"),
        ("<+03>-3", 3, "+03"),
    ] {
        let told = blocks(Some(name));
        assert_eq!(hour_and_zone(&told), ((hour + ahead) % 24, shown.to_owned()), "{name}: {told:?}");
        assert_eq!(told.err, "", "{name}");
    }
    let berlin = blocks(Some("Europe/Berlin"));
    assert!(["CET", "CEST"].contains(&hour_and_zone(&berlin).1.as_str()), "{berlin:?}");
    for name in ["Europe/Berln", "Berlin", "/etc/passwd", "CET-CEST"] {
        let told = blocks(Some(name));
        assert_eq!(hour_and_zone(&told), (hour, "UTC".to_owned()), "{name}: {told:?}");
        let expected = format!("TZ={name}: no such time zone in /usr/share/zoneinfo, so times are shown in UTC; ");
        assert!(told.err.starts_with(&expected) && told.err.lines().count() == 1, "{name}: {told:?}");
    }
    assert_eq!(blocks(None).err, "");
}

#[test]
fn what_a_throttle_counts_can_be_lifted() {
    let site = slow_site();
    let proxy = Proxy::start(&site);
    let mail = ("MAIL FROM:<joe@b.example>", "250");
    proxy.client().hello().dialog(&[mail, ("RSET", "250"), ("MAIL FROM:<joe@b.example>", "450")]);
    let told = site.run(&["explain", "--sender", "joe@b.example", "--client", "127.0.0.1"]).out;
    let command = told.lines().find_map(|line| line.strip_prefix("to lift    portcullis unblock ")).expect(&told);
    assert_eq!(command, "'slow:joe@b.example'", "{told}");
    let lifted = site.run(&["unblock", command.trim_matches('\'')]);
    assert_eq!((lifted.code, &*lifted.out), (0, "throttle slow starts from zero for joe@b.example\n"), "{lifted:?}");
    proxy.client().hello().dialog(&[mail]);
    // Without the name all that count it; the shadow too.
    assert_eq!(
        site.run(&["unblock", "<Joe@b.example>"]).out,
        "throttles slow and shy start from zero for <Joe@b.example>\n"
    );
    proxy.client().hello().dialog(&[mail]);
    let nobody = site.run(&["unblock", "sue@b.example"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("no block or throttle applies to sue@b.example: see `blocks`"), "{nobody:?}");
}

#[test]
fn what_cannot_be_reached_is_named_with_its_key() {
    let site = Site::new("", "");
    let socket = site.run(&["block", "a@b.example"]);
    assert!(socket.err.contains("admin.sock (admin.listen)"), "{socket:?}");
    site.admin_over_tcp();
    let _proxy = Proxy::start(&site);
    site.write("portcullis-token", "another\n");
    let wrong = site.run(&["block", "a@b.example"]);
    assert!(wrong.err.contains("portcullis-token is not the running proxy's"), "{wrong:?}");
    fs::remove_file(site.path("portcullis-token")).unwrap();
    let absent = site.run(&["block", "a@b.example"]);
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("portcullis-token (admin.token_file) cannot be read"), "{absent:?}");
    assert!(absent.err.contains("restart the proxy, which makes it"), "{absent:?}");
}

/// One request over TCP; the first line of the answer.
fn ask(address: &str, request: &str) -> String {
    whole(address, request).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn over_tcp_host_origin_and_token_are_checked() {
    let site = Site::new("", "");
    let address = site.admin_over_tcp();
    let _proxy = Proxy::start(&site);
    let token = fs::read_to_string(site.path("portcullis-token")).unwrap();
    let body = "{\"key\":\"a@b.example\",\"seconds\":60}";
    let post = |headers: &str| {
        let length = body.len();
        format!(
            "POST /api/v1/blocks HTTP/1.1\nHost: {address}\nContent-Type: application/json\nContent-Length: {length}\n{headers}\n{body}"
        )
    };
    let rows = [
        ("reading on this host", format!("GET /api/v1/status HTTP/1.1\nHost: {address}\n\n"), "200"),
        ("the page", "GET / HTTP/1.1\nHost: localhost\n\n".to_owned(), "200"),
        ("the metrics", format!("GET /metrics HTTP/1.1\nHost: {address}\n\n"), "200"),
        ("another name for us", "GET /api/v1/status HTTP/1.1\nHost: evil.example\n\n".to_owned(), "403"),
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

/// The second MAIL of a sender within an hour is refused by `slow`, and `shy` would refuse it too.
const SLOW: &str = "[[throttle]]\nname = \"slow\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/hour\"\n\
                    [[throttle]]\nname = \"shy\"\ncount = \"mails\"\nper = [\"sender\"]\nlimit = \"1/hour\"\nshadow = true\n";

#[test]
fn the_socket_answers_no_page_of_another_site() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    let body = "{\"key\":\"a@b.example\",\"seconds\":60}";
    let block = |headers: &str| {
        let mut stream = UnixStream::connect(site.path("admin.sock")).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /api/v1/blocks HTTP/1.1\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    for (headers, code) in [
        ("host: localhost\r\n", "200"),
        ("host: localhost:9999\r\norigin: http://localhost:9999\r\n", "200"),
        ("host: localhost:9999\r\norigin: http://evil.example\r\n", "403"),
        ("host: localhost:9999\r\nsec-fetch-site: cross-site\r\n", "403"),
        ("host: evil.example\r\n", "403"),
    ] {
        assert_eq!(block(headers), code, "{headers}");
    }
}

fn slow_site() -> Site {
    Site::new("", SLOW).with_throttles()
}

#[test]
fn status_names_rates_senders_and_storms() {
    let site = slow_site();
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.mail("joe@b.example", "Subject: x");
    (0..6).for_each(|_| client.dialog(&[("MAIL FROM:<Joe@b.example> SIZE=1000000", "450")]));
    let began = proxy.wait_for("storm began");
    for told in ["key=\"127.0.0.0/24 <joe@b.example>\"", "copies=5", "deferred=5", "bytes_spared=5000000", "rule=slow"]
    {
        assert!(began.contains(told), "{told}: {began}");
    }
    let text = site.run(&["status"]).out;
    for told in
        ["STORM          127.0.0.0/24 <joe@b.example>", "6 copies: 0 absorbed, 0 refused, 6 deferred", "6.00 MB"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect();
    let hour: Vec<&str> = row("last hour");
    assert_eq!(hour[..7], ["last", "hour", "1", "1", "0", "6", "0"], "{text}");
    let sender: Vec<&str> = row("<joe@b.example>");
    assert_eq!(sender[1..5], ["1", "0", "6", "0"], "{text}");
    let json = site.run(&["status", "--json"]).json();
    assert_eq!((&json["rates"]["hour"]["deferred"], &json["storms"][0]["copies"]), (&6.into(), &6.into()));
}

#[test]
fn status_can_be_watched() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let mut command = site.command();
    command.args(["status", "--watch", "100ms", "--json"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = proxy::lines_of(child.stdout.take().unwrap());
    let connections = || {
        let line = lines.recv_timeout(proxy::host::LONG).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["connections"].as_u64().unwrap()
    };
    assert_eq!(connections(), 0);
    let _open = proxy.client().hello();
    while connections() == 0 {}
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_watch_that_nobody_reads_ends() {
    let site = Site::new("", "");
    let _proxy = Proxy::start(&site);
    let mut command = site.command();
    command.args(["status", "--watch", "100ms"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Whatever listens where the proxy should.
#[test]
fn what_is_not_the_proxy_is_not_believed() {
    let site = Site::new("", "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    site.admin_at(&listener.local_addr().unwrap().to_string());
    site.write("portcullis-token", "secret\n");
    let rows: [(&[&str], &str, &str, &str); 6] = [
        (&["block", "a@b.example"], "200 OK", "{}", "is not the proxy"),
        (&["unblock", "a@b.example"], "200 OK", "{}", "is not the proxy"),
        (&["blocks"], "200 OK", "{}", "is not the proxy"),
        (&["status"], "200 OK", "hello", "is not the proxy"),
        (&["status", "--json"], "200 OK", "{\"state\":\"well\"}", "is not the proxy"),
        (&["blocks"], "404 Not Found", "\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ];
    for (words, code, answer, told) in rows {
        let (outcome, request) = std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut request, mut some) = (Vec::new(), [0; 4096]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let count = stream.read(&mut some).unwrap();
                    request.extend_from_slice(&some[..count]);
                }
                let length = answer.len();
                write!(stream, "HTTP/1.1 {code}\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
                String::from_utf8(request).unwrap()
            });
            (site.run(words), served.join().unwrap())
        });
        assert!(outcome.code == 1 && outcome.out.is_empty() && outcome.err.contains(told), "{words:?}: {outcome:?}");
        assert_eq!(request.contains("secret"), !request.starts_with("GET"), "{request}");
    }
}

/// While the proxy is down anybody may listen on its port.
#[test]
fn a_stranger_is_not_told_the_token() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new("", "");
    let script = "use IO::Socket::INET; use POSIX; POSIX::setuid(65534); $| = 1; \
                  my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die; \
                  print $s->sockport, qq(\\n); sysread($s->accept, my $octet, 1)";
    let mut stranger = std::process::Command::new("perl");
    let mut stranger = stranger.args(["-e", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let port = proxy::lines_of(stranger.stdout.take().unwrap()).recv_timeout(proxy::host::LONG).unwrap();
    site.admin_at(&format!("127.0.0.1:{port}"));
    site.write("portcullis-token", "secret\n");
    let outcome = site.run(&["block", "a@b.example"]);
    assert!(outcome.code == 1 && outcome.err.contains("a process of uid 65534 listens there"), "{outcome:?}");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn explain_asks_the_running_proxy() {
    let site = slow_site();
    let ask = |sender: &str| site.run(&["explain", "--sender", sender, "--client", "127.0.0.1"]);
    let alone = ask("joe@b.example");
    assert_eq!(alone.code, 0);
    assert!(
        alone.out.contains("not reachable, so blocks and throttles are not included: the proxy does not answer"),
        "{}",
        alone.out
    );
    let proxy = Proxy::start(&site);
    let asked = ask("joe@b.example");
    assert_eq!(asked.code, 0);
    assert!(asked.out.contains("its blocks and throttles are included"), "{}", asked.out);
    proxy.client().hello().dialog(&[("MAIL FROM:<joe@b.example>", "250")]);
    let slowed = ask("joe@b.example");
    assert_eq!(slowed.code, 2);
    assert!(slowed.out.contains("450 4.7.1") && slowed.out.contains("rule     slow"), "{}", slowed.out);
    assert_eq!(ask("sue@b.example").code, 0, "nothing was charged by asking");
    assert_eq!(ask("sue@b.example").code, 0);
    assert_eq!(site.run(&["block", "@b.example"]).code, 0);
    let blocked = ask("joe@b.example");
    assert_eq!(blocked.code, 1, "a reject outranks a throttle");
    assert!(blocked.out.contains("rule     block:@b.example"), "{}", blocked.out);
    assert_eq!(site.run(&["block", "127.0.0.1", "--yes"]).code, 0);
    let blocked = ask("a@else.example").out;
    assert!(blocked.contains("accept     connect from 127.0.0.1"), "{blocked}");
    assert!(blocked.contains("reply    554 5.7.1 Client 127.0.0.1 is blocked"), "{blocked}");
    assert!(blocked.contains("rule     block:127.0.0.1/32"), "{blocked}");
    assert_eq!(ask("no address").code, 64);
}

#[test]
fn explain_says_what_a_connection_over_the_limit_hears() {
    let throttle = "[[throttle]]\nname = \"few\"\ncount = \"connections\"\nper = [\"client\"]\nlimit = \"1/hour\"\n";
    let site = Site::new("", throttle).with_throttles();
    let proxy = Proxy::start(&site);
    drop(proxy.client().hello());
    let heard = proxy.client().reply();
    assert!(heard.starts_with("421 4.7.0 Too many connections, try again in"), "{heard}");
    let told = site.run(&["explain", "--sender", "joe@b.example", "--client", "127.0.0.1"]);
    assert!(told.code == 2 && told.out.contains("421 4.7.0 Too many connections, try again in"), "{told:?}");
}

#[test]
fn metrics_tell_of_throttles_and_answers() {
    let site = slow_site();
    let address = site.admin_over_tcp();
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.mail("joe@b.example", "Subject: x");
    client.dialog(&[("MAIL FROM:<joe@b.example>", "450"), ("QUIT", "221")]);
    let metrics = whole(&address, "GET /metrics HTTP/1.1\nHost: localhost\n\n");
    for line in [
        "portcullis_connections_total{admission=\"granted\"} 1",
        "portcullis_acknowledgements_total{outcome=\"taken\"} 1",
        "portcullis_transactions_total{verdict=\"accept\",reason=\"none\"} 1",
        "portcullis_throttled_total{throttle=\"slow\"} 1",
        "portcullis_shadow_total{throttle=\"shy\"} 1",
        "portcullis_answer_seconds_count 1",
        "portcullis_storms 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
}

/// A harvester's session is a few lines of the log, and all of it is counted: by the metrics, and by who reads the log.
#[test]
fn refusals_are_folded_in_the_log_and_counted_in_full() {
    let site = Site::new("", "");
    site.write("control/rcpthosts", "example.org\n");
    let address = site.admin_over_tcp();
    let proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("FROB", "500 5.5.1"), ("RCPT TO:<a b>", "501 5.1.3")]);
    (0..49).for_each(|user| client.dialog(&[(&format!("RCPT TO:<u{user}@else.example>"), "553")]));
    client.dialog(&[("FROB", "500 5.5.1"), ("QUIT", "221")]);
    client.rest();
    let metrics = whole(&address, "GET /metrics HTTP/1.1\nHost: localhost\n\n");
    for line in [
        "portcullis_recipients_refused_total{reason=\"not_local\"} 49",
        "portcullis_commands_refused_total{reason=\"protocol\"} 3",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let log = proxy.stop();
    let of_session = log.iter().filter(|line| line.contains(" session=")).count();
    assert_eq!(of_session, 22, "{log:#?}");
    assert!(log.iter().any(|line| line.contains("words=\"RCPT TO:<a b>\"")), "{log:#?}");
    let folded = "folded=\"31 rcpt not_local, 1 command protocol\"";
    assert!(log.iter().any(|line| line.starts_with("folded session=") && line.contains(folded)), "{log:#?}");
    site.write("the.log", &log.join("\n"));
    let read = site.run(&["log", "the.log"]).out;
    assert!(read.contains("49 recipients refused (not_local 49)\n3 commands refused (protocol 3)\n"), "{read}");
}

fn whole(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = request.replacen("\nHost:", "\nConnection: close\nHost:", 1);
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_token_that_anybody_may_have_read_is_refused_at_the_start_and_warned_of_later() {
    let site = Site::new("", "");
    site.admin_at("127.0.0.1:0");
    let proxy = Proxy::start(&site);
    let loosen = || fs::set_permissions(site.path("portcullis-token"), fs::Permissions::from_mode(0o666)).unwrap();
    loosen();
    let told = site.run(&["block", "a@b.example"]);
    assert!(told.err.contains("others may read or write it (mode 0666); chmod 600 portcullis-token"), "{told:?}");
    proxy.stop();
    let refused = site.run(&["serve", "-c", "portcullis.toml"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("admin: portcullis-token: others may read or write it (mode 0666)"), "{refused:?}");
    assert!(
        refused.err.contains("chmod 600 portcullis-token, or remove it: the next start makes a new one"),
        "{refused:?}"
    );
    fs::remove_file(site.path("portcullis-token")).unwrap();
    Proxy::start(&site).stop();
}
