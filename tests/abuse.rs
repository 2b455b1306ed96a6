//! Slow, many, gone: clients that reset at any octet, dribble, never read or say nothing, and backends that do whatever no
//! server should. Whatever they do, everything is given back, and a good client is served. `make abuse` does the same in
//! large, and says what it measures; here the numbers are small.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/faulty.rs"]
#[allow(missing_docs, unreachable_pub, reason = "tests")]
mod faulty;
#[path = "support/proxy.rs"]
mod proxy;

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use proxy::Proxy;
use proxy::Site;
use proxy::configuration;
use proxy::host::children;
use proxy::host::descriptors;
use proxy::host::memory;
use proxy::host::sockets;
use proxy::host::until;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[test]
fn resets_at_any_octet_leave_nothing() {
    let total = scale("ABUSE_RESETS", 3000);
    let site = site("maildir = \"mail\"");
    let mut proxy = Proxy::start(&site);
    let address = proxy.addresses[0];
    let runtime = Runtime::new().unwrap();
    runtime.block_on(all(200, |number| reset_at(address, number * 7 % WHOLE.len())));
    let before = Used::by(&proxy);
    for begun in (0..total).step_by(CHUNK) {
        let numbers = begun..total.min(begun + CHUNK);
        runtime.block_on(all(numbers.len(), |number| reset_at(address, (begun + number) * 7919 % WHOLE.len())));
        proxy.forget_log();
        if total > 100_000 {
            println!("{} connections reset, {:?}", numbers.end, Used::now(&proxy));
        }
    }
    before.is_back(&proxy);
    // Those that went away behind their dot are delivered.
    let mails = site.mails();
    proxy.client().hello().mail("a@b.example", "Subject: good");
    assert_eq!(site.mails(), mails + 1);
}

#[test]
fn backends_that_misbehave_leave_nothing() {
    let runtime = Runtime::new().unwrap();
    let backend = runtime.block_on(faulty::start());
    let site = site(&format!("tcp = \"{backend}\"\ntimeout = {{ connect = \"1s\", reply = \"1s\" }}\nmax = 200"));
    let mut proxy = Proxy::start(&site);
    let address = proxy.addresses[0];
    runtime.block_on(all(faulty::FAULTS.len(), |number| whatever(address, number)));
    let before = Used::by(&proxy);
    let until = Instant::now() + Duration::from_secs(60 * scale("ABUSE_MINUTES", 0) as u64);
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        let answers = runtime.block_on(all(700, |number| whatever(address, number)));
        let heard: usize = answers.iter().map(|codes| codes.matches("354").count()).sum();
        let told: usize = answers.iter().map(|codes| codes.matches("dot").count()).sum();
        assert!(heard > 0 && told > 0, "no message came to its end");
        proxy.forget_log();
        rounds += 1;
        if rounds % 10 == 0 {
            println!("{rounds} rounds of 700 sessions, {:?}", Used::now(&proxy));
        }
    }
    before.is_back(&proxy);
}

#[test]
fn a_crowd_of_idle_and_dribbling_clients_leaves_the_good_one_served() {
    let (idle, dribbling) = (scale("ABUSE_IDLE", 300), scale("ABUSE_DRIBBLING", 40));
    let site = site("maildir = \"mail\"");
    let proxy = Proxy::start(&site);
    let address = proxy.addresses[0];
    let runtime = Runtime::new().unwrap();
    runtime.block_on(all(200, |_| good(address)));
    let quiet = times(&runtime, address);
    let before = Used::by(&proxy);
    let _idle = runtime.block_on(all(idle, |number| idle_client(address, number)));
    let mut dribblers = JoinSet::new();
    for number in 0..dribbling {
        dribblers.spawn_on(dribble(address, number), runtime.handle());
    }
    until("all are here", || sockets(proxy.pid()) == 1 + idle + dribbling);
    let crowded = times(&runtime, address);
    let held = Used::now(&proxy).memory;
    assert!(held < 200 << 20, "{held} octets of memory");
    assert_eq!(dribblers.len(), dribbling);
    println!(
        "{idle} idle and {dribbling} dribbling clients: {} KiB more memory, a good transaction takes {:.2} of its time \
         (median), {:.2} (99 of 100)",
        held.saturating_sub(before.memory) / 1024,
        ratio(&crowded, &quiet, 50),
        ratio(&crowded, &quiet, 99),
    );
    drop(dribblers);
}

fn site(backend: &str) -> Site {
    let server = "max_connections = 19500\nmax_connections_per_client = 19500\n\
                  timeout = { greeting = \"5m\", command = \"5m\", data = \"3m\" }";
    let site = Site::new("", "");
    site.write(
        "portcullis.toml",
        &configuration(
            server,
            backend,
            "[log]\nlevel = \"info\"\n[repeat]\nlimit = 0\n[message]\nhold_total = \"256MiB\"\n",
        ),
    );
    site
}

/// What `make abuse` sets, or the small number.
fn scale(name: &str, small: usize) -> usize {
    std::env::var(name).map_or(small, |text| text.parse().unwrap())
}

/// What the program has of the system's.
#[derive(Debug)]
struct Used {
    descriptors: usize,
    children: usize,
    memory: usize,
}

impl Used {
    fn now(proxy: &Proxy) -> Self {
        let pid = proxy.pid();
        Self { descriptors: descriptors(pid), children: children(pid).len(), memory: memory(pid) }
    }

    /// With nobody there.
    fn by(proxy: &Proxy) -> Self {
        until("all connections are closed", || sockets(proxy.pid()) == 1);
        Self::now(proxy)
    }

