//! What the backend offers is in the first EHLO: after a start, after a restart before the backend has answered, and for
//! a client with a rule of its own. The backend is asked once for each set of variables, however many clients wait, and a
//! client that needs AUTH can log in to a proxy that has just started. It must not sleep.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/client.rs"]
mod client;
#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/qmail.rs"]
mod qmail;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use client::Client;
use postfix::Postfix;
use proxy::Proxy;
use proxy::Site;
use proxy::host::until;
use qmail::Lines;
use qmail::QmailHome;
use qmail::SWAKS;
use qmail::program;

#[test]
fn the_first_hello_after_a_restart_has_what_was_offered_before() {
    let stage = Stage::new("");
    stage.offer("AUTH PLAIN");
    let proxy = Proxy::start(&stage.site);
    for client in [DEFAULT, RULED] {
        assert!(offered(&proxy, client).contains("AUTH PLAIN|"), "{client}");
    }
    proxy.stop();
    let state = fs::read(stage.site.path("portcullis-state.redb")).unwrap();
    let holds = |text: &str| state.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("AUTH PLAIN") && !holds("hunter2"), "a variable may be a secret");
    // The backend does not answer yet. It is another version.
    let mut gate = stage.close_gate();
    stage.offer("8BITMIME");
    let proxy = Proxy::start(&stage.site);
    for client in [DEFAULT, RULED] {
        assert!(offered(&proxy, client).contains("AUTH PLAIN|"), "{client}");
    }
    // What is remembered refuses nothing; and each set is asked for again without a client that has to wait.
    gate.write_all(b"\n\n").unwrap();
    for client in [DEFAULT, RULED] {
        let is_new = |hello: &str| hello.contains("8BITMIME|") && !hello.contains("AUTH");
        until("the backend is asked again", || is_new(&offered(&proxy, client)));
    }
    assert_eq!(stage.starts(), 2 + 2);
}

#[test]
fn another_backend_finds_nothing_and_the_one_before_finds_its_own() {
    let stage = Stage::new("");
    stage.offer("AUTH PLAIN");
    let proxy = Proxy::start(&stage.site);
    assert!(offered(&proxy, DEFAULT).contains("AUTH PLAIN|"));
    proxy.stop();
    fs::copy(stage.site.path("backend"), stage.site.path("other")).unwrap();
    stage.offer("DSN");
    stage.configure("other", "");
    let proxy = Proxy::start(&stage.site);
    let hello = offered(&proxy, DEFAULT);
    assert!(hello.contains("DSN|") && !hello.contains("AUTH"), "{hello}");
    proxy.stop();
    let _gate = stage.close_gate();
    stage.configure("backend", "");
    let proxy = Proxy::start(&stage.site);
    let hello = offered(&proxy, DEFAULT);
    assert!(hello.contains("AUTH PLAIN|") && !hello.contains("DSN"), "{hello}");
    // A reload finds it as well.
    let mut proxy = proxy;
    stage.configure("other", "");
    proxy.wait_for("reloaded");
    let hello = offered(&proxy, DEFAULT);
    assert!(hello.contains("DSN|") && !hello.contains("AUTH"), "{hello}");
}

#[test]
fn a_state_in_memory_remembers_nothing() {
    let stage = Stage::new("[state]\nurl = \"memory:\"\n");
    stage.offer("AUTH PLAIN");
    let proxy = Proxy::start(&stage.site);
    assert!(offered(&proxy, DEFAULT).contains("AUTH PLAIN|"));
    proxy.stop();
    let mut gate = stage.close_gate();
    stage.offer("DSN");
    let proxy = Proxy::start(&stage.site);
    // What was remembered would be the answer at once, while the backend waits at the gate.
    let mut client = Client::silent(DEFAULT, proxy.addresses[0]);
    assert!(client.reply().starts_with("220 "));
    client.send("EHLO client.example\r\n");
    gate.write_all(b"\n").unwrap();
    let hello = client.reply();
    assert!(hello.contains("DSN|") && !hello.contains("AUTH"), "{hello}");
    assert_eq!(stage.starts(), 2);
}

#[test]
fn the_backend_is_asked_once_however_many_wait() {
    let stage = Stage::new("");
    stage.offer("AUTH PLAIN");
    let mut gate = stage.close_gate();
    let proxy = Proxy::start(&stage.site);
    let mut clients = Vec::new();
    for address in [DEFAULT, RULED].repeat(15) {
        let mut client = Client::silent(address, proxy.addresses[0]);
        assert!(client.reply().starts_with("220 "));
        client.send("EHLO client.example\r\n");
        clients.push(client);
    }
    until("each set is asked for", || stage.starts() == 2);
    gate.write_all(b"\n\n").unwrap();
    for client in &mut clients {
        assert!(client.reply().contains("AUTH PLAIN|"));
    }
    assert_eq!(stage.starts(), 2);
    // The session that was begun for the first of them serves its mail, and nobody has taken it from there.
    let ruled = &mut clients[1];
    assert!(ruled.command("MAIL FROM:<a@b.example>").starts_with("250"));
    assert_eq!(stage.starts(), 2);
}

#[test]
fn when_the_client_that_asks_leaves_another_one_asks() {
    let stage = Stage::new("");
    stage.offer("AUTH PLAIN");
    let mut gate = stage.close_gate();
    let proxy = Proxy::start(&stage.site);
    let hello = || {
        let mut client = Client::silent(RULED, proxy.addresses[0]);
        assert!(client.reply().starts_with("220 "));
        client.send("EHLO client.example\r\n");
        client
    };
    let first = hello();
    until("the first client's backend is started", || stage.starts() == 2);
    let mut second = hello();
    first.reset();
    until("the second client's is", || stage.starts() == 3);
    gate.write_all(&[b'\n'; 3]).unwrap();
    assert!(second.reply().contains("AUTH PLAIN|"));
}

