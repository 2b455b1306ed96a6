//! What `explain` says of a session beside what the running proxy says to its client: rulings that hang on the session, the
//! state or the backend, and not on the lists alone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::path::Path;
use std::process::Command;

use proxy::Client;
use proxy::Outcome;
use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::without_session;

const THROTTLE: &str = "[[throttle]]\nname = \"few\"\ncount = \"COUNT\"\nper = [\"client\"]\nlimit = \"1/day\"\n";
const MAIL: &[&str] = &["--sender", "a@b.example", "--recipient", "r@example.org"];
const COMMANDS: [&str; 2] = ["MAIL FROM:<a@b.example>", "RCPT TO:<r@example.org>"];

/// As a message that a mailer writes now.
fn letter(number: u32) -> String {
    let date = jiff::fmt::rfc2822::to_string(&jiff::ZonedDateTime::now()).unwrap();
    format!("Message-ID: <{number}@b.example>\nDate: {date}\nSubject: letter\n\nDear Sir,\n\nyours\n")
}

fn throttled(count: &str, rest: &str) -> Site {
    Site::new("", &(THROTTLE.replace("COUNT", count) + rest)).with_throttles()
}

fn explain(site: &Site, arguments: &[&str]) -> Outcome {
    site.run(&[&["explain", "--json", "--client", "127.0.0.1"], arguments].concat())
}

/// The replies that it foretells to all but EHLO; nothing where it says that the command passes.
fn foretold(outcome: &Outcome) -> Vec<String> {
    let json = outcome.json();
    let steps = json["steps"].as_array().unwrap().iter();
    steps.map(|step| step["reply"].as_str().map_or_else(String::new, |it| without_session(it).to_owned())).collect()
}

/// The replies to the banner and to each line, those that only pass left out.
fn heard(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let greeting = client.reply();
    assert!(client.say("EHLO client.example").starts_with("250"));
    let replies = lines.iter().map(|line| client.say(line));
    let refused = |reply: &str| !reply.starts_with(['2', '3']) || reply.contains("Already");
    let shown = |reply: String| if refused(&reply) { reply } else { String::new() };
    std::iter::once(greeting).chain(replies).map(shown).collect()
}

/// Foretells a session, and has it; what both said.
fn both(site: &Site, proxy: &Proxy, arguments: &[&str], lines: &[&str]) -> (i32, Vec<String>) {
    let explained = explain(site, arguments);
    let foretold = foretold(&explained);
    let mut client = proxy.client();
    assert_eq!(foretold, heard(&mut client, lines), "{arguments:?}");
    (explained.code, foretold)
}

#[test]
fn required_tls() {
    let tls = "[tls]\nrequired = true\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"";
    let site = Site::new("", tls);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make.sh");
    assert!(Command::new(script).arg("-o").arg(site.path("tls")).arg("localhost").output().unwrap().status.success());
    let proxy = Proxy::start(&site);
    let (code, said) = both(&site, &proxy, MAIL, &COMMANDS[..1]);
    assert_eq!((code, &*said[1]), (1, "530 5.7.0 Send STARTTLS first"));
    assert_eq!(explain(&site, &[MAIL, &["--tls"]].concat()).code, 0);
}

/// The client hears of it at RCPT, and how often it has tried is not counted by asking.
#[test]
fn a_throttle_that_escalates() {
    let site = throttled("mails", "escalate = 2\n");
    let proxy = Proxy::start(&site);
    assert_eq!(both(&site, &proxy, MAIL, &COMMANDS).0, 0);
    for (code, reply) in
        [(2, "450 4.7.1 Too many messages, try again in "), (1, "554 5.7.1 Too many messages, refused after 2 tries")]
    {
        explain(&site, MAIL);
        let explained = explain(&site, MAIL);
        let told = foretold(&explained);
        assert!(explained.code == code && told[1].is_empty() && told[2].starts_with(reply), "{explained:?}");
        let heard = heard(&mut proxy.client(), &COMMANDS);
        assert!(heard[1].is_empty() && heard[2].starts_with(reply), "{heard:?}");
    }
}

#[test]
fn no_room() {
    let site = Site::new("", "[message]\nmin_free = \"900000000MB\"");
    let proxy = Proxy::start(&site);
    let (code, said) = both(&site, &proxy, MAIL, &COMMANDS[..1]);
    assert!(code == 2 && said[1].starts_with("452 4.3.1"), "{said:?}");
    let told = site.run(&[&["explain"], MAIL].concat()).out;
    assert!(told.contains("  reason   no_room\n"), "{told}");
}

