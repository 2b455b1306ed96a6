//! No client network can have what all need: room to hold messages, connections, handshakes, the admin port. Each test
//! floods the built program from some loopback networks and looks what an honest client from another one gets.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use nix::sys::socket;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrIn;
use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use proxy::host::until;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

#[test]
fn a_message_without_room_is_told_at_its_end_and_harms_no_other() {
    let site = Site::new("", "[message]\nhold_memory = \"4KiB\"\nhold_total = \"64KiB\"\n[repeat]\nlimit = 0\n");
    let proxy = Proxy::start(&site);
    let _large = upload(&proxy, 1, 40_000);
    until("it is on hold", || held(&site) > 39_000);
    let mut honest = from(&proxy, 2).hello();
    // The dot comes with the octets for which there is no room: the question about the copy is open then.
    for octets in [18_000, 20_000, 60_000] {
        begin(&mut honest);
        honest.send(&format!("Subject: x\r\n\r\n{}.\r\n", lines(octets)));
        let reply = honest.reply();
        assert_eq!(reply, "452 4.3.1 Insufficient storage for the message, try again later", "{octets}");
    }
    honest.mail("a@b.example", "Subject: small");
    assert!(!proxy.log().contains("no answer in time"), "nobody waits for that answer any more");
    assert_eq!(site.mails(), 1);
}

#[test]
fn one_network_cannot_have_all_of_the_hold() {
    let site = Site::new("", &holding());
    let proxy = Proxy::start(&site);
    let _flood: Vec<_> = (0..12).map(|_| upload(&proxy, 1, 40_000)).collect();
    until("a quarter is on hold", || held(&site) > 79_000);
    let mut other = from(&proxy, 2).hello();
    assert!(other.say("MAIL FROM:<a@b.example> SIZE=60000").starts_with("250"));
    let mut same = from(&proxy, 1).hello();
    assert_eq!(
        same.say("MAIL FROM:<a@b.example> SIZE=60000"),
        "452 4.3.1 Insufficient storage for the message, try again later"
    );
    same.mail("a@b.example", "Subject: small");
    assert!(held(&site) <= 112 * 1024);
    let network = &status(&site)["networks"][0];
    assert!(network["network"] == "127.0.1.0/24" && network["connections"].as_u64().unwrap() > 3, "{network}");
    let shown = site.run(&["status"]).out;
    let row = shown.lines().find(|line| line.starts_with("127.0.1.0/24 ")).unwrap();
    assert!(row.contains("kB"), "{shown}");
}

#[test]
fn a_full_hold_takes_small_mail_and_gives_up_what_dribbles() {
    let site = Site::new("", &holding());
    let mut proxy = Proxy::start(&site);
    let flood: Vec<_> = (1..=4).map(|network| upload(&proxy, network, 108_000)).collect();
    proxy.wait_for("hold is nearly full");
    let mut honest = from(&proxy, 9).hello();
    (0..3).for_each(|number| honest.mail("a@b.example", &format!("Subject: small {number}")));
    assert!(held(&site) > 400_000, "small mail has not waited until one of them was given up");
    let large = "MAIL FROM:<a@b.example> SIZE=60000";
    assert_eq!(honest.say(large), "452 4.3.1 Insufficient storage for the message, try again later");
    let mut told = Vec::new();
    until("one of them hears that it was too slow", || {
        told.extend(flood.iter().map(|client| heard(client.stream())).filter(|reply| !reply.is_empty()));
        honest.say(large).starts_with("250")
    });
    told.extend(flood.iter().map(|client| heard(client.stream())).filter(|reply| !reply.is_empty()));
    assert!(told.len() == 1 && told[0].starts_with("421 4.3.1 "), "{told:?}");
}

