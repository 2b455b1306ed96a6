//! `recipients.known` with the built program: a validrcptto.cdb made by the real cdbmake, a list that changes, is emptied
//! and goes while it runs, and what `check` and `explain` say of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use proxy::Client;
use proxy::Proxy;
use proxy::Site;

/// Makes a cdb of keys and data with the real cdbmake, as `cdbmake-12` has it do.
fn cdbmake(site: &Site, name: &str, records: &[(&str, &str)]) {
    let (cdb, aside) = (site.path(name), site.path("cdb.tmp"));
    let mut made = Command::new("cdbmake").args([cdb, aside]).stdin(Stdio::piped()).spawn().unwrap();
    let record = |(key, data): &(&str, &str)| format!("+{},{}:{key}->{data}\n", key.len(), data.len());
    let text: String = records.iter().map(record).collect();
    made.stdin.take().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    assert!(made.wait().unwrap().success());
}

fn site(known: &str) -> Site {
    Site::new("", &format!("[recipients]\nknown = {known}"))
}

/// What each recipient of one transaction gets, by the reply's code.
fn hear(client: &mut Client, recipients: &[(&str, &str)]) {
    client.dialog(&[("MAIL FROM:<>", "250")]);
    for (recipient, reply) in recipients {
        client.dialog(&[(&format!("RCPT TO:<{recipient}>"), reply)]);
    }
    client.dialog(&[("RSET", "250")]);
}

#[test]
fn a_validrcptto_cdb_of_the_real_maker() {
    let site = site("[\"control/validrcptto.cdb\"]");
    let records = [("joe@example.org", ""), ("joe-spam@example.org", "-"), ("list-default@example.org", "")];
    cdbmake(&site, "control/validrcptto.cdb", &records);
    let mut proxy = Proxy::start(&site);
    assert!(!proxy.seen().iter().any(|line| line.contains("not read by Portcullis")));
    let mut client = proxy.client().hello();
    let unknown = "550 5.1.1 Recipient <fred@example.org> does not exist";
    hear(
        &mut client,
        &[
            ("Joe@Example.ORG", "250"),
            ("joe-spam@example.org", "550 5.1.1"),
            ("list-return-1-mary=far.example@example.org", "250"),
            ("joe-qmail@example.org", "250"),
            ("postmaster@example.org", "250"),
            ("postmaster", "250"),
            ("fred@example.org", unknown),
            ("fred@else.example", "553 5.7.1"),
        ],
    );
    let line = proxy.wait_for("recipients=fred@example.org");
    assert!(line.starts_with("rcpt ") && line.contains("code=550 reason=unknown_recipient"), "{line}");
    assert!(line.contains("rule=control/validrcptto.cdb"), "{line}");
    cdbmake(&site, "control/validrcptto.cdb", &[("fred@example.org", "")]);
    assert!(proxy.wait_for("reloaded").contains("known_recipients=1"));
    hear(&mut client, &[("fred@example.org", "250"), ("joe@example.org", "550")]);
    // As a copy that was cut off: the last good one stays.
    let whole = fs::read(site.path("control/validrcptto.cdb")).unwrap();
    fs::write(site.path("control/validrcptto.cdb"), &whole[..whole.len() - 1]).unwrap();
    assert!(proxy.wait_for("reload level=error fault").contains("make it again with mkvalidrcptto"));
    hear(&mut client, &[("fred@example.org", "250"), ("joe@example.org", "550")]);
}

#[test]
fn an_empty_list_refuses_nobody() {
    let site = site("[\"known\"]");
    site.write("known", "joe@example.org\n");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let as_before = [("joe@example.org", "250"), ("fred@example.org", "550")];
    hear(&mut client, &as_before);
    let ways: [(&str, &dyn Fn(), &str); 5] = [
        ("emptied", &|| site.write("known", ""), "names no recipient"),
        ("of comments alone", &|| site.rename_over("known", "# joe@example.org\n"), "names no recipient"),
        ("half written", &|| site.write("known", "jo"), "jo"),
        ("cut", &|| site.write("known", "fred@example.org\njoe@exam"), "in the middle of a line"),
        ("gone", &|| fs::remove_file(site.path("known")).unwrap(), "known: not found"),
    ];
    for (what, change, told) in ways {
        change();
        let line = proxy.wait_for("reload level=error fault");
        assert!(line.contains(told), "{what}: {line}");
        proxy.wait_for("the last good configuration stays in force");
        hear(&mut client, &as_before);
    }
    site.rename_over("known", "joe@example.org\nfred@example.org\n");
    assert!(proxy.wait_for("reloaded").contains("known_recipients=2"));
    hear(&mut client, &[("fred@example.org", "250")]);
}

#[test]
fn no_start_without_anybody_and_check_says_what_to_do() {
    let site = site("[\"known\"]");
    let table = [
        ("", "known: names no recipient, so every recipient would be refused: restore a copy"),
        ("joe\n", "known:1: \"joe\" has no domain: write joe@example.org"),
        ("fred@example.org -\n", "known: names only recipients that do not exist"),
    ];
    for (text, told) in table {
        site.write("known", text);
        for command in ["check", "serve"] {
            let outcome = site.run(&[command]);
            assert!(outcome.code != 0 && (outcome.err + &outcome.out).contains(told), "{command}: {text}");
        }
    }
    fs::remove_file(site.path("known")).unwrap();
    let outcome = site.run(&["check"]);
    assert!(outcome.code == 1 && (outcome.err + &outcome.out).contains("known: not found"));
    site.write("known", "joe@else.example\n");
    let outcome = site.run(&["check"]);
    let told = outcome.err + &outcome.out;
    assert!(told.contains("control/rcpthosts:1: recipients.known names no recipient at example.org"), "{told}");
}

#[test]
fn explain_shows_the_line() {
    let site = site("[\"known\", \"more\"]");
    site.write("known", "# ours\njoe@example.org\n");
    site.write("more", "trap@example.org -\n");
    let explain = |recipient: &str| site.run(&["explain", "--sender", "<>", "--recipient", recipient]);
    let known = explain("joe-lists@example.org");
    assert!(known.code == 0 && known.out.contains("known      joe-lists@example.org by known:2\n"), "{known:?}");
    let trap = explain("trap@example.org");
    assert!(trap.code == 1 && trap.out.contains("reason   unknown_recipient\n  rule     more:1\n"), "{trap:?}");
    let unlisted = explain("fred@example.org");
    assert!(unlisted.code == 1 && unlisted.out.contains("rule     recipients.known\n"), "{unlisted:?}");
}