#[test]
fn no_room_for_all_of_a_message() {
    let site = Site::new("", "[message]\nhold_total = \"300kB\"");
    let proxy = Proxy::start(&site);
    let text = format!("Subject: x\n\n{}", "0123456789\n".repeat(40_000));
    site.write("letter", &text);
    let whole = text.replace('\n', "\r\n") + ".";
    let lines = [COMMANDS[0], COMMANDS[1], "DATA", &whole];
    let (code, said) = both(&site, &proxy, &[MAIL, &["--message", "letter"]].concat(), &lines);
    assert!(code == 2 && said[4].starts_with("452 4.3.1"), "{said:?}");
}

/// The files may say otherwise than those that are in force.
#[test]
fn throttles_are_known_by_their_names() {
    let site = throttled("mails", "");
    let proxy = Proxy::start(&site);
    heard(&mut proxy.client(), &COMMANDS[..1]);
    let written = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let first = THROTTLE.replace("COUNT", "mails").replace("few", "first");
    let shy = |text: &str| text.replace("count", "shadow = true\ncount");
    let rows = [
        ("the same", written.clone(), 2),
        ("another stands before it", written.replace("[[throttle]]", &(first.clone() + "[[throttle]]")), 2),
        ("another in its place", written.replace("few", "first"), 0),
        ("it is a shadow", shy(&written), 0),
        ("it is another's limit by now", written.replace("1/day", "5/day"), 2),
    ];
    for (what, text, code) in rows {
        site.write("other.toml", &text);
        let outcome = site.run(&[&["explain", "-c", "other.toml", "--client", "127.0.0.1"], MAIL].concat());
        assert_eq!(outcome.code, code, "{what}: {outcome:?}");
        assert_eq!(outcome.out.contains("  rule     few\nto lift    portcullis unblock 'few:127.0.0.1'"), code == 2);
    }
}