#[test]
fn a_flood_of_connections_leaves_room_for_who_brings_mail() {
    let server = "max_connections = 300\nmax_connections_per_client = 30\nworkers = 1";
    let site = Site::new(server, "[log]\nlevel = \"info\"\n[repeat]\nlimit = 0\n");
    let mut proxy = Proxy::start(&site);
    let address = proxy.addresses[0];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for number in 0..320 {
        runtime.spawn(attack(address, number));
    }
    until("all connections are used up", || status(&site)["connections"].as_u64().unwrap() >= 300);
    // Each from a network that has never been here.
    let tries = (100..160).map(|network| {
        proxy.forget_log();
        delivers(address, Ipv4Addr::new(127, 0, network, 1))
    });
    let got_in = tries.filter(|got_in| *got_in).count();
    assert!(got_in >= 57, "{got_in} of 60");
    assert_eq!(site.mails(), got_in);
}

#[test]
fn a_client_that_was_refused_and_sends_on_is_cut_when_its_place_is_wanted() {
    let site = Site::new("max_connections = 1", "");
    let proxy = Proxy::start(&site);
    let mut refused = from(&proxy, 1).hello();
    assert!(refused.say("BDAT 100000 LAST").starts_with("502"));
    from(&proxy, 2).hello().mail("a@b.example", "Subject: honest");
    let mut stream = refused.stream();
    until("it is cut", || stream.write_all(b"x").is_err());
}

#[test]
fn messages_that_come_in_as_slowly_as_they_may_do_not_keep_others_out() {
    let server = "max_connections = 24\nmin_rate = \"100B/s\"";
    let site = Site::new(server, "[repeat]\nlimit = 0\n");
    let proxy = Proxy::start(&site);
    let two = |network| [upload(&proxy, network, 0), upload(&proxy, network, 0)];
    let flood: Vec<_> = (1..=12).flat_map(two).collect();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let dribble = std::thread::spawn(move || {
        while is_done.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
            // Some are told to go.
            flood.iter().for_each(|client| _ = client.stream().write_all(&[b'x'; 50]));
        }
    });
    until("an honest client gets in", || delivers(proxy.addresses[0], Ipv4Addr::new(127, 0, 100, 1)));
    drop(done);
    dribble.join().unwrap();
}

#[test]
fn few_open_files_are_few_connections_and_the_admin_interface_has_its_own() {
    let site = Site::new("max_connections_per_client = 500", "[message]\nhold_total = \"25MB\"\n");
    let mut command = std::process::Command::new("sh");
    command.current_dir(site.path("")).stdin(std::process::Stdio::null());
    command.args(["-c", "ulimit -n 256; exec \"$0\" serve -c portcullis.toml", proxy::PORTCULLIS]);
    let mut proxy = Proxy::launch(&mut command, 1);
    let said = proxy.line("too few open files for server.max_connections");
    assert!(said.contains("max_connections=64 configured=10000 limit=256"), "{said}");
    let mut silent: Vec<_> = (0..200).map(|_| from(&proxy, 1)).collect();
    assert!(silent.iter_mut().take(64).all(|client| client.reply().starts_with("220 ")));
    assert!(status(&site)["connections"].as_u64().unwrap() < 200);
    from(&proxy, 2).hello().mail("a@b.example", "Subject: honest");
    drop(silent);
    proxy.forget_log();
    assert!(!proxy.stop().iter().any(|line| line.contains("Too many open files")));
}

#[test]
fn slow_requests_do_not_keep_the_operator_out() {
    let site = Site::new("", "");
    let address = site.admin_over_tcp();
    let _proxy = Proxy::start(&site);
    let slow = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
        stream
    };
    // On a busy machine the time limit of the slow requests may come first; then that says nothing.
    until("the operator is let in while slow requests wait", || {
        let slow: Vec<_> = (0..200).map(slow).collect();
        let blocked = site.run(&["block", "192.0.2.1"]);
        assert_eq!(blocked.code, 0, "{blocked:?}");
        slow.iter().any(waits)
    });
}

