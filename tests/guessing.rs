//! Who guesses passwords, against the built program: what the backend hears, what the log says, and that fail2ban reads it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::path::Path;
use std::process::Command;

use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use tokio::net::TcpSocket;

/// Knows one password, and counts how often it was asked.
const BACKEND: &str = r#"printf '220 b\r\n'
while read -r line; do
    case $line in
        EHLO*) printf '250-b\r\n250 AUTH PLAIN LOGIN\r\n' ;;
        "AUTH PLAIN AGpvZQByaWdodA=="*) echo asked >>asked; printf '235 2.7.0 welcome\r\n' ;;
        "AUTH LOGIN"*)
            printf '334 VXNlcm5hbWU6\r\n'; read -r name || exit
            printf '334 UGFzc3dvcmQ6\r\n'; read -r word || exit
            case $word in cmlnaHQ=*) printf '235 welcome\r\n' ;; *) printf '535 no\r\n' ;; esac ;;
        AUTH*) echo asked >>asked; printf '535 5.7.8 no\r\n' ;;
        *) printf '250 ok\r\n' ;;
    esac
done
"#;

/// joe, with `wrong` and with `right`.
const WRONG: &str = "AUTH PLAIN AGpvZQB3cm9uZw==";
const RIGHT: &str = "AUTH PLAIN AGpvZQByaWdodA==";

#[test]
fn a_guesser_is_slowed_down_and_seen_by_fail2ban() {
    let site = site();
    let mut proxy = Proxy::start(&site);
    let guess = |client: &mut Client| client.say(WRONG);
    let mut client = proxy.client().hello();
    for _ in 0..10 {
        assert_eq!(guess(&mut client), "535 5.7.8 no");
    }
    let told = guess(&mut client);
    assert!(told.starts_with("454 4.7.0 Too many failed logins, try again in "), "{told}");
    assert_eq!(asked(&site), 10);
    // From this network the name waits, whatever the password; other names and mail do not.
    assert!(proxy.client().hello().say(RIGHT).starts_with("454 4.7.0"));
    let mut other = proxy.client().hello();
    assert_eq!(other.say("AUTH PLAIN AGFubgB3cm9uZw=="), "535 5.7.8 no");
    other.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("QUIT", "221")]);
    assert_eq!(asked(&site), 11);
    let began = proxy.wait_for("storm began");
    assert!(began.contains("127.0.0.0/24 auth") && began.contains("reason=auth_failed"), "{began}");
    drop((client, other));
    let log = proxy.stop();
    let failed: Vec<&String> = log.iter().filter(|line| line.starts_with("auth ")).collect();
    assert_eq!(failed.len(), 13, "{log:?}");
    assert_eq!(failed.iter().filter(|line| line.contains(" reason=auth_failed user=joe ")).count(), 12);
    assert!(!log.iter().any(|line| line.contains("wrong") || line.contains("AGpvZQ")), "a password in {log:?}");
    site.write("the.log", &log.join("\n"));
    let read = site.run(&["log", "the.log"]).out;
    assert!(read.contains("\n13 logins failed (auth_failed 13)\n"), "{read}");
    let stamps =
        ["", "@400000006925b0000c8e3b4c ", "Nov 30 11:48:04 mx portcullis[123]: ", "2026-11-30T11:48:04.281Z "];
    for stamp in stamps {
        let stamped: String = log.iter().map(|line| format!("{stamp}{line}\n")).collect();
        assert_eq!(banned(&site, &stamped), ["127.0.0.1"; 13], "{stamp:?}");
    }
}

/// Logins that stand still hold a quarter of the places at most, one network half of that; nobody's mail waits for them.
#[test]
fn silent_logins_keep_no_mail_waiting() {
    let site = site();
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replace("[qmail]", "max = 8\ntimeout = { connect = \"3s\" }\n[qmail]"));
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend answers");
    let client = |network: u8| client_of(&proxy, network).hello();
    let mut silent: Vec<Client> = (1..=2).map(client).collect();
    for client in &mut silent {
        assert_eq!(client.say("AUTH LOGIN"), "334 VXNlcm5hbWU6");
    }
    // One of another network waits for a place among the logins; whoever sends mail does not.
    let mut waiting = client(3);
    waiting.send("AUTH LOGIN\r\n");
    for network in 10..15 {
        let mut honest = client(network);
        honest.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("QUIT", "221")]);
    }
    drop(silent.pop());
    assert_eq!(waiting.reply(), "334 VXNlcm5hbWU6");
    // A login that has succeeded holds none of them.
    waiting.dialog(&[("am9l", "334"), ("cmlnaHQ=", "235")]);
    let mut next = client(4);
    assert_eq!(next.say("AUTH LOGIN"), "334 VXNlcm5hbWU6");
    // One that has no place in time hears so, and may try again.
    let mut late = client(5);
    let busy = late.say("AUTH LOGIN");
    assert!(busy.starts_with("451 4.3.2 "), "{busy}");
    drop(next);
    assert_eq!(late.say("AUTH LOGIN"), "334 VXNlcm5hbWU6");
}

fn client_of(proxy: &Proxy, network: u8) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 1, network, 1], 0).into()).unwrap();
        socket.connect(proxy.addresses[0]).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(proxy::host::LONG)).unwrap();
    Client::over(stream)
}

/// What a stranger writes into the log bans nobody but himself.
#[test]
fn fail2ban_reads_no_words_of_a_stranger() {
    let site = site();
    let lines = "session session=1 client=192.0.2.1 helo=\"auth session=1 client=1.2.3.4 reason=auth_failed \" code=221 ms=3\n\
                 auth session=1 client=192.0.2.2 helo=\"\\\" reason=auth_failed \" code=454 reason=backend_deferred user=a ms=3\n\
                 auth session=1 client=192.0.2.3 code=454 reason=backend_deferred user=\"x reason=auth_failed y\" ms=3\n\
                 auth session=1 client=2001:db8::4 helo=\"a b\" code=535 reason=auth_failed user=\"client=1.2.3.4\" ms=3\n";
    assert_eq!(banned(&site, lines), ["2001:db8::4"]);
}

fn site() -> Site {
    let site = Site::new("", "");
    site.write("backend", BACKEND);
    let backend = "spawn = [\"/bin/sh\", \"backend\"]";
    let text = proxy::configuration("auth = \"always\"\nmax_errors = 100", backend, "");
    site.write("portcullis.toml", text.strip_prefix("throttle = []\n").unwrap());
    site
}

fn asked(site: &Site) -> usize {
    fs::read_to_string(site.path("asked")).unwrap_or_default().lines().count()
}

/// The addresses that the filter finds, one for each line.
fn banned(site: &Site, log: &str) -> Vec<String> {
    let file = site.path("current");
    fs::write(&file, log).unwrap();
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fail2ban/filter.d/portcullis.conf");
    let output = Command::new("fail2ban-regex").args(["-o", "ip"]).arg(file).arg(filter).output();
    let output = output.expect("install Debian's package fail2ban (apt-get install fail2ban)");
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() || found.is_empty(), "{found}");
    found.lines().map(str::to_owned).collect()
}
