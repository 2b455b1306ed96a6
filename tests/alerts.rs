//! Alerts of the built program, against receivers of the test's own: a storm is told once, a backend that ends and comes
//! back is told twice, a receiver that is broken gets the event later, and no secret stands in the log. It must not wait
//! for a time.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;

use serde_json::Value;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use proxy::Outcome;
use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::LONG;
use proxy::host::free_address;
use proxy::host::until;

#[test]
fn a_storm_is_told_once_however_long_it_goes_on() {
    let receiver = Receptionist::new(&[]);
    let site = Site::new("", &receiver.alert("name = \"chat\"\n"));
    // The alerts need no admin interface.
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replace("unix:admin.sock", ""));
    site.write("control/badmailfrom", "news@storm.example\n");
    let mut proxy = Proxy::start(&site);
    storm(&proxy, 6);
    let event = receiver.event();
    assert_eq!((&event["event"], &event["kind"]), (&"began".into(), &"storm".into()));
    assert_eq!(event["subject"], "127.0.0.0/24 <news@storm.example>");
    assert_eq!(event["host"], "mx.example.org");
    let text = event["text"].as_str().unwrap();
    assert!(text.starts_with("A storm: <news@storm.example> from 127.0.0.0/24 has sent "), "{text}");
    proxy.wait_for("alert sent");
    storm(&proxy, 20);
    // What comes next is the next problem.
    let good = damage(&site);
    assert_eq!(receiver.event()["kind"], "reload_failed");
    site.write("portcullis.toml", &good);
    let over = receiver.event();
    assert_eq!((&over["kind"], &over["event"]), (&"reload_failed".into(), &"ended".into()));
    assert!(over["text"].as_str().unwrap().starts_with("Over since "), "{over}");
    let log = proxy.stop().join("\n");
    assert!(log.contains("alert=chat") && !log.contains("s3cret") && !log.contains("k3y"), "{log}");
}

#[test]
fn a_backend_that_ends_is_told_and_told_again_when_it_is_back() {
    let address = free_address().unwrap();
    let behind = Site::new("", "");
    let text = fs::read_to_string(behind.path("portcullis.toml")).unwrap();
    behind.write("portcullis.toml", &text.replace("127.0.0.1:0", &address.to_string()));
    let server = Proxy::start(&behind);
    let receiver = Receptionist::new(&[]);
    let site = Site::new("", "");
    let rest = receiver.alert("kinds = [\"backend_down\"]\n") + "[[alert]]\ncommand = [\"./page\"]\n";
    site.write("page", "#!/bin/sh\n{ cat; echo; } >> events\n");
    fs::set_permissions(site.path("page"), fs::Permissions::from_mode(0o755)).unwrap();
    site.write("portcullis.toml", &configuration("", &format!("tcp = \"{address}\""), &rest));
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend answers");
    server.stop();
    assert!(proxy.client().hello().say("MAIL FROM:<a@b.example>").starts_with("451 "));
    let began = receiver.event();
    assert_eq!((&began["kind"], &began["event"]), (&"backend_down".into(), &"began".into()));
    until("it is kept", || {
        fs::read_to_string(site.path("portcullis-state.alerts")).is_ok_and(|it| it.contains("backend"))
    });
    let server = Proxy::start(&behind);
    let ended = receiver.event();
    assert_eq!((&ended["event"], &ended["id"]), (&"ended".into(), &began["id"]));
    let kinds = || -> Vec<Value> {
        let text = fs::read_to_string(site.path("events")).unwrap_or_default();
        text.lines().filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["event"].take())).collect()
    };
    until("the command has both", || kinds().len() >= 2);
    assert_eq!(kinds(), ["began", "ended"]);
    drop((proxy, server));
}

