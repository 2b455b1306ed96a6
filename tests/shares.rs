//! No client network can have what all need: room to hold messages, connections, handshakes, the admin port. Each test
//! floods the built program from some loopback networks and looks what an honest client from another one gets.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/system.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod system;

use std::io::Read;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::time::Instant;

use nix::sys::socket;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrIn;
use proxy::Client;
use proxy::Proxy;
use proxy::Site;
use system::until;

#[test]
fn a_message_without_room_is_told_at_its_end_and_harms_no_other() {
    let site = Site::new("", "[message]\nhold_memory = \"4KiB\"\nhold_total = \"64KiB\"\n[repeat]\nlimit = 0\n");
    let proxy = Proxy::start(&site);
    let _large = upload(&proxy, 1, 40_000);
    until("it is on hold", || held(&site) > 39_000);
    let mut honest = from(&proxy, 2).hello();
    let began = Instant::now();
    // The dot comes with the octets for which there is no room: the question about the copy is open then.
    for octets in [18_000, 20_000, 60_000] {
        begin(&mut honest);
        honest.send(&format!("Subject: x\r\n\r\n{}.\r\n", lines(octets)));
        let reply = honest.reply();
        assert_eq!(reply, "452 4.3.1 No room for the message, try again later", "{octets}");
    }
    honest.mail("a@b.example", "Subject: small");
    assert!(began.elapsed() < Duration::from_secs(5));
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
    assert_eq!(same.say("MAIL FROM:<a@b.example> SIZE=60000"), "452 4.3.1 No room for the message, try again later");
    same.mail("a@b.example", "Subject: small");
    assert!(held(&site) <= 112 * 1024);
}

#[test]
fn a_full_hold_takes_small_mail_and_gives_up_what_dribbles() {
    let site = Site::new("", &holding());
    let mut proxy = Proxy::start(&site);
    let flood: Vec<_> = (1..=4).map(|network| upload(&proxy, network, 108_000)).collect();
    proxy.wait_for("hold is nearly full");
    let began = Instant::now();
    let mut honest = from(&proxy, 9).hello();
    honest.mail("a@b.example", "Subject: small");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let large = "MAIL FROM:<a@b.example> SIZE=60000";
    assert_eq!(honest.say(large), "452 4.3.1 No room for the message, try again later");
    let mut told = Vec::new();
    until("one of them hears that it was too slow", || {
        told.extend(flood.iter().map(|client| heard(client.stream())).filter(|reply| !reply.is_empty()));
        honest.say(large).starts_with("250")
    });
    told.extend(flood.iter().map(|client| heard(client.stream())).filter(|reply| !reply.is_empty()));
    assert!(told.len() == 1 && told[0].starts_with("421 4.3.1 "), "{told:?}");
}

/// Room for 448 KiB of large messages, of which one network has 112 KiB.
fn holding() -> String {
    "[message]\nhold_memory = \"4KiB\"\nhold_total = \"512KiB\"\n[repeat]\nlimit = 0\n".to_owned()
}

fn held(site: &Site) -> u64 {
    site.run(&["status", "-c", "portcullis.toml", "--json"]).json()["held_octets"].as_u64().unwrap()
}

/// A client with an address of its own network.
fn from(proxy: &Proxy, network: u8) -> Client {
    let stream = connect_from(Ipv4Addr::new(127, 0, network, 1), proxy.addresses[0]);
    stream.set_read_timeout(Some(proxy::LONG)).unwrap();
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
