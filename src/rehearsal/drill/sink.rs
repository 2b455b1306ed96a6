//! A backend that counts messages and discards them. It speaks just enough SMTP for our own sessions. It must not keep
//! a message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::front::workers::Threads;
use crate::front::workers::Workers;
use crate::rehearsal::drill::letters::HONEST;

pub(super) struct Sink {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
    threads: Threads,
}

#[derive(Default)]
struct Counts {
    messages: AtomicU32,
    honest: AtomicU32,
    octets: AtomicU64,
    sessions: AtomicU32,
}

impl Sink {
    pub(super) fn start() -> io::Result<Self> {
        let (workers, threads) = Workers::start(1, "drill-sink")?;
        let counts = Arc::new(Counts::default());
        let listener = workers.accepting().block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        workers.accepting().spawn(accept(listener, counts.clone()));
        Ok(Self { address, counts, threads })
    }

    /// Numbers of messages, their octets, and sessions.
    pub(super) fn counts(&self) -> (u32, u64, u32) {
        let Counts { messages, octets, sessions, .. } = &*self.counts;
        (messages.load(Ordering::Relaxed), octets.load(Ordering::Relaxed), sessions.load(Ordering::Relaxed))
    }

    /// Number of messages marked as honest.
    pub(super) fn honest(&self) -> u32 {
        self.counts.honest.load(Ordering::Relaxed)
    }

    pub(super) fn stop(self) {
        self.threads.stop(Duration::from_secs(1));
    }
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        counts.sessions.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(stream, counts.clone()));
    }
}

async fn serve(mut stream: TcpStream, counts: Arc<Counts>) -> io::Result<()> {
    stream.write_all(b"220 drill ESMTP\r\n").await?;
    let mut input = BytesMut::new();
    loop {
        let Some(end) = memchr::memchr(b'\n', &input) else {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let line = input.split_to(end + 1);
        let reply: &[u8] = match &line[..line.len().min(4)] {
            b"EHLO" => b"250-drill\r\n250-8BITMIME\r\n250 SIZE 0\r\n",
            b"DATA" => {
                stream.write_all(b"354 go\r\n").await?;
                let (octets, is_honest) = body(&mut stream, &mut input).await?;
                counts.messages.fetch_add(1, Ordering::Relaxed);
                counts.honest.fetch_add(u32::from(is_honest), Ordering::Relaxed);
                counts.octets.fetch_add(octets, Ordering::Relaxed);
                b"250 counted\r\n"
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(reply).await?;
    }
}

/// Reads to the dot; gives the octets before it, and whether the first field (after our own) is an honest message's.
async fn body(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<(u64, bool)> {
    let (mut octets, mut is_honest) = (0, false);
    loop {
        is_honest |= octets < HEAD && memchr::memmem::find(input, HONEST.as_bytes()).is_some();
        if let Some(end) = memchr::memmem::find(input, b"\r\n.\r\n") {
            input.advance(end + 5);
            return Ok((octets + end as u64 + 2, is_honest));
        }
        let judged = input.len().saturating_sub(4);
        input.advance(judged);
        octets += judged as u64;
        input.reserve(AT_ONCE);
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

const AT_ONCE: usize = 256 * 1024;
/// Octets in which the first field is looked for.
const HEAD: u64 = 2048;