    fn is_back(&self, proxy: &Proxy) {
        until("all connections are closed", || sockets(proxy.pid()) == 1);
        until("as many descriptors as before", || descriptors(proxy.pid()) <= self.descriptors);
        until("as many children as before", || children(proxy.pid()).len() <= self.children);
        let now = Self::now(proxy);
        // The ledger and the top senders may have grown to their bounds meanwhile.
        assert!(now.memory < self.memory + (24 << 20), "{now:?} was {self:?}");
        println!("before {self:?}, after {now:?}");
    }
}

/// Runs `count` of them, some hundred at a time.
async fn all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    one: impl Fn(usize) -> F,
) -> Vec<T> {
    let (mut running, mut ended) = (JoinSet::new(), Vec::new());
    for number in 0..count {
        if running.len() >= AT_ONCE {
            ended.push(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(one(number));
    }
    ended.extend(running.join_all().await);
    ended
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends so many octets of a session, and resets the connection, before, while or after it is answered.
async fn reset_at(address: SocketAddr, octets: usize) {
    let mut stream = connect(address).await;
    let _ = stream.write_all(&WHOLE.as_bytes()[..octets]).await;
    if !octets.is_multiple_of(3) {
        let mut reply = [0; 512];
        let _ = stream.read(&mut reply[..octets % 512 + 1]).await;
    }
    stream.set_zero_linger().unwrap();
}

/// A session that goes as the backend lets it; what the client heard, one word a reply.
async fn whatever(address: SocketAddr, number: usize) -> String {
    let mut stream = connect(address).await;
    let mut heard = String::new();
    let commands = [
        "",
        "EHLO client.example\r\n",
        "MAIL FROM:<a@b.example>\r\n",
        "RCPT TO:<r@example.org>\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\ntext\r\n.\r\n",
        "QUIT\r\n",
    ];
    for (place, command) in commands.iter().enumerate() {
        if place == 5 && !heard.ends_with("354 ") {
            continue;
        }
        match (number % 11, place) {
            // Half-closes, resets, or never reads.
            (7, 5) => drop(stream.write_all(command.as_bytes()).await),
            (8, 4) => return heard,
            (9, 5) => {
                let _ = stream.write_all(command.as_bytes()).await;
                stream.set_zero_linger().unwrap();
                return heard;
            }
            _ => drop(stream.write_all(command.as_bytes()).await),
        }
        match reply(&mut stream).await {
            Some(code) if place == 5 => heard.push_str(&format!("dot={code} ")),
            Some(code) => heard.push_str(&format!("{code} ")),
            None => return heard,
        }
    }
    heard
}

/// The code of a reply, whole; `None` at the end.
async fn reply(stream: &mut TcpStream) -> Option<u16> {
    let mut text = Vec::new();
    loop {
        if !matches!(stream.read_buf(&mut text).await, Ok(1..)) {
            return None;
        }
        let Some(whole) = text.strip_suffix(b"\r\n") else { continue };
        let last = whole.rsplit(|octet| *octet == b'\n').next()?;
        if last.get(3) == Some(&b' ') {
            return str::from_utf8(&last[..3]).ok()?.parse().ok();
        }
    }
}

/// How long it takes. The system's connect is not in it: with most of its own ports taken, it has to search for one.
async fn good(address: SocketAddr) -> Duration {
    let mut stream = connect(address).await;
    let began = Instant::now();
    for step in [
        "",
        "EHLO c.example\r\n",
        "MAIL FROM:<a@b.example>\r\n",
        "RCPT TO:<r@example.org>\r\n",
        "DATA\r\n",
        "Subject: good\r\n\r\n.\r\n",
    ] {
        stream.write_all(step.as_bytes()).await.unwrap();
        assert!(matches!(reply(&mut stream).await, Some(200..400)), "{step}");
    }
    began.elapsed()
}

/// How long good transactions take, one after the other, sorted.
fn times(runtime: &Runtime, address: SocketAddr) -> Vec<Duration> {
    let count = scale("ABUSE_TRANSACTIONS", 50);
    let mut times: Vec<Duration> = (0..count).map(|_| runtime.block_on(good(address))).collect();
    times.sort();
    times
}

fn ratio(crowded: &[Duration], quiet: &[Duration], percent: usize) -> f64 {
    let at = |times: &[Duration]| times[times.len() * percent / 100].as_secs_f64();
    at(crowded) / at(quiet)
}

/// Connected, greeted, and some of them past EHLO or MAIL, which would hold a backend's session.
async fn idle_client(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = connect(address).await;
    for step in &["", "EHLO c.example\r\n", "MAIL FROM:<a@b.example>\r\n"][..=number % 3] {
        stream.write_all(step.as_bytes()).await.unwrap();
        assert!(matches!(reply(&mut stream).await, Some(200..300)));
    }
    stream
}

/// Half of them in a command, half in a message, under one octet a second.
async fn dribble(address: SocketAddr, number: usize) {
    let mut stream = connect(address).await;
    let steps = ["", "EHLO c.example\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<r@example.org>\r\n", "DATA\r\n"];
    let steps = if number.is_multiple_of(2) { &steps[..2] } else { &steps[..] };
    for step in steps {
        stream.write_all(step.as_bytes()).await.unwrap();
        assert!(reply(&mut stream).await.is_some());
    }
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

/// A session that is sent in one piece.
const WHOLE: &str = "EHLO client.example\r\nMAIL FROM:<a@b.example> SIZE=300\r\nRCPT TO:<r@example.org>\r\nDATA\r\n\
    Subject: x\r\nMessage-ID: <1@b.example>\r\n\r\nline\r\n..line\r\n.\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\n\
    RCPT TO:<r@example.org>\r\nDATA\r\n.\r\nQUIT\r\n";
/// Connections of one run between two looks at the log.
const CHUNK: usize = 20_000;
const AT_ONCE: usize = 300;