#[test]
fn a_client_that_needs_auth_logs_in_to_a_proxy_that_has_just_started() {
    let rules = "127.0.0.1:allow,RELAYCLIENT=\"\"\n127.0.0.3:allow,CVM_SASL_PLAIN=\"HOME/cvm\"\n:allow\n";
    for (what, everywhere, client) in [("the default set", true, "127.0.0.2"), ("its own set", false, "127.0.0.3")] {
        let qmail = QmailHome::new();
        let home = qmail.path("").display().to_string();
        let home = home.trim_end_matches('/');
        qmail.script("cvm", CVM);
        let cvm = if everywhere { format!(", CVM_SASL_PLAIN = \"{home}/cvm\"") } else { String::new() };
        qmail.write("tcp.smtp", &rules.replace("HOME", home));
        qmail.write(
            "portcullis.toml",
            &format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\nauth = \"always\"\n[backend]\nspawn = [\"{home}/smtpfront\"]\n\
                 env = {{ QMAILHOME = \"{home}\", QMAILQUEUE = \"{home}/qmail-queue\"{cvm} }}\n[qmail]\n\
                 control = \"control\"\ntcprules = \"tcp.smtp\"\n[state]\nurl = \"memory:\"\n[admin]\nlisten = \"\"\n"
            ),
        );
        let mut command = Command::new(proxy::PORTCULLIS);
        command.args(["serve", "-c", "portcullis.toml"]).current_dir(home);
        let proxy = Proxy::launch(&mut command, 1);
        let swaks = |password: &str| {
            let output = Command::new(program(SWAKS))
                .args(["--server", &proxy.addresses[0].to_string(), "--local-interface", client])
                .args(["--auth", "PLAIN", "--auth-user", "joe", "--auth-password", password])
                .args(["--from", "joe@example.org", "--to", "fred@elsewhere.example"])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let transcript = swaks("right");
        assert!(transcript.contains(" 235 ") && transcript.contains("250 2.6.0 Accepted"), "{what}:\n{transcript}");
        assert_eq!(qmail.only_message().envelope, "Fjoe@example.org Tfred@elsewhere.example", "{what}");
        let transcript = swaks("wrong");
        assert!(!transcript.contains(" 235 ") && qmail.queued().len() == 1, "{what}:\n{transcript}");
    }
}

#[test]
fn what_postfix_offers_is_known_while_it_is_down() {
    let postfix = Postfix::start("");
    let qmail = QmailHome::new();
    let backend = format!("tcp = \"{}\"\n", postfix.address);
    let keywords = ["8BITMIME", "DSN", "SMTPUTF8", "SIZE 10240000"];
    let has_all = |hello: &str| keywords.iter().all(|keyword| hello.split('|').any(|line| line[4..] == **keyword));
    let proxy = qmail.serve(&backend, Lines::default());
    let hello = offered(&proxy, DEFAULT);
    assert!(has_all(&hello), "{hello}");
    proxy.stop();
    drop(postfix);
    // It waits until the backend was asked, in vain.
    let proxy = qmail.serve(&backend, Lines::default());
    let hello = offered(&proxy, DEFAULT);
    assert!(has_all(&hello), "{hello}");
}

/// A proxy's site with a backend that counts its starts, waits at a gate, and offers what a file says.
struct Stage {
    site: Site,
}

impl Stage {
    fn new(rest: &str) -> Self {
        let stage = Self { site: Site::new("", "") };
        stage.site.write("tcp.smtp", "127.0.0.3:allow,TOKEN=\"hunter2\"\n");
        stage.site.write("backend", BACKEND);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(stage.site.path("backend"), executable).unwrap();
        stage.configure("backend", rest);
        stage
    }

    fn configure(&self, backend: &str, rest: &str) {
        let backend = format!("spawn = [{:?}]\ntimeout = {{ connect = \"2m\" }}", self.site.path(backend));
        self.site.rename_over("portcullis.toml", &proxy::configuration("auth = \"always\"", &backend, rest));
    }

    /// Sets what the backend offers from now on.
    fn offer(&self, keyword: &str) {
        self.site.rename_over("offer", &format!("250-b\r\n250-{keyword}\r\n250 ENHANCEDSTATUSCODES\r\n"));
    }

    /// Lets each backend that is started from now on wait for a line.
    fn close_gate(&self) -> File {
        let path = self.site.path("gate");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    /// Starts of the backend.
    fn starts(&self) -> usize {
        fs::read_to_string(self.site.path("starts")).unwrap_or_default().lines().count()
    }
}

/// The answer to EHLO.
fn offered(proxy: &Proxy, client: Ipv4Addr) -> String {
    let mut client = Client::silent(client, proxy.addresses[0]);
    assert!(client.reply().starts_with("220 "));
    client.command("EHLO client.example")
}

/// A client without a rule, and one with a rule of its own.
const DEFAULT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const RULED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const BACKEND: &str = "#!/bin/sh
cd \"${0%/*}\"
echo $$ >>starts
if [ -p gate ]; then read -r opened <gate; fi
printf '220 b\\r\\n'
while read -r line; do
  case $line in
    EHLO*) cat offer ;;
    QUIT*) exit ;;
    *) printf '250 ok\\r\\n' ;;
  esac
done
";

/// A credential validation module, in protocol 2 of <http://untroubled.org/cvm/cvm2.html>: it knows joe.
const CVM: &str = "#!/bin/sh
request=$(tr '\\000-\\037' '#')
case $request in
  *'#joe#'*'#right'*) printf '\\000\\000\\001\\003joe\\002\\0041000\\003\\0041000\\005\\001/\\000' ;;
  *) printf '\\144\\000\\000' ;;
esac
";
