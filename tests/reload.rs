//! Changes while it runs: every way in which a file changes, seen by the next MAIL on a connection that is open.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use proxy::Client;
use proxy::Proxy;
use proxy::Site;

#[test]
fn a_list_that_changes_in_any_way_is_seen_on_an_open_connection() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let list = "control/badmailfrom";
    let mut quickest = Duration::MAX;
    let ways: [(&str, &dyn Fn(), usize); 6] = [
        ("renamed over", &|| site.rename_over(list, "a@b.example\n"), 1),
        ("written in place", &|| site.write(list, "c@d.example\n@e.example\n"), 2),
        ("deleted", &|| fs::remove_file(site.path(list)).unwrap(), 0),
        ("made anew", &|| site.write(list, "a@b.example\n"), 1),
        ("renamed over again", &|| site.rename_over(list, "a@b.example\nx@y.example\nz@y.example\n"), 3),
        ("emptied", &|| site.write(list, ""), 0),
    ];
    for (what, change, entries) in ways {
        let began = Instant::now();
        change();
        proxy.wait_for(&format!("reloaded blocked_senders={entries} "));
        quickest = quickest.min(began.elapsed());
        let code = if [1, 3].contains(&entries) { "554 5.7.1 <a@b.example> is blocked" } else { "250" };
        let reply = client.say("MAIL FROM:<a@b.example>");
        assert!(reply.starts_with(code), "{what}: {reply}");
        client.dialog(&[("RSET", "250")]);
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[test]
fn rcpthosts_and_badrcptto() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let rcpt = "RCPT TO:<r@example.net>";
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), (rcpt, "553"), ("RSET", "250")]);
    site.rename_over("control/rcpthosts", "example.org\nexample.net\n");
    proxy.wait_for("reloaded");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), (rcpt, "250"), ("RSET", "250")]);
    site.write("control/badrcptto", "r@example.net\n");
    proxy.wait_for("reloaded blocked_senders=0 blocked_recipients=1");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), (rcpt, "554"), ("RSET", "250")]);
    fs::remove_file(site.path("control/rcpthosts")).unwrap();
    proxy.wait_for("reloaded");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "553")]);
}

#[test]
fn rules_of_clients() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let relay = "RCPT TO:<r@else.example>";
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), (relay, "553"), ("RSET", "250")]);
    site.rename_over("tcp.smtp", "127.:allow,RELAYCLIENT=\"\"\n");
    assert!(proxy.wait_for("reloaded").contains("rules=1"));
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), (relay, "250"), ("RSET", "250")]);
    site.write("tcp.smtp", "127.:deny\n:allow\n");
    proxy.wait_for("rules=2");
    let denied = [("MAIL FROM:<a@b.example>", "554 5.7.1 Client 127.0.0.1 is blocked"), (relay, "503")];
    proxy.client().hello().dialog(&denied);
    client.dialog(&denied);
    // A file that the configuration names must be there: the last good rules stay.
    fs::remove_file(site.path("tcp.smtp")).unwrap();
    assert!(proxy.wait_for("reload level=error fault").contains("tcp.smtp"));
    proxy.client().hello().dialog(&denied);
    site.write("tcp.smtp", ":allow\n");
    proxy.wait_for("rules=1");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250")]);
}

#[test]
fn a_list_that_is_named_before_it_is_there_is_read_when_it_comes() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let text = proxy::configuration("", "maildir = \"mail\"", "[senders]\nblocked = [\"later\"]");
    site.rename_over("portcullis.toml", &text);
    assert!(proxy.wait_for("reload level=error fault").contains("later"));
    site.write("later", "bad@b.example\n");
    proxy.wait_for("blocked_senders=1");
    proxy.client().hello().dialog(&[("MAIL FROM:<bad@b.example>", "554")]);
}

