//! The commands of an operator where the configuration has errors, is not where it is looked for, or is no TOML at all: the
//! proxy runs on by its last good one, and must be told what to do all the same.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use proxy::Outcome;
use proxy::PORTCULLIS;
use proxy::Proxy;
use proxy::Site;

const NEWSLETTER: &str = "newsletter@sillyplace.com";

/// Adds a line to the configuration that is none.
fn spoil(site: &Site) {
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &format!("{text}\n[serevr]\nlisten = 5\n"));
}

/// Runs a command that has to do its work, and to say once that there is an error.
fn warned(site: &Site, arguments: &[&str]) -> Outcome {
    let outcome = site.run(arguments);
    assert_eq!(outcome.err.matches("there is no section serevr").count(), 1, "{arguments:?}: {outcome:?}");
    assert!(outcome.err.contains("(1 error, run portcullis check; continuing"), "{arguments:?}: {outcome:?}");
    outcome
}

#[test]
fn a_configuration_with_an_error_does_not_stop_the_operator() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    spoil(&site);
    let done = |arguments: &[&str], told: &str| {
        let outcome = warned(&site, arguments);
        assert!(outcome.code == 0 && outcome.out.contains(told), "{arguments:?}: {outcome:?}");
    };
    done(&["block", NEWSLETTER], NEWSLETTER);
    done(&["blocks"], NEWSLETTER);
    done(&["status"], "connections");
    done(&["unblock", NEWSLETTER], NEWSLETTER);
    done(&["block", NEWSLETTER, "--file"], "control/badmailfrom:1");
    done(&["unblock", NEWSLETTER, "--file"], "control/badmailfrom:1");
    for folder in ["mess/0", "info/0", "local/0", "remote/0", "todo", "intd", "bounce", "pid"] {
        fs::create_dir_all(site.path("queue").join(folder)).unwrap();
    }
    done(&["queue", "list"], "0 messages");
    // The remedy works.
    let check = site.run(&["check"]);
    assert!(check.code == 1 && check.out.contains("serevr"), "{check:?}");
    drop(proxy);
}

/// What the files say now is not what holds: the running proxy explains by what it has.
#[test]
fn an_explanation_goes_by_what_is_in_force() {
    let site = Site::new("", "[size]\nlimit = \"1MB\"");
    let proxy = Proxy::start(&site);
    let explain = ["explain", "--sender", "a@b.example", "--recipient", "r@example.org"];
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replace("\"1MB\"", "\"1MBB\""));
    let outcome = site.run(&explain);
    assert!(outcome.err.contains("size.limit cannot be \"1MBB\""), "{outcome:?}");
    assert!(outcome.out.contains("size       1000000 octets by size.limit"), "{outcome:?}");
    assert!(outcome.out.contains("by the configuration that it has in force"), "{outcome:?}");
    let json = site.run(&[&explain[..], &["--json"]].concat()).json();
    assert_eq!((&json["configuration"], &json["size_limit"]), (&"running proxy".into(), &1_000_000.into()));
    drop(proxy);
    let outcome = site.run(&explain);
    assert!(outcome.out.contains("not reachable; by the files as far as they could be read"), "{outcome:?}");
    assert!(outcome.out.contains("size       25000000 octets by size.limit (default)"), "{outcome:?}");
    assert_eq!(
        site.run(&[&explain[..], &["--json"]].concat()).json()["configuration"],
        "files without what has errors"
    );
}

#[test]
fn a_file_that_is_no_toml_leads_to_the_socket_beside_it() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    for damage in [&b"\x7fELF\0\0\xff\xfe"[..], b"<html>\n", b"l\0i\0s\0t\0", b""] {
        fs::write(site.path("portcullis.toml"), damage).unwrap();
        let outcome = blocks(&site);
        assert!(outcome.code == 0 && outcome.out.contains("nothing is blocked"), "{damage:?}: {outcome:?}");
        assert!(outcome.err.contains("trying admin.sock"), "{damage:?}: {outcome:?}");
    }
    drop(proxy);
    let outcome = blocks(&site);
    assert!(outcome.code == 1 && outcome.err.contains("portcullis check"), "{outcome:?}");
}

/// `blocks` in a network of its own, where nothing has the default port: whoever had it would be asked.
fn blocks(site: &Site) -> Outcome {
    let mut command = Command::new("unshare");
    command.arg("--net").current_dir(site.path("")).env_remove("PORTCULLIS_CONFIG");
    if !nix::unistd::Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    Outcome::of(&command.args([PORTCULLIS, "blocks"]).output().unwrap())
}

/// A comment in Latin-1.
#[test]
fn the_rest_of_a_file_with_an_octet_that_is_no_utf_8_is_read() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    let text = fs::read(site.path("portcullis.toml")).unwrap();
    fs::write(site.path("portcullis.toml"), [&b"# f\xfcr das B\xfcro\n"[..], &text].concat()).unwrap();
    let outcome = site.run(&["blocks"]);
    assert!(outcome.code == 0 && outcome.err.contains("portcullis.toml:1:4: "), "{outcome:?}");
    drop(proxy);
}