#[test]
fn a_message_that_was_delivered() {
    let site = Site::new("", "[repeat]\nlimit = 2\nmin_size = 1");
    let proxy = Proxy::start(&site);
    let (text, other) = (letter(1), letter(2));
    site.write("letter", &text);
    site.write("other", &other);
    let arguments = [MAIL, &["--message", "letter"]].concat();
    let whole = |text: &str| text.replace('\n', "\r\n") + ".";
    let text = whole(&text);
    let lines = [&COMMANDS[..], &["DATA", &text]].concat();
    for (times, expected) in [(1, ""), (2, ""), (3, "554 5.7.1 This message was already delivered 2 times")] {
        let explained = explain(&site, &arguments);
        let mut client = proxy.client();
        let heard = heard(&mut client, &lines);
        assert_eq!(foretold(&explained), heard);
        assert!(heard[4].starts_with(expected), "{times}: {heard:?}");
        assert_eq!(explained.code, i32::from(!expected.is_empty()), "{times}");
        // It has the reply, so that the next copy is one that was acknowledged.
        client.dialog(&[("QUIT", "221")]);
        client.rest();
    }
    // One that has not spoken since its 250, and then is gone by a reset.
    let lines = [&COMMANDS[..], &["DATA"]].concat();
    let mut client = proxy.client();
    heard(&mut client, &lines);
    client.dialog(&[(&whole(&other), "250")]);
    let arguments = [MAIL, &["--message", "-"]].concat();
    let ask = || {
        let mut command = site.command();
        command.args(["explain", "--json", "--client", "127.0.0.1"]).args(&arguments);
        Outcome::of(&command.stdin(fs::File::open(site.path("other")).unwrap()).output().unwrap())
    };
    let first_line = |outcome: &Outcome| foretold(outcome).pop().unwrap();
    assert!(first_line(&ask()).starts_with("450 4.7.1 This message is being delivered"));
    nix::sys::socket::setsockopt(
        client.stream(),
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
    drop(client);
    let mut proxy = proxy;
    proxy.wait_for("unacknowledged");
    let absorbed = ask();
    assert_eq!((absorbed.code, &*absorbed.json()["verdict"].to_string()), (0, "\"absorb\""));
    assert_eq!(first_line(&absorbed), "250 2.0.0 Already delivered");
    assert_eq!(absorbed.json()["steps"][4]["rule"], "repeat.unacknowledged");
    assert_eq!(first_line(&ask()), "250 2.0.0 Already delivered", "asking changes nothing");
}

#[test]
fn what_the_backend_offers() {
    let site = Site::new("", "");
    // It offers nothing.
    site.write(
        "backend",
        "printf '220 b\\r\\n'\nwhile read -r line; do\ncase $line in\nQUIT*) exit;;\n*) printf '250 b\\r\\n';;\nesac\ndone\n",
    );
    site.write("portcullis.toml", &configuration("", "spawn = [\"/bin/sh\", \"backend\"]", ""));
    let (sender, command) = ("b\u{fc}ro@b.example", "MAIL FROM:<b\u{fc}ro@b.example> SMTPUTF8");
    let arguments = ["--sender", sender, "--recipient", "r@example.org"];
    let alone = site.run(&[&["explain", "--client", "127.0.0.1"], &arguments[..]].concat());
    assert_eq!(alone.code, 0);
    assert!(alone.out.contains("\nbackend    its extensions are not known yet; "), "{}", alone.out);
    let proxy = Proxy::start(&site);
    heard(&mut proxy.client(), &[]);
    let (code, said) = both(&site, &proxy, &arguments, &[command]);
    assert!(code == 1 && said[1].starts_with("553 5.6.7"), "{said:?}");
    assert!(!site.run(&[&["explain"], &arguments[..]].concat()).out.contains("not known"));
    // What needs no more than BODY passes: the parameter is not passed on.
    site.write("letter", &letter(1).replace("Sir", "S\u{ee}r"));
    let explained = explain(&site, &[MAIL, &["--message", "letter"]].concat());
    assert_eq!(explained.json()["steps"][1]["command"], "MAIL FROM:<a@b.example> BODY=8BITMIME");
    assert_eq!(explained.code, 0);
    heard(&mut proxy.client(), &["MAIL FROM:<a@b.example> BODY=8BITMIME"]).iter().for_each(|it| assert_eq!(it, ""));
}

#[test]
fn a_refusal_that_ends_the_connection() {
    let site = throttled("rejections", "burst = 1\n");
    site.write("control/badmailfrom", "a@b.example\n");
    let proxy = Proxy::start(&site);
    let steps = |outcome: &Outcome| outcome.json()["steps"][1].clone();
    assert_eq!(steps(&explain(&site, MAIL))["closes"], false);
    assert_eq!(both(&site, &proxy, MAIL, &COMMANDS[..1]).0, 1);
    let last = steps(&explain(&site, MAIL));
    assert_eq!((&last["rule"], &last["closes"]), (&"control/badmailfrom:1,few".into(), &true.into()), "{last}");
    let told = site.run(&[&["explain", "--client", "127.0.0.1"], MAIL].concat()).out;
    assert!(
        told.ends_with("  then     the connection is closed\nto lift    portcullis unblock 'few:127.0.0.1'\n"),
        "{told}"
    );
    let mut client = proxy.client();
    assert!(heard(&mut client, &COMMANDS[..1])[1].starts_with("554"));
    assert_eq!(client.rest(), "");
}

#[test]
fn fifty_recipients_that_nobody_knows() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let unknown: Vec<String> = (0..51).map(|number| format!("{number}@else.example")).collect();
    let arguments = unknown.iter().flat_map(|recipient| ["--recipient", recipient]);
    let arguments: Vec<&str> = ["--sender", "a@b.example"].into_iter().chain(arguments).collect();
    let told = foretold(&explain(&site, &arguments));
    let lines: Vec<String> = unknown.iter().map(|recipient| format!("RCPT TO:<{recipient}>")).collect();
    let mut client = proxy.client();
    let lines = [&COMMANDS[..1], &lines.iter().map(String::as_str).collect::<Vec<_>>()[..50]].concat();
    let mut heard = heard(&mut client, &lines);
    heard.push(without_session(client.rest().trim_end()).to_owned());
    assert!(heard[52].starts_with("421 4.7.0"), "{heard:?}");
    assert_eq!(told, heard);
}

#[test]
fn large_messages_that_did_not_say_so() {
    let site = Site::new("", "[size]\nlimit = \"1000\"");
    let proxy = Proxy::start(&site);
    let large = "x".repeat(2000) + "\r\n.";
    let lines = [COMMANDS[0], COMMANDS[1], "DATA", &large];
    (0..3).for_each(|_| assert!(heard(&mut proxy.client(), &lines)[4].starts_with("552 5.3.4")));
    let (code, said) = both(&site, &proxy, MAIL, &COMMANDS);
    assert!(
        code == 2 && said[2].starts_with("450 4.7.1 Messages for <r@example.org> were too large before"),
        "{said:?}"
    );
    assert_eq!(explain(&site, &[MAIL, &["--size", "500"]].concat()).code, 0);
}

