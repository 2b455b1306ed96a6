//! The backend: one thread, tokio, as little SMTP as a proxy needs; it keeps nothing. It must not limit a measurement,
//! so it only looks for line ends and the end of data. As `ideal` it refuses, knows a size limit and has TLS, at the
//! lowest cost of a server that needs no backend. With `chunking` it offers that, and takes what it then gets.
//!
//! A process of its own, this program started anew, so that its CPU can be told from the client's.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::sync::Arc;

use bytes::Buf;
use bytes::BytesMut;
use memchr::memchr;
use memchr::memmem;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::process;
use crate::wire;
use crate::wire::Wire;
use crate::workload::LIMIT;
use crate::workload::STRANGER;

/// Serves until it is killed. `ideal` is the folder of the certificate.
pub(crate) fn serve(ideal: Option<&Path>, chunking: bool) -> Result<(), Box<dyn Error>> {
    process::raise_descriptor_limit()?;
    let listener = StdListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let acceptor = ideal.map(wire::acceptor).transpose()?;
    println!("listening address={}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(accept(listener, acceptor.map(Arc::new), chunking))?)
}

async fn accept(listener: StdListener, acceptor: Option<Arc<TlsAcceptor>>, chunking: bool) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        // The client reports it if it hangs up in the middle.
        tokio::spawn(async move { drop(converse(Wire::Plain(stream), acceptor.as_deref(), chunking).await) });
    }
}

async fn converse(mut wire: Wire, acceptor: Option<&TlsAcceptor>, chunking: bool) -> io::Result<()> {
    let mut state = State { ideal: acceptor.is_some(), chunking, ..State::default() };
    state.output.extend_from_slice(b"220 sink.example ESMTP\r\n");
    loop {
        let step = loop {
            match state.step() {
                Step::Next => {}
                other => break other,
            }
        };
        if !state.output.is_empty() {
            wire.write(&state.output).await?;
            state.output.clear();
        }
        match (step, acceptor) {
            (Step::Quit, _) => return Ok(()),
            (Step::Tls, Some(acceptor)) => wire = wire.accept_tls(acceptor).await?,
            _ => {}
        }
        state.input.reserve(READ);
        if wire.read(&mut state.input).await? == 0 {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct State {
    ideal: bool,
    chunking: bool,
    input: BytesMut,
    output: BytesMut,
    in_data: bool,
    /// Octets of the message so far.
    size: usize,
    /// Octets of the chunk that are still to come.
    chunk: Option<usize>,
}

enum Step {
    More,
    Next,
    Quit,
    Tls,
}

impl State {
    fn step(&mut self) -> Step {
        match self.chunk {
            Some(left) => self.take_chunk(left),
            None if self.in_data => self.data(),
            None => self.command(),
        }
    }

    fn command(&mut self) -> Step {
        let Some(end) = memchr(b'\n', &self.input) else { return Step::More };
        let mut verb = self.input.first_chunk::<4>().copied().unwrap_or_default();
        verb.make_ascii_uppercase();
        let (reply, step): (&[u8], Step) = match &verb[..] {
            b"DATA" => {
                self.output.extend_from_slice(b"354 go on\r\n");
                // Keeps the CRLF of DATA, which is the one before the dot when the message is empty.
                self.input.advance(end.saturating_sub(1));
                (self.in_data, self.size) = (true, 0);
                return Step::Next;
            }
            b"BDAT" => {
                let words = String::from_utf8_lossy(&self.input[..end]);
                self.chunk = words.split_whitespace().nth(1).and_then(|octets| octets.parse().ok());
                self.input.advance(end + 1);
                return Step::Next;
            }
            b"EHLO" if self.chunking => (CHUNKING, Step::Next),
            b"EHLO" => (if self.ideal { IDEAL } else { PLAIN }, Step::Next),
            b"MAIL" if self.ideal => (refusal(&self.input[..end]).unwrap_or(OK), Step::Next),
            b"QUIT" => (b"221 2.0.0 bye\r\n", Step::Quit),
            b"STAR" if self.ideal => (b"220 2.0.0 go on\r\n", Step::Tls),
            _ => (OK, Step::Next),
        };
        self.output.extend_from_slice(reply);
        self.input.advance(end + 1);
        step
    }

    fn take_chunk(&mut self, left: usize) -> Step {
        let taken = left.min(self.input.len());
        self.input.advance(taken);
        self.chunk = Some(left - taken).filter(|left| *left > 0);
        if self.chunk.is_some() {
            return Step::More;
        }
        self.output.extend_from_slice(b"250 2.0.0 taken\r\n");
        Step::Next
    }

    fn data(&mut self) -> Step {
        let end = memmem::find(&self.input, END);
        let seen = end.map_or(self.input.len().saturating_sub(END.len() - 1), |at| at + END.len());
        self.input.advance(seen);
        self.size += seen;
        if end.is_none() {
            return Step::More;
        }
        self.in_data = false;
        let _ = match self.ideal && self.size > LIMIT {
            true => self.output.write_str("552 5.3.4 too large\r\n"),
            false => self.output.write_str("250 2.0.0 taken\r\n"),
        };
        Step::Next
    }
}

/// The refusal of a MAIL line, if it is refused.
fn refusal(line: &[u8]) -> Option<&'static [u8]> {
    if memmem::find(line, STRANGER.as_bytes()).is_some() {
        return Some(b"550 5.7.1 not wanted\r\n");
    }
    let size = &line[memmem::find(line, b"SIZE=")? + 5..];
    let size: usize = std::str::from_utf8(size.trim_ascii()).ok()?.parse().ok()?;
    (size > LIMIT).then_some(b"552 5.3.4 too large\r\n")
}

const PLAIN: &[u8] = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n";
const CHUNKING: &[u8] = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SIZE 0\r\n";
const IDEAL: &[u8] = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 SIZE 10485760\r\n";
const OK: &[u8] = b"250 2.0.0 ok\r\n";
const END: &[u8] = b"\r\n.\r\n";
const READ: usize = 64 * 1024;
