//! The backend's health: down once a question of our own got no answer either, up again without mail, and never down over
//! one message. The backends are other proxies and programs, killed and started again. It must not sleep.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::free_address;
use proxy::host::until;

#[test]
fn a_server_that_ends_is_down_and_up_again_when_it_comes_back() {
    let address = free_address().unwrap();
    let behind = server_at(address);
    let server = Proxy::start(&behind);
    let site = in_front_of(&format!("tcp = \"{address}\""));
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend answers");
    assert_eq!(status(&site)["backend"]["up"], true);
    server.stop();
    assert!(mail(&proxy).starts_with("451 "));
    proxy.wait_for("backend down");
    // What is told is a second old at most.
    until("it is told", || status(&site)["backend"]["up"] == false);
    let told = status(&site);
    let (backend, problem) = (&told["backend"], &told["problems"][0]);
    assert_eq!((&backend["up"], &problem["kind"]), (&Value::Bool(false), &Value::from("backend_down")));
    assert!(backend["error"].as_str().unwrap().contains("Connection refused"), "{backend}");
    assert_eq!(backend["down_since"], problem["since"]);
    assert_eq!(told["sentence"]["tone"], "trouble");
    assert!(site.run(&["status"]).out.starts_with("TROUBLE        The backend is down since "));
    assert!(told["sentence"]["text"].as_str().unwrap().starts_with("The backend is down since "), "{told}");
    // Without any mail.
    let server = Proxy::start(&behind);
    proxy.wait_for("backend up again");
    until("all is quiet", || status(&site)["sentence"]["text"] == "Quiet.");
    assert!(mail(&proxy).starts_with("250 "));
    drop((proxy, server));
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_down() {
    let site = in_front_of(&format!("tcp = \"{}\"", free_address().unwrap()));
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend down");
    assert_eq!(proxy.log().matches("message=\"backend down\"").count(), 1);
}

#[test]
fn a_program_that_dies_over_one_message_is_not_down() {
    let site = in_front_of("spawn = [\"./backend\"]");
    site.write("backend", DIES_OVER_BOOM);
    fs::set_permissions(site.path("backend"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend answers");
    let mut client = proxy.client().hello();
    assert!(client.say("MAIL FROM:<boom@example.com>").starts_with("451 "));
    // The question that follows is answered: by a second start of the program, or a third.
    until("it is asked", || fs::read_to_string(site.path("starts")).unwrap().lines().count() >= 3);
    assert_eq!(status(&site)["backend"]["up"], true);
    fs::remove_file(site.path("backend")).unwrap();
    assert!(proxy.client().hello().say("MAIL FROM:<a@example.com>").starts_with("451 "));
    proxy.wait_for("backend down");
    site.write("next", DIES_OVER_BOOM);
    fs::set_permissions(site.path("next"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(site.path("next"), site.path("backend")).unwrap();
    proxy.wait_for("backend up again");
}

#[test]
fn another_backend_is_not_down_because_the_one_before_was() {
    let site = in_front_of(&format!("tcp = \"{}\"", free_address().unwrap()));
    let mut proxy = Proxy::start(&site);
    proxy.wait_for("backend down");
    site.configure("", "");
    proxy.wait_for("reloaded");
    until("it is up", || status(&site)["backend"]["up"] == true);
}

#[test]
fn ready_is_said_with_reasons_and_by_exit_codes() {
    let address = free_address().unwrap();
    let behind = server_at(address);
    let server = Proxy::start(&behind);
    let site = in_front_of(&format!("tcp = \"{address}\""));
    let absent = site.run(&["ready"]);
    assert!(absent.code == 1 && absent.err.contains("does not answer on"), "{absent:?}");
    let mut proxy = Proxy::start(&site);
    let ready = site.run(&["ready", "--wait", "1m"]);
    assert!(ready.code == 0 && ready.out.starts_with("ready\naccepting  ok  "), "{ready:?}");
    assert!(site.get("/live").starts_with("HTTP/1.1 200"));
    server.stop();
    assert!(mail(&proxy).starts_with("451 "));
    proxy.wait_for("backend down");
    until("it is told", || site.run(&["ready"]).code == 1);
    let told = site.run(&["ready"]);
    let reason = "the backend is down since ";
    assert!(
        told.out.starts_with(&format!("not ready: {reason}")) && told.out.contains(&format!("({address}: Conn")),
        "{told:?}"
    );
    assert!(told.out.contains(&format!("\nbackend    bad {reason}")), "{told:?}");
    let json = site.run(&["ready", "--json"]);
    let checks = json.json()["checks"].as_array().unwrap().clone();
    let bad: Vec<_> =
        checks.iter().filter(|check| check["ok"] == false).map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!((json.code, bad), (1, vec!["backend"]));
    let ready = site.get("/ready");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(&format!("\r\n\r\nnot ready: {reason}")), "{ready}");
    let server = Proxy::start(&behind);
    assert_eq!(site.run(&["ready", "--wait", "1m"]).code, 0, "it comes back without mail");
    drop(server);
}

fn server_at(address: SocketAddr) -> Site {
    let site = Site::new("", "");
    let text = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.write("portcullis.toml", &text.replace("127.0.0.1:0", &address.to_string()));
    site
}

fn in_front_of(backend: &str) -> Site {
    let site = Site::new("", "");
    site.write("portcullis.toml", &configuration("timeout = { command = \"1m\" }", backend, ""));
    site
}

fn status(site: &Site) -> Value {
    site.run(&["status", "--json"]).json()
}

/// The reply to MAIL of one that would be sent, or to its end.
fn mail(proxy: &Proxy) -> String {
    let mut client = proxy.client().hello();
    let reply = client.say("MAIL FROM:<a@example.com>");
    if !reply.starts_with("250 ") {
        return reply;
    }
    assert!(client.say("RCPT TO:<joe@example.org>").starts_with("250 "));
    assert!(client.say("DATA").starts_with("354 "));
    client.say("Subject: hello\r\n\r\nhello\r\n.")
}

const DIES_OVER_BOOM: &str = "#!/bin/sh
cd \"${0%/*}\"
echo $$ >>starts
printf '220 b\\r\\n'
while read -r line; do
  case $line in
    *boom*) exit 1 ;;
    QUIT*) exit ;;
    *) printf '250 ok\\r\\n' ;;
  esac
done
";
