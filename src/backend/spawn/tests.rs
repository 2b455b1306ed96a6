//! Real programs: their environment, their log, and every way to their end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;

use super::*;
use crate::backend::permits::Permits;
use crate::policy::client::ClientRule;
use crate::policy::environment::Environment;
use crate::policy::environment::Variables;
use crate::policy::list::location::Location;

#[tokio::test]
async fn an_ipv4_client_gives_the_environment_of_tcpserver() {
    // samples/tcpserver-environment.txt, the second: -R -H -l mx.example.org -x r.cdb
    let rule = [("DATABYTES", "1000"), ("RELAYCLIENT", "")];
    let client = client("127.0.0.7:52977", "127.0.0.1:2599", None, &[], &rule);
    let expected = "DATABYTES=1000\nPROTO=TCP\nRELAYCLIENT=\nTCPLOCALHOST=mx.example.org\nTCPLOCALIP=127.0.0.1\n\
                    TCPLOCALPORT=2599\nTCPREMOTEIP=127.0.0.7\nTCPREMOTEPORT=52977\n";
    assert_eq!(environment_of(&client).await, expected);
}

#[tokio::test]
async fn an_ipv4_mapped_client_is_an_ipv4_client() {
    let client = client("[::ffff:192.0.2.7]:52977", "[::ffff:192.0.2.1]:25", Some("a.example"), &[], &[]);
    let expected = "PROTO=TCP\nTCPLOCALHOST=mx.example.org\nTCPLOCALIP=192.0.2.1\nTCPLOCALPORT=25\n\
                    TCPREMOTEHOST=a.example\nTCPREMOTEIP=192.0.2.7\nTCPREMOTEPORT=52977\n";
    assert_eq!(environment_of(&client).await, expected);
}

#[tokio::test]
async fn an_ipv6_client_gives_the_environment_of_the_ipv6_build() {
    let client = client("[2001:db8::7]:52977", "[2001:db8::1]:25", Some("a.example"), &[], &[]);
    let expected = "PROTO=TCP6\nTCP6LOCALHOST=mx.example.org\nTCP6LOCALIP=2001:db8::1\nTCP6LOCALPORT=25\n\
                    TCP6REMOTEHOST=a.example\nTCP6REMOTEIP=2001:db8::7\nTCP6REMOTEPORT=52977\n\
                    TCPLOCALHOST=mx.example.org\nTCPLOCALIP=2001:db8::1\nTCPLOCALPORT=25\n\
                    TCPREMOTEHOST=a.example\nTCPREMOTEIP=2001:db8::7\nTCPREMOTEPORT=52977\n";
    assert_eq!(environment_of(&client).await, expected);
}

#[tokio::test]
async fn inherited_stands_below_the_connection_and_that_below_the_rule() {
    let inherited = [
        ("PROTO", "old"),
        ("QMAILHOME", "/q"),
        ("TCP6REMOTEIP", "old"),
        ("TCPREMOTEHOST", "old"),
        ("TCPREMOTEINFO", "x"),
    ];
    let rule = [("TCPREMOTEINFO", "of the rule"), ("TCPLOCALHOST", "first"), ("TCPLOCALHOST", "other.example")];
    let client = client("192.0.2.7:5", "192.0.2.1:25", None, &inherited, &rule);
    let expected = "PROTO=TCP\nQMAILHOME=/q\nTCPLOCALHOST=other.example\nTCPLOCALIP=192.0.2.1\nTCPLOCALPORT=25\n\
                    TCPREMOTEINFO=of the rule\nTCPREMOTEIP=192.0.2.7\nTCPREMOTEPORT=5\n";
    assert_eq!(environment_of(&client).await, expected);
}

#[tokio::test]
async fn what_is_written_comes_back_until_the_end() {
    let (mut stream, _open) = begin(&["/bin/cat"], Grace::default(), &Permits::new(1)).await;
    stream.write_all(b"EHLO a\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await.unwrap();
    assert_eq!(echo, "EHLO a\r\n", "and end of file: nobody else holds the child's end");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    let table = [
        ("not there", vec!["/nowhere/smtpfront-qmail"], "/nowhere/smtpfront-qmail: No such file"),
        ("not executable", vec![plain], "plain: Permission denied"),
        ("not in PATH", vec!["smtpfront-nowhere"], "smtpfront-nowhere: not found in PATH /bin:/usr/bin"),
        ("none", vec![], "no program is set"),
    ];
    for (what, program, expected) in table {
        let permits = Permits::new(1);
        let permit = permits.acquire(CLIENT.ip()).await;
        let why = start(&words(&program), HOST, &plain_client(), Grace::default(), permit).unwrap_err();
        assert!(why.contains(expected), "{what}: {why}");
        assert_eq!(permits.taken(), 0, "{what}: the permit is free again");
    }
}

#[tokio::test]
async fn a_name_without_a_slash_is_looked_up_in_the_childs_path() {
    let client = client("192.0.2.7:5", "192.0.2.1:25", None, &[("PATH", ":/nowhere:/bin")], &[]);
    let permit = Permits::new(1).acquire(CLIENT.ip()).await;
    let program = words(&["sh", "-c", "echo $0 $PATH"]);
    let (mut stream, _open) = start(&program, HOST, &client, Grace::default(), permit).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with(":/nowhere:/bin\n"), "{said}");
}

