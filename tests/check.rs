//! `check` against hosts on which something is in the way: ports, folders, accounts, certificates, the backend being the
//! proxy itself. It must not find fault with a proxy that runs, and it changes nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use proxy::Outcome;
use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::free_address;

/// The lines of `check` about a configuration, without the last.
fn check(site: &Site, text: &str) -> Vec<String> {
    fs::create_dir_all(site.path("queue")).unwrap();
    site.write("portcullis.toml", text);
    let outcome = site.run(&["check"]);
    let mut lines: Vec<String> = outcome.out.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    let errors = lines.iter().filter(|line| !line.ends_with("(note)") && !line.ends_with("(warning)")).count();
    assert_eq!((outcome.code, last.ends_with(": no errors")), (i32::from(errors > 0), errors == 0), "{outcome:?}");
    lines
}

fn plain(rest: &str) -> String {
    configuration("", "maildir = \"mail\"", rest)
}

#[test]
fn what_another_program_holds_is_named_with_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new("", "");
    let me = fs::read_to_string("/proc/self/comm").unwrap();
    let holder = format!("{}, pid {}", me.trim(), std::process::id());
    let in_use =
        format!("cannot listen on {address}: the port is in use by {holder}; stop that process, or write another ");
    let listens = plain("").replace("127.0.0.1:0", &address);
    assert_eq!(check(&site, &listens), [format!("portcullis.toml:3:11: {in_use}server.listen")]);
    let served = site.run(&["serve"]);
    assert_eq!((served.code, served.err.lines().last().unwrap()), (1, &*format!("{in_use}server.listen")));
    let later = site.run(&["check", "--no-ports"]);
    assert_eq!((later.code, later.out.as_str()), (0, "portcullis.toml: no errors\n"));
    let admin = plain("").replace("unix:admin.sock", &address);
    assert_eq!(check(&site, &admin), [format!("portcullis.toml:12:10: {in_use}admin.listen")]);
    let all = plain("").replace("127.0.0.1:0", &format!("0.0.0.0:{}", taken.local_addr().unwrap().port()));
    assert!(check(&site, &all)[0].contains(&holder));
    let _socket = UnixListener::bind(site.path("admin.sock")).unwrap();
    assert!(site.run(&["check"]).out.contains("admin.sock: the socket is in use by "));
    assert!(!site.path("mail").exists() && !site.path("portcullis-state.redb").exists(), "nothing is made");
}

#[test]
fn a_proxy_that_runs_with_the_configuration_is_a_note_and_another_is_an_error() {
    let site = Site::new("", "");
    let text = plain("").replace("127.0.0.1:0", &free_address().unwrap().to_string());
    site.write("portcullis.toml", &text);
    let proxy = Proxy::start(&site);
    let notes = check(&site, &text);
    let held =
        format!("this configuration is running: portcullis, pid {}, which has {}, ", proxy.pid(), proxy.addresses[0]);
    assert!(notes.len() == 1 && notes[0].starts_with(&held) && notes[0].ends_with("admin.sock (note)"), "{notes:?}");
    fs::copy(site.path("portcullis.toml"), site.path("other.toml")).unwrap();
    let other = site.run(&["check", "-c", "other.toml"]);
    assert_eq!((other.code, other.out.lines().count()), (1, 3), "{other:?}");
    assert!(other.out.contains(&format!("in use by portcullis, pid {}; ", proxy.pid())), "{other:?}");
}