#[test]
fn where_a_configuration_is_looked_for() {
    let site = Site::new("", "");
    fs::create_dir(site.path("elsewhere")).unwrap();
    let mut command = site.command();
    let outcome = Outcome::of(&command.current_dir(site.path("elsewhere")).args(["blocks"]).output().unwrap());
    let is_installed =
        ["/etc/portcullis.toml", "/etc/portcullis/portcullis.toml"].iter().any(|it| fs::exists(it).unwrap());
    if outcome.code == 1 && !is_installed {
        for told in ["no configuration found", "/etc/portcullis.toml, /etc/portcullis/portcullis.toml", "-c FILE"] {
            assert!(outcome.err.contains(told), "{outcome:?}");
        }
    }
    // The remedies.
    let proxy = Proxy::start(&site);
    let folder = site.path("");
    let outcome = site.run(&["blocks", "-c", folder.to_str().unwrap()]);
    let remedy = site.path("portcullis.toml").display().to_string();
    assert!(outcome.code == 1 && outcome.err.contains(&format!("is a folder; write -c {remedy}")), "{outcome:?}");
    assert_eq!(site.run(&["blocks", "-c", &remedy]).code, 0);
    let outcome = site.run(&["blocks", "-c", site.path("elsewhere").to_str().unwrap()]);
    assert!(outcome.err.contains("is a folder without a portcullis.toml"), "{outcome:?}");
    drop(proxy);
}

#[test]
fn a_drill_names_the_errors_and_resolves_names() {
    let site = Site::new("", "");
    spoil(&site);
    let outcome = site.run(&["drill", "--copies", "1", "--size", "1kB"]);
    assert!(outcome.err.contains("portcullis.toml:"), "{outcome:?}");
    assert!(outcome.err.contains("1 error: Portcullis does not start with this"), "{outcome:?}");
    assert!(outcome.out.contains("acknowledged"), "{outcome:?}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rows = [
        (64, "localhost".to_owned(), "write a host and a port, such as localhost:25"),
        (64, "25".to_owned(), "write a host and a port"),
        (64, "::1".to_owned(), "write a host and a port"),
        (64, "localhost:smtp".to_owned(), "write a host and a port"),
        (64, "nowhere.invalid:25".to_owned(), "the name has no address"),
        (64, "192.0.2.1:25".to_owned(), "add --force"),
        (1, format!("localhost:{port}"), "is an SMTP server running there?"),
    ];
    for (code, against, told) in rows {
        let outcome = site.run(&["drill", "--copies", "1", "--against", &against]);
        assert!(outcome.code == code && outcome.err.contains(told), "{against}: {outcome:?}");
    }
}

/// Each is asked about first: without a terminal nothing is done, with --yes it is.
#[test]
fn a_block_that_would_hit_ourselves_is_asked_about() {
    let site = Site::new("", "");
    site.write("tcp.smtp", "198.51.100.:allow,RELAYCLIENT=\"\"\n203.0.113.:allow\n");
    site.write("control/virtualdomains", "virtual.example:joe\n.below.example:joe\n");
    site.write("control/locals", "local.example\n");
    fs::create_dir(site.path("other")).unwrap();
    site.write("other/rcpthosts", "elsewhere.example\n");
    let proxy = Proxy::start(&site);
    let rows: [(&[&str], &str); 14] = [
        (&["127.0.0.1"], "loopback"),
        (&["::1"], "loopback"),
        (&["127.0.0.53"], "loopback"),
        (&["198.51.100.7"], "tcp.smtp:1 sets RELAYCLIENT for 198.51.100.7"),
        (&["198.51.0.0/16"], "tcp.smtp:1 sets RELAYCLIENT for 198.51.100.0/24"),
        (&["11.0.0.0/8"], "1/256 of all IPv4 addresses"),
        (&["@example.org"], "control/rcpthosts:1"),
        (&["Joe@Example.org"], "control/rcpthosts:1"),
        (&["@virtual.example"], "control/virtualdomains:1"),
        (&["joe@a.below.example"], "control/virtualdomains:2"),
        (&["@local.example"], "control/locals:1"),
        (&["@mx.example.org"], "control/me:1"),
        (&["@example.org", "--file"], "control/rcpthosts:1"),
        (&["@elsewhere.example", "--file", "other/badmailfrom"], "other/rcpthosts:1"),
    ];
    site.write("other/badmailfrom", "");
    for (arguments, told) in rows {
        let outcome = site.run(&[&["block"], arguments].concat());
        assert!(outcome.code == 64 && outcome.err.contains(told), "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains("--yes"), "{arguments:?}: {outcome:?}");
        assert_eq!(site.run(&["blocks"]).out, "nothing is blocked\n");
        assert_eq!(site.run(&[&["block"], arguments, &["--yes"]].concat()).code, 0, "{arguments:?}");
        let undone = if arguments.contains(&"--file") { arguments } else { &arguments[..1] };
        assert_eq!(site.run(&[&["unblock"], undone].concat()).code, 0, "{arguments:?}");
    }
    for stranger in ["203.0.113.9", "203.0.113.0/24", "10.0.0.0/9", NEWSLETTER, "@virtual.example.net"] {
        assert_eq!(site.run(&["block", stranger]).code, 0, "{stranger}");
    }
    for null in ["<>", ""] {
        let outcome = site.run(&["block", null]);
        assert!(outcome.code == 64 && outcome.err.contains("the null sender cannot be blocked"), "{outcome:?}");
    }
    drop(proxy);
}

/// On a terminal, which util-linux's script makes.
#[test]
fn a_declined_question_ends_with_1() {
    let site = Site::new("", "");
    for answer in ["n", "", "nonsense"] {
        let mut command = Command::new("sh");
        let typed = format!("echo {answer} | script -qec '{PORTCULLIS} block 127.0.0.1' /dev/null");
        let output = command.args(["-c", &typed]).current_dir(site.path("")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("nothing was changed"), "{answer:?}: {said}");
    }
}
