//! The dialogs once more, through the real loop: the client at one end of a pipe, the backend behind a loopback socket.
//! What needs virtual time, TLS or a fault that neither can make is left to the bare session.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "support/host.rs"]
mod host;
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis::backend;
use portcullis::backend::Identity;
use portcullis::backend::Target;
use portcullis::backend::Tls;
use portcullis::front::ClientStream;
use portcullis::front::Services;
use portcullis::front::Stop;
use portcullis::front::answers;
use portcullis::front::answers::Answering;
use portcullis::front::answers::Answers;
use portcullis::front::driver::Driver;
use portcullis::front::settings::Pair;
use portcullis::front::tls;
use portcullis::hold;
use portcullis::policy::throttle::key::Seed;
use portcullis::session::Session;
use portcullis::session::io::Now;
use portcullis::session::io::Peer;
use portcullis::session::question::Question;
use portcullis::store::clock::Time;
use portcullis::store::clock::Virtual;
use portcullis::store::state::State;
use support::dialog::Dialog;
use support::dialog::escape;
use support::dialog::unescape;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

#[tokio::test]
async fn dialogs_go_the_same_through_the_loop() {
    play_all(|state| state).await;
}

/// Whether answers are there at once is nothing that a client or a backend notices.
#[tokio::test]
async fn dialogs_go_the_same_when_answers_take_their_time() {
    play_all(|state| Arc::new(Late(state))).await;
}