#[test]
fn limits_of_the_configuration_hold_from_the_next_mail_on() {
    let site = Site::new("", "[size]\nlimit = \"1000\"");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.dialog(&[("MAIL FROM:<a@b.example> SIZE=2000", "552"), ("MAIL FROM:<a@b.example> SIZE=900", "250")]);
    client.dialog(&[("RCPT TO:<r@example.org>", "250")]);
    let text = |limit: &str, server: &str| {
        proxy::configuration(server, "maildir = \"mail\"", &format!("[size]\nlimit = \"{limit}\""))
    };
    site.rename_over("portcullis.toml", &text("100", "max_recipients = 1\ncontact = \"ask@example.org\""));
    proxy.wait_for("reloaded");
    // What runs goes on with what it began with.
    let body = "x".repeat(500);
    client.dialog(&[("RCPT TO:<s@example.org>", "250"), ("DATA", "354"), (&format!("{body}\r\n."), "250")]);
    let oversize = "552 5.3.4 Message of 900 octets exceeds the limit of 100; questions: ask@example.org";
    client.dialog(&[("MAIL FROM:<a@b.example> SIZE=900", oversize), ("MAIL FROM:<a@b.example>", "250")]);
    client.dialog(&[("RCPT TO:<r@example.org>", "250"), ("RCPT TO:<s@example.org>", "452 4.5.3"), ("DATA", "354")]);
    client.dialog(&[(&format!("{body}\r\n."), "552")]);
    site.write("portcullis.toml", &text("1000", ""));
    proxy.wait_for("reloaded");
    client.dialog(&[("MAIL FROM:<a@b.example> SIZE=900", "250"), ("RSET", "250")]);
    site.rename_over("portcullis.toml", &text("1000", "timeout = { command = \"1s\" }"));
    proxy.wait_for("reloaded");
    client.dialog(&[("MAIL FROM:<a@b.example>", "250")]);
    assert_eq!(client.reply(), "421 4.4.2 Time limit exceeded");
    assert_eq!(site.mails(), 1);
}

#[test]
fn a_running_transaction_ends_as_it_began() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client().hello()).collect();
    let steps = [("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("DATA", "354")];
    for (reached, client) in clients.iter_mut().enumerate() {
        client.dialog(&steps[..=reached]);
    }
    site.write("control/badmailfrom", "a@b.example\n");
    proxy.wait_for("reloaded blocked_senders=1 ");
    site.rename_over("control/rcpthosts", "nowhere.example\n");
    proxy.wait_for("reloaded");
    for (reached, client) in clients.iter_mut().enumerate() {
        client.dialog(&steps[reached + 1..]);
        client.dialog(&[("text\r\n.", "250"), ("MAIL FROM:<a@b.example>", "554 5.7.1")]);
    }
    assert_eq!(site.mails(), 3);
}

/// A list of years ago, of which a later version says what was always so: that a line in it matches nothing.
#[test]
fn a_line_that_matches_nothing_does_not_hold_up_the_start() {
    let site = Site::new("", "[senders]\nblocked = [\"more\"]\ndialect = \"extended\"");
    site.write("more", "a@b.example\nbare.example\n.d.example\n");
    let outcome = site.run(&["check"]);
    assert!(outcome.code == 1 && outcome.out.contains("more:2: bare.example is neither an address"), "{outcome:?}");
    let mut proxy = Proxy::start(&site);
    let line = proxy.line("more:2: bare.example is neither");
    assert!(line.starts_with("configuration level=warn ") && line.contains("is left out until then"), "{line}");
    let mut client = proxy.client().hello();
    let blocked = [("MAIL FROM:<a@b.example>", "554 5.7.1"), ("MAIL FROM:<x@y.d.example>", "554 5.7.1")];
    client.dialog(&blocked);
    client.dialog(&[
        ("MAIL FROM:<x@bare.example>", "250"),
        ("RSET", "250"),
        ("MAIL FROM:<c@e.example>", "250"),
        ("RSET", "250"),
    ]);
    // Nor does it hold up other edits, wherever it is by now.
    site.rename_over("more", "# ours\na@b.example\n@e.example\nbare.example\n.d.example\n");
    proxy.wait_for("reloaded blocked_senders=3 ");
    client.dialog(&blocked);
    client.dialog(&[("MAIL FROM:<c@e.example>", "554 5.7.1")]);
    // Another such line is an edit that went wrong.
    site.rename_over("more", "a@b.example\nbare.example\nnaked.example\n");
    assert!(proxy.wait_for("reload level=error").contains("more:3: naked.example is neither"));
    proxy.wait_for("not reloaded");
    client.dialog(&blocked);
    // Once it is gone it is an error like any other.
    site.rename_over("more", "a@b.example\n");
    proxy.wait_for("reloaded blocked_senders=1 ");
    site.rename_over("more", "a@b.example\nbare.example\n");
    assert!(proxy.wait_for("reload level=error").contains("more:2: bare.example is neither"));
}

#[test]
fn a_broken_edit_keeps_the_last_good_values_and_is_told_with_its_place() {
    let site = Site::new("", "[senders]\nblocked = [\"more\"]\ndialect = \"extended\"");
    site.write("more", "a@b.example\n");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let good = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let edits: [(&str, &str, &str); 5] = [
        ("portcullis.toml", "[server]\nlisten = 5\n", "portcullis.toml:2:10: "),
        ("portcullis.toml", "[server\n", "portcullis.toml:1:"),
        ("portcullis.toml", "", "portcullis.toml:1:1: no backend"),
        ("more", "c@d.example\n\nb.example\n", "more:3: "),
        ("tcp.smtp", "127.:allow\n127.:nonsense\n", "tcp.smtp:2: "),
    ];
    for (file, text, place) in edits {
        let before = fs::read_to_string(site.path(file)).unwrap();
        site.rename_over(file, text);
        let line = proxy.wait_for(place);
        assert!(line.starts_with("reload level=error "), "{line}");
        proxy.wait_for("not reloaded");
        client.dialog(&[("MAIL FROM:<a@b.example>", "554 5.7.1"), ("MAIL FROM:<c@d.example>", "250"), ("RSET", "250")]);
        site.write(file, &before);
        proxy.wait_for("reloaded blocked_senders=1 ");
    }
    // A file that is gone, configuration and list alike.
    for file in ["portcullis.toml", "more"] {
        let before = fs::read_to_string(site.path(file)).unwrap();
        fs::remove_file(site.path(file)).unwrap();
        assert!(proxy.wait_for("reload level=error fault").contains(file));
        proxy.wait_for("not reloaded");
        client.dialog(&[("MAIL FROM:<a@b.example>", "554 5.7.1")]);
        site.write(file, &before);
        proxy.wait_for("reloaded blocked_senders=1 ");
    }
    assert_eq!(fs::read_to_string(site.path("portcullis.toml")).unwrap(), good);
}

#[test]
fn hup_reads_again_and_keys_of_the_start_are_named() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    for signal in [Signal::SIGHUP, Signal::SIGALRM] {
        proxy.signal(signal);
        proxy.wait_for("reloaded");
    }
    let keys = "listen_tls = []\nworkers = 5\nuser = \"root\"\ngroup = \"root\"";
    let text = proxy::configuration(keys, "maildir = \"mail\"", "").replace("127.0.0.1:0", "127.0.0.1:1");
    site.rename_over("portcullis.toml", &text);
    for key in ["server.listen", "server.workers", "server.user", "server.group"] {
        let line = proxy.wait_for("restart");
        assert!(line.contains(&format!("key={key} ")), "{line}");
    }
    proxy.wait_for("reloaded");
    proxy.client().hello();
}