#[test]
fn all_of_both_families_are_listened_on() {
    let port = free_address().unwrap().port();
    let listen = format!("listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let site = Site::new("", "");
    let text = plain("").replace("listen = [\"127.0.0.1:0\"]", &listen);
    assert_eq!(check(&site, &text), Vec::<String>::new());
    let proxy = Proxy::start_with(&site, 2, &[]);
    for client in ["127.0.0.1", "[::1]"] {
        assert!(
            proxy::Client::connect(format!("{client}:{port}").parse().unwrap()).reply().starts_with("220 "),
            "{client}"
        );
    }
    assert_eq!(check(&site, &text).len(), 1, "it is running");
    drop(proxy);
    let swapped = text.replace(&listen, &format!("listen = [\"[::]:{port}\", \"127.0.0.1:{port}\"]"));
    assert_eq!(check(&site, &swapped), Vec::<String>::new());
    let proxy = Proxy::start_with(&site, 2, &[]);
    drop(proxy);
    // Alone it takes both, as long as the system does not say otherwise.
    site.write("portcullis.toml", &text.replace(&listen, &format!("listen = [\"[::]:{port}\"]")));
    let _proxy = Proxy::start(&site);
    assert!(proxy::Client::connect(format!("127.0.0.1:{port}").parse().unwrap()).reply().starts_with("220 "));
}

#[test]
fn what_the_host_does_not_have_is_an_error_at_its_key() {
    let site = Site::new("", "");
    site.write("file", "precious\n");
    let long = format!("unix:{}", site.path(&"x".repeat(108)).display());
    let table = [
        (
            "listen on a stranger's address",
            "127.0.0.1:0",
            "192.0.2.1:2525",
            "3:11: cannot listen on 192.0.2.1:2525: this host has no such address",
        ),
        ("a Maildir under a file", "\"mail\"", "\"file/mail\"", "6:11: backend.maildir: "),
        ("a file for the admin socket", "unix:admin.sock", "unix:file", "12:10: "),
        ("a long path for the admin socket", "unix:admin.sock", &long, "12:10: "),
        (
            "no folder for the admin socket",
            "unix:admin.sock",
            "unix:no/a.sock",
            "12:10: admin.listen: no such folder: no; make it (",
        ),
    ];
    for (what, old, new, told) in table {
        let lines = check(&site, &plain("").replace(old, new));
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("portcullis.toml:{told}")), "{what}: {lines:?}");
    }
    assert_eq!(fs::read_to_string(site.path("file")).unwrap(), "precious\n");
    let table = [
        ("[state]\nurl = \"redb:no/state.redb\"", "11:7: state.url: no such folder: no; make it ("),
        ("[state]\nurl = \"redb:control\"", "11:7: state.url: control is not a regular file; write another path"),
        ("[message]\nspool = \"no\"", "11:9: no: not found; write the path of a folder that can be read"),
        ("queue = \"no\"", "10:9: no: not found; write the path of a folder that can be read"),
    ];
    for (rest, told) in table {
        let lines = check(&site, &plain(rest));
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("portcullis.toml:{told}")), "{rest}: {lines:?}");
    }
}

#[test]
fn folders_and_programs_have_to_be_server_users() {
    let site = Site::new("", "");
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let own = ["own", "shut"].map(|name| site.path(name));
    own.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    fs::set_permissions(&own[0], fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&own[1], fs::Permissions::from_mode(0o700)).unwrap();
    site.write("own/program", "#!/bin/sh\n");
    fs::set_permissions(site.path("own/program"), fs::Permissions::from_mode(0o700)).unwrap();
    let user = "user = \"nobody\"";
    let rest = "[state]\nurl = \"redb:FOLDER/s.redb\"\n[message]\nspool = \"FOLDER\"";
    let text = |backend: &str, folder: &str| {
        configuration(user, backend, rest).replace("FOLDER", folder).replace("unix:", &format!("unix:{folder}/"))
    };
    assert_eq!(check(&site, &text("maildir = \"own/mail\"", "own")), Vec::<String>::new());
    let shut = check(&site, &text("maildir = \"shut/mail\"", "shut"));
    let keys = ["6:11: backend.maildir", "11:7: state.url", "13:9: message.spool", "15:10: admin.listen"];
    assert_eq!(shut.len(), keys.len(), "{shut:?}");
    for (line, key) in shut.iter().zip(keys) {
        let told = format!("portcullis.toml:{key}: nobody may not write to ");
        assert!(line.starts_with(&told) && line.contains("(install -d -o nobody -m 700 FOLDER)"), "{line}");
    }
    let spawned = check(&site, &text("spawn = [\"own/program\"]", "own"));
    assert_eq!(spawned.len(), 1, "{spawned:?}");
    assert!(
        spawned[0].starts_with("portcullis.toml:6:10: backend.spawn: own/program: nobody may not execute it; "),
        "{spawned:?}"
    );
}