#[test]
fn a_broken_receiver_gets_the_event_later_and_one_that_refuses_it_never() {
    let broken = Receptionist::new(&["HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", ""]);
    let refusing = Receptionist::new(&["HTTP/1.1 404 Not Found\r\ncontent-length: 8\r\n\r\nno\x1b[31m!"]);
    let rest = broken.alert("name = \"broken\"\n") + &refusing.alert("name = \"refusing\"\n");
    let site = Site::new("", &rest);
    site.write("control/badmailfrom", "news@storm.example\n");
    let mut proxy = Proxy::start(&site);
    storm(&proxy, 6);
    let (first, second, third) = (broken.event(), broken.event(), broken.event());
    assert_eq!((&first, &first), (&second, &third), "the same event");
    assert_eq!(refusing.event()["kind"], "storm");
    proxy.wait_for("message=\"alert sent\"");
    let log = proxy.log();
    assert_eq!(log.matches("message=\"alert not sent\"").count(), 1, "{log}");
    let given_up = proxy.line("alert given up");
    assert!(given_up.contains("404 Not Found: no") && !given_up.contains('\x1b'), "{given_up}");
    let metrics = site.get("/metrics");
    for line in ["{outcome=\"sent\"} 1", "{outcome=\"failed\"} 3", "{outcome=\"dropped\"} 1"] {
        assert!(metrics.contains(&format!("portcullis_alerts_total{line}")), "{metrics}");
    }
}

#[test]
fn a_restart_tells_nothing_again() {
    let receiver = Receptionist::new(&[]);
    let site = Site::new("", &(receiver.alert("") + "[tls]\ncertificate = \"c.pem\"\nkey = \"c.key\"\n"));
    openssl(
        &site,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mx.example.org -days 5 -keyout c.key -out c.pem",
    );
    let mut proxy = Proxy::start(&site);
    assert_eq!(receiver.event()["kind"], "certificate_expires");
    proxy.wait_for("alert sent");
    until("it is kept", || site.path("portcullis-state.alerts").exists());
    proxy.stop();
    let proxy = Proxy::start(&site);
    damage(&site);
    assert_eq!(receiver.event()["kind"], "reload_failed", "the certificate was told before");
    drop(proxy);
}

#[test]
fn a_test_event_says_what_was_answered() {
    let site = Site::new("", "");
    let none = site.run(&["alert", "test", "-c", "portcullis.toml"]);
    assert_eq!((none.code, none.err.contains("[[alert]]\nwebhook = ")), (64, true), "{none:?}");
    let (good, bad) = (Receptionist::new(&[]), Receptionist::new(&["HTTP/1.1 403 Forbidden\r\n\r\n"]));
    site.configure("", &(good.alert("name = \"chat\"\n") + &bad.alert("") + "[[alert]]\ncommand = [\"/bin/false\"]\n"));
    let all = site.run(&["alert", "test", "-c", "portcullis.toml"]);
    assert_eq!(all.code, 1);
    let lines: Vec<&str> = all.out.lines().collect();
    assert_eq!(lines[0], format!("chat (127.0.0.1:{}): sent: 200 OK: ok", good.port));
    assert_eq!(lines[1], format!("2 (127.0.0.1:{}): not sent: 403 Forbidden", bad.port));
    assert_eq!(lines[2], "3 (/bin/false): not sent: exit status: 1");
    assert_eq!(good.event()["event"], "test");
    for name in ["chat", "1"] {
        let one = site.run(&["alert", "test", "-c", "portcullis.toml", "--json", "--alert", name]);
        assert_eq!((one.code, &one.json()[0]["sent"]), (0, &true.into()), "{one:?}");
    }
    let unknown = site.run(&["alert", "test", "-c", "portcullis.toml", "--alert", "4"]);
    assert_eq!((unknown.code, unknown.err.trim_end()), (64, "there is no alert \"4\"; the alerts are chat, 2, 3"));
}