#[test]
fn what_a_stranger_writes_is_escaped_in_json() {
    let site = Site::new("", "");
    let proxy = Proxy::start(&site);
    from(&proxy, 1).hello().mail("a@b.example", "Subject: teaches what the backend offers");
    let mut client = from(&proxy, 1).hello();
    let reply = client.say("MAIL FROM:<a\u{9b}\u{202e}b@b.example> SMTPUTF8");
    assert!(reply.starts_with("250"), "{reply}");
    client.dialog(&[("RCPT TO:<r@example.org>", "250"), ("DATA", "354"), ("Subject: x\r\n\r\n.", "250")]);
    let out = site.run(&["status", "--json"]).out;
    assert!(out.contains("a\\u009b\\u202eb@b.example"), "{out}");
    assert!(!out.contains(['\u{9b}', '\u{202e}']));
}

/// Comes again as soon as it is told to go.
async fn attack(address: SocketAddr, number: usize) {
    let client = SocketAddr::from(([127, 0, 1 + (number % 12) as u8, 1], 0));
    loop {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(client).unwrap();
        if let Ok(stream) = socket.connect(address).await {
            bring_nothing(stream, number / 12).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Silent, or NOOP, or an octet now and then, or MAIL and RSET, to the end.
async fn bring_nothing(mut stream: tokio::net::TcpStream, kind: usize) {
    let says = ["", "NOOP\r\n", "x", "MAIL FROM:<a@b.example>\r\nRSET\r\n"][kind % 4];
    let mut heard = [0; 512];
    if kind % 4 == 3 && stream.write_all(b"EHLO c.example\r\n").await.is_err() {
        return;
    }
    loop {
        let next = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut heard)).await;
        if matches!(next, Ok(Ok(0) | Err(_))) || stream.write_all(says.as_bytes()).await.is_err() {
            return;
        }
        // At a pace: it is places that are fought for here, not the processor.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Whether the server has neither answered nor closed.
fn waits(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Whether an honest client can deliver a message, at its first try.
fn delivers(address: SocketAddr, client: Ipv4Addr) -> bool {
    let mut stream = BufReader::new(connect_from(client, address));
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let message = format!("Subject: {client}\r\n\r\n.\r\n");
    let steps =
        ["", "HELO c.example\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<r@example.org>\r\n", "DATA\r\n", &message];
    steps.iter().all(|step| {
        let mut line = String::new();
        stream.get_mut().write_all(step.as_bytes()).is_ok()
            && stream.read_line(&mut line).is_ok()
            && line.starts_with(['2', '3'])
    })
}

/// Room for 448 KiB of large messages, of which one network has 112 KiB.
fn holding() -> String {
    "[message]\nhold_memory = \"4KiB\"\nhold_total = \"512KiB\"\n[repeat]\nlimit = 0\n".to_owned()
}

fn status(site: &Site) -> serde_json::Value {
    site.run(&["status", "-c", "portcullis.toml", "--json"]).json()
}

fn held(site: &Site) -> u64 {
    status(site)["held_octets"].as_u64().unwrap()
}

/// A client with an address of its own network.
fn from(proxy: &Proxy, network: u8) -> Client {
    let stream = connect_from(Ipv4Addr::new(127, 0, network, 1), proxy.addresses[0]);
    stream.set_read_timeout(Some(proxy::host::LONG)).unwrap();
    Client::over(stream)
}

fn connect_from(client: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("{to}") };
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(client, 0))).unwrap();
    socket::connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    fd.into()
}

/// A client in the middle of a message, of which so many octets are on hold.
fn upload(proxy: &Proxy, network: u8, octets: usize) -> Client {
    let mut client = from(proxy, network).hello();
    begin(&mut client);
    client.send(&lines(octets));
    client
}

fn begin(client: &mut Client) {
    client.dialog(&[("MAIL FROM:<a@b.example>", "250"), ("RCPT TO:<r@example.org>", "250"), ("DATA", "354")]);
}

fn lines(octets: usize) -> String {
    let line = format!("{}\r\n", "x".repeat(78));
    line.repeat(octets / line.len())
}

/// What is there to be read now.
fn heard(mut stream: &TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut text = [0; 512];
    let octets = stream.read(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..octets]).into_owned()
}
