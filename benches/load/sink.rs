//! The backend: one thread, tokio, as little SMTP as a proxy needs, and nothing is kept. It must never be what limits a
//! measurement, so it looks for line ends and the end of data only.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;

use bytes::Buf;
use bytes::BytesMut;
use memchr::memchr;
use memchr::memmem;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// A listening sink; it ends with the process.
pub(crate) struct Sink {
    address: SocketAddr,
}

impl Sink {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = StdListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(accept(listener)));
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that hangs up in the middle is its own fault to report.
        tokio::spawn(async move { drop(serve(stream).await) });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (BytesMut::with_capacity(READ), BytesMut::from("220 sink.example ESMTP\r\n"));
    let mut in_data = false;
    loop {
        let mut quit = false;
        while !quit {
            match if in_data { end_of_data(&mut input) } else { command(&mut input, &mut output) } {
                Step::More => break,
                Step::Data => in_data = true,
                Step::Ended => {
                    in_data = false;
                    output.extend_from_slice(b"250 2.0.0 taken\r\n");
                }
                Step::Command => {}
                Step::Quit => quit = true,
            }
        }
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        input.reserve(READ);
        if quit || stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

enum Step {
    Command,
    Data,
    Ended,
    More,
    Quit,
}

fn command(input: &mut BytesMut, output: &mut BytesMut) -> Step {
    let Some(end) = memchr(b'\n', input) else { return Step::More };
    let mut verb = input.first_chunk::<4>().copied().unwrap_or_default();
    verb.make_ascii_uppercase();
    let (reply, step): (&[u8], Step) = match &verb[..] {
        b"DATA" => (b"354 go on\r\n", Step::Data),
        b"EHLO" => (b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n", Step::Command),
        b"QUIT" => (b"221 2.0.0 bye\r\n", Step::Quit),
        _ => (b"250 2.0.0 ok\r\n", Step::Command),
    };
    output.extend_from_slice(reply);
    // The CRLF of DATA stays: it is the one before the dot when the message is empty.
    input.advance(if matches!(step, Step::Data) { end.saturating_sub(1) } else { end + 1 });
    step
}

fn end_of_data(input: &mut BytesMut) -> Step {
    match memmem::find(input, END) {
        Some(at) => {
            input.advance(at + END.len());
            Step::Ended
        }
        None => {
            input.advance(input.len().saturating_sub(END.len() - 1));
            Step::More
        }
    }
}

const END: &[u8] = b"\r\n.\r\n";
const READ: usize = 64 * 1024;
