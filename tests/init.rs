//! `init` on copies of hosts: what it finds, what it writes, and that it says what it did not understand. Nothing of the
//! real host is looked at, nothing is started.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/hosts.rs"]
mod hosts;
#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use proxy::Outcome;
use proxy::PORTCULLIS;
use serde_json::Value;
use tempfile::TempDir;

const SMTPFRONT: &str = include_str!("samples/service/smtpfront-qmail.run");
const LOG: &str = include_str!("samples/service/smtpfront-qmail.log.run");
const LIFE: &str = include_str!("samples/service/life-with-qmail.run");
const RULES: &[u8] = include_bytes!("samples/tcp.smtp.cdb");

/// A copy of a host, and a place to write to.
struct Host(TempDir);

impl Host {
    /// Without any service.
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(host.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        host.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nqmaild:x:7791:2108::/var/qmail:/bin/true\n");
        host.write("etc/group", "root:x:0:\nnofiles:x:2108:\nmail:x:8:\n");
        host
    }

    /// With qmail, its usual programs, and one service under daemontools.
    fn with_service(run: &str) -> Self {
        let host = Self::new();
        host.qmail("var/qmail");
        host.write("etc/tcp.smtp.cdb", RULES);
        for program in ["usr/bin/softlimit", "usr/bin/tcpserver", "usr/bin/rblsmtpd", "usr/bin/envdir"] {
            host.program(program);
        }
        host.program("usr/sbin/smtpfront-qmail");
        host.program("var/qmail/bin/qmail-smtpd");
        host.write("var/svc/smtp/run", run);
        host.write("var/svc/smtp/log/run", LOG);
        fs::create_dir_all(host.path("service")).unwrap();
        symlink("/var/svc/smtp", host.path("service/smtp")).unwrap();
        host
    }

    /// The usual ground, and what the stage has.
    fn of(stage: &hosts::Stage) -> Self {
        let host = Self::new();
        host.qmail("var/qmail");
        host.write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nqmaild:x:7791:2108::/var/qmail:/bin/true\nqmaill:x:7792:2108::/:/bin/true\n\
             vpopmail:x:89:89::/home/vpopmail:/bin/sh\n_runit-log:x:999:999::/:/bin/true\n",
        );
        host.write("etc/group", "root:x:0:\nnofiles:x:2108:\nvchkpw:x:89:\n");
        host.write("etc/tcp.smtp.cdb", RULES);
        host.write("proc/sys/kernel/hostname", "mx.example.org\n");
        for name in ["softlimit", "tcpserver", "rblsmtpd", "envdir", "recordio", "fixcrio", "setlock", "chpst"] {
            host.program(&format!("usr/bin/{name}"));
        }
        ["usr/sbin/smtpfront-qmail", "var/qmail/bin/qmail-smtpd"].iter().for_each(|name| host.program(name));
        for (name, text) in stage.files {
            match name.split_at(1) {
                ("+", name) => host.program(name),
                ("@", name) => {
                    fs::create_dir_all(host.path(name).parent().unwrap()).unwrap();
                    symlink(text, host.path(name)).unwrap();
                }
                _ => host.write(name, text),
            }
        }
        host
    }

    fn qmail(&self, home: &str) {
        for (name, text) in [
            ("me", "mx.example.org\n"),
            ("badmailfrom", "# us\nnewsletter@sillyplace.com\n@blocked.example\n"),
            ("rcpthosts", "example.org\n"),
            ("concurrencyincoming", "30\n"),
            ("databytes", "10000000\n"),
        ] {
            self.write(&format!("{home}/control/{name}"), text);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str) {
        self.write(name, "");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PORTCULLIS);
        command.current_dir(self.0.path()).args(["init", "--root", ".", "--to", "new"]).args(arguments);
        command
    }

    fn init(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&self.command(arguments).output().unwrap())
    }

    /// What was written.
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path("new").join(name)).unwrap()
    }

    /// Runs it, and looks at the configuration: each of these lines stands in it as it is.
    fn configured(&self, lines: &[&str]) -> Outcome {
        let outcome = self.init(&[]);
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{outcome:?}");
        let text = self.text("portcullis.toml");
        for line in lines {
            assert!(text.lines().any(|written| written == *line), "{line}\n{text}");
        }
        outcome
    }

    fn with_all(outcome: &Outcome, told: &[&str]) {
        told.iter().for_each(|told| assert!(outcome.out.contains(told), "{told}\n{}", outcome.out));
    }
}