#[test]
fn a_socket_of_an_lmtp_server_has_to_be_there_and_open_to_the_user() {
    let site = Site::new("", "");
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let said = |name: &str| {
        let lmtp = format!("lmtp = \"unix:{}\"", site.path(name).display());
        let lines = check(&site, &configuration("user = \"nobody\"", &lmtp, "[state]\nurl = \"memory:\""));
        lines.join("\n").replace(&site.path(name).display().to_string(), "SOCKET")
    };
    let told = |what: &str| format!("portcullis.toml:6:8: backend.lmtp: {what}");
    assert_eq!(said("none"), told("no such socket: SOCKET; start its server, or write another path"));
    site.write("file", "");
    assert_eq!(said("file"), told("SOCKET is not a socket; write another path"));
    let _listener = UnixListener::bind(site.path("lmtp")).unwrap();
    fs::set_permissions(site.path("lmtp"), fs::Permissions::from_mode(0o600)).unwrap();
    let remedy = "let its server make it with another mode (Dovecot: unix_listener lmtp { mode = 0666 })";
    assert_eq!(said("lmtp"), told(&format!("nobody may not connect to SOCKET; {remedy}")));
    fs::set_permissions(site.path("lmtp"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(said("lmtp"), "");
    let port = free_address().unwrap().port();
    let text = configuration("", &format!("lmtp = \"localhost:{port}\""), "");
    let lines = check(&site, &text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    assert!(
        lines.len() == 1 && lines[0].contains("backend.lmtp = \"localhost:") && lines[0].contains("itself"),
        "{lines:?}"
    );
}

#[test]
fn a_backend_that_is_the_proxy_itself_is_an_error_of_serve_too() {
    let site = Site::new("", "");
    let port = free_address().unwrap().port();
    for backend in ["127.0.0.1", "localhost", "0.0.0.0"] {
        let text = configuration("", &format!("tcp = \"{backend}:{port}\""), "")
            .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        let lines = check(&site, &text);
        let told =
            format!("portcullis.toml:6:7: backend.tcp = \"{backend}:{port}\" is this proxy itself, which listens on ");
        assert!(lines.len() == 1 && lines[0].starts_with(&told), "{lines:?}");
        let served = site.run(&["serve"]);
        assert_eq!((served.code, served.err.lines().next().unwrap()), (78, &*lines[0]));
    }
}

#[test]
fn accounts_that_do_not_exist_are_told_where_they_are_written() {
    let site = Site::new("", "");
    let lines = check(
        &site,
        &configuration("user = \"nosuch\"\ngroup = \"none-such\"\nmax_errors = 0", "maildir = \"mail\"", ""),
    );
    assert_eq!(
        lines[1..],
        [
            "portcullis.toml:4:8: server.user: no user \"nosuch\" on this host; create it, or write another name",
            "portcullis.toml:5:9: server.group: no group \"none-such\" on this host; create it, or write another name",
        ]
    );
    assert!(
        lines[0].starts_with("portcullis.toml:6:14: server.max_errors"),
        "beside what the file says wrongly: {lines:?}"
    );
}

fn openssl(folder: &Path, arguments: &str) {
    let words = arguments.split(' ');
    let output = Command::new("openssl").current_dir(folder).args(words).output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
}

/// A site with pairs `one`, `two` and `soon`, and what is taken for one.
fn site_with_pairs() -> Site {
    let site = Site::new("", "");
    let folder = site.path("");
    let make = |name: &str, days: &str| {
        openssl(
            &folder,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mx.example.org \
             -addext subjectAltName=DNS:mx.example.org -days {days} -keyout {name}.key -out {name}.pem"
            )
            .replace("  ", " "),
        );
    };
    make("one", "100");
    make("two", "100");
    make("soon", "2");
    openssl(&folder, "pkcs8 -topk8 -in one.key -passout pass:x -out encrypted.key");
    openssl(&folder, "ec -in one.key -aes128 -passout pass:x -out older.key");
    openssl(&folder, "x509 -in one.pem -outform DER -out one.der");
    let mut old = fs::read(site.path("one.der")).unwrap();
    // UTCTime, 13 octets, which begin with the year.
    let times: Vec<usize> = (0..old.len() - 1).filter(|at| old[*at..].starts_with(&[0x17, 13])).collect();
    [b"20", b"21"].iter().zip(&times).for_each(|(year, at)| old[at + 2..at + 4].copy_from_slice(*year));
    fs::write(site.path("old.der"), old).unwrap();
    openssl(&folder, "x509 -inform DER -in old.der -out old.pem");
    openssl(&folder, "pkey -in one.key -outform DER -out key.der");
    openssl(&folder, "pkcs12 -export -in one.pem -inkey one.key -passout pass:x -out one.p12");
    openssl(&folder, "req -new -key one.key -subj /CN=mx.example.org -out one.csr");
    openssl(&folder, "pkey -in one.key -pubout -out public.pem");
    site.write("empty", "");
    site.write("text", "-- no PEM --\n");
    let read = |name: &str| fs::read_to_string(site.path(name)).unwrap();
    site.write("chain", &(read("two.pem") + &read("one.pem")));
    site.write("damaged", &read("one.pem").replacen("MI", "M!", 1));
    site
}

#[test]
fn what_is_no_pair_of_certificate_and_key_is_told_in_plain_words() {
    let site = site_with_pairs();
    let (certificate, key) = ("11:15", "12:7");
    let table = [
        ("one.pem", "two.key", key, "two.key is not the key of one.pem; write the two that belong together"),
        (
            "one.key",
            "one.pem",
            certificate,
            "certificate and key are swapped: one.key has the key, one.pem the certificate; exchange",
        ),
        ("one.pem", "encrypted.key", key, "encrypted.key is encrypted with a passphrase, "),
        ("one.pem", "older.key", key, "older.key is encrypted with a passphrase, "),
        ("one.der", "one.key", certificate, "one.der is DER or PKCS #12, not PEM; convert it to PEM: "),
        ("one.p12", "one.key", certificate, "one.p12 is DER or PKCS #12, not PEM; convert it to PEM: "),
        ("one.pem", "key.der", key, "key.der is DER or PKCS #12, not PEM; convert it to PEM: "),
        ("empty", "one.key", certificate, "empty is empty; "),
        ("one.pem", "empty", key, "empty is empty; "),
        ("text", "one.key", certificate, "text is not PEM: no line begins with -----BEGIN; "),
        ("one.csr", "one.key", certificate, "one.csr is a certificate request, not a certificate; "),
        ("one.pem", "public.pem", key, "public.pem is a public key, not a private key; "),
        ("one.pem", "one.pem", key, "one.pem is a certificate, not a private key; "),
        ("one.key", "one.key", certificate, "one.key is a private key, not a certificate; "),
        ("damaged", "one.key", certificate, "damaged is damaged PEM; "),
        ("chain", "one.key", certificate, "chain has its certificates in the wrong order: "),
    ];
    for (pem, private, place, told) in table {
        let lines = check(&site, &plain(&format!("[tls]\ncertificate = \"{pem}\"\nkey = \"{private}\"")));
        let expected = format!("portcullis.toml:{place}: {told}");
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{pem} {private}: {lines:?}");
        assert!(!lines[0].contains("InvalidC") && !lines[0].contains("Mismatch"), "{lines:?}");
    }
}

#[test]
fn certificates_beyond_the_first_and_dates_are_looked_at() {
    let site = site_with_pairs();
    let good = "[tls]\ncertificate = \"one.pem\"\nkey = \"one.key\"\n";
    assert_eq!(check(&site, &plain(good)), Vec::<String>::new());
    let more = check(&site, &plain(&format!("{good}[[tls.more]]\ncertificate = \"two.pem\"\nkey = \"one.key\"")));
    assert_eq!(more, ["portcullis.toml:15:7: one.key is not the key of two.pem; write the two that belong together"]);
    for (pem, private, told) in
        [("old.pem", "one.key", "old.pem expired at 2021-"), ("soon.pem", "soon.key", "soon.pem expires at ")]
    {
        let lines = check(&site, &plain(&format!("[tls]\ncertificate = \"{pem}\"\nkey = \"{private}\"")));
        let expected = format!("portcullis.toml:11:15: {told}");
        assert!(lines.len() == 1 && lines[0].starts_with(&expected) && lines[0].ends_with("(warning)"), "{lines:?}");
    }
}

#[test]
fn a_listener_that_is_there_twice_names_both_lines() {
    let site = Site::new("", "");
    let outcome = |listen: &str, tls: &str| -> Outcome {
        site.write(
            "portcullis.toml",
            &plain("").replace("listen = [\"127.0.0.1:0\"]", &format!("listen = [{listen}]\nlisten_tls = [{tls}]")),
        );
        site.run(&["check"])
    };
    let twice = outcome("\"127.0.0.1:2525\",\n\"127.0.0.1:2525\"", "");
    assert!(
        twice.out.starts_with("portcullis.toml:4:1: 127.0.0.1:2525 is listed twice; write it once (see line 3)\n"),
        "{twice:?}"
    );
    let covered = outcome("\"0.0.0.0:2525\"", "\"127.0.0.1:2525\"");
    let told =
        "portcullis.toml:4:15: 127.0.0.1:2525 and 0.0.0.0:2525 are the same port; leave one of them out (see line 3)\n";
    assert!(covered.out.starts_with(told), "{covered:?}");
}

/// What mailfront did by variables that nothing reads now; where each is set, and what to use instead.
#[test]
fn what_ends_with_a_program_that_spoke_smtp_is_told_where_it_is_set() {
    let site = Site::new("", "");
    fs::create_dir_all(site.path("queue")).unwrap();
    fs::create_dir_all(site.path("bin")).unwrap();
    for name in ["bin/qmail-queue", "bin/scanner"] {
        site.write(name, "#!/bin/sh\n");
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    site.write(
        "tcp.smtp",
        "10.:allow,RELAYCLIENT=\"\",QMAILQUEUE=\"bin/scanner\"\n:allow,MAILRULES=\"/etc/rules\",DATABYTES=\"9\"\n",
    );
    let backend = "queue = \"bin/qmail-queue\"\nenv = { MAXHOPS = \"30\", CVM_SASL_PLAIN = \"cvm-unix\" }";
    site.write("portcullis.toml", &configuration("", backend, ""));
    let ends = "has no effect with backend.queue: ";
    let told = |site: &Site, environment: (&str, &str)| {
        let mut command = site.command();
        command.env_clear().env("PATH", "/usr/bin:/bin").env(environment.0, environment.1).arg("check");
        Outcome::of(&command.output().unwrap()).out
    };
    let expected = format!(
        "portcullis.toml:7:7: CVM_SASL_PLAIN: offered AUTH; {ends}AUTH ends; keep backend.spawn if clients log in (note)\n\
         tcp.smtp:2: MAILRULES: ruled by sender and recipient; {ends}write lists of senders.blocked and \
         recipients.blocked (note)\n\
         portcullis.toml:7:7: MAXHOPS: limited hops; {ends}write message.max_hops (note)\n\
         environment: PATTERNS: refused messages by their lines; {ends}set QMAILQUEUE to a program that scans (note)\n\
         tcp.smtp:1: QMAILQUEUE: bin/scanner gets the messages, in place of backend.queue (note)\n\
         portcullis.toml: no errors\n"
    );
    assert_eq!(told(&site, ("PATTERNS", "1")), expected);
    site.write("control/badhelo", "spammer\n");
    let unread =
        "control/badhelo: not read by Portcullis: a backend that reads it checks HELO; qmail-queue does not (note)\n";
    assert_eq!(told(&site, ("PATTERNS", "1")), format!("{unread}{expected}"));
    fs::remove_file(site.path("control/badhelo")).unwrap();
    // Another backend reads them.
    site.write(
        "portcullis.toml",
        &configuration("", &backend.replace("queue = ", "spawn = [").replace("queue\"", "queue\"]"), ""),
    );
    assert_eq!(told(&site, ("PATTERNS", "1")), "portcullis.toml: no errors\n");
}

#[test]
fn a_qmail_queue_that_cannot_work_is_told() {
    let site = Site::new("", "");
    for folder in ["bin", "queue/pid"] {
        fs::create_dir_all(site.path(folder)).unwrap();
    }
    let program = |mode| {
        site.write("bin/qmail-queue", "#!/bin/sh\n");
        fs::set_permissions(site.path("bin/qmail-queue"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let queue = configuration("", "queue = \"bin/qmail-queue\"", "");
    program(0o644);
    let told = check(&site, &queue);
    assert!(told.len() == 1 && told[0].contains("portcullis.toml:6:9: bin/qmail-queue: permission denied"), "{told:?}");
    program(0o755);
    site.write("tcp.smtp", ":allow,QMAILQUEUE=\"bin/absent\"\n");
    let told = check(&site, &queue);
    let absent =
        "tcp.smtp:1: QMAILQUEUE: bin/absent: no such file, so its clients get 451; write the path of a program";
    assert_eq!(told[0], format!("{absent} (warning)"));
    site.write("tcp.smtp", ":allow,QMAILQUEUE=\"absent-scanner\",PATH=\"/bin\"\n");
    let nowhere = "tcp.smtp:1: QMAILQUEUE: absent-scanner: not found in PATH, so its clients get 451";
    let told = check(&site, &queue);
    assert!(told[0].starts_with(nowhere), "{told:?}");
    // The program that is configured.
    site.write("tcp.smtp", ":allow,QMAILQUEUE=\"\"\n");
    assert_eq!(check(&site, &queue), [""; 0]);
    site.write("tcp.smtp", ":allow,QMAILQUEUE=\"bin/absent\"\n");
    // As root, the folder can be another's.
    if nix::unistd::Uid::effective().is_root() {
        nix::unistd::chown(&site.path("queue/pid"), Some(1.into()), None).unwrap();
        let told = check(&site, &queue);
        let path = site.path("bin/qmail-queue").canonicalize().unwrap();
        let remedy = format!("chown daemon {0}; chmod 4711 {0} (warning)", path.display());
        assert!(told[0].contains(" is not setuid to daemon, the owner of ") && told[0].ends_with(&remedy), "{told:?}");
        nix::unistd::chown(&path, Some(1.into()), None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
        assert_eq!(check(&site, &queue)[0], format!("{absent} (warning)"));
    }
    let open = queue.replace("127.0.0.1:0", "0.0.0.0:0").replace("control = \"control\"\n", "");
    let told = check(&site, &open);
    assert!(told.iter().any(|line| line.contains("could relay; write qmail.control")), "{told:?}");
    assert!(site.run(&["serve"]).code != 0);
    let told = check(&site, &queue.replace("control = \"control\"\n", ""));
    assert!(told[0].contains("without qmail.control every client on this host may send"), "{told:?}");
}
