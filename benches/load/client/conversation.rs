//! One connection of the client: its commands, and the replies that it insists on. It must not measure.

use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use bytes::BytesMut;
use memchr::memchr;
use tokio_rustls::TlsConnector;

use crate::systems::Refusal;
use crate::wire::Wire;
use crate::workload::Act;
use crate::workload::STRANGER;
use crate::workload::Shape;

/// A connection after its greeting.
pub(crate) struct Conversation {
    wire: Wire,
    input: BytesMut,
    output: Vec<u8>,
}

impl Conversation {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_from(address, None).await
    }

    /// Opens a connection as one of several clients, since a proxy may limit a client's handshakes.
    pub(crate) async fn open_for_tls(address: SocketAddr) -> io::Result<Self> {
        let client = (NUMBER.fetch_add(1, Ordering::Relaxed) % CLIENTS) as u8;
        Self::open_from(address, Some(Ipv4Addr::new(127, 0, 1, 1 + client))).await
    }

    async fn open_from(address: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<Self> {
        let wire = Wire::connect(address, from).await?;
        let mut conversation = Self { wire, input: BytesMut::with_capacity(1024), output: Vec::new() };
        conversation.reply(b"220").await?;
        Ok(conversation)
    }

    pub(crate) async fn hello(&mut self) -> io::Result<()> {
        self.say(b"EHLO client.example\r\n", b"250").await
    }

    /// Does EHLO, STARTTLS and the handshake.
    pub(crate) async fn secure(mut self, connector: &TlsConnector) -> io::Result<Self> {
        self.hello().await?;
        self.say(b"STARTTLS\r\n", b"220").await?;
        Ok(Self { wire: self.wire.connect_tls(connector).await?, ..self })
    }

    /// Does one act, up to the reply that it is about; gives whether the connection goes on.
    pub(crate) async fn act(&mut self, shape: &Shape, text: &[u8], refusal: Refusal) -> io::Result<bool> {
        let size = shape.size;
        match shape.act {
            Act::Message => {
                self.say(format!("MAIL FROM:<sender@client.example> SIZE={size}\r\n").as_bytes(), b"250").await?;
                self.say(RCPT, b"250").await?;
                self.say(b"DATA\r\n", b"354").await?;
                self.message(text, b"250").await?;
            }
            Act::Pipelined => {
                let mail = format!("MAIL FROM:<sender@client.example> SIZE={size}\r\n");
                self.wire.write(&[mail.as_bytes(), RCPT, b"DATA\r\n"].concat()).await?;
                for code in [b"250", b"250", b"354"] {
                    self.reply(code).await?;
                }
                self.message(text, b"250").await?;
            }
            Act::Refused => return self.refused(refusal).await,
            Act::Declared => {
                let line = format!("MAIL FROM:<sender@client.example> SIZE={size}\r\n");
                self.say(line.as_bytes(), refusal.oversize).await?;
            }
            Act::Undeclared => {
                // A new sender each time: a repeated one may be refused earlier.
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                self.say(format!("MAIL FROM:<sender{number}@client.example>\r\n").as_bytes(), b"250").await?;
                self.say(RCPT, b"250").await?;
                self.say(b"DATA\r\n", b"354").await?;
                self.message(text, refusal.oversize).await?;
            }
            Act::Handshake => self.hello().await?,
        }
        Ok(true)
    }

    /// Begins a message of an unknown size as a slow client does, and stops behind `text`, its beginning.
    pub(crate) async fn begin(mut self, text: &[u8]) -> io::Result<Self> {
        self.hello().await?;
        self.say(b"MAIL FROM:<sender@client.example>\r\n", b"250").await?;
        self.say(RCPT, b"250").await?;
        self.say(b"DATA\r\n", b"354").await?;
        for piece in text.chunks(SLOW) {
            self.wire.write(piece).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self)
    }

    pub(crate) async fn quit(&mut self) -> io::Result<()> {
        self.say(b"QUIT\r\n", b"221").await
    }

    async fn refused(&mut self, refusal: Refusal) -> io::Result<bool> {
        let mail = format!("MAIL FROM:<{STRANGER}>\r\n");
        if refusal.at_recipient {
            self.say(mail.as_bytes(), b"250").await?;
            self.say(RCPT, refusal.sender).await?;
        } else {
            self.say(mail.as_bytes(), refusal.sender).await?;
        }
        Ok(!refusal.closes)
    }

    async fn message(&mut self, text: &[u8], code: &[u8; 3]) -> io::Result<()> {
        // Each message differs: a policy may recognize repeats.
        self.output.clear();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        write!(self.output, "Message-ID: <{number:0DIGITS$}@client.example>\r\nSubject: {number:0DIGITS$}\r\n")?;
        self.output.extend_from_slice(text.get(..SMALL).unwrap_or(text));
        self.wire.write(&self.output).await?;
        if let Some(rest) = text.get(SMALL..) {
            self.wire.write(rest).await?;
        }
        self.reply(code).await
    }

    async fn say(&mut self, line: &[u8], code: &[u8; 3]) -> io::Result<()> {
        self.wire.write(line).await?;
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
            if self.wire.read(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed where a reply was due"));
            }
        }
    }
}

/// The text after the subject, with the final dot: `size` octets in all, not counting the dot.
pub(crate) fn text(size: usize) -> Vec<u8> {
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

const RCPT: &[u8] = b"RCPT TO:<recipient@sink.example>\r\n";
const CLIENTS: u64 = 20;
/// Number of the next message or client.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Digits of the number in Message-ID and subject.
const DIGITS: usize = 12;
/// Octets that a slow client sends at once, and the time between them.
const SLOW: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(3);
/// A message of up to this size goes out in one write, a larger one is not copied.
const SMALL: usize = 64 * 1024;
