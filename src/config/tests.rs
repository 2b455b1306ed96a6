//! The configuration as a whole: planted mistakes, the default file, what each key does.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::checked::ControlValues;
use crate::front::settings::Pair;
use crate::policy::list::Dialect;
use crate::policy::throttle::Action;
use crate::policy::throttle::Count;
use crate::policy::throttle::Group;
use crate::policy::throttle::part::Part;
use crate::session::settings::Auth;
use crate::smtp::data::BareNewline;

fn faults_of(text: &str) -> Vec<String> {
    let faults = parse(Path::new("p.toml"), text).map_or_else(|faults| faults, |_| Vec::new());
    faults.iter().map(ToString::to_string).collect()
}

fn complete(text: &str) -> Config {
    let loaded = parse(Path::new("/etc/p/portcullis.toml"), text).unwrap_or_else(|faults| panic!("{faults:?}"));
    loaded.config.complete(&ControlValues::default())
}

#[test]
fn planted_mistakes() {
    let mut seen = 0;
    for mistake in include_str!("mistakes.txt").split("\n== ").skip(1) {
        let (what, rest) = mistake.split_once('\n').unwrap();
        let said = |line: &&str| line.starts_with("-- ");
        let file: Vec<&str> = rest.trim_end().lines().filter(|line| !said(line)).collect();
        let backend = if rest.contains("[backend]") { "" } else { "[backend]\nmaildir = \"mail\"\n" };
        let expected: Vec<String> = rest.lines().filter(said).map(|line| line.replacen("-- ", "p.toml:", 1)).collect();
        assert!(!expected.is_empty(), "{what}");
        assert_eq!(faults_of(&format!("{}\n{backend}", file.join("\n"))), expected, "{what}");
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn ten_mistakes_give_ten_faults_in_the_files_order() {
    let text = "\
[server]
listen = [\"127.0.0.1\"]
max_conections = 5
auth = \"tsl\"
drain = 30s
[backend]
tcp = \"nowhere\"
[size]
limit = \"10 MB\"
[message]
hold = 1
hold_memory = \"2GiB\"
[[throttle]]
name = \"a\"
count = \"mails\"
per = [\"client\"]
limit = \"10MB/day\"
[tls]
required = true
[log]
format = \"xml\"
";
    let lines: Vec<String> = faults_of(text).iter().map(|fault| fault.split(':').nth(1).unwrap().to_owned()).collect();
    // Line 19 is not told while line 5 cannot be read: the certificate may have been there.
    assert_eq!(lines, ["2", "3", "4", "5", "7", "9", "11", "12", "17", "21"]);
}

#[test]
fn a_file_without_a_backend() {
    let told = "p.toml:1:1: no backend; write one of maildir, queue, tcp, lmtp and spawn in [backend], such as maildir = \"./portcullis-mail\"";
    assert_eq!(faults_of(""), [told]);
    assert_eq!(faults_of("[server]\n"), [told]);
}

#[test]
fn an_impossible_pair_has_the_place_of_per() {
    let text = "[backend]\nmaildir = \"m\"\n[[throttle]]\nname = \"a\"\ncount = \"connections\"\n\
                per = [\"sender\"]\nlimit = \"5/day\"\n";
    let faults = faults_of(text);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("p.toml:6:7: "), "{faults:?}");
}

#[test]
fn warnings() {
    let table = [
        ("nothing", "", None),
        ("a state in a file", "[state]\nurl = \"redb:other.redb\"", None),
        ("a state in memory", "[state]\nurl = \"memory:\"", None),
        ("an admin port", "[admin]\nlisten = \"127.0.0.1:1\"", None),
        ("no admin port", "[admin]\nlisten = \"\"", None),
        ("an alert", "[[alert]]\nwebhook = \"https://example.org/\"", None),
        ("an alert over the network in the clear", "[[alert]]\nwebhook = \"http://example.org/\"", Some("4:11")),
        ("an alert on this host", "[[alert]]\nwebhook = \"http://127.0.0.1/\"", None),
        ("another page", "[[alert]]\nwebhook = \"http://[::1]/\"\ntemplate = \"alertmanager\"", Some("4:11")),
        ("copies that are delivered anyway", "[repeat]\nunacknowledged = \"deliver\"\nlimit = 0", None),
        ("one client more than all", "[server]\nmax_connections = 5\nmax_connections_per_client = 6", Some("5:30")),
        ("all fewer than the default of one client", "[server]\nmax_connections = 5", None),
    ];
    for (what, text, expected) in table {
        let loaded = parse(Path::new("p.toml"), &format!("[backend]\nmaildir = \"m\"\n{text}\n")).unwrap();
        let places: Vec<String> = loaded.warnings.iter().map(|it| format!("{}:{}", it.line, it.column)).collect();
        assert_eq!(places, Vec::from_iter(expected), "{what}: {:?}", loaded.warnings);
    }
}

#[test]
fn the_default_file_says_what_holds_without_it() {
    let loaded = parse(Path::new("portcullis.toml"), DEFAULT_TEXT).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(loaded.warnings, []);
    let without = Config::default_without_file().complete(&ControlValues::default());
    assert_eq!(format!("{:#?}", loaded.config.complete(&ControlValues::default())), format!("{without:#?}"));
}

#[test]
fn the_default_file_names_every_key_of_this_version() {
    let later: [&str; 0] = [];
    for (section, key) in known_keys() {
        let named =
            ["\n", "# ", "{ ", ", ", "and "].iter().any(|before| DEFAULT_TEXT.contains(&format!("{before}{key} = ")));
        let is_section = section.is_empty() && DEFAULT_TEXT.contains(&format!("[{key}]"));
        let are_sections = DEFAULT_TEXT.contains(&format!(".{key}]]"));
        assert!(named || is_section || are_sections || later.contains(&key), "{section} {key}");
    }
}

#[test]
fn server_keys_take_effect() {
    let config = complete(
        "[server]\nlisten = [\"192.0.2.1:25\", \"[::1]:25\"]\nlisten_tls = [\"127.0.0.1:465\"]\n\
         hostname = \"mx.example.org\"\ncontact = \"ask@example.org\"\nworkers = 3\nmax_connections = 7\nmax_connections_per_client = 6\nmax_recipients = 5\n\
         max_errors = 4\ngreet_delay = \"3s\"\nauth = \"always\"\nuser = \"mail\"\ngroup = \"nogroup\"\n\
         timeout = { greeting = \"1s\", command = \"2s\", data = \"3s\", session = \"4s\" }\nmin_rate = \"1kB/m\"\n\
         drain = \"9s\"\nproxy_protocol_from = [\"192.0.2.0/24\", \"::1\"]\n[backend]\nmaildir = \"m\"\n\
         [tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\nrequired = true\n\
         [[tls.more]]\ncertificate = \"d.pem\"\nkey = \"e.pem\"\n",
    );
    let (front, session) = (&config.front, &config.session);
    assert_eq!(front.listen, ["192.0.2.1:25".parse().unwrap(), "[::1]:25".parse().unwrap()]);
    assert_eq!(front.listen_tls, ["127.0.0.1:465".parse().unwrap()]);
    assert_eq!(front.workers, Some(3));
    assert_eq!((front.max_connections, front.max_connections_per_client), (7, 6));
    assert_eq!((front.greet_delay, front.handshake), (Duration::from_secs(3), Duration::from_secs(1)));
    assert_eq!((front.drain, front.proxy_protocol_from.len()), (Duration::from_secs(9), 2));
    assert_eq!((session.hostname.as_str(), session.banner.as_str()), ("mx.example.org", "mx.example.org ESMTP"));
    assert_eq!(&*session.contact, "ask@example.org");
    assert_eq!((session.max_recipients, session.max_errors, session.auth), (5, 4, Auth::Always));
    let timeout = session.timeout;
    let seconds = [timeout.greeting, timeout.command, timeout.data, timeout.session].map(|it| it.as_secs());
    assert_eq!(seconds, [1, 2, 3, 4]);
    assert_eq!(session.min_rate, 17);
    assert_eq!((config.user.as_deref(), config.group.as_deref()), (Some("mail"), Some("nogroup")));
    assert!(session.starttls && session.tls_required && !session.add_received);
    let tls = config.tls.unwrap();
    assert_eq!(tls.first, Pair { certificate: "/etc/p/c.pem".into(), key: "/k.pem".into() });
    assert_eq!(tls.more, [Pair { certificate: "/etc/p/d.pem".into(), key: "/etc/p/e.pem".into() }]);
}

#[test]
fn sessions_with_the_backend_are_kept_where_a_number_says_so() {
    let with = |keepalive| complete(&format!("[backend]\ntcp = \"127.0.0.1:26\"\n{keepalive}"));
    assert_eq!(with("").backend.keepalive, 0);
    assert_eq!(with("keepalive = 7").backend.keepalive, 7);
}

#[test]
fn message_and_list_keys_take_effect() {
    let config = complete(
        "[backend]\nspawn = [\"./run\", \"-x\"]\nenv = { A = \"1\", B = \"\" }\nmax = 3\n\
         timeout = { connect = \"1s\", reply = \"2s\" }\n\
         [qmail]\ncontrol = \"../qmail/control\"\ntcprules = \"tcp.smtp\"\n\
         [senders]\nblocked = [\"s\"]\ndialect = \"extended\"\n[recipients]\nblocked = [\"r\", \"/r2\"]\nrouting = true\n\
         [size]\nlimit = 1000\n[[size.recipients]]\nmatch = [\"Fred@Example.org\"]\nlimit = \"1kB\"\n\
         [message]\nhold = false\nhold_memory = 5\nhold_total = \"6B\"\nspool = \"spool\"\nmin_free = \"1KiB\"\n\
         bare_newline = \"reject\"\nbare_newline_exempt = [\"relayclient\"]\n[log]\nformat = \"json\"\n",
    );
    assert_eq!(config.backend.target, Target::Spawn(vec!["/etc/p/./run".into(), "-x".into()]));
    assert_eq!(config.backend_environment, [(b"A".to_vec(), b"1".to_vec()), (b"B".to_vec(), b"".to_vec())]);
    assert_eq!((config.backend.max, config.backend.connect), (3, Duration::from_secs(1)));
    assert_eq!(
        (config.session.backend_reply, config.session.backend_connect),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!(config.qmail.control.as_deref(), Some(Path::new("/etc/p/../qmail/control")));
    assert_eq!(config.hold.queue.as_deref(), Some(Path::new("/etc/p/../qmail/queue")));
    assert_eq!(config.qmail.tcprules, Some("/etc/p/tcp.smtp".into()));
    assert_eq!((config.senders.blocked, config.senders.dialect), (vec!["/etc/p/s".into()], Dialect::Extended));
    assert_eq!(config.recipients.blocked, [PathBuf::from("/etc/p/r"), PathBuf::from("/r2")]);
    assert_eq!((config.recipients.dialect, config.routing), (Dialect::Qmail, true));
    assert_eq!(config.size.limit, Some(1000));
    assert_eq!(config.size.caps, [(vec!["fred@example.org".to_owned()], 1000)]);
    assert_eq!((config.hold.memory, config.hold.total, config.hold.min_free), (5, 6, 1024));
    assert_eq!(config.hold.spool, Path::new("/etc/p/spool"));
    assert!(!config.session.hold && config.session.bare_newline_exempt_relay_client);
    assert_eq!(config.session.bare_newline, BareNewline::Reject);
    assert_eq!(config.report.format, crate::report::Format::Json);
}

#[test]
fn throttles_in_the_file_replace_the_shipped_ones() {
    let backend = "[backend]\ntcp = \"localhost:26\"\n";
    assert_eq!(complete(backend).throttles.len(), 4);
    assert!(complete(backend).session.add_received);
    assert!(complete(&format!("throttle = []\n{backend}")).throttles.is_empty());
    let written = "[[throttle]]\nname = \"a\"\ncount = \"bytes\"\nper = [\"client\", \"sender-domain\"]\n\
                   limit = \"200MB/day\"\nonly = [\"relayclient\"]\nexcept = [\"null-sender\"]\nshadow = true\n";
    let throttles = complete(&format!("{backend}{written}")).throttles;
    let throttle = &throttles[0];
    assert_eq!((throttles.len(), &*throttle.name, throttle.count), (1, "a", Count::Bytes));
    assert_eq!(throttle.per, [Part::Client, Part::SenderDomain]);
    assert_eq!((&*throttle.only, &*throttle.except), (&[Group::RelayClient][..], &[Group::NullSender][..]));
    assert_eq!((throttle.cells, throttle.burst), (200_000_000, 200_000_000));
    assert_eq!((throttle.period, throttle.action, throttle.shadow), (Duration::from_secs(86_400), Action::Defer, true));
}

#[test]
fn what_relays_for_strangers_is_a_fault_and_what_does_not_is_none() {
    let public = "[server]\nlisten = [\"0.0.0.0:25\"]\n[backend]\n";
    let table = [
        ("tcp, public", format!("{public}tcp = \"127.0.0.1:26\""), 1),
        ("tcp, public, with rcpthosts", format!("{public}tcp = \"127.0.0.1:26\"\n[qmail]\ncontrol = \"c\""), 0),
        (
            "tcp, loopback",
            "[server]\nlisten = [\"127.9.9.9:25\", \"[::1]:25\"]\n[backend]\ntcp = \"a:26\"".to_owned(),
            0,
        ),
        (
            "tcp, loopback written as IPv6",
            "[server]\nlisten = [\"[::ffff:127.0.0.1]:25\"]\n[backend]\ntcp = \"a:26\"".to_owned(),
            0,
        ),
        ("tcp, all of IPv6", "[server]\nlisten = [\"[::]:25\"]\n[backend]\ntcp = \"a:26\"".to_owned(), 1),
        ("maildir, public", format!("{public}maildir = \"m\""), 0),
        ("spawn, public", format!("{public}spawn = [\"/bin/true\"]"), 0),
        ("spawn, public, RELAYCLIENT for all", format!("{public}spawn = [\"/p\"]\nenv.RELAYCLIENT = \"\""), 1),
    ];
    for (what, text, expected) in table {
        assert_eq!(faults_of(&text).len(), expected, "{what}: {:?}", faults_of(&text));
    }
}

#[test]
fn the_command_line_stands_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.toml");
    fs::write(&path, "[server]\nlisten = [\"0.0.0.0:25\"]\n[backend]\ntcp = \"127.0.0.1:26\"\n").unwrap();
    assert_eq!(load(&path).unwrap_err().len(), 1);
    let listen = Overrides { listen: vec!["127.0.0.1:0".to_owned()], ..Overrides::default() };
    let config = load_with(&path, &listen).unwrap().config.complete(&ControlValues::default());
    assert_eq!(config.front.listen, ["127.0.0.1:0".parse().unwrap()]);
    let backend = Overrides { backend: Some("maildir:./mail".to_owned()), ..Overrides::default() };
    let config = load_with(&path, &backend).unwrap().config.complete(&ControlValues::default());
    assert_eq!(config.backend.target, Target::Maildir("./mail".into()));
    let wrong =
        Overrides { listen: vec!["x".to_owned()], backend: Some("ftp:x".to_owned()), control: Some("/none".into()) };
    let faults: Vec<String> = load_with(&path, &wrong).unwrap_err().faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    for (fault, option) in faults.iter().zip(["--backend: ", "--control: /none: not found", "--listen: "]) {
        assert!(fault.starts_with(option), "{fault}");
    }
    assert_eq!(without_file(&wrong).unwrap_err().faults.len(), 3);
}

#[test]
fn what_the_file_names_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.toml");
    let text = "[backend]\nspawn = [\"./run\"]\n[qmail]\ncontrol = \"control\"\ntcprules = \"rules\"\n\
                [senders]\nblocked = [\"list\"]\n[message]\nspool = \"spool\"\n\
                [tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
    fs::write(&path, text).unwrap();
    let lines = || -> Vec<u32> { load(&path).map_or_else(|it| it, |_| Vec::new()).iter().map(|it| it.line).collect() };
    assert_eq!(lines(), [2, 4, 5, 7, 9, 11, 12]);
    for file in ["run", "rules", "list", "c.pem", "k.pem"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    assert_eq!(lines(), [2, 4, 9]);
    let not_executable = load(&path).unwrap_err()[0].to_string();
    assert!(not_executable.ends_with("run: permission denied; write the path of a program that can be executed"));
    fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["control", "spool"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    assert_eq!(lines(), Vec::<u32>::new());
}

/// A Maildir by such a name was made by an earlier version, and has mail in it.
#[test]
fn a_path_as_a_shell_would_have_it_is_an_error_unless_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.toml");
    let in_full = "write the path of a file or folder in full: ~ and variables are not replaced";
    for written in ["~/mail", "$HOME/mail", "$mail"] {
        fs::write(&path, format!("[backend]\nmaildir = {written:?}\n")).unwrap();
        let told = load(&path).unwrap_err()[0].to_string();
        assert!(told.ends_with(&format!(":2:11: backend.maildir cannot be {written:?}; {in_full}")), "{told}");
        fs::create_dir_all(folder.path().join(written)).unwrap();
        assert!(load(&path).is_ok(), "{written}");
    }
    fs::write(&path, "[backend]\nmaildir = \"mail\"\n[senders]\nblocked = [\"~/bad\"]\n").unwrap();
    let told = load(&path).unwrap_err()[0].to_string();
    assert!(told.ends_with(&format!("~/bad: not found; {in_full}")), "{told}");
}

#[test]
fn files_that_are_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(&folder.path().join("none")).unwrap_err()[0].line, 0);
    assert_eq!(load(folder.path()).unwrap_err().len(), 1);
    let binary = folder.path().join("binary");
    fs::write(&binary, b"[log]\nlevel = \"\xff\"\n").unwrap();
    let faults = load(&binary).unwrap_err();
    assert_eq!((faults[0].line, faults[0].column), (2, 10));
    fs::write(&binary, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(load(&binary).unwrap_err().len(), 1);
}

#[test]
fn the_order_of_search() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, there) = (folder.path().join("missing"), folder.path().join("there"));
    fs::write(&there, "").unwrap();
    let explicit = Path::new("explicit");
    let named = || Some(PathBuf::from("named"));
    assert_eq!(find_in(Some(explicit), named(), &[&there]).as_deref(), Some(explicit));
    assert_eq!(find_in(None, named(), &[&there]), named());
    assert_eq!(find_in(None, None, &[&missing, &there]), Some(there));
    assert_eq!(find_in(None, None, &[&missing]), None);
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        let _ = parse(Path::new("p.toml"), &text);
    }

    #[test]
    fn no_damaged_default_panics(from in 0..DEFAULT_TEXT.len(), length in 0_usize..200, put in "\\PC{0,5}|[\\[\\]{}\"'=\\n,#]{0,5}") {
        let (start, end) = (DEFAULT_TEXT.floor_char_boundary(from), DEFAULT_TEXT.floor_char_boundary(from + length));
        let text = format!("{}{put}{}", &DEFAULT_TEXT[..start], &DEFAULT_TEXT[end..]);
        if let Err(faults) = parse(Path::new("p.toml"), &text) {
            let places: Vec<(u32, u32)> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
            prop_assert!(places.is_sorted(), "{places:?}");
        }
    }
}
