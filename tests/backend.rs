//! The backend's sessions as a whole, with real programs and sockets. One test: it counts the children and the open
//! descriptors of the process, and hears its log.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use portcullis::backend::Backends;
use portcullis::backend::ClientInfo;
use portcullis::backend::Identity;
use portcullis::backend::OpenFault;
use portcullis::backend::Settings;
use portcullis::backend::Target;
use portcullis::backend::Tls;
use portcullis::policy::environment::Environment;
use portcullis::smtp::reply::Offer;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt;

#[tokio::test]
async fn sessions_come_and_go_and_leave_nothing() {
    let (told, heard) = mpsc::channel();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener(told))).unwrap();
    // The first session opens what the runtime keeps open for all others.
    programs_come_and_go(1, &heard).await;
    let before = descriptors();
    programs_come_and_go(100, &heard).await;
    a_program_that_fails_is_logged(&heard).await;
    timeout(LONG, all_closed(before)).await.expect("descriptors left open");
    tcp_connections_are_counted().await;
    timeout(LONG, all_closed(before)).await.expect("descriptors left open");
    sessions_are_kept_for_the_next_client().await;
    timeout(LONG, all_closed(before)).await.expect("descriptors left open");
    another_backend_has_other_offers();
}

async fn programs_come_and_go(count: usize, heard: &mpsc::Receiver<String>) {
    let backends = Backends::new(spawn("echo hello >&2; exec cat", 4));
    let sessions = (0..count).map(|number| {
        let backends = &backends;
        async move {
            let client = client(u8::try_from(number % 200).unwrap());
            let mut connection = backends.open(&client, false).await.unwrap();
            connection.write_all(b"NOOP\r\n").await.unwrap();
            let mut echo = [0; 6];
            connection.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"NOOP\r\n");
            assert!(backends.taken() <= 4);
        }
    });
    for_all(sessions).await;
    timeout(LONG, backends.drained()).await.unwrap();
    assert_eq!(children(), 0);
    for _ in 0..count {
        assert_eq!(next(heard).await, "INFO backend line=hello");
    }
}

async fn a_program_that_fails_is_logged(heard: &mpsc::Receiver<String>) {
    let backends = Backends::new(spawn("exit 3", 4));
    drop(backends.open(&client(1), false).await.unwrap());
    assert_eq!(next(heard).await, "DEBUG backend ended status=exit status: 3");
}

async fn tcp_connections_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let backends = Backends::new(tcp(&server, 2));
    let mut connection = backends.open(&client(1), false).await.unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    accepted.write_all(b"220 a\r\n").await.unwrap();
    let mut greeting = [0; 7];
    connection.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 a\r\n");

    let other = backends.open(&client(2), false).await.unwrap();
    backends.update(Settings { connect: Duration::ZERO, ..tcp(&server, 2) });
    assert_eq!(backends.open(&client(3), false).await.unwrap_err(), OpenFault::Busy);
    assert!(!backends.crowded(), "who gave up does not wait");
    drop(other);
    backends.update(tcp(&server, 4));
    assert!(backends.open(&client(3), false).await.is_ok());
    drop(connection);
    assert_eq!(accepted.read(&mut greeting).await.unwrap(), 0, "the server hears the end");
    assert_eq!(backends.taken(), 0);
}