/// What only counts passes then, and a message is told to come again; each after the time for an answer is up.
#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    let dialog = Dialog::parse(&fs::read_to_string("tests/dialogs/accept.txt").unwrap());
    let began = Instant::now();
    let mut stage = Stage::new(&dialog, None, |_| Arc::new(Silent::default())).await;
    for line in ["c 220 mx.example.org ESMTP", "C HELO c.example", "c 250 mx.example.org", "C MAIL FROM:<a@b.example>"]
    {
        stage.step(line).await.unwrap();
    }
    for line in ["o", "B 220 b", "b EHLO c.example", "B 250 b", "b MAIL FROM:<a@b.example>", "B 250 ok", "c 250 ok"] {
        stage.step(line).await.unwrap();
    }
    for line in ["C RCPT TO:<joe@example.org>", "b RCPT TO:<joe@example.org>", "B 250 ok", "c 250 ok"] {
        stage.step(line).await.unwrap();
    }
    stage.step("C DATA").await.unwrap();
    stage.step("c 354 End the message with a dot on a line by itself").await.unwrap();
    stage.step("P Message-ID: <1@b.example>").await.unwrap();
    stage.step("C .").await.unwrap();
    stage.step("c 451 4.3.0 Internal error, try again later [S]").await.unwrap();
    assert!((60..70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Nobody waits for an answer then, whatever it would have been.
#[tokio::test]
async fn a_stop_whose_time_is_up_reaches_a_session_that_waits_for_an_answer() {
    let silent = Arc::new(Silent::default());
    let answers = silent.clone();
    let stage = Stage::new(&Dialog::parse("C EHLO c.example\n"), None, |_| answers).await;
    silent.asked.notified().await;
    assert!(stage.services.conditions.change(|condition| condition.stop = Stop::Kill));
    silent.left.notified().await;
}

async fn play_all(answers: fn(Arc<State>) -> Arc<dyn Answers>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut played = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let dialog = Dialog::parse(&fs::read_to_string(&path).unwrap());
        if !is_playable(&dialog) {
            continue;
        }
        played += 1;
        if let Err(fault) = play(&dialog, answers).await {
            wrong.push(format!("{}: {fault}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played > 100, "only {played} dialogs were played");
}

/// Neither time nor faults from outside, nor what the scene alone can make.
fn is_playable(dialog: &Dialog) -> bool {
    let from_outside = |line: &String| {
        line.starts_with(['@', 'A', 'G', '!', 'S', 'K', 'R', 'H', 'M', 'V', 'N', 'L', 'O', 'U', 'X', 'Y', 'Z', 'E'])
    };
    let scene_only = [
        "answers",
        "backend queue",
        "backend queue",
        "backend_starttls",
        "greet_delay",
        "no_room",
        "hold full",
        "starttls",
        "add_received",
        "handshake",
        "kept",
    ];
    let needs_scene = |line: &String| scene_only.iter().any(|name| line.starts_with(&format!("= {name}")));
    // How much of a message that is too large has been streamed when that shows is a matter of cuts.
    let has = |setting: &str| dialog.head.iter().any(|line| line.starts_with(setting));
    let streamed_oversize = has("= hold off") && (has("= limit") || has("= max_hops"));
    !dialog.lines.iter().any(from_outside) && !dialog.head.iter().any(needs_scene) && !streamed_oversize
}

/// Time stands still until nobody has anything to do: over pipes only, a socket's octets would be overtaken.
#[tokio::test(start_paused = true)]
async fn time_limits_hold_in_the_loop() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let dialog = Dialog::parse(&fs::read_to_string(&path).unwrap());
        let is_playable = |line: &String| line.is_empty() || line.starts_with(['C', 'P', 'W', 'c', '@', 'r', 'x', '#']);
        let has_time = dialog.lines.iter().any(|line| line.starts_with('@'));
        let needs_scene =
            dialog.head.iter().any(|line| line.starts_with("= no_room") || line.starts_with("= starttls"));
        if has_time && dialog.lines.iter().all(is_playable) && !needs_scene {
            played += 1;
            play(&dialog, |state| state).await.map_err(|fault| format!("{}: {fault}", path.display())).unwrap();
        }
    }
    assert!(played >= 5, "only {played} dialogs were played");
}

/// Its window stays shut: replies pile up to their bound, then nothing more is read, and the time limits end it.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_let_go() {
    let stage = Stage::new(&Dialog::parse("= throttle shadow 5\nC EHLO c.example\n"), None, |state| state).await;
    let began = Instant::now();
    let mut client = stage.client.into_inner();
    client.write_all(b"EHLO c.example\r\n").await.unwrap();
    let mut taken = 0;
    while client.write_all(b"MAIL FROM:<newsletter@sillyplace.com>\r\n").await.is_ok() {
        taken += 1;
    }
    assert!((1000..10_000).contains(&taken), "{taken} commands");
    // `timeout.command`, and a last word that is not taken either.
    assert!((300..=340).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// A backend in the middle of a long message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    HangsUp,
    Refuses,
    TakesAll,
}

/// The backend takes less at a time than there is, hangs up in the middle, or refuses there; in the clear the message goes
/// there from its file, under TLS by way of memory; by DATA, and as one chunk.
#[tokio::test]
async fn a_long_message_arrives_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    host::make_certificate(folder.path(), &["localhost"]).unwrap();
    let pair = Pair { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem") };
    let secure = tls::acceptor(&[pair]).unwrap();
    let accept = fs::read_to_string("tests/dialogs/accept.txt").unwrap().replace("B 250-SIZE 1000", "B 250-SIZE 0");
    let text = |octets: usize| -> Vec<u8> {
        (0..octets / 16).flat_map(|line| format!("{line:014}\r\n").into_bytes()).collect()
    };
    for secure in [None, secure] {
        for middle in [Middle::TakesAll, Middle::HangsUp, Middle::Refuses] {
            // The second half of a refused one must not fit into the system's buffers.
            let text = text(if middle == Middle::Refuses { 16 << 20 } else { 6 << 20 });
            for end in [&b".\r\n"[..], b""] {
                let offers = if end.is_empty() { "B 250-CHUNKING\nB 250-SIZE 0" } else { "B 250-SIZE 0" };
                let dialog = Dialog::parse(&accept.replace("B 250-SIZE 0", offers));
                let whole = [&text, end].concat();
                a_long_message(&dialog, secure.clone(), &text, &whole, middle).await;
            }
        }
    }
}

/// Sends a message of this text, which the backend gets as `whole`.
async fn a_long_message(dialog: &Dialog, secure: Option<TlsAcceptor>, text: &[u8], whole: &[u8], middle: Middle) {
    let mut stage = Stage::new(dialog, secure, |state| state).await;
    let begin = dialog.lines.iter().position(|line| line.starts_with("P ")).unwrap();
    for line in &dialog.lines[..begin] {
        stage.step(line).await.unwrap();
    }
    stage.send([text, b".\r\n"].concat()).await;
    if whole == text {
        stage.step(&format!("b BDAT {} LAST", text.len())).await.unwrap();
    } else {
        stage.step("b DATA").await.unwrap();
        stage.step("B 354 go").await.unwrap();
    }
    let mut received = vec![0; if middle == Middle::TakesAll { whole.len() } else { whole.len() / 2 }];
    stage.backend.as_mut().unwrap().read_exact(&mut received).await.unwrap();
    assert!(received == whole[..received.len()]);
    let last = match middle {
        Middle::HangsUp => {
            stage.backend = None;
            "c 451 4.3.0 The mail server behind this one is not available, try again later [S]"
        }
        Middle::Refuses => {
            stage.step("B 552 5.3.4 Too large").await.unwrap();
            "c 552 5.3.4 Too large"
        }
        Middle::TakesAll => {
            stage.step("B 250 2.6.0 Accepted").await.unwrap();
            "c 250 2.6.0 Accepted"
        }
    };
    timeout(PATIENCE, stage.step(last)).await.unwrap().unwrap();
    if let (Middle::Refuses, Some(mut backend)) = (middle, stage.backend) {
        let _ = timeout(PATIENCE, backend.read_to_end(&mut received)).await.unwrap();
        assert!(received.len() < whole.len(), "it could have been taken as whole");
    }
}

/// The state, whose answers come after a while.
#[derive(Debug)]
struct Late(Arc<State>);

impl Answers for Late {
    fn answer(&self, question: &Question) -> Answering {
        let answered = answers::answer(self.0.tables(), question);
        Answering::Later(Box::pin(async move {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            answered
        }))
    }
}

/// Never answers.
#[derive(Debug, Default)]
struct Silent {
    asked: Arc<Notify>,
    /// An answer is not waited for any more.
    left: Arc<Notify>,
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Answers for Silent {
    fn answer(&self, _: &Question) -> Answering {
        self.asked.notify_one();
        let left = OnDrop(self.left.clone());
        Answering::Later(Box::pin(async move {
            let _left = left;
            std::future::pending().await
        }))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Stage {
    client: BufReader<DuplexStream>,
    listener: TcpListener,
    services: Arc<Services>,
    /// Of a backend under TLS.
    secure: Option<TlsAcceptor>,
    backend: Option<BufReader<Box<dyn Stream>>>,
    together: Vec<u8>,
}

async fn play(dialog: &Dialog, answers: fn(Arc<State>) -> Arc<dyn Answers>) -> Result<(), String> {
    let mut stage = Stage::new(dialog, None, answers).await;
    for line in &dialog.lines {
        if let Some(seconds) = line.strip_prefix("@ ") {
            tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await;
            continue;
        }
        let step = timeout(PATIENCE, stage.step(line)).await;
        step.map_err(|_| "nothing came".to_owned())
            .and_then(|result| result)
            .map_err(|fault| format!("{line}: {fault}"))?;
    }
    Ok(())
}

fn held_in_memory() -> hold::Settings {
    let spool = std::env::temp_dir();
    hold::Settings { memory: 65536, total: 1 << 25, min_rate: 500, spool, min_free: 0, queue: None }
}

impl Stage {
    async fn new(
        dialog: &Dialog,
        secure: Option<TlsAcceptor>,
        answers: impl FnOnce(Arc<State>) -> Arc<dyn Answers>,
    ) -> Self {
        let scene = dialog.scene();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(8).unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap().to_string());
        let connect = Duration::from_secs(10);
        let backends = backend::Settings {
            target,
            identity: Identity::None,
            tls: if secure.is_some() { Tls::Implicit } else { Tls::Off },
            verify: secure.is_none(),
            hostname: "mx.example.org".into(),
            max: 4,
            keepalive: 0,
            connect,
            reply: connect,
        };
        let seed = Seed::new([7; 16]);
        let clock = Arc::new(Virtual::new(Time::from_seconds(1_795_395_525)));
        let state = Arc::new(State::in_memory(seed.clone(), clock));
        let snapshot = watch::channel(scene.snapshot.clone()).1;
        let answers = answers(state.clone());
        let services = Services { answers, ..Services::new(backends, held_in_memory(), state, snapshot) };
        let services = Arc::new(services);
        let now = Now { monotonic: Instant::now().into_std(), wall: Timestamp::now() };
        let peer = Peer::direct((scene.client, 40000).into(), "127.0.0.1:25".parse().unwrap());
        let mut session = Session::new("S".into(), scene.snapshot, seed, peer, now);
        if let Some(offer) = scene.offer {
            session.handle_offer(offer, true);
        }
        session.start(scene.admission, scene.greet_delay, None, now);
        let (client, ours) = tokio::io::duplex(4096);
        tokio::spawn(Driver::new(session, ClientStream::Pipe(ours), watch::channel(None).1, services.clone()).run());
        Self { client: BufReader::new(client), listener, services, secure, backend: None, together: Vec::new() }
    }

    async fn step(&mut self, line: &str) -> Result<(), String> {
        let (kind, rest) = line.split_at(line.len().min(1));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "P" => self.together.extend([rest.as_bytes(), b"\r\n"].concat()),
            "C" => self.send([rest.as_bytes(), b"\r\n"].concat()).await,
            "W" => self.send(unescape(rest)).await,
            "F" => self.client.shutdown().await.unwrap(),
            "c" => return same(rest, &read_line(&mut self.client).await),
            "x" => return same("", &rest_of(&mut self.client).await),
            "o" => {
                let (accepted, _) = self.listener.accept().await.unwrap();
                let stream: Box<dyn Stream> = match &self.secure {
                    Some(secure) => Box::new(secure.accept(accepted).await.unwrap()),
                    None => Box::new(accepted),
                };
                self.backend = Some(BufReader::new(stream));
            }
            "b" => return same(rest, &read_line(self.backend.as_mut().ok_or("no backend")?).await),
            "B" => {
                // One that was hung up on goes on talking to nobody.
                if let Some(backend) = &mut self.backend {
                    let _ = backend.write_all(&[rest.as_bytes(), b"\r\n"].concat()).await;
                }
            }
            "q" | "d" => {
                let mut backend = self.backend.take().ok_or("no backend")?;
                let said = rest_of(&mut backend).await;
                // QUIT is a courtesy, and a reset may overtake it.
                let allowed = said.is_empty() || (kind == "q" && said == "QUIT\\r\\n");
                return if allowed { Ok(()) } else { Err(format!("{said} before the end")) };
            }
            _ => {}
        }
        Ok(())
    }

    /// A client that is hung up on while it writes has to bear that.
    async fn send(&mut self, octets: Vec<u8>) {
        self.together.extend(octets);
        let _ = self.client.write_all(&std::mem::take(&mut self.together)).await;
    }
}

fn same(expected: &str, got: &str) -> Result<(), String> {
    if expected.trim_end() == got { Ok(()) } else { Err(format!("got {got:?}")) }
}

async fn read_line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = Vec::new();
    let _ = stream.read_until(b'\n', &mut line).await;
    escape(line.strip_suffix(b"\r\n").unwrap_or(&line)).trim_end().to_owned()
}

async fn rest_of(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    escape(&rest)
}

/// Far more than anything takes; a dialog that waits for what does not come ends by it.
const PATIENCE: Duration = Duration::from_secs(15);