#[test]
fn guesses_of_names_and_passwords() {
    let throttle = |count: &str| THROTTLE.replace("COUNT", count).replace("client", "client-net").replace("few", count);
    let throttles = throttle("auth_failures") + &throttle("unknown_recipients");
    let site = Site::new("", "");
    site.write(
        "backend",
        "printf '220 b\\r\\n'\nwhile read -r line; do\ncase $line in\nQUIT*) exit;;\nEHLO*) printf '250-b\\r\\n250 AUTH PLAIN\\r\\n';;\n\
         AUTH*) printf '535 no\\r\\n';;\n*) printf '250 b\\r\\n';;\nesac\ndone\n",
    );
    let text = configuration("auth = \"always\"", "spawn = [\"/bin/sh\", \"backend\"]", &throttles);
    site.write("portcullis.toml", &text.replace("throttle = []\n", ""));
    let proxy = Proxy::start(&site);
    heard(&mut proxy.client(), &["AUTH PLAIN AGpvZQB4"]);
    let told = foretold(&explain(&site, &[MAIL, &["--authenticated", "ann"]].concat()));
    assert!(told.len() == 2 && told[1].starts_with("454 4.7.0"), "{told:?}");
    assert_eq!(heard(&mut proxy.client(), &["AUTH PLAIN AGpvZQB4"]), told);
    let unknown = "RCPT TO:<r@else.example>";
    heard(&mut proxy.client(), &[COMMANDS[0], unknown]);
    let told = foretold(&explain(&site, &["--sender", "a@b.example", "--recipient", "r@else.example"]));
    let mut client = proxy.client();
    let mut heard = heard(&mut client, &[COMMANDS[0], unknown]);
    heard.push(without_session(client.rest().trim_end()).to_owned());
    assert!(heard[3].starts_with("421 4.7.0"), "{heard:?}");
    assert_eq!(told, heard);
}

/// Neither in the state, nor in the log.
#[test]
fn asking_leaves_no_trace() {
    let site = throttled("mails", "action = \"block\"\n");
    let proxy = Proxy::start(&site);
    heard(&mut proxy.client(), &COMMANDS[..1]);
    for _ in 0..2 {
        let told = foretold(&explain(&site, MAIL));
        assert!(told[1].starts_with("554 5.7.1 Too many messages, blocked for 900 seconds"), "{told:?}");
    }
    assert_eq!(site.run(&["blocks"]).out, "nothing is blocked\n");
    assert!(!proxy.stop().iter().any(|line| line.starts_with("blocked")));
}

#[test]
fn as_who_has_logged_in() {
    let server = "auth = \"always\"\n";
    let site = Site::new(server, "");
    let relayed = ["--sender", "a@b.example", "--recipient", "r@else.example"];
    let refused = site.run(&[&["explain"], &relayed[..]].concat());
    assert!(refused.code == 1 && refused.out.contains("not_local"), "{refused:?}");
    // Our own server knows no AUTH; what another one knows, nobody has heard.
    let arguments = [&relayed[..], &["--authenticated", "joe"]].concat();
    let unsupported = site.run(&[&["explain"], &arguments[..]].concat());
    assert!(unsupported.out.contains("reject     AUTH PLAIN\n  reply    502 5.5.1"), "{unsupported:?}");
    site.write("portcullis.toml", &configuration(server, "spawn = [\"/bin/true\"]", ""));
    let accepted = site.run(&[&["explain"], &arguments[..]].concat());
    assert!(accepted.code == 0 && accepted.out.contains("accept     AUTH PLAIN\naccept     MAIL"), "{accepted:?}");
    site.write("portcullis.toml", &configuration("auth = \"tls\"", "spawn = [\"/bin/true\"]", ""));
    let in_the_clear = site.run(&[&["explain"], &arguments[..]].concat());
    assert!(in_the_clear.out.contains("  reply    538 5.7.11"), "{in_the_clear:?}");
    assert_eq!(site.run(&[&["explain", "--tls"], &arguments[..]].concat()).code, 0);
}