#[test]
fn hosts_as_people_have_them() {
    let wrong: Vec<String> = hosts::STAGES.iter().filter_map(|stage| played(stage).err()).collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), hosts::STAGES.len(), wrong.join("\n"));
}

fn played(stage: &hosts::Stage) -> Result<(), String> {
    let host = Host::of(stage);
    let outcome = host.init(&[]);
    let names = ["portcullis.toml", "service/run", "service/log/run", "systemd/portcullis.service"];
    let written = names.map(|name| fs::read_to_string(host.path("new").join(name)).unwrap_or_default()).concat();
    let new = host.path("new").display().to_string();
    let all = format!("{}{written}", outcome.out).replace(&new, "NEW");
    let missing = stage.told.iter().filter(|told| !all.contains(**told)).map(|told| format!("  missing: {told}"));
    let wrong = stage.never.iter().filter(|never| all.contains(**never)).map(|never| format!("  wrong: {never}"));
    let mut said: Vec<String> = missing.chain(wrong).collect();
    if (outcome.code, outcome.err.as_str()) != (stage.code, "") {
        said.push(format!("  code {}, {}", outcome.code, outcome.err));
    }
    if said.is_empty() { Ok(()) } else { Err(format!("{}\n{}\n{all}", stage.name, said.join("\n"))) }
}

#[test]
fn smtpfront_under_daemontools() {
    let host = Host::with_service(SMTPFRONT);
    let outcome = host.configured(&[
        "# /service/smtp/run:8: tcpserver 0 25",
        "listen = [\"0.0.0.0:25\"]",
        "# /service/smtp/run:7: envuidgid qmaild, tcpserver -U",
        "user = \"qmaild\"",
        "# hostname comes from control/me, now \"mx.example.org\"",
        "spawn = [\"/usr/bin/softlimit\", \"-m\", \"300000000\", \"/usr/sbin/smtpfront-qmail\"]",
        "# /service/smtp/run:8: tcpserver -c 20",
        "max = 20",
        "QMAILHOME = \"/var/qmail\"",
        "# /service/smtp/run:5: exported, what `head -1 /var/qmail/control/me` says now",
        "SMTPGREETING = \"mx.example.org\"",
        "TIMEOUT = \"20\"",
        "control = \"/var/qmail/control\"",
        "#   badmailfrom 2 entries",
        "tcprules = \"/etc/tcp.smtp.cdb\"",
        "# limit comes from control/databytes, now 10000000",
    ]);
    Host::with_all(&outcome, &["takes over /service/smtp\n", "svc -d /service/smtp; svc -u /service/portcullis"]);
    let new = host.path("new");
    let run = host.text("service/run");
    assert!(run.ends_with(&format!("exec {PORTCULLIS} serve -c {}/portcullis.toml 2>&1\n", new.display())), "{run}");
    let log = host.text("service/log/run");
    assert!(log.ends_with("exec setuidgid qmaill multilog t s16384 n5 /var/log/portcullis\n"), "{log}");
    for (name, mode) in
        [("service/run", 0o755), ("service/log/run", 0o755), ("portcullis.toml", 0o644), ("state", 0o750)]
    {
        let found = fs::metadata(new.join(name)).unwrap().permissions().mode() & 0o777;
        // The umask may take more.
        assert_eq!(found | 0o022, mode | 0o022, "{name}");
    }
    assert!(outcome.out.ends_with(&format!("{}\n", host.text("STEPS"))));
}

