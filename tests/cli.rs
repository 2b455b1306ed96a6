//! The commands of the built program: what they print, and with which code they end.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::too_many_lines, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fmt::Write;
use std::fs;

use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use serde_json::Value;

#[test]
fn every_command_has_help() {
    let site = Site::new("", "");
    for arguments in [&["--help"][..], &["serve", "--help"], &["check", "--help"], &["explain", "-h"], &["--version"]] {
        let outcome = site.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}");
        assert!(outcome.out.contains(if arguments == ["--version"] { "portcullis 0." } else { "Usage: portcullis" }));
        assert_eq!(outcome.err, "", "{arguments:?}");
    }
}

/// Each is read by the real groff without a warning.
#[test]
fn the_manual_pages_are_written() {
    let site = Site::new("", "");
    let outcome = site.run(&["man", "--to", "man"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    let names: Vec<String> = fs::read_dir(site.path("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["portcullis.1", "portcullis-config.1", "portcullis.toml.5", "portcullis.8"] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    for name in names {
        let page = fs::read_to_string(site.path("man").join(&name)).unwrap();
        assert!(page.is_ascii(), "{name}: {:?}", page.find(|c: char| !c.is_ascii()).map(|at| &page[at..]));
        let mut groff = std::process::Command::new("groff");
        match groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(site.path("man").join(&name)).output() {
            Ok(outcome) => assert!(outcome.status.success() && outcome.stderr.is_empty(), "{name}: {outcome:?}"),
            Err(error) => eprintln!("groff: {error}"),
        }
    }
    let page = fs::read_to_string(site.path("man/portcullis.toml.5")).unwrap();
    for (section, key) in portcullis::config::known_keys() {
        assert!(page.contains(&key.replace('-', "\\-")), "{section} {key}");
    }
}

/// A commit of git, or what a packager said; a program built outside of a repository says that it does not know.
#[test]
fn the_version_is_one_line_or_all_of_it() {
    let site = Site::new("", "");
    let short = site.run(&["-V"]).out;
    assert_eq!(short, format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
    let long = site.run(&["--version"]).out;
    let rest = long.strip_prefix(&short).unwrap_or_else(|| panic!("{long}"));
    let mut words = rest.lines().map(|line| line.split_once(' ').unwrap());
    let (head, commit) = words.next().unwrap();
    let commit = commit.trim();
    let known = commit.len() == 12 && commit.bytes().all(|octet| octet.is_ascii_hexdigit());
    assert!(head == "commit" && (known || commit == "unknown"), "{long}");
    assert_eq!(words.map(|(head, _)| head).collect::<Vec<_>>(), ["target", "TLS", "backends", "features"], "{long}");
    assert!(rest.contains("rustls 0.") && rest.contains("ring 0."), "{long}");
}

#[test]
fn the_default_configuration_is_printed_and_has_no_errors() {
    let site = Site::new("", "");
    let printed = site.run(&["config"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, portcullis::config::DEFAULT_TEXT), "{printed:?}");
    site.write("printed.toml", &printed.out);
    let checked = site.run(&["check", "-c", "printed.toml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let schema: Value = serde_json::from_str(&site.run(&["check", "--schema"]).out).unwrap();
    assert_eq!(schema["properties"]["server"]["type"], "object");
}

#[test]
fn bad_usage_is_64_and_says_what_is_right() {
    let site = Site::new("", "");
    let rows: [(&[&str], &str); 7] = [
        (&[], "Usage"),
        (&["sreve"], "serve"),
        (&["serve", "--lisen", "127.0.0.1:0"], "--listen"),
        (&["explain"], "--sender"),
        (&["explain", "--sender", "a@b.example", "--client", "nobody"], "--client"),
        (&["explain", "--sender", "two words"], "--sender"),
        (&["explain", "--sender", "a@b.example", "--recipient", "@"], "--recipient"),
    ];
    for (arguments, told) in rows {
        let outcome = site.run(arguments);
        assert_eq!(outcome.code, 64, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.out, "", "{arguments:?}");
    }
}

/// A file system that is full, and a reader that has seen enough.
#[test]
fn output_that_is_lost_is_told() {
    let site = Site::new("", "");
    site.write("some.log", "mail session=a verdict=accept sender=<a@b.example>\n");
    for folder in ["mess/0", "info/0", "local/0", "remote/0", "todo", "intd", "bounce", "pid"] {
        fs::create_dir_all(site.path("queue").join(folder)).unwrap();
    }
    let commands: [&[&str]; 5] = [
        &["queue", "list", "--queue", "queue"],
        &["queue", "list", "--json", "--queue", "queue"],
        &["log", "some.log"],
        &["log", "some.log", "--lines"],
        &["check"],
    ];
    for words in commands {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = site.command().args(words).stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.matches("No space left").count()), (Some(74), 1), "{words:?}: {err}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = site.command().args(words).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !err.contains("pipe"), "{words:?}: {err}");
    }
}

#[test]
fn a_good_configuration_has_no_faults_but_may_have_warnings() {
    let site = Site::new("", "");
    fs::create_dir(site.path("queue")).unwrap();
    let outcome = site.run(&["check", "-c", "portcullis.toml"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "portcullis.toml: no errors\n"), "{outcome:?}");
    site.write("control/badmailfrom", "a@b.example\nb.example\n");
    let outcome = site.run(&["check"]);
    assert_eq!(outcome.code, 0);
    let control = site.path("control/badmailfrom");
    let warning = outcome.out.lines().next().unwrap().to_owned();
    assert!(warning.contains("control/badmailfrom:2: "), "{control:?} {warning}");
    assert!(warning.contains("write \"@") && warning.ends_with("(warning)"), "{warning}");
    assert_eq!(site.run(&["check", "--json"]).json()["warnings"][0]["line"], 2);
}

#[test]
fn all_faults_are_told_in_the_files_order_and_json_says_the_same() {
    let site = Site::new("", "");
    site.write("portcullis.toml", FAULTY);
    let outcome = site.run(&["check"]);
    assert_eq!(outcome.code, 1);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines.len(), EXPECTED.len() + 1, "{}", outcome.out);
    for (line, (place, suggestion)) in lines.iter().zip(EXPECTED) {
        assert!(line.starts_with(&format!("portcullis.toml:{place}: ")), "{place}: {line}");
        assert!(line.contains(suggestion), "{suggestion}: {line}");
    }
    assert_eq!(lines[EXPECTED.len()], format!("portcullis.toml: {} errors", EXPECTED.len()));

    let json = site.run(&["check", "--json"]);
    assert_eq!(json.code, 1);
    let faults = json.json()["faults"].as_array().unwrap().clone();
    let as_text = faults.iter().fold(String::new(), |mut text, fault| {
        let field = |name: &str| fault[name].as_str().unwrap().to_owned();
        writeln!(text, "{}:{}:{}: {}", field("file"), fault["line"], fault["column"], field("what")).unwrap();
        text
    });
    assert_eq!(as_text, lines[..EXPECTED.len()].join("\n") + "\n");
    let serve = site.run(&["serve"]);
    assert_eq!((serve.code, serve.err), (78, as_text));
    // The lists have errors too: there is nothing to explain by.
    let explain = site.run(&["explain", "--sender", "a@b.example"]);
    assert!(explain.code == 1 && explain.err.contains(EXPECTED[0].0) && explain.out.is_empty(), "{explain:?}");
}

#[test]
fn a_configuration_that_is_not_there() {
    let site = Site::new("", "");
    for command in [&["check", "-c", "none.toml"][..], &["serve", "-c", "none.toml"]] {
        let outcome = site.run(command);
        assert_eq!(outcome.code, if command[0] == "serve" { 78 } else { 1 }, "{outcome:?}");
        assert!(format!("{}{}", outcome.out, outcome.err).starts_with("none.toml: "), "{outcome:?}");
    }
    let mut command = site.command();
    command.args(["check"]).env("PORTCULLIS_CONFIG", "other.toml");
    assert_eq!(command.output().unwrap().status.code(), Some(1), "the environment names it");
}

#[test]
fn a_configuration_that_is_named_and_not_there_says_what_to_do() {
    let site = Site::new("", "");
    for command in ["check", "serve", "status"] {
        let outcome = site.run(&[command, "-c", "nofile"]);
        assert_eq!(outcome.code, if command == "serve" { 78 } else { 1 }, "{command}: {outcome:?}");
        let told = format!("{}{}", outcome.out, outcome.err);
        assert!(told.contains("nofile: no such file; `portcullis init` writes one"), "{command}: {told}");
    }
}

#[test]
fn faults_of_lists_and_rules_have_their_line() {
    let site = Site::new("", "[senders]\nblocked = [\"more\"]\ndialect = \"extended\"");
    site.write("more", "a@b.example\n\nb.example\n");
    site.write("tcp.smtp", "127.:allow\n192.0.2.1:nonsense\n");
    let outcome = site.run(&["check"]);
    assert_eq!(outcome.code, 1);
    for told in ["more:3: ", "tcp.smtp:2: "] {
        assert!(outcome.out.contains(told), "{told}: {}", outcome.out);
    }
}

#[test]
fn explain_says_who_decides() {
    let site = table_site();
    for (what, arguments, code, told) in EXPLAINED {
        let outcome = site.run(&[&["explain"], arguments].concat());
        assert_eq!(outcome.code, code, "{what}: {outcome:?}");
        told.iter().for_each(|told| assert!(outcome.out.contains(told), "{what}: {told}: {}", outcome.out));
        let json = site.run(&[&["explain", "--json"], arguments].concat());
        assert_eq!(json.code, code, "{what}");
        let verdict = json.json()["verdict"].as_str().unwrap().to_owned();
        assert_eq!(verdict, ["accept", "reject", "defer"][usize::try_from(code).unwrap()], "{what}");
    }
}

/// What it is, the arguments, the exit code, what is told.
const EXPLAINED: [(&str, &[&str], i32, &[&str]); 11] = [
    (
        "accepted",
        &["--sender", "a@b.example", "--recipient", "r@example.org"],
        0,
        &["accept     RCPT TO:<r@example.org>"],
    ),
    (
        "a blocked sender",
        &["--sender", "NEWS@Silly.example"],
        1,
        &["554 5.7.1", "blocked_sender", "control/badmailfrom:2"],
    ),
    ("oversize", &["--sender", "a@b.example", "--size", "20000"], 1, &["552 5.3.4", "oversize_declared", "size.limit"]),
    (
        "not local",
        &["--sender", "a@b.example", "--recipient", "r@else.example"],
        1,
        &["553 5.7.1", "not_local", "rcpthosts"],
    ),
    (
        "badrcptto",
        &["--sender", "a@b.example", "--recipient", "trap@example.org"],
        1,
        &["blocked_recipient", "control/badrcptto:1"],
    ),
    (
        "denied",
        &["--sender", "a@b.example", "--client", "192.0.2.66"],
        1,
        &[
            "accept     connect from 192.0.2.66",
            "reply    554 5.7.1 Client 192.0.2.66 is blocked; questions: ask@example.org [session]",
            "blocked_client",
            "tcp.smtp:1",
        ],
    ),
    (
        "may relay",
        &["--sender", "a@b.example", "--recipient", "r@else.example", "--client", "10.1.2.3"],
        0,
        &["tcp.smtp:2", "accept     RCPT TO:<r@else.example>"],
    ),
    (
        "no domains, and dots",
        &["--sender", "root", "--recipient", "a..b"],
        0,
        &["accept     MAIL FROM:<root>", "accept     RCPT TO:<a..b>"],
    ),
    (
        "a route",
        &["--sender", "a@b.example", "--recipient", "r%else.example@example.org"],
        1,
        &["553 5.7.1", "not_local", "recipients.routing"],
    ),
    ("the null sender", &["--sender", "<>", "--recipient", "r@example.org"], 0, &["MAIL FROM:<>"]),
    (
        "several recipients, caps differ",
        &["--sender", "a@b.example", "--recipient", "r@example.org", "--recipient", "fred@example.org"],
        2,
        &["accept     RCPT TO:<r@example.org>", "452 4.5.3", "too_many_recipients"],
    ),
];

/// Client, sender, recipients, SIZE.
const CASES: [(&str, &str, &[&str], Option<u64>); 37] = [
    ("192.0.2.1", "a@b.example", &["r@example.org"], None),
    ("192.0.2.1", "a@b.example", &["r@example.org"], Some(10_000)),
    ("192.0.2.1", "a@b.example", &["r@example.org"], Some(10_001)),
    ("192.0.2.1", "a@b.example", &["r@example.org"], Some(u64::MAX)),
    ("192.0.2.1", "a@b.example", &["r@example.org"], Some(0)),
    ("192.0.2.1", "<>", &["r@example.org"], None),
    ("192.0.2.1", "<>", &["r@else.example"], None),
    ("192.0.2.1", "news@silly.example", &["r@example.org"], None),
    ("192.0.2.1", "News@SILLY.example", &["r@example.org"], None),
    ("192.0.2.1", "<\"news\"@silly.example>", &["r@example.org"], None),
    ("192.0.2.1", "<@relay.example:news@silly.example>", &["r@example.org"], None),
    ("192.0.2.1", "news@silly.example.", &["r@example.org"], None),
    ("192.0.2.1", "news@silly.example", &["r@example.org"], Some(99_999)),
    ("192.0.2.1", "anybody@host.example", &["r@example.org"], None),
    ("192.0.2.1", "anybody@sub.host.example", &["r@example.org"], None),
    ("192.0.2.1", "try..this.@d.example", &["a..b@example.org", "b.@example.org", ".c@else.example"], None),
    ("192.0.2.1", "<root>", &["<joe>"], None),
    ("192.0.2.1", "a@cabinet-.example", &["a%else.example@example.org", "else.example!a@example.org"], None),
    ("192.0.2.1", "a@b.example", &["<\"a@else.example\"@example.org>", "<a%else.example>"], None),
    ("10.9.9.9", "a@b.example", &["a%else.example@example.org", "else.example!a"], None),
    ("192.0.2.1", "a@b.example", &["r@else.example"], None),
    ("192.0.2.1", "a@b.example", &["r@EXAMPLE.org"], None),
    ("192.0.2.1", "a@b.example", &["r@sub.example.org"], None),
    ("192.0.2.1", "a@b.example", &["r@x.example.net"], None),
    ("192.0.2.1", "a@b.example", &["trap@example.org"], None),
    ("192.0.2.1", "a@b.example", &["Trap@example.org", "r@example.org"], None),
    ("192.0.2.1", "a@b.example", &["r@example.org", "trap@example.org", "r@else.example"], None),
    ("192.0.2.1", "a@b.example", &["fred@example.org"], Some(5_001)),
    ("192.0.2.1", "a@b.example", &["fred@example.org"], Some(5_000)),
    ("192.0.2.1", "a@b.example", &["fred@example.org", "r@example.org"], None),
    ("192.0.2.1", "a@b.example", &["r@example.org", "fred@example.org"], Some(6_000)),
    ("192.0.2.1", "a@b.example", &["1@example.org", "2@example.org", "3@example.org", "4@example.org"], None),
    ("192.0.2.66", "a@b.example", &["r@example.org"], None),
    ("10.9.9.9", "a@b.example", &["r@else.example"], Some(50)),
    ("10.9.9.9", "news@silly.example", &["r@else.example"], None),
    ("10.9.9.9", "a@b.example", &["trap@example.org"], None),
    ("2001:db8::7", "a@b.example", &["r@else.example"], Some(700)),
];

#[test]
fn explain_and_serve_give_the_same_replies() {
    let site = table_site();
    let proxy = Proxy::start(&site);
    let mut differences = String::new();
    for case in CASES {
        let explained = explained(&site, case);
        let served = served(&proxy, case);
        let agrees = |(explained, served): (&(String, Option<String>), &(String, String))| {
            explained.0 == served.0
                && explained.1.as_ref().map_or(served.1.starts_with('2'), |reply| *reply == served.1)
        };
        if explained.len() != served.len() || !explained.iter().zip(&served).all(agrees) {
            writeln!(differences, "{case:?}\n  explain {explained:?}\n  serve   {served:?}").unwrap();
        }
    }
    assert_eq!(differences, "");
}

/// In the order of the commands: what was said, and the refusal.
fn explained(site: &Site, case: (&str, &str, &[&str], Option<u64>)) -> Vec<(String, Option<String>)> {
    let (client, sender, recipients, size) = case;
    let mut arguments = vec!["explain", "--json", "--client", client, "--sender", sender];
    recipients.iter().for_each(|recipient| arguments.extend(["--recipient", recipient]));
    let size = size.map(|size| size.to_string());
    size.iter().for_each(|size| arguments.extend(["--size", size]));
    let json = site.run(&arguments).json();
    let step = |step: &Value| {
        let reply = step["reply"].as_str().map(|reply| proxy::without_session(reply).to_owned());
        (step["command"].as_str().unwrap().to_owned(), reply)
    };
    let mut steps: Vec<_> = json["steps"].as_array().unwrap().iter().map(step).collect();
    steps.sort();
    steps
}

fn served(proxy: &Proxy, case: (&str, &str, &[&str], Option<u64>)) -> Vec<(String, String)> {
    let (client, sender, recipients, size) = case;
    let mut session = Client::connect(proxy.addresses[0]);
    let (family, server) = if client.contains(':') { ("TCP6", "::1") } else { ("TCP4", "127.0.0.1") };
    session.send(&format!("PROXY {family} {client} {server} 40000 25\r\n"));
    let mut steps = vec![(format!("connect from {client}"), session.reply())];
    if steps[0].1.starts_with('2') {
        session.dialog(&[("EHLO client.example", "250")]);
        let sender = if sender.starts_with('<') { sender.to_owned() } else { format!("<{sender}>") };
        let size = size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let reply = session.say(&format!("MAIL FROM:{sender}{size}"));
        let refused = !reply.starts_with('2');
        // As it goes to the backend: without the route, and the final dot.
        let shown = sender.replace("@relay.example:", "").replace(".>", ">");
        steps.push((format!("MAIL FROM:{shown}{size}"), reply));
        for recipient in recipients.iter().filter(|_| !refused) {
            let command = format!("RCPT TO:<{}>", recipient.trim_matches(['<', '>']));
            let reply = session.say(&command);
            steps.push((command, reply));
        }
    }
    steps.sort();
    steps
}

fn table_site() -> Site {
    let rest = "[size]\nlimit = \"10000\"\n[[size.recipients]]\nmatch = [\"fred@example.org\"]\nlimit = \"5000\"";
    let site =
        Site::new("max_recipients = 3\ncontact = \"ask@example.org\"\nproxy_protocol_from = [\"127.0.0.0/8\"]", rest);
    site.write("control/badmailfrom", "# spam\nnews@silly.example\n@host.example\n");
    site.write("control/badrcptto", "trap@example.org\n");
    site.write("control/rcpthosts", "example.org\n.example.net\n");
    site.write("tcp.smtp", "192.0.2.66:deny\n10.:allow,RELAYCLIENT=\"\",DATABYTES=\"100\"\n:allow\n");
    site
}

const FAULTY: &str = r#"[server]
listen = ["127.0.0.1:0", "localhost:25"]
max_conections = 5
auth = "tsl"
drain = "30 parsecs"
max_recipients = 0
timeout = { greeting = "0s", comand = "5m" }
proxy_protocol_from = ["192.0.2.0/33"]
[backend]
maildir = "m"
tcp = "127.0.0.1:25"
[qmail]
control = "nowhere"
[size]
limit = "10 apples"
[message]
hold = "yes"
[[throttle]]
name = "a"
count = "connections"
per = ["sender"]
limit = "5/day"
[tls]
required = true
[log]
format = "xml"
[sender]
"#;

/// Place, and a part of what to write instead.
const EXPECTED: [(&str, &str); 16] = [
    ("2:26", "127.0.0.1:"),
    ("3:1", "max_connections"),
    ("4:8", "\"tls\""),
    ("5:9", "\"30s\""),
    ("6:18", "1"),
    ("7:24", "\"30s\""),
    ("7:30", "command"),
    ("8:24", "192.0.2.0/24"),
    ("11:7", "exactly one"),
    ("13:11", "nowhere"),
    ("15:9", "10MB"),
    ("17:8", "true"),
    ("21:7", "client"),
    ("24:12", "certificate"),
    ("26:10", "logfmt"),
    ("27:2", "senders"),
];

#[test]
fn the_drill_tells_what_the_incident_would_do() {
    // One of the shipped throttles ends connections behind a refusal.
    let site = Site::new("", "[repeat]\nmin_size = \"10kB\"\n").with_throttles();
    let outcome = site.run(&["drill", "--copies", "12", "--size", "100kB", "--json"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let rows: Value = serde_json::from_str(&outcome.out).unwrap();
    // Delivered, and refused, of twelve copies.
    for (index, scenario, delivered, rejected) in
        [(0, "acknowledgement lost", 1, 0), (1, "acknowledged", 3, 9), (2, "forward loop", 4, 8)]
    {
        let row = &rows["incident"][index];
        assert_eq!((row["scenario"].as_str().unwrap(), row["copies"].as_u64().unwrap()), (scenario, 12));
        assert_eq!((row["delivered"].as_u64(), row["rejected"].as_u64()), (Some(delivered), Some(rejected)), "{row}");
    }
    let habits = rows["honest"].as_array().unwrap();
    assert_eq!(habits.len(), 20);
    for row in habits {
        assert!(row["sent"].as_u64() > Some(0) && row["sent"] == row["delivered"], "{row}");
        assert_eq!(row["delivered"], row["delivered_without"], "{row}");
    }
    assert_eq!(site.mails(), 0, "nothing is delivered");
    assert!(!site.path("portcullis-state.redb").exists(), "no state is touched");
    let table = site.run(&["drill", "--copies", "1", "--size", "1kB"]).out;
    assert!(table.starts_with("scenario ") && table.lines().count() == 4 + 2 + 20, "{table}");
    let far = site.run(&["drill", "--against", "192.0.2.1:25"]);
    assert!(far.code == 64 && far.err.contains("--force"), "{far:?}");
}