#[test]
fn what_tcprules_set() {
    let site = Site::new("", "");
    site.write("tcp.smtp", "10.:allow,RELAYCLIENT=\"\",DATABYTES=\"100\"\n:allow\n");
    let arguments = [&["explain", "--client", "10.0.0.1"], MAIL].concat();
    let told = site.run(&arguments).out;
    let expected =
        "tcprules   tcp.smtp:1, key \"10.\"\n  sets     RELAYCLIENT=\"\", DATABYTES=\"100\"\nsize       100 octets";
    assert!(told.starts_with(expected), "{told}");
    let json = site.run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!(json["variables"].to_string(), "{\"DATABYTES\":\"100\",\"RELAYCLIENT\":\"\"}");
    assert!(!site.run(&[&["explain"], MAIL].concat()).out.contains("  sets"));
    // What has no limit of its own is not said to have one.
    let size = |backend: &str| {
        site.write("portcullis.toml", &configuration("", backend, ""));
        let told = site.run(&arguments).out;
        told.lines().find(|line| line.starts_with("size ")).unwrap().to_owned()
    };
    assert_eq!(size("queue = \"/bin/true\""), "size       100 octets by DATABYTES");
    assert!(size("spawn = [\"/bin/true\"]").ends_with(", unless the backend says less"));
}

#[test]
fn what_is_wrong_with_a_message() {
    let site =
        Site::new("", "[size]\nlimit = \"1000\"\n[message]\nmax_hops = 2\nown_hops = 1\nbare_newline = \"reject\"");
    let hops = "Received: by a; x\n".repeat(3);
    let rows: [(&str, &str, &str, &str); 6] = [
        ("in order", "--message", "Subject: x\n\ntext\n", "accept     message\n"),
        ("too large", "--message", &"x".repeat(2000), "552 5.3.4 Message of 2002 octets exceeds the limit of 1000"),
        ("a loop", "--message", &(hops.clone() + "\ntext\n"), "  reason   loop\n  rule     message.max_hops\n"),
        ("a loop in a header", "--header", &(hops + "\ntext\0\n"), "  reason   loop\n"),
        ("NUL", "--message", "Subject: x\n\na\0b\n", "554 5.6.0"),
        ("a bare newline", "--message", "Subject: x\r\n\r\na\nb\r\n", "  reason   bare_newline\n"),
    ];
    for (what, option, text, told) in rows {
        site.write("letter", text);
        let outcome = site.run(&[&["explain", option, "letter"], MAIL].concat());
        assert!(outcome.out.contains("accept     DATA\n") && outcome.out.contains(told), "{what}: {outcome:?}");
        assert_eq!(outcome.code, i32::from(what != "in order"), "{what}");
    }
    let none = ["--message", "letter", "--sender", "a@b.example", "--recipient", "r@else.example"];
    let unsent = site.run(&[&["explain"], &none[..]].concat()).out;
    assert!(unsent.contains("not_local") && !unsent.contains("DATA"), "{unsent}");
}

#[test]
fn what_cannot_be_asked() {
    let site = Site::new("", "[size]\nlimit = \"1000\"");
    fs::create_dir(site.path("folder")).unwrap();
    site.write("empty", "");
    fs::File::create(site.path("large")).unwrap().set_len(70_000_000).unwrap();
    let rows: [(&[&str], &str); 9] = [
        (&["--message", "nofile"], "nofile (--message): "),
        (&["--header", "nofile"], "nofile (--header): "),
        (&["--message", "folder"], "folder (--message): is a directory"),
        (&["--message", "empty"], "empty (--message): is empty"),
        (&["--message", "large"], "large (--message): is over 67109864 octets; --size alone shows"),
        (&["--message", "a", "--header", "b"], "--header"),
        (&["--authenticated", ""], "--authenticated \"\" is not a valid user name"),
        (&["--helo", "a\nb"], "--helo \"a\\nb\" is more than one line"),
        (&["--size", "much"], "--size"),
    ];
    for (arguments, told) in rows {
        let outcome = site.run(&[&["explain"], MAIL, arguments].concat());
        assert!(
            outcome.code == 64 && outcome.err.contains(told) && outcome.out.is_empty(),
            "{arguments:?}: {outcome:?}"
        );
    }
    let alone = site.run(&["explain", "--sender", "a@b.example", "--message", "empty"]);
    assert!(alone.code == 64 && alone.err.contains("--recipient"), "{alone:?}");
    let refused = site.run(&[&["explain", "--helo", "a\u{1}b"], MAIL].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("\n  reply    500 5.5.2") && !refused.out.contains("MAIL"), "{refused:?}");
}