#[test]
fn a_test_event_is_not_sent_by_a_configuration_with_errors() {
    let site = Site::new("", "[[alert]]\nname = \"chat\"\nwebhook = \"http://127.0.0.1:1/\"\nkinds = [\"storms\"]\n");
    let told = site.run(&["alert", "test"]);
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    assert!(told.err.contains("storms") && told.err.contains("nothing was sent"), "{told:?}");
}

#[test]
fn a_receiver_is_known_by_its_certificate() {
    let site = Site::new("", "");
    let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 5";
    openssl(&site, &format!("{ca} -subj /CN=ca.example -keyout ca.key -out ca.pem"));
    openssl(&site, &format!("{ca} -subj /CN=other.example -keyout other.key -out other.pem"));
    let signed = "-subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    openssl(&site, &format!("{ca} {signed} -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem"));
    let receiver = Receptionist::over_tls(&site);
    site.configure("", &format!("[[alert]]\nwebhook = \"https://localhost:{}/s3cret\"\n", receiver.port));
    let test = |ca: &str| {
        let mut command = site.command();
        command.args(["alert", "test", "-c", "portcullis.toml"]).env("SSL_CERT_FILE", site.path(ca));
        Outcome::of(&command.output().unwrap())
    };
    let good = test("ca.pem");
    assert_eq!((good.code, good.out.trim_end()), (0, &*format!("1 (localhost:{}): sent: 200 OK: ok", receiver.port)));
    let bad = test("other.pem");
    assert!(bad.code == 1 && bad.out.contains("not sent: TLS: invalid peer certificate: UnknownIssuer"), "{bad:?}");
    assert_eq!(receiver.event()["event"], "test");
}

/// Sends so many messages of a blocked sender.
fn storm(proxy: &Proxy, copies: usize) {
    for _ in 0..copies {
        let mut client = proxy.client().hello();
        client.dialog(&[("MAIL FROM:<news@storm.example> SIZE=1000000", "554"), ("QUIT", "221")]);
    }
}

/// Writes an error into the configuration; gives what was there.
fn damage(site: &Site) -> String {
    let good = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &format!("{good}\n[nonsense]\n"));
    good
}

fn openssl(site: &Site, arguments: &str) {
    let output = Command::new("openssl").current_dir(site.path("")).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A receiver of webhooks, which takes what comes when it has given its first answers.
struct Receptionist {
    port: u16,
    bodies: Receiver<String>,
}

impl Receptionist {
    /// `answers` are given first; an empty one is a connection that breaks.
    fn new(answers: &[&str]) -> Self {
        Self::start(answers, |stream| Box::new(stream))
    }

    fn over_tls(site: &Site) -> Self {
        let certificates =
            CertificateDer::pem_file_iter(site.path("server.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(site.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(certificates, key).unwrap());
        Self::start(&[], move |stream| {
            Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream))
        })
    }

    fn start(answers: &[&str], secured: impl Fn(TcpStream) -> Box<dyn Both> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, bodies) = sync_channel(100);
        let mut answers: Vec<String> = answers.iter().rev().map(|answer| (*answer).to_owned()).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(secured(stream.unwrap()));
                // A client that does not trust us says so by leaving.
                let Some(body) = body_of(&mut stream) else { continue };
                let usual = || "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned();
                let _ = stream.get_mut().write_all(answers.pop().unwrap_or_else(usual).as_bytes());
                let _ = stream.get_mut().flush();
                if sender.send(body).is_err() {
                    return;
                }
            }
        });
        Self { port, bodies }
    }

    /// An alert of the configuration that tells this receiver, with these keys.
    fn alert(&self, keys: &str) -> String {
        let headers = "headers = { X-Key = \"k3y\" }";
        format!("[[alert]]\n{keys}webhook = \"http://127.0.0.1:{}/s3cret\"\n{headers}\n", self.port)
    }

    /// The next event.
    fn event(&self) -> Value {
        serde_json::from_str(&self.bodies.recv_timeout(LONG).unwrap()).unwrap()
    }
}

trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

fn body_of(stream: &mut impl BufRead) -> Option<String> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}