#[test]
fn another_backend_and_another_log_from_the_next_session_on() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    client.mail("a@b.example", "Subject: first");
    let other = proxy::configuration("", "maildir = \"other\"", "[log]\nformat = \"json\"");
    site.rename_over("portcullis.toml", &other);
    proxy.wait_for("reloaded");
    drop(client);
    proxy.client().hello().mail("a@b.example", "Subject: second");
    let line = proxy.wait_for("b.example");
    assert!(line.starts_with("mail ") || line.starts_with('{'), "{line}");
    assert_eq!((site.mails(), fs::read_dir(site.path("other/new")).unwrap().count()), (1, 1));
}

#[test]
fn a_backend_session_is_opened_anew_when_the_rule_of_its_client_has_changed() {
    let site = Site::new("", "");
    site.write("backend", BACKEND);
    site.write("tcp.smtp", ":allow,DATABYTES=\"1000\"\n");
    site.write("portcullis.toml", &proxy::configuration("", "spawn = [\"/bin/sh\", \"backend\"]", ""));
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    let mail = "MAIL FROM:<a@b.example>";
    client.dialog(&[
        (mail, "250 bytes 1000 number 1"),
        ("RSET", "250"),
        (mail, "250 bytes 1000 number 2"),
        ("RSET", "250"),
    ]);
    // A change that is not about this client does not cost it the session.
    site.rename_over("tcp.smtp", "192.0.2.1:deny\n:allow,DATABYTES=\"1000\"\n");
    proxy.wait_for("rules=2");
    client.dialog(&[(mail, "250 bytes 1000 number 3"), ("RSET", "250")]);
    site.rename_over("tcp.smtp", ":allow,DATABYTES=\"500\"\n");
    proxy.wait_for("rules=1");
    client.dialog(&[(mail, "250 bytes 500 number 1"), ("RSET", "250")]);
    client.dialog(&[("MAIL FROM:<a@b.example> SIZE=600", "552 5.3.4")]);
}

/// Tells a variable of its environment, and how many senders it has heard.
const BACKEND: &str = r"number=0; printf '220 backend\r\n'
while read -r line; do
    case $line in
        MAIL*) number=$((number + 1)); printf '250 bytes %s number %s\r\n' $DATABYTES $number ;;
        *) printf '250 ok\r\n' ;;
    esac
