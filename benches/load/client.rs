//! The sending side: a fixed number of connections in a closed loop on one thread. A reply that is not the expected one
//! ends the run with an error: a proxy that refuses is not fast.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use memchr::memchr;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::task::LocalSet;

/// What one run sends.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// At a time.
    pub(crate) connections: usize,
    /// Of each connection.
    pub(crate) messages: usize,
    /// Octets of a message on the wire, the final dot left out.
    pub(crate) size: usize,
    /// MAIL, RCPT and DATA in one write.
    pub(crate) pipelined: bool,
    /// Messages in all.
    pub(crate) total: usize,
}

impl Shape {
    /// A tenth, one connection's worth at least.
    pub(crate) fn warm_up(&self) -> Self {
        Self { total: self.total.div_ceil(10).min(1000), ..self.clone() }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, size, pipelined, total } = self;
        let pipelined = if *pipelined { ", pipelined" } else { "" };
        write!(f, "{size} octets, {messages} a connection, {connections} connections{pipelined}, {total} in all")
    }
}

/// Sends all messages of `shape` and says how many there were.
pub(crate) fn run(address: SocketAddr, shape: &Shape, limit: Duration) -> Result<usize, Box<dyn Error>> {
    let text: Bytes = text(shape.size).into();
    let left = Rc::new(Cell::new(shape.total));
    local(limit, async {
        let mut tasks = JoinSet::new();
        for _ in 0..shape.connections {
            let (left, text, shape) = (left.clone(), text.clone(), shape.clone());
            tasks.spawn_local(async move {
                while left.get() > 0 {
                    connection(address, &shape, &text, &left).await?;
                }
                Ok::<(), io::Error>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(shape.total)
    })
}

/// Opens connections that say EHLO and then nothing; gives the growth of `resident` for each.
pub(crate) fn idle(
    address: SocketAddr,
    connections: usize,
    resident: impl Fn() -> io::Result<Option<u64>>,
) -> Result<Option<u64>, Box<dyn Error>> {
    local(Duration::from_secs(60), async {
        // The first ones pay for what all share.
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(Conversation::open(address).await?);
        }
        let before = resident()?;
        for _ in 0..connections {
            open.push(Conversation::open(address).await?);
        }
        let grown = resident()?.zip(before).map(|(after, before)| after.saturating_sub(before));
        Ok(grown.map(|grown| grown / connections as u64))
    })
}

fn local<T>(limit: Duration, work: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = async { tokio::time::timeout(limit, work).await };
    match LocalSet::new().block_on(&runtime, within) {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not done within {} s", limit.as_secs()).into()),
    }
}

async fn connection(address: SocketAddr, shape: &Shape, text: &[u8], left: &Cell<usize>) -> io::Result<()> {
    let mut conversation = Conversation::open(address).await?;
    for _ in 0..shape.messages {
        if left.get() == 0 {
            break;
        }
        left.set(left.get() - 1);
        conversation.message(shape, text).await?;
    }
    conversation.say(b"QUIT\r\n", b"221").await
}

struct Conversation {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
}

impl Conversation {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut conversation = Self { stream, input: BytesMut::with_capacity(1024), output: Vec::new() };
        conversation.reply(b"220").await?;
        conversation.say(b"EHLO client.example\r\n", b"250").await?;
        Ok(conversation)
    }

    async fn message(&mut self, shape: &Shape, text: &[u8]) -> io::Result<()> {
        let mail = format!("MAIL FROM:<sender@client.example> SIZE={}\r\n", shape.size);
        let rcpt = "RCPT TO:<recipient@sink.example>\r\n";
        if shape.pipelined {
            self.stream.write_all(format!("{mail}{rcpt}DATA\r\n").as_bytes()).await?;
            for code in [b"250", b"250", b"354"] {
                self.reply(code).await?;
            }
        } else {
            self.say(mail.as_bytes(), b"250").await?;
            self.say(rcpt.as_bytes(), b"250").await?;
            self.say(b"DATA\r\n", b"354").await?;
        }
        // No two messages are the same: a policy may know repeats.
        self.output.clear();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        write!(self.output, "Message-ID: <{number:0DIGITS$}@client.example>\r\nSubject: {number:0DIGITS$}\r\n")?;
        self.output.extend_from_slice(text.get(..SMALL).unwrap_or(text));
        self.stream.write_all(&self.output).await?;
        if let Some(rest) = text.get(SMALL..) {
            self.stream.write_all(rest).await?;
        }
        self.reply(b"250").await
    }

    async fn say(&mut self, line: &[u8], code: &[u8; 3]) -> io::Result<()> {
        self.stream.write_all(line).await?;
        self.reply(code).await
    }

    async fn reply(&mut self, code: &[u8; 3]) -> io::Result<()> {
        loop {
            while let Some(end) = memchr(b'\n', &self.input) {
                let line = &self.input[..=end];
                let (expected, last) = (line.starts_with(code), line.get(3) != Some(&b'-'));
                if !expected {
                    let line = String::from_utf8_lossy(line).trim_end().to_owned();
                    return Err(io::Error::other(format!("expected {}, heard {line}", String::from_utf8_lossy(code))));
                }
                self.input.advance(end + 1);
                if last {
                    return Ok(());
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed where a reply was due"));
            }
        }
    }
}

/// What follows the subject, with the final dot: `size` octets together, the dot left out.
fn text(size: usize) -> Vec<u8> {
    let mut text = b"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nFrom: <sender@client.example>\r\n\
        To: <recipient@sink.example>\r\n\r\n"
        .to_vec();
    let size = size.saturating_sub("Message-ID: <@client.example>\r\nSubject: \r\n".len() + 2 * DIGITS);
    let line = [b"0123456789".repeat(8)[..76].to_vec(), b"\r\n".to_vec()].concat();
    while text.len() + line.len() <= size {
        text.extend_from_slice(&line);
    }
    if let Some(rest) = size.checked_sub(text.len() + 2) {
        text.extend(std::iter::repeat_n(b'x', rest));
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b".\r\n");
    text
}

/// Of the next message.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Digits of the number in Message-ID and subject.
const DIGITS: usize = 12;
/// A message of up to this size goes out in one write, a larger one is not copied.
const SMALL: usize = 64 * 1024;