async fn sessions_are_kept_for_the_next_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { keepalive: 2, ..tcp(&listener.local_addr().unwrap().to_string(), 2) };
    let backends = Backends::new(settings.clone());
    let first = backends.open(&client(1), false).await.unwrap();
    let (mut end, _) = listener.accept().await.unwrap();
    assert!(!first.is_greeted());
    backends.take_back(first);
    assert_eq!(backends.taken(), 1, "it is counted while it is kept");
    let mut again = backends.open(&client(2), false).await.unwrap();
    assert!(again.is_greeted() && backends.taken() == 1);
    again.write_all(b"EHLO b\r\n").await.unwrap();
    let mut heard = [0; 8];
    end.read_exact(&mut heard).await.unwrap();
    backends.take_back(again);
    // Suspect: all that are kept end.
    let fresh = backends.open(&client(2), true).await.unwrap();
    assert!(!fresh.is_greeted());
    let mut rest = String::new();
    end.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "QUIT\r\n");
    // A reply that nobody has asked for comes while it is kept: the next client must not take it for its own.
    let (mut end, _) = listener.accept().await.unwrap();
    backends.take_back(fresh);
    end.write_all(b"250 2.0.0 spare\r\n").await.unwrap();
    let fresh = backends.open(&client(1), false).await.unwrap();
    assert!(!fresh.is_greeted() && backends.taken() == 1);
    let ended = end.read_to_string(&mut rest).await;
    assert!(ended.is_err() || rest == "QUIT\r\n", "nothing was said on it: {rest:?}");
    // Under other settings it is not kept; and one that knows its client never is.
    backends.update(Settings { connect: LONG / 2, ..settings.clone() });
    backends.take_back(fresh);
    assert_eq!(backends.taken(), 0);
    backends.update(Settings { identity: Identity::Xclient, ..settings.clone() });
    backends.take_back(backends.open(&client(1), false).await.unwrap());
    assert_eq!(backends.taken(), 0);
    backends.update(Settings { keepalive: 0, ..settings });
    backends.take_back(backends.open(&client(1), false).await.unwrap());
    assert_eq!(backends.taken(), 0);
}

fn another_backend_has_other_offers() {
    let backends = Backends::new(tcp("127.0.0.1:1", 1));
    let environment = Environment::default();
    let offer = Arc::new(Offer { size: Some(5), ..Offer::NONE });
    assert_eq!(backends.offer(&environment), None);
    backends.learn(&environment, offer.clone(), backends.server().1);
    backends.update(tcp("127.0.0.1:1", 2));
    assert_eq!(backends.offer(&environment), Some((offer, true)));
    backends.update(tcp("127.0.0.1:2", 2));
    assert_eq!(backends.offer(&environment), None);
}

fn spawn(script: &str, max: usize) -> Settings {
    let program = ["/bin/sh", "-c", script].map(OsString::from);
    Settings { target: Target::Spawn(program.into()), ..tcp("", max) }
}

fn tcp(server: &str, max: usize) -> Settings {
    Settings {
        target: Target::Tcp(server.to_owned()),
        identity: Identity::None,
        tls: Tls::Off,
        verify: true,
        hostname: "mx.example.org".to_owned(),
        max,
        keepalive: 0,
        connect: LONG,
        reply: LONG,
    }
}

fn client(number: u8) -> ClientInfo {
    ClientInfo {
        address: SocketAddr::from(([10, 0, number, 1], 5)),
        local: SocketAddr::from(([192, 0, 2, 1], 25)),
        host: None,
        helo: "client.example".to_owned(),
        environment: Environment::default(),
    }
}

async fn for_all(sessions: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut sessions: Vec<_> = sessions.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        sessions.retain_mut(|session| session.as_mut().poll(context).is_pending());
        if sessions.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn next(heard: &mpsc::Receiver<String>) -> String {
    let next = async {
        loop {
            match heard.try_recv() {
                Ok(line) => return line,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(LONG, next).await.expect("nothing was logged")
}

async fn all_closed(before: usize) {
    while descriptors() > before {
        tokio::task::yield_now().await;
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Also those that ended and were not reaped.
fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(|process| parent(process).is_some_and(|parent| parent == own)).count()
}

fn parent(process: &Path) -> Option<String> {
    let status = fs::read_to_string(process.join("stat")).ok()?;
    // After the name in parentheses: state, parent.
    let (_, rest) = status.rsplit_once(") ")?;
    rest.split(' ').nth(1).map(str::to_owned)
}

/// Tells what the backends log as text, without the pid.
struct Listener(mpsc::Sender<String>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("portcullis::backend") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        assert!(fields.0.remove("pid").is_some(), "which child");
        let message = fields.0.remove("message").map(|text| format!(" {text}")).unwrap_or_default();
        let rest: String = fields.0.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let _ = self.0.send(format!("{}{message}{rest}", metadata.level()));
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Longer than any of this takes; the test waits for events.
const LONG: Duration = Duration::from_secs(30);