/// As wanted: qmail-queue is the backend, and what ends is said; where there is none, that is an error.
#[test]
fn straight_into_qmail_where_it_is_wanted() {
    let host = Host::with_service(SMTPFRONT);
    let absent = host.init(&["--backend", "queue"]);
    assert_eq!(absent.code, 1, "{absent:?}");
    Host::with_all(
        &absent,
        &["error      --backend queue: no bin/qmail-queue was found: write --backend queue:/PROGRAM"],
    );
    fs::remove_dir_all(host.path("new")).unwrap();
    host.program("var/qmail/bin/qmail-queue");
    let outcome = host.init(&["--backend", "queue"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{outcome:?}");
    let text = host.text("portcullis.toml");
    assert!(text.contains("\nqueue = \"/var/qmail/bin/qmail-queue\"\n") && text.contains("\n# spawn = ["), "{text}");
    assert!(text.contains("\nQMAILHOME = \"/var/qmail\"\n") && text.contains("\nmax = 20\n"), "{text}");
    Host::with_all(
        &outcome,
        &[
            "mind       backend.queue: what this means for the program that spoke SMTP",
            "mind       /service/smtp/run:9: plug-in check-fqdn: ",
            "mind       /service/smtp/run:6: TIMEOUT: limited the wait for a command: write server.timeout.command\n",
        ],
    );
    fs::remove_dir_all(host.path("new")).unwrap();
    let absent = host.init(&["--backend", "queue:/opt/scan"]);
    assert_eq!(absent.code, 1, "{absent:?}");
    Host::with_all(
        &absent,
        &[
            "error      --backend queue:/opt/scan: /opt/scan is not a program that can be executed: write another path\n",
        ],
    );
    fs::remove_dir_all(host.path("new")).unwrap();
    host.program("opt/scan");
    assert_eq!(host.init(&["--backend", "queue:/opt/scan"]).code, 0);
    assert!(host.text("portcullis.toml").contains("\nqueue = \"/opt/scan\"\n"));
    assert_eq!(host.init(&["--backend", "maildir"]).code, 64);
}

#[test]
fn qmail_smtpd_behind_rblsmtpd_and_envdir() {
    let run = LIFE
        .replace("exec /usr/local/bin/softlimit", "exec envdir ./env softlimit")
        .replace("/usr/local/bin/tcpserver", "tcpserver")
        .replace("/var/qmail/bin/qmail-smtpd", "rblsmtpd -b -r zen.example /var/qmail/bin/qmail-smtpd");
    let host = Host::with_service(&run);
    let outcome = host.configured(&[
        "user = \"qmaild\"",
        "# /service/smtp/run:21: tcpserver -u 7791",
        "spawn = [\"/usr/bin/softlimit\", \"-m\", \"2000000\", \"/usr/bin/rblsmtpd\", \"-b\", \"-r\", \"zen.example\", \
         \"/var/qmail/bin/qmail-smtpd\"]",
        "# max comes from control/concurrencyincoming, now 30, as before: /service/smtp/run:20: tcpserver -c 30",
        "# /service/smtp/run:21: the home of /var/qmail/bin/qmail-smtpd",
        "control = \"/var/qmail/control\"",
        "lookup = \"off\"",
    ]);
    let text = host.text("portcullis.toml");
    assert!(!text.contains("\nmax = ") && !text.contains("\ngroup = "), "{text}");
    assert!(text.contains("tcpserver without -H: names of clients are not looked up"), "{text}");
    // Its variables reach the backend as before, also when the folder changes.
    let run = host.text("service/run");
    assert!(run.contains("exec /usr/bin/envdir /var/svc/smtp/env /"), "{run}");
    let mind: Vec<&str> = outcome.out.lines().filter(|line| line.starts_with("mind")).collect();
    assert!(matches!(mind.as_slice(), [only] if only.contains(": rblsmtpd stays in spawn")), "{mind:?}");
}

#[test]
fn tcpsvd_under_runit() {
    let host = Host::new();
    host.qmail("var/lib/qmail");
    host.program("usr/sbin/smtpfront-qmail");
    host.program("usr/bin/chpst");
    host.write("proc/sys/kernel/hostname", "mx.example.org\n");
    host.write("etc/sv/smtp/run", RUNIT);
    host.write("etc/sv/smtp/log/run", "#!/bin/sh\nexec chpst -uqmaild svlogd -tt /var/log/smtp\n");
    fs::create_dir_all(host.path("etc/service")).unwrap();
    symlink("/etc/sv/smtp", host.path("etc/service/smtp")).unwrap();
    let outcome = host.configured(&[
        "listen = [\"127.0.0.1:25\"]",
        "user = \"qmaild\"",
        "group = \"mail\"",
        "max_connections_per_client = 14",
        "max = 56",
        "spawn = [\"/usr/bin/chpst\", \"-m\", \"3000000\", \"/usr/sbin/smtpfront-qmail\"]",
        "SMTPGREETING = \"mx.example.org ready\"",
        "control = \"/var/lib/qmail/control\"",
    ]);
    let told = [
        "sv down /etc/service/smtp; sv up /etc/service/portcullis",
        "mind       /etc/service/smtp/run:4: tcpsvd -i ./peers: instructions",
    ];
    Host::with_all(&outcome, &told);
    assert!(host.text("service/log/run").ends_with("exec chpst -u qmaild svlogd -tt /var/log/portcullis\n"));
}

const RUNIT: &str = "#!/bin/sh
exec 2>&1
exec env SMTPGREETING=\"$(hostname -f) ready\" chpst -m3000000 \\
  tcpsvd -vhl0 -uqmaild:mail -i./peers -c56 -C'14:421 per host limit\\r\\n' 127.0.0.1 25 smtpfront-qmail
";

#[test]
fn tcpserver_under_s6() {
    let host = Host::with_service(
        "#!/bin/sh\nexec s6-setuidgid qmaild s6-softlimit -o 500 tcpserver 0 25 /usr/sbin/smtpfront-qmail\n",
    );
    host.write("var/svc/smtp/log/run", "#!/bin/sh\nexec s6-setuidgid qmaill s6-log t s1000000 n20 /var/log/smtp\n");
    let outcome = host.init(&[]);
    let told = ["s6-svc -d /service/smtp; s6-svc -u /service/portcullis", "s6-svscanctl -a"];
    Host::with_all(&outcome, &told);
    assert_eq!(host.text("service/notification-fd"), "3\n");
    assert!(host.text("service/run").contains(" serve -c "), "{}", host.text("service/run"));
    assert!(host.text("service/run").ends_with("portcullis.toml --notify-fd 3 2>&1\n"), "{}", host.text("service/run"));
}

#[test]
fn a_unit_of_systemd_xinetd_and_inetd() {
    let unit = "[Service]\nUser=qmaild\nEnvironment=QMAILHOME=/var/qmail\nExecStart=/usr/bin/tcpserver -R -H 0 25 \\\n  \
                /usr/sbin/smtpfront-qmail\n";
    let xinetd = "service smtp\n{\n\tdisable = no\n\tuser = qmaild\n\tserver = /var/qmail/bin/tcp-env\n\
                  \tserver_args = /var/qmail/bin/qmail-smtpd\n\tinstances = 30\n}\n";
    let inetd = "smtp stream tcp nowait qmaild /var/qmail/bin/tcp-env tcp-env /var/qmail/bin/qmail-smtpd\n";
    let spawn = "spawn = [\"/var/qmail/bin/qmail-smtpd\"]";
    for (file, text, spawn, step) in [
        (
            "etc/systemd/system/smtp.service",
            unit,
            "spawn = [\"/usr/sbin/smtpfront-qmail\"]",
            "systemctl stop smtp.service; systemctl start portcullis",
        ),
        ("etc/xinetd.d/smtp", xinetd, spawn, "/etc/xinetd.d/smtp && kill -HUP $(pidof xinetd); "),
        ("etc/inetd.conf", inetd, spawn, "/etc/inetd.conf && kill -HUP $(pidof inetd inetutils-inetd); "),
    ] {
        let host = Host::new();
        host.qmail("var/qmail");
        host.program("usr/sbin/smtpfront-qmail");
        fs::create_dir_all(host.path("usr/lib/systemd/system")).unwrap();
        symlink("/dev/null", host.path("usr/lib/systemd/system/masked.service")).unwrap();
        host.write(file, text);
        let outcome = host.configured(&["listen = [\"0.0.0.0:25\"]", "user = \"qmaild\"", spawn]);
        Host::with_all(&outcome, &[step]);
        assert!(!outcome.out.contains("unreadable"), "{}", outcome.out);
        if file.ends_with(".service") {
            let unit = host.text("systemd/portcullis.service");
            for line in [
                format!("ExecStart={PORTCULLIS} serve -c {}/portcullis.toml", host.path("new").display()),
                format!("ReadWritePaths={}/state", host.path("new").display()),
                "User=qmaild".to_owned(),
            ] {
                assert!(unit.lines().any(|written| written == line), "{line}\n{unit}");
            }
        }
    }
}

#[test]
fn nothing_is_as_expected() {
    let host = Host::new();
    let outcome = host.init(&[]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let told = [
        "no service that receives mail and no qmail home",
        "/service/*/run",
        "/var/lib/qmail/control",
        "/proc/net/tcp6",
    ];
    Host::with_all(&outcome, &told);
    let text = host.text("portcullis.toml");
    for line in ["# listen = [\"0.0.0.0:25\"]", "# tcp = \"127.0.0.1:2526\"", "# control = \"/var/qmail/control\""] {
        assert!(text.lines().any(|written| written == line), "{line}\n{text}");
    }
    assert!(host.text("STEPS").contains("The configuration is NOT complete"));
    // The commented keys are what `check` asks for.
    let mut check = Command::new(PORTCULLIS);
    let check = Outcome::of(&check.args(["check", "-c"]).arg(host.path("new/portcullis.toml")).output().unwrap());
    assert_eq!(check.code, 1);
    assert!(check.out.contains("no backend"), "{check:?}");
}

#[test]
fn what_is_not_understood_is_said_and_never_guessed() {
    let run = "#!/bin/sh\n. /etc/default/qmail; export DATABYTES=${DATABYTES#x}\nPATH=/opt/bin:$PATH\nexport PATH RELAYCLIENT\nRELAYCLIENT=; export RELAYCLIENT\n\
               exec tcpserver -c `wc -l </etc/limits` -u qmaild \"$ADDRESS\" 25 /usr/sbin/smtpfront-qmail\n";
    let host = Host::with_service(run);
    let outcome = host.init(&[]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let text = host.text("portcullis.toml");
    for told in [
        "error /service/smtp/run:2: /etc/default/qmail, which the script reads: no such file, or it cannot be read; what it",
        "error /service/smtp/run:2: the value of DATABYTES: ${DATABYTES#x} is not understood",
        "mind  /service/smtp/run:3: the value of PATH: $PATH is not set by the script",
        "error /service/smtp/run:5: RELAYCLIENT for every client is an open relay: left out",
        "mind  /service/smtp/run:6: -c, sessions at a time: `wc -l </etc/limits` is not understood",
        "error /service/smtp/run:6: the address: $ADDRESS is not set by the script",
    ] {
        let (head, told) = told.split_at(6);
        assert!(text.contains(&format!("#   {told}")), "{told}\n{text}");
        assert!(outcome.out.contains(&format!("{head}     {told}")), "{told}\n{}", outcome.out);
    }
    assert!(text.contains("\n# limit = \"...\"\n"), "{text}");
    assert!(!text.contains("\nlisten = ") && !text.contains("\nmax = ") && !text.contains("RELAYCLIENT ="), "{text}");
}

#[test]
fn a_script_that_depends_on_something_is_not_followed() {
    let run =
        "#!/bin/sh\nif cmp -s /etc/a /etc/b; then\n  exec tcpserver 0 25 /var/qmail/bin/qmail-smtpd\nfi\nexit 1\n";
    let host = Host::with_service(run);
    let outcome = host.init(&[]);
    assert_eq!(outcome.code, 1);
    let told = ["port not understood", "/service/smtp/run:3: `exec tcpserver 0 25 /var/qmail/bin/qmail-smtpd` depends"];
    Host::with_all(&outcome, &told);
    assert!(!host.text("portcullis.toml").contains("\nspawn = "));
}

#[test]
fn of_two_services_one_has_to_be_named() {
    let host = Host::with_service(SMTPFRONT);
    host.write("service/other/run", LIFE);
    let outcome = host.init(&[]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    Host::with_all(&outcome, &["service    /service/smtp (", "service    /service/other (", "--service"]);
    assert!(!host.path("new").exists());
    let outcome = host.init(&["--service", "/service/other", "--dry-run"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    Host::with_all(&outcome, &["takes over /service/other\n"]);
    // Its other name is as good.
    Host::with_all(&host.init(&["--service", "/var/svc/smtp", "--dry-run"]), &["takes over /service/smtp\n"]);
    // One that is down is in nobody's way.
    host.write("service/other/down", "");
    Host::with_all(&host.init(&["--dry-run"]), &["takes over /service/smtp\n", "port 25, not active)"]);
    let outcome = host.init(&["--service", "/service/none"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert!(outcome.err.contains("/service/none: no service"), "{outcome:?}");
    assert!(!host.path("new").exists());
}

#[test]
fn an_environment_that_lets_everybody_relay_is_told() {
    let run = "#!/bin/sh\nexec envdir ./env tcpserver -R -H -u qmaild 0 25 /var/qmail/bin/qmail-smtpd\n";
    let host = Host::with_service(run);
    host.write("var/svc/smtp/env/RELAYCLIENT", "\n");
    host.write("var/svc/smtp/env/DATABYTES", "5000000\n");
    let outcome = host.configured(&["# limit comes from DATABYTES of envdir, see service/run"]);
    Host::with_all(
        &outcome,
        &["mind       /service/smtp/run:2: envdir sets RELAYCLIENT for every client, an open relay"],
    );
}

#[test]
fn the_socket_tells_the_ipv6_build_of_tcpserver() {
    let host = Host::with_service(SMTPFRONT);
    host.write("proc/net/tcp6", PROC_NET_TCP.replace("00000000:0019", "00000000000000000000000000000000:0019"));
    host.write("proc/77/comm", "tcpserver\n");
    fs::create_dir_all(host.path("proc/77/fd")).unwrap();
    symlink("socket:[4711]", host.path("proc/77/fd/3")).unwrap();
    let outcome = host.configured(&["listen = [\"[::]:25\"]"]);
    Host::with_all(&outcome, &["listening  [::]:25 by tcpserver, pid 77, user qmaild"]);
}

#[test]
fn which_home_it_is_is_not_guessed() {
    let host = Host::with_service(&SMTPFRONT.replace("QMAILHOME=/var/qmail;", "QMAILHOME=/opt/qmail;"));
    let outcome = host.init(&["--dry-run"]);
    Host::with_all(&outcome, &["mind       could not tell whether /var/qmail is the one in use: write qmail.control"]);
    let host = Host::with_service(&SMTPFRONT.replace("QMAILHOME=/var/qmail; export QMAILHOME", ""));
    host.qmail("var/lib/qmail");
    let outcome = host.init(&["--dry-run"]);
    Host::with_all(
        &outcome,
        &["could not tell whether /var/qmail or /var/lib/qmail is the one in use", "# control = "],
    );
}

#[test]
fn help_has_examples() {
    let outcome = Outcome::of(&Command::new(PORTCULLIS).args(["init", "--help"]).output().unwrap());
    assert_eq!(outcome.code, 0);
    Host::with_all(
        &outcome,
        &["Usage: portcullis init", "portcullis init --to /etc/portcullis", "--dry-run", "--json"],
    );
}

#[test]
fn unreadable_files_are_told() {
    let host = Host::with_service(SMTPFRONT);
    let closed = ["var/qmail/control/badmailfrom", "etc/tcp.smtp.cdb"];
    closed.iter().for_each(|name| fs::set_permissions(host.path(name), fs::Permissions::from_mode(0o000)).unwrap());
    fs::create_dir_all(host.path("service/odd/run")).unwrap();
    let mut command = host.command(&["--dry-run"]);
    if nix::unistd::Uid::effective().is_root() {
        // Root reads everything.
        let mut lesser = Command::new("setpriv");
        lesser.args(["--reuid=65534", "--regid=65534", "--clear-groups", PORTCULLIS]).args(command.get_args());
        lesser.current_dir(host.0.path());
        command = lesser;
    }
    let outcome = Outcome::of(&command.output().unwrap());
    let told = [
        "unreadable /var/qmail/control/badmailfrom: permission denied\n",
        "unreadable /etc/tcp.smtp.cdb: permission denied\n",
        "unreadable /service/odd/run: is a folder\n",
        "error      /etc/tcp.smtp.cdb: cannot be read, so no rules are set\n",
        "# tcprules = \"/etc/tcp.smtp.cdb\"",
    ];
    Host::with_all(&outcome, &told);
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let host = Host::with_service(SMTPFRONT);
    host.write("new/mine", "mine");
    let outcome = host.init(&[]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{outcome:?}");
    assert!(outcome.err.contains("new is not empty: name a new folder with --to"), "{outcome:?}");
    assert_eq!(fs::read_dir(host.path("new")).unwrap().count(), 1);
    fs::remove_file(host.path("new/mine")).unwrap();
    assert_eq!(host.init(&[]).code, 0, "an empty one is as good as a new one");
    let again = host.init(&[]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    let left = format!("an earlier init wrote there; nothing was written. Follow {}/STEPS", host.path("new").display());
    assert!(again.err.contains(&left), "{again:?}");
    let mut deep = host.command(&[]);
    let deep = Outcome::of(&deep.args(["--to", "none/new"]).output().unwrap());
    assert_eq!(deep.code, 64, "twice");
    assert_eq!(host.init(&["--root", "none"]).code, 64, "twice");
}

#[test]
fn xinetd_and_inetd_are_changed_by_the_steps_and_back() {
    let block = "service smtp\n{\n\tuser = qmaild\n\tserver = /var/qmail/bin/qmail-smtpd\n}\nservice smtps\n{\n\tserver = /x\n}\n";
    let enabled = block.replacen("{\n", "{\n\tdisable = no\n", 1);
    let lines = "ftp stream tcp nowait root /x x\nsmtp stream tcp nowait qmaild /y/tcp-env tcp-env /y/qmail-smtpd\n";
    for (file, text, off, on) in [
        ("etc/xinetd.d/smtp", block, enabled.replace("disable = no", "disable = yes"), enabled.clone()),
        ("etc/xinetd.d/smtp", &enabled, enabled.replace("disable = no", "disable = yes"), enabled.clone()),
        ("etc/inetd.conf", lines, lines.replace("smtp stream", "#portcullis# smtp stream"), lines.to_owned()),
    ] {
        let host = Host::new();
        host.qmail("var/qmail");
        host.write(file, text);
        let steps = host.init(&[]).out;
        let copy = host.path(file).display().to_string();
        let edits = |line: &str| {
            let from = line.find("sed -i ")?;
            let edit = line[from..].split(" && kill -HUP ").next()?;
            Some(edit.replace(&format!("/{file}"), &copy))
        };
        let edits: Vec<String> = steps.lines().filter_map(edits).collect();
        let [switch, back] = edits.as_slice() else { panic!("{steps}") };
        // Twice is as good as once.
        for (edit, expected) in [(switch, &off), (switch, &off), (back, &on), (back, &on), (switch, &off)] {
            assert!(Command::new("/bin/sh").args(["-c", edit]).status().unwrap().success(), "{edit}");
            assert_eq!(&fs::read_to_string(host.path(file)).unwrap(), expected, "{edit}");
        }
    }
}

#[test]
fn json_says_what_the_text_says_and_a_dry_run_writes_nothing() {
    let host = Host::with_service(SMTPFRONT);
    host.write("proc/net/tcp", PROC_NET_TCP);
    host.write("proc/77/comm", "tcp\x1bserver\n");
    fs::create_dir_all(host.path("proc/77/fd")).unwrap();
    symlink("socket:[4711]", host.path("proc/77/fd/3")).unwrap();
    let json = host.init(&["--json", "--dry-run"]).json();
    let findings = &json["findings"];
    assert_eq!((json["written"].clone(), findings["takes_over"].clone()), (Value::Null, "/service/smtp".into()));
    assert_eq!((findings["services"][0]["port"].clone(), findings["home"].clone()), (25.into(), "/var/qmail".into()));
    let listener = &findings["listeners"][0];
    assert_eq!((listener["address"].clone(), listener["user"].clone()), ("0.0.0.0:25".into(), "qmaild".into()));
    let settings = findings["plan"]["settings"].as_array().unwrap();
    let listen = settings.iter().find(|setting| setting["key"] == "listen").unwrap();
    assert_eq!((listen["value"].clone(), listen["active"].clone()), ("[\"0.0.0.0:25\"]".into(), true.into()));
    let outcome = host.init(&["--dry-run"]);
    Host::with_all(&outcome, &["listening  0.0.0.0:25 by tcp\\x1bserver, pid 77, user qmaild", "Nothing was written."]);
    assert!(!Path::new(&host.path("new")).exists());
    let written = host.init(&["--json"]).json()["written"].as_str().unwrap().to_owned();
    assert_eq!(Path::new(&written), host.path("new"));
}

/// One socket listens on 0.0.0.0:25, and one connection is open.
const PROC_NET_TCP: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000  7791        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0019 0100007F:9999 01 00000000:00000000 00:00000000 00000000  7791        0 4712 1 0 100 0 0 10 0
";