done
";

/// A list that is written over and over while mail goes on: each MAIL is ruled by a whole list.
#[test]
fn a_list_that_is_renamed_over_under_load_is_never_half() {
    let site = Site::new("", "");
    let entries: String = (0..5000).map(|number| format!("s{number}@b.example\n")).collect();
    site.write("control/badmailfrom", &format!("{entries}a@b.example\n"));
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    for round in 1..=5 {
        let more: String = (0..round).map(|number| format!("m{number}@c.example\n")).collect();
        site.rename_over("control/badmailfrom", &format!("{entries}{more}a@b.example\n"));
        for _ in 0..50 {
            client.dialog(&[("MAIL FROM:<a@b.example>", "554 5.7.1"), ("RSET", "250")]);
        }
        proxy.wait_for(&format!("reloaded blocked_senders={} ", 5001 + round));
    }
}

#[test]
fn a_hup_in_the_middle_of_a_list_waits_for_its_end() {
    let site = Site::new("", "");
    let mut proxy = Proxy::start(&site);
    for round in 1..=3 {
        let entries =
            |range: std::ops::Range<usize>| range.map(|at| format!("a{at}@b{round}.example\n")).collect::<String>();
        let mut list = fs::File::create(site.path("control/badmailfrom")).unwrap();
        list.write_all(entries(0..500).as_bytes()).unwrap();
        proxy.signal(Signal::SIGHUP);
        // Time enough to take the half.
        (0..10).for_each(|_| assert_eq!(site.run(&["status"]).code, 0));
        list.write_all(entries(500..1000 + round).as_bytes()).unwrap();
        drop(list);
        let line = proxy.wait_for("reloaded");
        assert!(line.contains(&format!("blocked_senders={} ", 1000 + round)), "{line}");
    }
}

#[test]
fn a_list_of_nuls_is_no_list() {
    let site = Site::new("", "");
    site.write("control/badmailfrom", "a@b.example\n");
    let mut proxy = Proxy::start(&site);
    let mut client = proxy.client().hello();
    for text in ["\0".repeat(1 << 20), "a\0@\0b\0.\0e\0\n\0".to_owned(), "c@d.example\n\0\0\0".to_owned()] {
        site.write("control/badmailfrom", &text);
        let line = proxy.wait_for("reload level=error fault=");
        assert!(line.contains("badmailfrom:") && line.contains("is not a text file"), "{line}");
        client.dialog(&[("MAIL FROM:<a@b.example>", "554"), ("MAIL FROM:<c@d.example>", "250"), ("RSET", "250")]);
    }
}

#[test]
fn the_first_client_after_a_start_or_another_backend_finds_what_the_backend_offers() {
    let site = Site::new("", "");
    let backend = |offer: &str| {
        let script = format!(
            "#!/bin/sh\nprintf '220 b\\r\\n'\nread hello\nprintf '250-b\\r\\n250 {offer}\\r\\n'\nwhile read line; do\n\
             case $line in QUIT*) exit;; *) printf '250 ok\\r\\n';; esac; done\n"
        );
        site.write(offer, &script);
        fs::set_permissions(site.path(offer), fs::Permissions::from_mode(0o755)).unwrap();
        format!("spawn = [{:?}]", site.path(offer))
    };
    let (first, second) = (backend("AUTH PLAIN"), backend("8BITMIME"));
    let configure = |backend: &str| {
        site.rename_over("portcullis.toml", &proxy::configuration("auth = \"always\"", backend, ""));
    };
    configure(&first);
    let mut proxy = Proxy::start(&site);
    let hello = |proxy: &Proxy| {
        let mut client = proxy.client();
        client.reply();
        client.say("EHLO client.example")
    };
    // Before or after the proxy has asked by itself: each waits for the answer.
    let offered = hello(&proxy);
    assert!(offered.contains("250-AUTH PLAIN") && !offered.contains("8BITMIME"), "{offered}");
    let mut open = proxy.client().hello();
    configure(&second);
    proxy.wait_for("reloaded");
    let offered = hello(&proxy);
    assert!(offered.contains("250-8BITMIME") && !offered.contains("AUTH"), "{offered}");
    open.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RSET", "250")]);
    // A backend that is not there is named, with the reason; the proxy serves all the same.
    configure("spawn = [\"/bin/false\"]");
    let line = proxy.wait_for("backend does not answer");
    assert!(line.contains("backend=spawn:/bin/false") && line.contains("error=\"451 4.3.0"), "{line}");
    assert!(hello(&proxy).ends_with("250 SIZE 25000000"));
}