#[tokio::test]
async fn the_permit_comes_back_when_the_child_was_reaped() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let permits = Permits::new(1);
    let body = format!("echo $$; cat >/dev/null; read x < {}", gate.display());
    let (mut stream, open) = script(&body, Grace { exit: LONG, ..Grace::default() }, &permits).await;
    let pid = first_line(&mut stream).await;
    drop((stream, open));
    // Opens only when the child, past its end of file, opens the other side: it lives, and so its permit is taken.
    let mut opened = tokio::fs::OpenOptions::new().write(true).open(&gate).await.unwrap();
    assert_eq!((permits.taken(), alive(pid)), (1, true));
    opened.write_all(b"go\n").await.unwrap();
    timeout(LONG, permits.drained()).await.unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_child_that_does_not_end_is_ended() {
    let hurry = Grace { exit: SHORT, terminate: LONG, log: SHORT };
    let table = [
        ("it ignores end of file", "echo $$; while :; do sleep 1000; done", hurry),
        (
            "it ignores SIGTERM too",
            "trap '' TERM; echo $$; while :; do sleep 1000; done",
            Grace { terminate: SHORT, ..hurry },
        ),
        ("it is stopped", "echo $$; kill -STOP $$; while :; do sleep 1000; done", Grace { terminate: SHORT, ..hurry }),
    ];
    for (what, body, grace) in table {
        let permits = Permits::new(1);
        let (mut stream, open) = script(body, grace, &permits).await;
        let pid = first_line(&mut stream).await;
        drop((stream, open));
        timeout(LONG, permits.drained()).await.expect(what);
        assert!(!alive(pid), "{what}");
    }
}

#[tokio::test]
async fn what_a_wrapper_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let life = folder.path().join("life");
    nix::unistd::mkfifo(&life, Mode::S_IRWXU).unwrap();
    // The wrapper dies of SIGTERM; what it started ignores it and holds the fifo as long as it lives.
    let inner = "trap \"\" TERM; echo started; exec sleep 1000";
    let body = format!("sh -c '{inner}' 3>{} & wait", life.display());
    let grace = Grace { exit: SHORT, terminate: SHORT, log: SHORT };
    let permits = Permits::new(1);
    let reader = tokio::spawn(async move { tokio::fs::read(life).await });
    let (mut stream, open) = script(&body, grace, &permits).await;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n");
    drop((stream, open));
    timeout(LONG, permits.drained()).await.unwrap();
    timeout(LONG, reader).await.expect("the fifo was let go").unwrap().unwrap();
}

#[tokio::test]
async fn a_child_that_ends_by_itself_leaves_the_rest_alone() {
    let permits = Permits::new(1);
    // As tcpserver would: what the program left behind on purpose goes on, without our log.
    let body = "sleep 1000 >/dev/null </dev/null & echo $!";
    let grace = Grace { log: SHORT, ..Grace::default() };
    let (mut stream, open) = script(body, grace, &permits).await;
    let left = first_line(&mut stream).await;
    drop((stream, open));
    timeout(LONG, permits.drained()).await.unwrap();
    assert!(alive(left));
    nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
}

async fn environment_of(client: &ClientInfo) -> String {
    let permit = Permits::new(1).acquire(client.address.ip()).await;
    let (mut stream, _open) = start(&words(&["/usr/bin/env"]), HOST, client, Grace::default(), permit).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let mut lines: Vec<&str> = said.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

async fn script(body: &str, grace: Grace, permits: &Permits) -> (UnixStream, oneshot::Sender<()>) {
    begin(&["/bin/sh", "-c", body], grace, permits).await
}

async fn begin(program: &[&str], grace: Grace, permits: &Permits) -> (UnixStream, oneshot::Sender<()>) {
    let permit = permits.acquire(CLIENT.ip()).await;
    start(&words(program), HOST, &plain_client(), grace, permit).unwrap()
}

async fn first_line(stream: &mut UnixStream) -> Pid {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    Pid::from_raw(line.trim().parse().unwrap())
}

fn alive(pid: Pid) -> bool {
    nix::sys::signal::kill(pid, None) != Err(Errno::ESRCH)
}

fn words(program: &[&str]) -> Vec<OsString> {
    program.iter().map(OsString::from).collect()
}

fn plain_client() -> ClientInfo {
    client("192.0.2.7:5", "192.0.2.1:25", None, &[], &[])
}

fn client(
    client: &str,
    local: &str,
    host: Option<&str>,
    inherited: &[(&str, &str)],
    rule: &[(&str, &str)],
) -> ClientInfo {
    let base =
        Variables::new(inherited.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    let rule = ClientRule {
        deny: false,
        variables: rule.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect(),
        location: Location { source: "tcp.smtp".into(), line: 1 },
    };
    ClientInfo {
        address: client.parse().unwrap(),
        local: local.parse().unwrap(),
        host: host.map(str::to_owned),
        helo: "client.example".to_owned(),
        environment: Environment::new(Arc::new(base), Some(Arc::new(rule))),
    }
}

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 5);
const HOST: &str = "mx.example.org";
const SHORT: Duration = Duration::from_millis(10);
/// Longer than any of this takes; the tests wait for events.
const LONG: Duration = Duration::from_secs(30);
